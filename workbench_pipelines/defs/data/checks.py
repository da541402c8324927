"""The guard of the data room: a snapshot that passes can be named, permitted and trusted in its columns."""

import dagster as dg
import polars as pl

from workbench_pipelines.clients.expectations import run_suite
from workbench_pipelines.defs.checking import expectations_held, held, one_line_check
from workbench_pipelines.defs.partitions import PARTITIONS
from workbench_pipelines.restrictions import restrictions_of
from workbench_pipelines.usage import statements_from_json
from workbench_pipelines.workbench import Workbench

SNAPSHOT = ["data", "sheet_snapshot"]


@dg.asset_check(asset=SNAPSHOT, blocking=True, partitions_def=PARTITIONS.sheet)
@one_line_check
def every_item_has_exactly_one_row(sheet_snapshot: pl.DataFrame) -> dg.AssetCheckResult:
    """Every item of the Sheet has exactly one row, and a name."""
    nameless = sheet_snapshot.filter(pl.col("item_ref").is_null() | (pl.col("item_ref") == "")).height
    repeated = sheet_snapshot.filter(pl.col("item_ref").is_duplicated()).height
    return held(nameless + repeated == 0, f"{sheet_snapshot.height} items, {nameless} nameless, {repeated} repeated")


@dg.asset_check(asset=SNAPSHOT, blocking=True, partitions_def=PARTITIONS.sheet)
@one_line_check
def every_item_states_its_uses(sheet_snapshot: pl.DataFrame) -> dg.AssetCheckResult:
    """Every item carries the statement of its Sheet, so that nothing is used by default."""
    texts = sheet_snapshot["usage_statements"].unique()
    silent = sum(1 for text in texts if text is None or not statements_from_json(text))
    return held(silent == 0, f"{len(texts)} different sets of statements, {silent} of them empty")


@dg.asset_check(asset=SNAPSHOT, blocking=True, partitions_def=PARTITIONS.sheet)
@one_line_check
def the_columns_meet_the_expectations_of_the_sheet(
    context: dg.AssetCheckExecutionContext, sheet_snapshot: pl.DataFrame, workbench: dg.ResourceParam[Workbench]
) -> dg.AssetCheckResult:
    """The columns meet the Great Expectations suite that the Sheet names, where it names one."""
    name = context.partition_key
    catalog = workbench.catalog()
    sheet = catalog.sheet(name)
    if sheet.spec.expectations is None:
        return held(True, "the Sheet names no suite")
    suite = workbench.beside("Sheet", name, sheet.spec.expectations)
    restricted = name not in restrictions_of(catalog).open_sheets
    results = run_suite(suite.read_text(), sheet_snapshot, restricted, suite.name)
    return expectations_held(results)
