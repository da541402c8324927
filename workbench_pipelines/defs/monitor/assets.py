"""The feedback inbox, and the feedback of each day tied to the pairs it speaks of."""

import dagster as dg
import polars as pl

from workbench_pipelines.closed_labels import restrictions_in
from workbench_pipelines.defs.automation import WHEN_ANY_DAY_CHANGES
from workbench_pipelines.defs.partitions import PARTITIONS
from workbench_pipelines.defs.reporting import one_line_failures, report
from workbench_pipelines.feedback_import import feedback_rows, read_inbox
from workbench_pipelines.restrictions import mask_of
from workbench_pipelines.workbench import Workbench

FEEDBACK_INBOX = dg.AssetKey(["monitor", "feedback_inbox"])
FEEDBACK = dg.AssetKey(["monitor", "feedback"])

feedback_inbox = dg.AssetSpec(
    key=FEEDBACK_INBOX,
    group_name="monitor",
    description="Feedback as it arrived, append-only and idempotent by feedback_id; written by commands and services.",
    partitions_def=PARTITIONS.day,
    kinds={"deltalake"},
    owners=["team:ml"],
    tags={"room": "monitor"},
)


@dg.asset(
    key=FEEDBACK,
    group_name="monitor",
    partitions_def=PARTITIONS.day,
    metadata={"partition_column": "day"},
    deps=[FEEDBACK_INBOX],
    backfill_policy=dg.BackfillPolicy.single_run(),
    automation_condition=WHEN_ANY_DAY_CHANGES,
    kinds={"polars", "deltalake"},
    owners=["team:ml"],
    tags={"room": "monitor"},
    code_version="1",
)
@one_line_failures
def feedback(context: dg.AssetExecutionContext, workbench: dg.ResourceParam[Workbench]) -> dg.MaterializeResult:
    """What users said of answers on a day, each correction with the pair it speaks of and whether a person approved it.

    The labels and pairs of the moment decide the status; it is computed anew whenever the day is materialized.

    Output columns: day, the columns of the feedback file, sheet, item_ref, label_type, training_sheet, pair_id, status
    (recorded, unmatched, pending, approved or declined), decision_id, reason.
    """
    days = sorted(context.partition_keys)
    rows = feedback_rows(workbench, read_inbox(workbench, days))
    counts = dict(rows.group_by("status").len().iter_rows())
    mask = mask_of("feedback", rows.columns, restrictions_in(workbench))
    content = rows.sort("feedback_id").select(pl.exclude("created_at")).rows()
    return report(rows, [list(row) for row in content], mask=mask, metadata={"by_status": counts})
