"""The snapshot of each Sheet: its items, as the sources held them when it was taken."""

import datetime as dt

import dagster as dg

from workbench_pipelines.defs.data.sources import SOURCE_KEYS
from workbench_pipelines.defs.partitions import PARTITIONS
from workbench_pipelines.defs.reporting import keep_refusals, one_line_failures, report
from workbench_pipelines.netting import policy_content
from workbench_pipelines.policy_history import keep_policies
from workbench_pipelines.restrictions import SNAPSHOT_COLUMNS, mask_of, masking_texts, restrictions_of
from workbench_pipelines.workbench import Workbench

SHEET_SNAPSHOT = dg.AssetKey(["data", "sheet_snapshot"])


@dg.asset(
    key=SHEET_SNAPSHOT,
    group_name="data",
    partitions_def=PARTITIONS.sheet,
    metadata={"partition_column": "sheet", "table_per_partition": True},
    deps=SOURCE_KEYS,
    kinds={"polars", "deltalake"},
    owners=["team:data"],
    tags={"room": "data"},
    code_version="1",
)
@one_line_failures
def sheet_snapshot(context: dg.AssetExecutionContext, workbench: dg.ResourceParam[Workbench]) -> dg.MaterializeResult:
    """One row per item of a Sheet: its joined, filtered and sampled source columns with what may be done with them.

    A table per Sheet, since their columns differ. An item whose file can not be read goes on without what is in it, and its
    reason stands in the refusals. Of a Sheet with an `intake` the files that are new are taken first; a row that is not taken
    stands in the refusals with its file and line.

    Output columns: item_ref, item_hash, the source columns, row_tags, usage_statements (JSON: who allows or prohibits what).
    """
    name = context.partition_key
    catalog = workbench.catalog()
    sheet = catalog.sheet(name)
    taken = {}
    if sheet.spec.intake is not None:
        done = workbench.intake_of(sheet).take(
            by=workbench.settings.user,
            now=dt.datetime.now(dt.UTC),
            on_progress=lambda done, total: workbench.on_progress(done, total, "files"),
        )
        taken = vars(done)
    snapshot = workbench.read_snapshot(sheet, waiting=False)
    items = snapshot.frame
    keep_policies(workbench, catalog, name, dt.datetime.now(dt.UTC))
    keep_refusals(workbench, SHEET_SNAPSHOT, "sheet", name, snapshot.refusals)
    mask = mask_of("sheet_snapshot", items.columns, restrictions_of(catalog), name)
    if catalog.personal_data(name).acting:
        # The net looks at what is made of items; a sample of the items themselves would show what it catches.
        mask = masking_texts(mask, items.schema, SNAPSHOT_COLUMNS)
    content = sorted(zip(items["item_ref"], items["item_hash"], items["usage_statements"], strict=True))
    # Another policy of personal data is news for all that is made of the items, though they are the same.
    content += policy_content(catalog, name)
    metadata = {
        "items": items.height,
        **({"taken": dict(taken)} if taken else {}),
        **{f"files of {volume}": dict(count) for volume, count in snapshot.files.items()},
    }
    return report(items, content, refused=snapshot.refusals.height, mask=mask, metadata=metadata)
