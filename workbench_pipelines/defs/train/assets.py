"""The governed export of each Collection, the models trained on it, and how good they are."""

import dagster as dg
import polars as pl

from workbench_pipelines.base_model import base_model_answers
from workbench_pipelines.closed_labels import restrictions_in
from workbench_pipelines.collection_releases import refuse_retired
from workbench_pipelines.defs.automation import IS_ONE_OF_A_PLAIN_RUN, WHEN_UPSTREAM_CHANGES
from workbench_pipelines.defs.partitions import PARTITIONS
from workbench_pipelines.defs.reporting import one_line_failures, report
from workbench_pipelines.export_taints import refuse_tainted, tainted_exports
from workbench_pipelines.exporting import export_used, publish_export
from workbench_pipelines.modelling import evaluate_models, record_evaluations, train_models
from workbench_pipelines.restrictions import Mask, mask_of, restrictions_of
from workbench_pipelines.tainting import taint_line
from workbench_pipelines.workbench import Workbench

GOVERNED_EXPORT = dg.AssetKey(["train", "governed_export"])
TRAINED_MODEL = dg.AssetKey(["train", "trained_model"])
EVAL_REPORT = dg.AssetKey(["train", "eval_report"])


@dg.asset(
    key=GOVERNED_EXPORT,
    group_name="train",
    partitions_def=PARTITIONS.collection,
    metadata={"partition_column": "collection"},
    ins={
        "pairs": dg.AssetIn(["label", "labeled_pairs"], partition_mapping=PARTITIONS.training_sheet_to_collection),
    },
    automation_condition=WHEN_UPSTREAM_CHANGES & IS_ONE_OF_A_PLAIN_RUN,
    kinds={"polars", "parquet"},
    owners=["team:ml"],
    tags={"room": "train"},
    code_version="1",
)
@one_line_failures
def governed_export(
    context: dg.AssetExecutionContext, pairs: pl.DataFrame, workbench: dg.ResourceParam[Workbench]
) -> dg.MaterializeResult:
    """The pairs of a Collection that passed both gates, approved and permitted, with their split and weight.

    What did not pass stands in `exclusions.parquet` of the export with its gate and reason. An unchanged export makes no
    new version.

    Input columns: those of labeled_pairs.
    Output columns: collection, export_version, pair_id, pair_hash, training_sheet, sheet, item_ref, label_type, template,
    template_version, messages, response, inputs, attributes, canonical_label_id, split, weight.
    """
    catalog = workbench.catalog()
    collection = catalog.collection(context.partition_key)
    published = publish_export(workbench, collection, pairs)
    mask = mask_of("governed_export", published.rows.columns, restrictions_in(workbench))
    tainted = [taint_line(one) for one in tainted_exports(workbench, collection.name)]
    return report(
        published.rows,
        published.identity,
        mask=mask,
        refused=published.excluded,
        metadata={
            **published.figures,
            "path": dg.MetadataValue.path(published.path),
            **({"tainted_exports": tainted} if tainted else {}),
        },
    )


@dg.asset(
    key=TRAINED_MODEL,
    group_name="train",
    partitions_def=PARTITIONS.collection,
    metadata={"partition_column": "collection"},
    ins={"export": dg.AssetIn(GOVERNED_EXPORT)},
    kinds={"scikitlearn", "mlflow"},
    owners=["team:ml"],
    tags={"room": "train"},
    code_version="1",
)
@one_line_failures
def trained_model(
    context: dg.AssetExecutionContext, export: pl.DataFrame, workbench: dg.ResourceParam[Workbench]
) -> dg.MaterializeResult:
    """One row per trainer of a Collection: the model it made of the export, registered in MLflow with its lineage.

    The same export and settings find the same model version again.

    Input columns: those of governed_export.
    Output columns: collection, trainer, model_name, model_version, export_version, target, classes, features,
    mlflow_run_id, model_uri, train_pair_count, val_pair_count, metrics (JSON).
    """
    collection = workbench.catalog().collection(context.partition_key)
    refuse_retired(workbench, collection.name, export)
    refuse_tainted(workbench, collection.name, export)
    models = train_models(workbench, collection, export, export_used(workbench, collection, export))
    mask = mask_of_classes(workbench, export)
    return report(models, models.select("model_uri", "export_version", "metrics").rows(), mask=mask)


@dg.asset(
    key=EVAL_REPORT,
    group_name="train",
    partitions_def=PARTITIONS.collection,
    metadata={"partition_column": "collection"},
    ins={"export": dg.AssetIn(GOVERNED_EXPORT), "models": dg.AssetIn(TRAINED_MODEL)},
    pool="llm",
    kinds={"scikitlearn", "mlflow"},
    owners=["team:ml"],
    tags={"room": "train"},
    code_version="1",
)
@one_line_failures
def eval_report(
    context: dg.AssetExecutionContext,
    export: pl.DataFrame,
    models: pl.DataFrame,
    workbench: dg.ResourceParam[Workbench],
) -> dg.MaterializeResult:
    """The figures of every model of a Collection on the test split, beside its baselines on the same rows.

    Baselines: the majority class, TF-IDF with a logistic regression on the rendered prompt, and the base model asked
    directly on a sample of the rows (n says how many).

    Input columns: those of governed_export and trained_model.
    Output columns: collection, trainer, model_name, model_version, export_version, predictor, metric, value, n.
    """
    collection = workbench.catalog().collection(context.partition_key)
    refuse_tainted(workbench, collection.name, export)
    base = base_model_answers(workbench, context.log.info)
    found = evaluate_models(workbench, collection, export, models, base)
    record_evaluations(workbench, found.rows)
    return report(
        found.rows,
        [list(row) for row in found.rows.rows()],
        mask=mask_of_classes(workbench, export),
        metadata={
            **{name: dg.MetadataValue.md(chart) for name, chart in found.charts.items()},
            **{f"{name}_promotion": one.sentence for name, one in found.promotions.items()},
            **base.figures(),
        },
    )


def mask_of_classes(workbench: Workbench, export: pl.DataFrame) -> Mask:
    """The names of classes are answers, and so are those in the names of metrics: of restricted Sheets they are masked."""
    sheets = restrictions_of(workbench.catalog()).open_sheets
    return Mask() if set(export["sheet"]) <= set(sheets) else Mask(frozenset({"classes", "metric"}))
