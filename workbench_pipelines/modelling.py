"""From an export's rows to registered models and their evaluation: the trainers of a Collection, one after the other."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from workbench_pipelines.catalog import Catalog, Collection, TrainerSpec
from workbench_pipelines.charts import confusion_chart, markdown_image, per_class_chart
from workbench_pipelines.class_names import shown_classes
from workbench_pipelines.clients.embeddings import embed
from workbench_pipelines.clients.model_registry import Registered, registration_digest
from workbench_pipelines.clients.model_runs import ExportUsed
from workbench_pipelines.errors import DefinitionError, WorkbenchError, nearest
from workbench_pipelines.evaluation import (
    REPORT_SCHEMA,
    EvaluationError,
    base_model_sample,
    evaluate,
    metrics_by_predictor,
    renamed,
    report_rows,
)  # fmt: skip
from workbench_pipelines.features import TrainingError
from workbench_pipelines.identity import canonical_text
from workbench_pipelines.lineage import MODEL_EVALUATIONS, MODEL_TRAINING_LINEAGE, TRAINING_SHEETS, lineage_row
from workbench_pipelines.promotions import Promotion, PromotionError, promotion
from workbench_pipelines.training import (
    TrainingTable,
    class_name,
    train_classifier,
    training_config,
    training_table,
)  # fmt: skip
from workbench_pipelines.workbench import Workbench

TRAINED_MODELS = pl.Schema(
    {
        "collection": pl.String(),
        "trainer": pl.String(),
        "model_name": pl.String(),
        "model_version": pl.String(),
        "export_version": pl.Int64(),
        "target": pl.String(),
        "classes": pl.List(pl.String()),
        "features": pl.String(),
        "mlflow_run_id": pl.String(),
        "model_uri": pl.String(),
        "train_pair_count": pl.Int64(),
        "val_pair_count": pl.Int64(),
        "metrics": pl.String(),
    }
)
"""Columns of `train/trained_model`: one row a trainer; `metrics` is JSON of the validation figures."""

Answers = Mapping[str, str | None]
AskBase = Callable[[pl.DataFrame, str], Answers]
"""From test rows and a target field to the base model's value of it by pair_id, None where it gave no usable answer."""


@dataclass(frozen=True)
class Evaluation:
    """The figures of every trainer, their charts as Markdown, and the sentence of each promotion rule."""

    rows: pl.DataFrame
    charts: Mapping[str, str]
    promotions: Mapping[str, Promotion]


def train_models(workbench: Workbench, collection: Collection, rows: pl.DataFrame, export: ExportUsed) -> pl.DataFrame:
    """Trains and registers what a Collection asks for; a training that was done before is found, not repeated.

    Input columns: those of `train/governed_export`.
    Output columns: `TRAINED_MODELS`.

    Raises:
        TrainingError: for rows no classifier can be made of, or a target that no output holds.
        RegistryError: when MLflow refuses.
    """
    catalog = workbench.catalog()
    trained = [_train(workbench, catalog, collection, trainer, rows, export) for trainer in collection.spec.trainers]
    for name in export.training_sheets if trained else ():
        _mark_trained(workbench, name)
    return pl.DataFrame(trained, schema=TRAINED_MODELS)


def _mark_trained(workbench: Workbench, training_sheet: str) -> None:
    """Keeps of the version of a TrainingSheet that it stands in a model."""
    history = workbench.record("training_sheets", TRAINING_SHEETS).filter(pl.col("training_sheet") == training_sheet)
    newest = pl.col("version") == pl.col("version").max()
    marked = history.with_columns(pl.when(newest).then(pl.lit("trained")).otherwise("status").alias("status"))
    if history.height and not marked.equals(history):
        workbench.lake.replace_partition(
            "records", "training_sheets", frame=marked, partition_by="training_sheet", keys=[training_sheet]
        )


def evaluate_models(
    workbench: Workbench, collection: Collection, rows: pl.DataFrame, models: pl.DataFrame, ask_base: AskBase
) -> Evaluation:
    """Scores every model of a Collection and its baselines on the test split.

    Input columns: those of `train/governed_export` and of `TRAINED_MODELS`.
    """
    reports = [pl.DataFrame(schema=dict(REPORT_SCHEMA))]
    charts: dict[str, str] = {}
    promotions: dict[str, Promotion] = {}
    where = f"{workbench.catalog().file_of('Collection', collection.name)}: Collection {collection.name}"
    for model in models.iter_rows(named=True):
        trainer = next(t for t in collection.spec.trainers if t.name == model["trainer"])
        table = training_table(rows, target=model["target"], features=trainer.features)
        test = rows.filter(pl.col("pair_id").is_in(list(table.part("test").pair_ids)))
        asked = base_model_sample(test["pair_id"], collection.spec.evaluation.base_model_items, trainer.seed)
        answers = ask_base(test.filter(pl.col("pair_id").is_in(asked)), model["target"]) if asked else {}
        try:
            scores = evaluate(table, workbench.registry.load(model["model_uri"]), answers)
        except EvaluationError as error:
            raise EvaluationError(f"{where}: {error.line}") from None
        classes = [name for one in scores.values() for name in one.columns]
        names = shown_classes(workbench.catalog(), collection, rows, model["target"], classes)
        scores = {predictor: renamed(one, names) for predictor, one in scores.items()}
        report = report_rows(
            scores,
            collection=collection.name,
            trainer=trainer.name,
            model_name=model["model_name"],
            model_version=model["model_version"],
            export_version=model["export_version"],
        )
        reports.append(report)
        images = {
            "confusion_matrix": confusion_chart(scores["model"], f"{model['model_name']}: confusion matrix"),
            "per_class": per_class_chart(scores["model"], f"{model['model_name']}: per class"),
        }
        figures = {
            f"{p}.{name}": value for p, one in metrics_by_predictor(scores).items() for name, value in one.items()
        }
        workbench.registry.log_evaluation(model["mlflow_run_id"], figures, images)
        charts |= {f"{trainer.name}_{name}": markdown_image(png, name) for name, png in images.items()}
        if collection.spec.evaluation.promote_if:
            try:
                promotions[trainer.name] = promotion(
                    metrics_by_predictor(scores), collection.spec.evaluation.promote_if
                )
            except PromotionError as error:
                raise PromotionError(f"{where}: spec.evaluation.{error.line}") from None
    return Evaluation(pl.concat(reports), charts, promotions)


