"""A failed blocking check keeps later runs from reading its partition, however the check was run."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from workbench_pipelines.clients.lake import Lake
from workbench_pipelines_tests.lake_world import ONE_TO_MANY, SHEETS, World, items, reader_of, why


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


Verdicts = dict[str, bool]


def _check(
    says: Verdicts, *, partitioned: bool, blocking: bool = True, warns: bool = False
) -> dg.AssetChecksDefinition:
    """A blocking check that says of a partition what `says` holds, of a range that all hold."""

    @dg.asset_check(asset=["data", "items"], blocking=blocking, partitions_def=SHEETS if partitioned else None)
    def no_row_is_bad(context: dg.AssetCheckExecutionContext) -> dg.AssetCheckResult:
        partition = context.run.tags.get("dagster/partition")
        keys = [partition] if partition else list(says)
        severity = dg.AssetCheckSeverity.WARN if warns else dg.AssetCheckSeverity.ERROR
        return dg.AssetCheckResult(passed=all(says[key] for key in keys), severity=severity)

    return no_row_is_bad


@pytest.fixture(params=[True, False], ids=["partitioned check", "plain check"])
def partitioned(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


def _judged(lake: Lake, instance: dg.DagsterInstance, says: Verdicts, **check: Any) -> World:
    reader = reader_of([], pl.DataFrame, partition_mapping=ONE_TO_MANY)
    return World(lake, instance, items, reader, checks=[_check(says, **check)])


def test_a_failed_blocking_check_keeps_its_partition_from_later_runs(
    lake: Lake, instance: dg.DagsterInstance, partitioned: bool
) -> None:
    world = _judged(lake, instance, {"s1": True, "s2": False, "s3": True}, partitioned=partitioned)
    for sheet in ("s2", "s3", "s1"):
        world.run("data/items", partition=sheet)
    assert world.run("reader", partition="t1").success
    assert "data/items [s2] is not read: its blocking check no_row_is_bad failed" in why(
        world.run("reader", partition="t2")
    )


def test_a_partition_is_read_again_once_it_passes(lake: Lake, instance: dg.DagsterInstance, partitioned: bool) -> None:
    says = {"s1": False}
    world = _judged(lake, instance, says, partitioned=partitioned)
    world.run("data/items", partition="s1")
    assert "is not read" in why(world.run("reader", partition="t1"))
    says["s1"] = True
    assert world.run("data/items", partition="s1").success
    assert world.run("reader", partition="t1").success


def test_a_check_run_alone_counts(lake: Lake, instance: dg.DagsterInstance, partitioned: bool) -> None:
    says = {"s1": True, "s2": True, "s3": True}
    world = _judged(lake, instance, says, partitioned=partitioned)
    for sheet in says:
        world.run("data/items", partition=sheet)
    says["s2"] = False
    world.check("no_row_is_bad", partition="s2" if partitioned else None)
    assert "is not read" in why(world.run("reader", partition="t2"))
    says["s2"] = True
    world.check("no_row_is_bad", partition="s2" if partitioned else None)
    assert world.run("reader", partition="t2").success


def test_a_failed_check_of_a_range_keeps_every_partition_of_it(lake: Lake, instance: dg.DagsterInstance) -> None:
    world = _judged(lake, instance, {"s1": False}, partitioned=False)
    world.run("data/items", range_=("s2", "s3"))
    assert "data/items [s2] is not read" in why(world.run("reader", partition="t2"))


def test_a_failure_of_older_rows_does_not_count(lake: Lake, instance: dg.DagsterInstance) -> None:
    failing = _judged(lake, instance, {"s1": False}, partitioned=False)
    failing.run("data/items", partition="s1")
    unchecked = World(lake, instance, items, reader_of([], pl.DataFrame, partition_mapping=ONE_TO_MANY))
    unchecked.run("data/items", partition="s1")
    assert failing.run("reader", partition="t1").success


@pytest.mark.parametrize("mildness", [{"blocking": False}, {"warns": True}], ids=["not blocking", "a warning"])
def test_a_check_that_does_not_block_lets_its_partition_through(
    lake: Lake, instance: dg.DagsterInstance, mildness: dict[str, bool]
) -> None:
    world = _judged(lake, instance, {"s1": False}, partitioned=True, **mildness)
    world.run("data/items", partition="s1")
    assert world.run("reader", partition="t1").success


def test_a_check_that_crashed_keeps_its_partition(lake: Lake, instance: dg.DagsterInstance, partitioned: bool) -> None:
    world = _judged(lake, instance, {}, partitioned=partitioned)  # the check says nothing of s1: a KeyError
    world.run("data/items", partition="s1")
    assert "its blocking check no_row_is_bad never came to an end" in why(world.run("reader", partition="t1"))


def test_a_check_in_the_body_of_its_asset_counts(lake: Lake, instance: dg.DagsterInstance) -> None:
    says = {"s1": False}

    @dg.asset(
        key=["data", "items"],
        partitions_def=SHEETS,
        metadata={"partition_column": "sheet"},
        check_specs=[dg.AssetCheckSpec("no_row_is_bad", asset=["data", "items"], blocking=True)],
    )
    def judged(context: dg.AssetExecutionContext):  # type: ignore[no-untyped-def]  # Dagster takes it for no value
        return dg.MaterializeResult(
            value=pl.DataFrame({"sheet": [context.partition_key], "n": [1]}),
            check_results=[dg.AssetCheckResult(passed=says[context.partition_key])],
        )

    world = World(lake, instance, judged, reader_of([], pl.DataFrame, partition_mapping=ONE_TO_MANY))
    world.run("data/items", partition="s1")
    assert "its blocking check no_row_is_bad failed" in why(world.run("reader", partition="t1"))
    says["s1"] = True
    world.run("data/items", partition="s1")
    assert world.run("reader", partition="t1").success


def test_a_chain_in_one_run_reads_what_it_just_wrote(lake: Lake, instance: dg.DagsterInstance) -> None:
    @dg.asset(partitions_def=SHEETS, ins={"items": dg.AssetIn(key=["data", "items"])})
    def follower(items: pl.DataFrame) -> None:
        assert items.height == 1

    says = {"s1": True, "s2": False}
    world = World(lake, instance, items, follower, checks=[_check(says, partitioned=True)])
    assert world.run("data/items", "follower", partition="s1").success
    assert not world.run("data/items", "follower", partition="s2").success


def test_a_failed_check_keeps_an_unpartitioned_asset_too(lake: Lake, instance: dg.DagsterInstance) -> None:
    @dg.asset
    def numbers() -> pl.DataFrame:
        return pl.DataFrame({"n": [1]})

    @dg.asset_check(asset=numbers, blocking=True)
    def there_are_two() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False)

    @dg.asset(partitions_def=SHEETS)
    def sum_of(numbers: pl.DataFrame) -> None: ...

    world = World(lake, instance, numbers, sum_of, checks=[there_are_two])
    world.run("numbers")
    assert "numbers is not read: its blocking check there_are_two failed" in why(world.run("sum_of", partition="s1"))


def test_a_passing_partition_does_not_hide_a_failed_one(lake: Lake, instance: dg.DagsterInstance) -> None:
    world = _judged(lake, instance, {"s2": False, "s3": True}, partitioned=False)
    world.run("data/items", partition="s2")
    world.run("data/items", partition="s3")
    assert "data/items [s2] is not read" in why(world.run("reader", partition="t2"))
