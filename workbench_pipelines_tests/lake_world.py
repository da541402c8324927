"""One lake, one Dagster instance, and a partitioned asset with one that reads it: the world of these tests."""

from collections.abc import Sequence
from typing import Any

import dagster as dg
import polars as pl

from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.defs.io_manager import LakeIOManager

SHEETS = dg.StaticPartitionsDefinition(["s1", "s2", "s3"])
TRAINING_SHEETS = dg.StaticPartitionsDefinition(["t1", "t2"])
ONE_TO_MANY = dg.StaticPartitionMapping({"s1": ["t1"], "s2": ["t2"], "s3": ["t2"]})


@dg.asset(
    key_prefix="data",
    partitions_def=SHEETS,
    metadata={"partition_column": "sheet"},
    backfill_policy=dg.BackfillPolicy.single_run(),
)
def items(context: dg.AssetExecutionContext) -> pl.DataFrame:
    return pl.DataFrame({"sheet": context.partition_keys, "n": [len(key) for key in context.partition_keys]})


class World:
    """One lake, one Dagster instance, and the assets and checks in it."""

    def __init__(self, lake: Lake, instance: dg.DagsterInstance, *assets: Any, checks: Sequence[Any] = ()) -> None:
        self.lake, self.instance = lake, instance
        self.defs = dg.Definitions(
            assets=list(assets), asset_checks=list(checks), resources={"io_manager": LakeIOManager(lake)}
        )

    def run(
        self, *names: str, partition: str | None = None, range_: tuple[str, str] | None = None
    ) -> dg.ExecuteInProcessResult:
        selection = dg.AssetSelection.assets(*(dg.AssetKey(name.split("/")) for name in names))
        return self._run(selection, partition, range_)

    def check(self, name: str, partition: str | None = None) -> dg.ExecuteInProcessResult:
        key = next(k for k in self.defs.resolve_asset_graph().asset_check_keys if k.name == name)
        return self._run(dg.AssetSelection.checks(key), partition, None)

    def _run(
        self, selection: dg.AssetSelection, partition: str | None, range_: tuple[str, str] | None
    ) -> dg.ExecuteInProcessResult:
        tags = {"dagster/partition": partition} if partition else {}
        if range_:
            tags = {"dagster/asset_partition_range_start": range_[0], "dagster/asset_partition_range_end": range_[1]}
        job = self.defs.resolve_implicit_global_asset_job_def()
        asset_keys = selection.resolve(self.defs.resolve_asset_graph())
        check_keys = selection.resolve_checks(self.defs.resolve_asset_graph())
        return job.get_subset(asset_selection=asset_keys, asset_check_selection=check_keys).execute_in_process(
            instance=self.instance, tags=tags, raise_on_error=False
        )


def why(result: dg.ExecuteInProcessResult) -> str:
    """The message of the failed step, as the UI shows it below the Dagster line."""
    failures = [event for event in result.all_events if event.is_step_failure]
    assert failures, "the run did not fail"
    error = failures[0].step_failure_data.error
    while error is not None and error.cause is not None:
        error = error.cause
    assert error is not None
    return error.message


def reader_of(seen: list[Any], annotation: Any, **ins: Any) -> dg.AssetsDefinition:
    def reader(items: Any) -> None:
        seen.append(items)

    reader.__annotations__ = {"items": annotation, "return": None}
    return dg.asset(ins={"items": dg.AssetIn(key=["data", "items"], **ins)}, partitions_def=TRAINING_SHEETS)(reader)
