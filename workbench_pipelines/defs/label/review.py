"""What is asked of people: how much is labeled, how far they agree, and which pairs wait for them."""

import json

import dagster as dg
import polars as pl

from workbench_pipelines.annotator_agreement import annotator_agreement
from workbench_pipelines.defs.automation import WHEN_UPSTREAM_CHANGES
from workbench_pipelines.defs.partitions import PARTITIONS
from workbench_pipelines.defs.reporting import one_line_failures, report
from workbench_pipelines.derivation import with_derived
from workbench_pipelines.label_coverage import (
    labelset_coverage as cover_labelsets,
    strata_of_sheet,
    tasks_of_sheet,
)
from workbench_pipelines.labeling_jobs import keep_tasks
from workbench_pipelines.restrictions import mask_of, restrictions_of
from workbench_pipelines.review_queues import make_queue, queue_digest
from workbench_pipelines.workbench import Workbench

CANONICAL_LABELS = dg.AssetKey(["label", "canonical_labels"])
LABELSET_COVERAGE = dg.AssetKey(["label", "labelset_coverage"])
AGREEMENT = dg.AssetKey(["label", "agreement"])
REVIEW_QUEUE = dg.AssetKey(["label", "review_queue"])
LABELED_PAIRS = dg.AssetKey(["label", "labeled_pairs"])
PAIR_QUALITY = dg.AssetKey(["label", "pair_quality"])


@dg.asset(
    key=LABELSET_COVERAGE,
    group_name="label",
    partitions_def=PARTITIONS.sheet,
    metadata={"partition_column": "sheet"},
    ins={"snapshot": dg.AssetIn(["data", "sheet_snapshot"]), "labels": dg.AssetIn(CANONICAL_LABELS)},
    automation_condition=WHEN_UPSTREAM_CHANGES,
    kinds={"polars", "deltalake"},
    owners=["team:experts"],
    tags={"room": "label"},
    code_version="1",
)
@one_line_failures
def labelset_coverage(
    context: dg.AssetExecutionContext,
    snapshot: pl.DataFrame,
    labels: pl.DataFrame,
    workbench: dg.ResourceParam[Workbench],
) -> dg.MaterializeResult:
    """How much of a Sheet experts have labeled for each task, as a whole and by the strata of its Collections.

    Input columns: item_ref and the stratum columns; label_type, active, stale, proposed_by.
    Output columns: sheet, label_type, stratum_column, stratum, items, live, stale, waiting, share.
    """
    name = context.partition_key
    catalog = workbench.catalog()
    tasks, strata = tasks_of_sheet(catalog, name), strata_of_sheet(catalog, name)
    covered = cover_labelsets(name, snapshot, labels, tasks=tasks, strata=strata)
    mask = mask_of("labelset_coverage", covered.columns, restrictions_of(catalog))
    return report(covered, json.loads(json.dumps(covered.rows())), mask=mask)


@dg.asset(
    key=AGREEMENT,
    group_name="label",
    partitions_def=PARTITIONS.sheet,
    metadata={"partition_column": "sheet"},
    ins={"snapshot": dg.AssetIn(["data", "sheet_snapshot"]), "labels": dg.AssetIn(CANONICAL_LABELS)},
    automation_condition=WHEN_UPSTREAM_CHANGES,
    kinds={"polars", "deltalake"},
    owners=["team:experts"],
    tags={"room": "label"},
    code_version="1",
)
@one_line_failures
def agreement(
    context: dg.AssetExecutionContext,
    snapshot: pl.DataFrame,
    labels: pl.DataFrame,
    workbench: dg.ResourceParam[Workbench],
) -> dg.MaterializeResult:
    """How far the people agree who label the same items on their own: of each task all of them, and each two.

    Raw agreement, Cohen's and Fleiss' kappa and Krippendorff's alpha of choices, alpha of numbers, overlap of boxes and texts,
    each with its number of items and a 95 % interval. Beside it, `records/annotation_tasks` is brought up to date.

    Input columns: item_ref and the columns that annotators saw; the labels say which items have several.
    Output columns: sheet, label_type, measure, annotator_a, annotator_b, n, value, low, high, undefined.
    """
    name = context.partition_key
    catalog = workbench.catalog()
    ledger = workbench.sheet_decisions(catalog.sheet(name))
    items = with_derived(snapshot, ledger["item_ref"].unique(), catalog.training_sheets_of(name))
    rows = annotator_agreement(name, ledger, items, workbench.panels())
    keep_tasks(workbench, name)
    mask = mask_of("agreement", rows.columns, restrictions_of(catalog))
    several = labels.filter(pl.col("annotators").list.len() > 1).height
    return report(rows, json.loads(json.dumps(rows.rows())), mask=mask, metadata={"items_of_several": several})


@dg.asset(
    key=REVIEW_QUEUE,
    group_name="label",
    partitions_def=PARTITIONS.training_sheet,
    metadata={"partition_column": "training_sheet"},
    ins={
        "pairs": dg.AssetIn(LABELED_PAIRS),
        "quality": dg.AssetIn(PAIR_QUALITY),
        "labels": dg.AssetIn(CANONICAL_LABELS, partition_mapping=PARTITIONS.sheet_to_training_sheet),
    },
    automation_condition=WHEN_UPSTREAM_CHANGES,
    kinds={"polars", "scikitlearn", "deltalake"},
    owners=["team:experts"],
    tags={"room": "label"},
    code_version="2",
)
@one_line_failures
def review_queue(
    context: dg.AssetExecutionContext,
    pairs: pl.DataFrame,
    quality: pl.DataFrame,
    labels: pl.DataFrame,
    workbench: dg.ResourceParam[Workbench],
) -> dg.MaterializeResult:
    """The pairs that need a person, those first whose answer mends or teaches most.

    Flagged ones, then stale labels, proposals that wait for a second person, items whose annotators disagree or are not all
    heard yet, answers that a model of the labeled pairs or a twin contradicts, answers in which something was found, answers
    nobody is sure of, and the rest in turns of their strata.

    Input columns: those of labeled_pairs, pair_quality and canonical_labels.
    Output columns: training_sheet, pair_id, sheet, item_ref, label_type, response, response_hash, rank, need, detail,
    uncertainty, stratum, waits_for, data_classification.
    """
    queue = make_queue(workbench, context.partition_key, pairs, quality, labels)
    mask = mask_of("review_queue", queue.columns, restrictions_of(workbench.catalog()))
    needs = dict(queue.group_by("need").len().sort("need").iter_rows())
    return report(queue, queue_digest(queue), mask=mask, metadata={"needs": needs})
