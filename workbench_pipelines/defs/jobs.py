"""A job per partition set, for `dg launch`, `dagster job backfill`, the UI's backfill page and the nightly schedule."""

from __future__ import annotations

import dagster as dg

from workbench_pipelines.defs.partitions import PARTITIONS

# A run with this tag takes in what batches brought, and asks nothing again that was answered or refused.
ONLY_COLLECTS_TAG = "workbench/only_collects"


def _job(name: str, *keys: list[str], description: str) -> dg.UnresolvedAssetJobDefinition:
    """A job over assets of one partition set; Dagster takes the set from them."""
    selection = dg.AssetSelection.assets(*[dg.AssetKey(key) for key in keys])
    return dg.define_asset_job(name, selection=selection, description=description)


TEMPLATES = _job("templates", ["generate", "prompt_templates"], description="The versions of each prompt template.")
SHEETS = _job(
    "sheets",
    ["data", "sheet_snapshot"],
    ["label", "canonical_labels"],
    ["label", "labelset_coverage"],
    ["label", "agreement"],
    description="The snapshot of each Sheet, the labels that hold for it, how much of it they cover and how far people agree.",
)
STORES = _job("stores", ["label", "example_store"], description="The few-shot examples of each ExampleStore.")
TRAINING_SHEETS = _job(
    "training_sheets",
    ["generate", "derived_items"],
    ["generate", "rendered_prompts"],
    ["generate", "generated_pairs"],
    ["label", "labeled_pairs"],
    ["label", "review_queue"],
    description="The derived items, prompts, drafts and labeled pairs of each TrainingSheet, and which of them need a person.",
)
COLLECTIONS = _job(
    "collections",
    ["train", "governed_export"],
    ["train", "trained_model"],
    ["train", "eval_report"],
    description="The governed export of each Collection, its models and their evaluation.",
)
FEEDBACK_DAYS = _job("feedback_days", ["monitor", "feedback"], description="The feedback of each day.")


@dg.schedule(job=SHEETS, cron_schedule="0 3 * * *", execution_timezone="UTC")
def nightly_snapshots(context: dg.ScheduleEvaluationContext) -> list[dg.RunRequest]:
    """Takes a new snapshot of every Sheet each night at 03:00 UTC; what changed moves on by itself."""
    day = context.scheduled_execution_time.date().isoformat()
    return [
        dg.RunRequest(run_key=f"{day}:{name}", partition_key=name) for name in PARTITIONS.sheet.get_partition_keys()
    ]


@dg.definitions
def jobs() -> dg.Definitions:
    return dg.Definitions(
        jobs=[TEMPLATES, SHEETS, STORES, TRAINING_SHEETS, COLLECTIONS, FEEDBACK_DAYS], schedules=[nightly_snapshots]
    )
