"""The guard of what quality lets through: no copy is learned from twice unseen, and no judge approves beyond its bound."""

import dagster as dg
import polars as pl

from workbench_pipelines.defs.checking import held, one_line_check
from workbench_pipelines.defs.partitions import PARTITIONS
from workbench_pipelines.pair_looking import unproven_approvals
from workbench_pipelines.pairs import judged_alone
from workbench_pipelines.workbench import Workbench


@dg.asset_check(asset=["label", "labeled_pairs"], partitions_def=PARTITIONS.training_sheet)
@one_line_check
def no_duplicate_is_labeled_twice(labeled_pairs: pl.DataFrame) -> dg.AssetCheckResult:
    """No labeled pair says what another labeled pair says: the same question with the same answer counts once."""
    # A warning: measured rows that come out the same are no mistake (iris has three), and splits keep copies together.
    labeled = labeled_pairs.filter(pl.col("status") == "labeled")
    copies = labeled.filter(pl.col("duplicate_of").is_in(labeled["pair_id"].implode())).height
    found = f"{labeled.height} labeled pairs, {copies} say what another one says"
    return dg.AssetCheckResult(passed=copies == 0, severity=dg.AssetCheckSeverity.WARN, description=found)


@dg.asset_check(asset=["label", "labeled_pairs"], blocking=True, partitions_def=PARTITIONS.training_sheet)
@one_line_check
def every_judge_that_approves_keeps_its_bound(
    context: dg.AssetCheckExecutionContext, labeled_pairs: pl.DataFrame, workbench: dg.ResourceParam[Workbench]
) -> dg.AssetCheckResult:
    """Every pair that a judge approved alone is approved by one that may: its TrainingSheet says so, and at least 200 labels it was
    never calibrated on bear out its bound."""
    approved = judged_alone(labeled_pairs)
    training_sheet = workbench.catalog().training_sheet(context.partition_key)
    wrong = unproven_approvals(workbench, training_sheet, approved)
    return held(wrong is None, wrong or f"{approved.height} pairs approved by a judge")
