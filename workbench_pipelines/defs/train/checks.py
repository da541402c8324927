"""The guard of the train room: what may not train does not, and no model passes that its baseline beats."""

import dagster as dg
import polars as pl

from workbench_pipelines import export_checks as rules
from workbench_pipelines.clients.expectations import run_suite
from workbench_pipelines.defs.checking import expectations_held, held, one_line_check
from workbench_pipelines.defs.partitions import PARTITIONS
from workbench_pipelines.export_audit import JUDGED
from workbench_pipelines.export_taints import tainted_exports
from workbench_pipelines.ground_truth_items import ground_truth_of
from workbench_pipelines.lineage import MODEL_TRAINING_LINEAGE
from workbench_pipelines.modelling import promotions_of
from workbench_pipelines.restrictions import restrictions_of
from workbench_pipelines.tainting import taint_line
from workbench_pipelines.workbench import Workbench

EXPORT = ["train", "governed_export"]
COLLECTION = PARTITIONS.collection


@dg.asset_check(asset=EXPORT, blocking=True, partitions_def=COLLECTION)
@one_line_check
def every_training_pair_permits_training(
    governed_export: pl.DataFrame, workbench: dg.ResourceParam[Workbench]
) -> dg.AssetCheckResult:
    """Every pair of a split permits the use of that split: training, validation or evaluation."""
    return held(
        *rules.every_training_pair_permits_training(governed_export, _labeled_pairs(workbench, governed_export))
    )


@dg.asset_check(asset=EXPORT, blocking=True, partitions_def=COLLECTION)
@one_line_check
def every_exported_pair_is_approved(
    governed_export: pl.DataFrame, workbench: dg.ResourceParam[Workbench]
) -> dg.AssetCheckResult:
    """Every exported pair counts as labeled, with the very content that was approved."""
    return held(*rules.every_exported_pair_is_approved(governed_export, _labeled_pairs(workbench, governed_export)))


@dg.asset_check(asset=EXPORT, blocking=True, partitions_def=COLLECTION)
@one_line_check
def exports_are_not_tainted(
    context: dg.AssetCheckExecutionContext, governed_export: pl.DataFrame, workbench: dg.ResourceParam[Workbench]
) -> dg.AssetCheckResult:
    """No pair of the newest export lost the permission that it was exported with. Older exports that are tainted are named."""
    tainted = tainted_exports(workbench, context.partition_key)
    version = governed_export["export_version"].max()
    lines = [taint_line(one) for one in tainted]
    return held(
        all(one["version"] != version for one in tainted), "; ".join(lines) or "no export of the Collection is tainted"
    )


@dg.asset_check(asset=EXPORT, blocking=True, partitions_def=COLLECTION)
@one_line_check
def no_ground_truth_is_trained_on(
    governed_export: pl.DataFrame, workbench: dg.ResourceParam[Workbench]
) -> dg.AssetCheckResult:
    """No item that any Collection declares as evaluation ground truth stands in the train split, whatever its seed."""
    truth = ground_truth_of(workbench, workbench.catalog())
    pairs = _labeled_pairs(workbench, governed_export)
    return held(*rules.no_ground_truth_is_trained_on(governed_export, pairs, truth))


@dg.asset_check(asset=EXPORT, blocking=True, partitions_def=COLLECTION)
@one_line_check
def no_item_appears_in_two_splits(
    governed_export: pl.DataFrame, workbench: dg.ResourceParam[Workbench]
) -> dg.AssetCheckResult:
    """No item appears in two splits, whichever TrainingSheets its pairs come from, nor does what is derived from it."""
    return held(*rules.no_item_appears_in_two_splits(governed_export, _labeled_pairs(workbench, governed_export)))


@dg.asset_check(asset=EXPORT, blocking=True, partitions_def=COLLECTION)
@one_line_check
def no_near_duplicate_crosses_splits(
    context: dg.AssetCheckExecutionContext, governed_export: pl.DataFrame, workbench: dg.ResourceParam[Workbench]
) -> dg.AssetCheckResult:
    """No two pairs that say nearly the same stand in two splits: every candidate is compared, by no sketch."""
    threshold = workbench.catalog().collection(context.partition_key).spec.splits.near_threshold
    return held(*rules.no_near_duplicate_crosses_splits(governed_export, threshold))


@dg.asset_check(asset=EXPORT, blocking=True, partitions_def=COLLECTION)
@one_line_check
def the_rows_meet_the_expectations_of_the_collection(
    context: dg.AssetCheckExecutionContext, governed_export: pl.DataFrame, workbench: dg.ResourceParam[Workbench]
) -> dg.AssetCheckResult:
    """The exported rows meet the Great Expectations suite that the Collection names, where it names one."""
    name = context.partition_key
    catalog = workbench.catalog()
    collection = catalog.collection(name)
    if collection.spec.expectations is None:
        return held(True, "the Collection names no suite")
    suite = workbench.beside("Collection", name, collection.spec.expectations)
    restricted = not set(governed_export["sheet"]) <= set(restrictions_of(catalog).open_sheets)
    return expectations_held(run_suite(suite.read_text(), governed_export, restricted, suite.name))


@dg.asset_check(asset=["train", "trained_model"], blocking=True, partitions_def=COLLECTION)
@one_line_check
def every_model_names_its_pairs(
    trained_model: pl.DataFrame, workbench: dg.ResourceParam[Workbench]
) -> dg.AssetCheckResult:
    """Every model has a lineage row that names the pairs it learned from."""
    lineage = workbench.record("model_training_lineage", MODEL_TRAINING_LINEAGE)
    known = lineage.filter(pl.col("pair_ids").list.len() > 0).select("model_name", "model_version")
    lost = trained_model.join(known, on=["model_name", "model_version"], how="anti").height
    return held(lost == 0, f"{trained_model.height} models, {lost} without lineage")


@dg.asset_check(asset=["train", "eval_report"], blocking=True, partitions_def=COLLECTION)
@one_line_check
def every_model_beats_its_baseline(
    context: dg.AssetCheckExecutionContext, eval_report: pl.DataFrame, workbench: dg.ResourceParam[Workbench]
) -> dg.AssetCheckResult:
    """Every model satisfies the promotion rule of its Collection, which compares it with its baselines."""
    collection = workbench.catalog().collection(context.partition_key)
    decided = promotions_of(collection, eval_report)
    said = "; ".join(f"{name} {one.sentence}" for name, one in decided.items())
    return held(all(one.passed for one in decided.values()), said or "no model to compare")


def _labeled_pairs(workbench: Workbench, export: pl.DataFrame) -> pl.DataFrame:
    """The pairs behind an export. Read here: a check's inputs take no partition mapping."""
    members = sorted(set(export["training_sheet"]))
    return workbench.lake.scan("label", "labeled_pairs", partition={"training_sheet": members}).select(JUDGED).collect()