def record_evaluations(workbench: Workbench, rows: pl.DataFrame) -> None:
    """Keeps the figures of a model version in `records/model_evaluations`, once."""
    key = ["model_name", "model_version", "predictor", "metric"]
    known = rows.with_columns(pl.lit(dt.datetime.now(dt.UTC)).alias("evaluated_at"))
    known = known.select([pl.col(name).cast(dtype) for name, dtype in MODEL_EVALUATIONS.items()])
    if not known.is_empty():
        workbench.lake.append_new("records", "model_evaluations", frame=known, key=key)


def promotions_of(collection: Collection, report: pl.DataFrame) -> dict[str, Promotion]:
    """Each trainer's promotion rule, decided from the report's own rows."""
    rule = collection.spec.evaluation.promote_if
    found: dict[str, Promotion] = {}
    if rule is None:
        return found
    for (trainer,), rows in report.group_by("trainer", maintain_order=True):
        metrics: dict[str, dict[str, float]] = {}
        for predictor, metric, value, n in rows.select("predictor", "metric", "value", "n").iter_rows():
            metrics.setdefault(predictor, {"n": float(n)})[metric] = value
        found[str(trainer)] = promotion(metrics, rule)
    return found


def target_of(catalog: Catalog, collection: Collection, trainer: TrainerSpec) -> str:
    """The output field a trainer predicts: the one it names, else the first with an enum, else the first.

    Raises:
        DefinitionError: for a field that no member's template gives.
    """
    fields = [
        field
        for member in collection.spec.members
        for field in catalog.template_for(catalog.training_sheet(member.training_sheet)).spec.output_schema
    ]
    names = list(dict.fromkeys(field.name for field in fields))
    if trainer.target is not None:
        if trainer.target not in names:
            raise DefinitionError(
                f"Collection {collection.name}: trainer {trainer.name}: target '{trainer.target}' is no output field"
                f"{nearest(trainer.target, names)}"
            )
        return trainer.target
    return next((field.name for field in fields if field.enum), names[0])


def _train(
    workbench: Workbench,
    catalog: Catalog,
    collection: Collection,
    trainer: TrainerSpec,
    rows: pl.DataFrame,
    export: ExportUsed,
) -> dict[str, object]:
    where = f"Collection {collection.name}: trainer {trainer.name}"
    try:
        table = training_table(rows, target=target_of(catalog, collection, trainer), features=trainer.features)
        registered = _registered(workbench, trainer, table, export)
    except TrainingError as error:
        raise TrainingError(f"{where}: {error.line}") from None
    model = workbench.registry.load(registered)
    used = rows.filter(pl.col("pair_id").is_in(list(table.pair_ids)))
    lineage = _lineage(workbench, collection, used, registered, export, training_config(table, trainer.seed))
    workbench.lake.append_new("records", "model_training_lineage", frame=lineage, key=["model_name", "model_version"])
    return {
        "collection": collection.name,
        "trainer": trainer.name,
        "model_name": registered.model_name,
        "model_version": registered.model_version,
        "export_version": export.export_version,
        "target": table.target,
        "classes": list(shown_classes(catalog, collection, rows, table.target, model.classes).values()),
        "features": table.features,
        "mlflow_run_id": registered.run_id,
        "model_uri": registered.model_uri,
        "train_pair_count": len(table.part("train").pair_ids),
        "val_pair_count": len(table.part("val").pair_ids),
        "metrics": canonical_text(dict(model.metrics)),
    }


def _registered(workbench: Workbench, trainer: TrainerSpec, table: TrainingTable, export: ExportUsed) -> Registered:
    """The registration of this very training: found, or made."""
    name = f"{export.collection}.{trainer.name}"
    config = training_config(table, trainer.seed)
    known = workbench.registry.find(name, registration_digest(export, trainer.name, config))
    if known is not None:
        return known
    trained = train_classifier(table, target=table.target, seed=trainer.seed, embed=embed)
    used = {"pair_ids": list(table.part("train").pair_ids) + list(table.part("val").pair_ids)}
    return workbench.registry.register(trained, export, trainer=trainer.name, lineage=used)


def _lineage(
    workbench: Workbench,
    collection: Collection,
    rows: pl.DataFrame,
    registered: Registered,
    export: ExportUsed,
    config: Mapping[str, object],
) -> pl.DataFrame:
    return lineage_row(
        model_name=registered.model_name,
        model_version=registered.model_version,
        collection=collection.name,
        export_version=export.export_version,
        pairs=rows,
        training_config=config,
        mlflow_run_id=registered.run_id,
        trained_at=dt.datetime.now(dt.UTC),
        created_by=workbench.settings.user,
    ).select([pl.col(name).cast(dtype) for name, dtype in MODEL_TRAINING_LINEAGE.items()])


def field_value(response: str | None, target: str) -> str | None:
    """The value of a field in an answer, as the classes are written; None where there is none."""
    if response is None:
        return None
    try:
        value, reason = class_name(json.loads(response).get(target))
    except (ValueError, WorkbenchError):
        return None
    return None if reason else value
