"""Lineage: the tables that say which rows made which model, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import polars as pl

from workbench_pipelines.errors import WorkbenchError
from workbench_pipelines.identity import canonical_text

_TIME = pl.Datetime("us", "UTC")
_TEXTS = pl.List(pl.String())

MODEL_TRAINING_LINEAGE = pl.Schema(
    {
        "model_name": pl.String(),
        "model_version": pl.String(),
        "collection": pl.String(),
        "export_version": pl.Int64(),
        "training_sheets": _TEXTS,
        "pair_ids": _TEXTS,
        "pair_hashes": _TEXTS,
        "train_pair_count": pl.Int64(),
        "val_pair_count": pl.Int64(),
        "training_config": pl.String(),
        "mlflow_run_id": pl.String(),
        "trained_at": _TIME,
        "created_by": pl.String(),
    }
)
"""One row a model version; `pair_hashes[i]` is what the pair `pair_ids[i]` held when the model was trained on it."""

MODEL_EVALUATIONS = pl.Schema(
    {
        "model_name": pl.String(),
        "model_version": pl.String(),
        "collection": pl.String(),
        "trainer": pl.String(),
        "export_version": pl.Int64(),
        "predictor": pl.String(),
        "metric": pl.String(),
        "value": pl.Float64(),
        "n": pl.Int64(),
        "evaluated_at": _TIME,
    }
)
"""One row a figure of a model version, or of a baseline on the same rows; kept when a newer model is evaluated."""

TRAINING_SHEETS = pl.Schema(
    {
        "training_sheet": pl.String(),
        "version": pl.Int64(),
        "status": pl.String(),
        "content_hash": pl.String(),
        "template": pl.String(),
        "template_version": pl.String(),
        "pairs": pl.Int64(),
        "labeled": pl.Int64(),
        "unlabeled": pl.Int64(),
        "rejected": pl.Int64(),
        "flagged": pl.Int64(),
        "pre_approved": pl.Int64(),
        "model": pl.String(),
        "cost_usd": pl.Float64(),
        "updated_at": _TIME,
    }
)
"""One row a state of a TrainingSheet; `status` is generating, review, approved or trained."""

TEMPLATE_VERSIONS = pl.Schema(
    {
        "template": pl.String(),
        "version": pl.String(),
        "status": pl.String(),
        "content_hash": pl.String(),
        "label_type": pl.String(),
        "owner": pl.String(),
        "recorded_at": _TIME,
    }
)
"""One row a version of a prompt template, as it was first seen."""

USAGE_CONSTRAINT_AUDIT = pl.Schema(
    {
        "subject": pl.String(),
        "old_allowed_uses": _TEXTS,
        "new_allowed_uses": _TEXTS,
        "old_prohibited_uses": _TEXTS,
        "new_prohibited_uses": _TEXTS,
        "old_data_classification": pl.String(),
        "new_data_classification": pl.String(),
        "reason": pl.String(),
        "by": pl.String(),
        "at": _TIME,
        "sheet": pl.String(),
    }
)
"""One row a change of what may be done with a label, a Sheet, a joined source, a column, or what carries a tag; `sheet` is whose
label it is, null of what definitions state."""

SCHEMAS: Mapping[str, pl.Schema] = {
    "model_training_lineage": MODEL_TRAINING_LINEAGE,
    "model_evaluations": MODEL_EVALUATIONS,
    "training_sheets": TRAINING_SHEETS,
    "template_versions": TEMPLATE_VERSIONS,
    "usage_constraint_audit": USAGE_CONSTRAINT_AUDIT,
}


def lineage_row(
    *,
    model_name: str,
    model_version: str,
    collection: str,
    export_version: int,
    pairs: pl.DataFrame,
    training_config: Mapping[str, Any],
    mlflow_run_id: str | None,
    trained_at: datetime,
    created_by: str,
) -> pl.DataFrame:
    """The one row of `model_training_lineage` for a model that was trained on the train and val rows of `pairs`.

    Input columns: training_sheet, pair_id, pair_hash, split; rows of the test split are left out, they taught nothing.

    Raises:
        WorkbenchError: when a pair stands twice or nothing was trained on.
    """
    used = pairs.filter(pl.col("split").is_in(["train", "val"])).sort("pair_id")
    if used.is_empty():
        raise WorkbenchError(f"model {model_name} {model_version}: no pair of the train or val split, so no lineage")
    twice = used.filter(pl.col("pair_id").is_duplicated())
    if not twice.is_empty():
        raise WorkbenchError(f"model {model_name} {model_version}: pair {twice['pair_id'][0]} stands twice")
    return pl.DataFrame(
        {
            "model_name": [model_name],
            "model_version": [str(model_version)],
            "collection": [collection],
            "export_version": [export_version],
            "training_sheets": [sorted(set(used["training_sheet"].to_list()))],
            "pair_ids": [used["pair_id"].to_list()],
            "pair_hashes": [used["pair_hash"].to_list()],
            "train_pair_count": [used.filter(pl.col("split") == "train").height],
            "val_pair_count": [used.filter(pl.col("split") == "val").height],
            "training_config": [canonical_text(dict(training_config))],
            "mlflow_run_id": [mlflow_run_id],
            "trained_at": [trained_at],
            "created_by": [created_by],
        },
        schema=MODEL_TRAINING_LINEAGE,
    )
