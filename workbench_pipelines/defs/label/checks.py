"""The guard of the label room: one truth per item and task, and no pair approved without an answer."""

import dagster as dg
import polars as pl

from workbench_pipelines.annotator_agreement import too_low
from workbench_pipelines.consensus import KEY
from workbench_pipelines.defs.checking import held, one_line_check
from workbench_pipelines.defs.partitions import PARTITIONS
from workbench_pipelines.example_standing import few_shot_refusal
from workbench_pipelines.pairs import STATUSES
from workbench_pipelines.review_queue import NEEDS
from workbench_pipelines.workbench import Workbench


@dg.asset_check(asset=["label", "canonical_labels"], blocking=True, partitions_def=PARTITIONS.sheet)
@one_line_check
def every_item_has_one_truth_per_task(canonical_labels: pl.DataFrame) -> dg.AssetCheckResult:
    """Every item has at most one canonical label for a label type."""
    repeated = canonical_labels.select(KEY).is_duplicated().sum()
    return held(repeated == 0, f"{canonical_labels.height} labels, {repeated} share a key")


@dg.asset_check(asset=["label", "canonical_labels"], partitions_def=PARTITIONS.sheet)
@one_line_check
def no_label_is_stale(canonical_labels: pl.DataFrame) -> dg.AssetCheckResult:
    """No expert saw columns that hold something else by now."""
    stale = canonical_labels.filter(pl.col("active") & pl.col("stale")).height
    found = f"{canonical_labels.height} labels, {stale} stale; their pairs wait for a second look"
    return dg.AssetCheckResult(passed=stale == 0, severity=dg.AssetCheckSeverity.WARN, description=found)


@dg.asset_check(asset=["label", "labelset_coverage"], partitions_def=PARTITIONS.sheet)
@one_line_check
def every_task_has_a_label(labelset_coverage: pl.DataFrame) -> dg.AssetCheckResult:
    """Every task that is asked of the Sheet has at least one live label, so that there is something to compare with."""
    whole = labelset_coverage.filter(pl.col("stratum_column").is_null())
    bare = sorted(whole.filter(pl.col("live") == 0)["label_type"])
    found = f"{whole.height} tasks; without a live label: {', '.join(bare) or 'none'}"
    return dg.AssetCheckResult(passed=not bare, severity=dg.AssetCheckSeverity.WARN, description=found)


@dg.asset_check(asset=["label", "agreement"], partitions_def=PARTITIONS.sheet)
@one_line_check
def annotators_agree_enough_on_every_task(
    context: dg.AssetCheckExecutionContext, agreement: pl.DataFrame, workbench: dg.ResourceParam[Workbench]
) -> dg.AssetCheckResult:
    """On every task that several people answer, they agree beyond chance: alpha of 0.667 and more, or boxes and texts that
    overlap as far as the Sheet asks of an item."""
    asked = workbench.catalog().sheet(context.partition_key).spec.review.agreement
    low = too_low(agreement, asked)
    tasks = agreement["label_type"].n_unique()
    found = f"{tasks} tasks with several annotators; too little agreement: {', '.join(low) or 'none'}"
    return dg.AssetCheckResult(passed=not low, severity=dg.AssetCheckSeverity.WARN, description=found)


@dg.asset_check(asset=["label", "example_store"], blocking=True, partitions_def=PARTITIONS.store)
@one_line_check
def every_example_permits_few_shot(
    example_store: pl.DataFrame, workbench: dg.ResourceParam[Workbench]
) -> dg.AssetCheckResult:
    """Every example permits few_shot, by everything that is stated of what it shows."""
    vocabulary = workbench.catalog().vocabulary()
    refused = [t for t in example_store["usage_statements"].unique() if few_shot_refusal(t, vocabulary) is not None]
    forbidden = example_store.filter(pl.col("usage_statements").is_in(refused)).height
    return held(forbidden == 0, f"{example_store.height} examples, {forbidden} not permitted")


@dg.asset_check(asset=["label", "example_store"], blocking=True, partitions_def=PARTITIONS.store)
@one_line_check
def every_item_gives_one_example_per_task(example_store: pl.DataFrame) -> dg.AssetCheckResult:
    """Every item gives at most one example for a task, under a name of its own."""
    repeated = example_store.select(KEY).is_duplicated().sum()
    unnamed = example_store.height - example_store["example_id"].n_unique()
    return held(repeated + unnamed == 0, f"{example_store.height} examples, {repeated} of one item and task")


@dg.asset_check(asset=["label", "labeled_pairs"], blocking=True, partitions_def=PARTITIONS.training_sheet)
@one_line_check
def every_labeled_pair_has_an_answer(labeled_pairs: pl.DataFrame) -> dg.AssetCheckResult:
    """Every pair that counts as labeled has an answer, and every pair a status that is known."""
    empty = labeled_pairs.filter((pl.col("status") == "labeled") & pl.col("response").is_null()).height
    unknown = labeled_pairs.filter(~pl.col("status").is_in(STATUSES)).height
    return held(
        empty + unknown == 0, f"{labeled_pairs.height} pairs, {empty} labeled and empty, {unknown} without status"
    )


@dg.asset_check(asset=["label", "labeled_pairs"], blocking=True, partitions_def=PARTITIONS.training_sheet)
@one_line_check
def every_pair_has_a_name_of_its_own(labeled_pairs: pl.DataFrame) -> dg.AssetCheckResult:
    """Every pair has a name that no other pair of the TrainingSheet has."""
    repeated = labeled_pairs["pair_id"].is_duplicated().sum()
    return held(repeated == 0, f"{labeled_pairs.height} pairs, {repeated} share a name")


@dg.asset_check(asset=["label", "review_queue"], partitions_def=PARTITIONS.training_sheet)
@one_line_check
def every_pair_in_the_queue_says_why(review_queue: pl.DataFrame) -> dg.AssetCheckResult:
    """Every pair that waits is in the queue once, with a need that is known."""
    repeated = review_queue["pair_id"].is_duplicated().sum()
    unknown = review_queue.filter(~pl.col("need").is_in(NEEDS)).height
    found = f"{review_queue.height} pairs wait, {repeated} more than once, {unknown} without a need"
    return dg.AssetCheckResult(passed=repeated + unknown == 0, severity=dg.AssetCheckSeverity.WARN, description=found)
