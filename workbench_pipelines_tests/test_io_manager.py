"""Assets in the lake: partitions are replaced and loaded by key, rows and partitions that do not fit are refused."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
import pytest

from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.defs.storage import storage_options_for
from workbench_pipelines.errors import DefinitionError
from workbench_pipelines_tests.lake_world import ONE_TO_MANY, SHEETS, World, items, reader_of, why


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


def written(lake: Lake, *parts: str) -> list[tuple[Any, ...]]:
    return sorted(lake.read(*parts).rows())


def test_a_range_in_one_run_keeps_the_third_partition(lake: Lake, instance: dg.DagsterInstance) -> None:
    world = World(lake, instance, items)
    for sheet in ("s1", "s2", "s3"):
        assert world.run("data/items", partition=sheet).success
    result = world.run("data/items", range_=("s1", "s2"))
    assert result.success
    assert written(lake, "data", "items") == [("s1", 2), ("s2", 2), ("s3", 2)]
    found = result.asset_materializations_for_node("data__items")
    assert sorted((m.partition, m.metadata["dagster/row_count"].value) for m in found) == [("s1", 1), ("s2", 1)]


def test_a_write_shows_rows_columns_place_and_version(lake: Lake, instance: dg.DagsterInstance) -> None:
    result = World(lake, instance, items).run("data/items", partition="s1")
    metadata = result.asset_materializations_for_node("data__items")[0].metadata
    assert metadata["dagster/row_count"].value == 1
    assert metadata["delta_version"].value == 1
    assert metadata["dagster/uri"].value == lake.path("data", "items")
    schema: Any = metadata["dagster/column_schema"].value
    assert [(column.name, column.type) for column in schema.columns] == [("sheet", "String"), ("n", "Int64")]


def test_a_reversed_range_fails(lake: Lake, instance: dg.DagsterInstance) -> None:
    result = World(lake, instance, items).run("data/items", range_=("s3", "s1"))
    assert "is its range reversed?" in why(result)


def test_rows_outside_the_range_are_refused(lake: Lake, instance: dg.DagsterInstance) -> None:
    @dg.asset(partitions_def=SHEETS, metadata={"partition_column": "sheet"})
    def stray() -> pl.DataFrame:
        return pl.DataFrame({"sheet": ["s1", "s2"]})

    assert "rows of sheet s2 do not belong to s1" in why(World(lake, instance, stray).run("stray", partition="s1"))


def test_a_partitioned_asset_names_its_column(lake: Lake, instance: dg.DagsterInstance) -> None:
    @dg.asset(partitions_def=SHEETS)
    def nameless() -> pl.DataFrame:
        return pl.DataFrame({"sheet": ["s1"]})

    assert "nameless is partitioned: give it metadata=" in why(
        World(lake, instance, nameless).run("nameless", partition="s1")
    )


def test_an_unpartitioned_asset_is_one_table(lake: Lake, instance: dg.DagsterInstance) -> None:
    @dg.asset
    def numbers() -> pl.LazyFrame:
        return pl.LazyFrame({"n": [1, 2]})

    @dg.asset
    def doubled(numbers: pl.LazyFrame) -> pl.DataFrame:
        assert isinstance(numbers, pl.LazyFrame)
        return numbers.select(pl.col("n") * 2).collect()

    assert World(lake, instance, numbers, doubled).run("numbers", "doubled").success
    assert written(lake, "doubled") == [(2,), (4,)]


def test_mapped_partitions_are_loaded(lake: Lake, instance: dg.DagsterInstance) -> None:
    seen: list[pl.DataFrame] = []
    world = World(lake, instance, items, reader_of(seen, pl.DataFrame, partition_mapping=ONE_TO_MANY))
    assert world.run("data/items", range_=("s1", "s3")).success
    assert world.run("reader", partition="t2").success
    assert sorted(seen[0]["sheet"]) == ["s2", "s3"]
    assert world.run("reader", partition="t1").success
    assert seen[1]["sheet"].to_list() == ["s1"]


def test_partitions_are_loaded_by_key(lake: Lake, instance: dg.DagsterInstance) -> None:
    seen: list[dict[str, pl.DataFrame]] = []
    world = World(lake, instance, items, reader_of(seen, dict[str, pl.DataFrame], partition_mapping=ONE_TO_MANY))
    world.run("data/items", range_=("s1", "s3"))
    assert world.run("reader", partition="t2").success
    assert {key: frame["sheet"].to_list() for key, frame in seen[0].items()} == {"s2": ["s2"], "s3": ["s3"]}


def test_all_partitions_are_loaded(lake: Lake, instance: dg.DagsterInstance) -> None:
    @dg.asset(ins={"items": dg.AssetIn(key=["data", "items"])})
    def everything(items: pl.LazyFrame) -> pl.DataFrame:
        return items.select(pl.len().alias("rows").cast(pl.Int64)).collect()

    world = World(lake, instance, items, everything)
    world.run("data/items", range_=("s1", "s3"))
    assert world.run("everything").success
    assert written(lake, "everything") == [(3,)]


def test_a_partition_never_written_is_named_with_its_command(lake: Lake, instance: dg.DagsterInstance) -> None:
    world = World(lake, instance, items, reader_of([], pl.DataFrame, partition_mapping=ONE_TO_MANY))
    line = 'data/items [{}] was never written; run `dg launch --assets "data/items" --partition "{}"` first'
    assert line.format("s1", "s1") in why(world.run("reader", partition="t1"))
    world.run("data/items", partition="s2")
    assert line.format("s3", "s3") in why(world.run("reader", partition="t2"))


def test_missing_partitions_may_be_allowed(lake: Lake, instance: dg.DagsterInstance) -> None:
    seen: list[pl.DataFrame] = []
    reader = reader_of(seen, pl.DataFrame, partition_mapping=ONE_TO_MANY, metadata={"allow_missing_partitions": True})
    world = World(lake, instance, items, reader)
    assert world.run("reader", partition="t2").success
    assert seen[0].is_empty()
    world.run("data/items", partition="s2")
    assert world.run("reader", partition="t2").success
    assert seen[1]["sheet"].to_list() == ["s2"]


def test_a_partition_written_without_rows_is_no_missing_one(lake: Lake, instance: dg.DagsterInstance) -> None:
    @dg.asset(partitions_def=SHEETS, metadata={"partition_column": "sheet"}, key_prefix="data", name="items")
    def empty() -> pl.DataFrame:
        return pl.DataFrame(schema={"sheet": pl.String, "n": pl.Int64})

    seen: list[pl.DataFrame] = []
    world = World(lake, instance, empty, reader_of(seen, pl.DataFrame, partition_mapping=ONE_TO_MANY))
    world.run("data/items", partition="s1")
    assert world.run("reader", partition="t1").success
    assert seen[0].columns == ["sheet", "n"]


def test_a_table_per_partition_keeps_columns_apart(lake: Lake, instance: dg.DagsterInstance) -> None:
    @dg.asset(partitions_def=SHEETS, metadata={"table_per_partition": True}, key_prefix="data", name="items")
    def snapshot(context: dg.AssetExecutionContext) -> dict[str, pl.DataFrame]:
        return {key: pl.DataFrame({f"only_{key}": [key]}) for key in context.partition_keys}

    seen: list[Any] = []
    world = World(lake, instance, snapshot, reader_of(seen, dict[str, pl.DataFrame], partition_mapping=ONE_TO_MANY))
    assert world.run("data/items", partition="s1").success
    assert world.run("data/items", range_=("s2", "s3")).success
    assert lake.read("data", "items", "s2").columns == ["only_s2"]
    assert world.run("reader", partition="t2").success
    assert seen[0]["s3"].columns == ["only_s3"]

    frames: list[Any] = []
    framed = World(lake, instance, snapshot, reader_of(frames, pl.DataFrame, partition_mapping=ONE_TO_MANY))
    assert framed.run("reader", partition="t1").success
    assert frames[0].columns == ["only_s1"]
    assert "annotate the input 'items' as dict[str, pl.DataFrame]" in why(framed.run("reader", partition="t2"))


def test_a_day_is_a_partition_by_its_text(lake: Lake, instance: dg.DagsterInstance) -> None:
    days = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-01-05")

    @dg.asset(partitions_def=days, metadata={"partition_column": "day"})
    def feedback(context: dg.AssetExecutionContext) -> pl.DataFrame:
        return pl.DataFrame({"day": context.partition_keys, "n": range(len(context.partition_keys))})

    @dg.asset(partitions_def=days)
    def report(feedback: pl.DataFrame) -> None:
        assert feedback["day"].to_list() == ["2024-01-02"]

    world = World(lake, instance, feedback, report)
    assert world.run("feedback", range_=("2024-01-01", "2024-01-03")).success
    assert world.run("report", partition="2024-01-02").success


def test_an_asset_can_be_loaded_outside_a_run(lake: Lake, instance: dg.DagsterInstance) -> None:
    world = World(lake, instance, items)
    world.run("data/items", partition="s1")
    frame: Any = world.defs.load_asset_value(
        ["data", "items"], python_type=pl.DataFrame, instance=instance, partition_key="s1"
    )
    assert frame["sheet"].to_list() == ["s1"]


def test_storage_of_another_cloud_than_the_lake_is_refused() -> None:
    from dagster_deltalake import LocalConfig, S3Config

    options = storage_options_for("s3://bucket/lake", S3Config(region="eu", unsigned_payload=True))
    assert options is not None
    assert options["region"] == "eu"
    assert options["unsigned_payload"] == "true"
    assert storage_options_for(".workbench/lake", LocalConfig()) is None
    with pytest.raises(
        DefinitionError, match="the lake is at 's3://bucket/lake' but its storage is configured for local"
    ):
        storage_options_for("s3://bucket/lake", LocalConfig())
