"""Tracing: where a pair comes from and where it went, and what a model was made of. Names only, no value of an item."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from workbench_pipelines.clients.export_folder import ExportFolder
from workbench_pipelines.clients.export_verification import FAILURES, superseded_line
from workbench_pipelines.errors import ArgumentError, ExportError, nearest
from workbench_pipelines.exports import EXPORT_VERSIONS
from workbench_pipelines.lineage import MODEL_EVALUATIONS, MODEL_TRAINING_LINEAGE
from workbench_pipelines.recall import shown_examples
from workbench_pipelines.splits import SPLITS
from workbench_pipelines.workbench import Workbench

# So many digits of a pair_id name it, where no other one begins with them.
MIN_PREFIX = 8
_PAIR = (
    "pair_id", "pair_hash", "training_sheet", "sheet", "item_ref", "template", "template_version", "label_type", "status",
    "labeling_mode", "model", "canonical_label_id", "data_classification", "reviewed_by",
)  # fmt: skip
_EXPORTED = ("pair_id", "pair_hash", "training_sheet", "item_ref", "label_type", "canonical_label_id")
_TAUGHT = ("model_name", "model_version", "collection", "export_version", "mlflow_run_id")
_LABEL = ("canonical_label_id", "version", "labeled_by", "labeled_at", "last_modified_by", "stale", "active")
_DECISION = ("decision_id", "action", "source", "by", "at")


def trace(workbench: Workbench, name: str) -> dict[str, Any]:
    """The lineage of a pair (its id, or how it begins) or of a model (its name, or name/version).

    Of a pair that there is no more, what exports and models still tell: `gone`.

    Raises:
        ArgumentError: for a name that is neither, or that begins several pairs.
    """
    lineage = workbench.record("model_training_lineage", MODEL_TRAINING_LINEAGE)
    full = pl.concat_str("model_name", pl.lit("/"), "model_version")
    models = lineage.filter((pl.col("model_name") == name) | (full == name))
    if models.height:
        return {"kind": "model", "models": [_model(workbench, row) for row in models.to_dicts()]}
    found = _pair(workbench, name)
    if found is None and (gone := _gone(workbench, name, lineage)) is not None:
        return {"kind": "pair", **gone}
    if found is None:
        raise ArgumentError(f"'{name}' is no pair and no model{nearest(name, set(lineage['model_name']))}")
    return {"kind": "pair", **_way_of(workbench, found, lineage)}


def _pair(workbench: Workbench, name: str) -> pl.DataFrame | None:
    if not workbench.lake.exists("label", "labeled_pairs") or len(name) < MIN_PREFIX:
        return None
    found = workbench.lake.scan("label", "labeled_pairs").filter(pl.col("pair_id").str.starts_with(name)).collect()
    if found.height > 1:
        raise ArgumentError(f"'{name}' begins the names of {found.height} pairs; give more of it")
    return found if found.height else None


def _gone(workbench: Workbench, name: str, lineage: pl.DataFrame) -> dict[str, Any] | None:
    """What is known of a pair that is in no TrainingSheet any more, from exports and from models that learned from it."""
    if len(name) < MIN_PREFIX:
        return None
    held = [
        (export, row)
        for export in workbench.record("export_versions", EXPORT_VERSIONS).sort("collection", "version").to_dicts()
        for row in _rows_of(export["path"], name)
    ]
    learned = lineage.explode("pair_ids").filter(pl.col("pair_ids").str.starts_with(name))
    names = {*(row["pair_id"] for _, row in held), *learned["pair_ids"]}
    if len(names) > 1:
        raise ArgumentError(f"'{name}' begins the names of {len(names)} pairs; give more of it")
    if not names:
        return None
    # As the newest export tells it; where the files of all are gone, its name is all that is left.
    row = held[-1][1] if held else {}
    return {
        "pair": {"pair_id": names.pop(), **{one: row.get(one) for one in _EXPORTED[1:]}},
        "gone": "it is in no TrainingSheet any more; exports and models tell this of it",
        "exports": [
            {
                **{one: export[one] for one in ("collection", "version", "path")},
                "split": row["split"],
                "weight": row["weight"],
            }
            for export, row in held
        ],
        "models": learned.sort("trained_at").select(_TAUGHT).to_dicts(),
    }


def _rows_of(path: str, name: str) -> list[dict[str, Any]]:
    """The pairs of an export whose names begin so; none where its files are gone."""
    if superseded_line(Path(path)) is not None:
        return []
    try:
        parts = [pl.scan_parquet(Path(path) / f"{split}.parquet") for split in SPLITS]
        rows = pl.concat([part.select(*_EXPORTED, "split", "weight") for part in parts])
        return rows.filter(pl.col("pair_id").str.starts_with(name)).collect().to_dicts()
    except FAILURES:
        return []


def _way_of(workbench: Workbench, found: pl.DataFrame, lineage: pl.DataFrame) -> dict[str, Any]:
    row = found.select(_PAIR).row(0, named=True)
    of = (pl.col("item_ref") == row["item_ref"]) & (pl.col("label_type") == row["label_type"])
    decisions = workbench.decisions([row["sheet"]]).filter(
        of & (pl.col("pair_id").is_null() | (pl.col("pair_id") == row["pair_id"]))
    )
    uses = workbench.store.uses().filter(pl.col("pair_id") == row["pair_id"]).select("request_hash").unique()
    requests = workbench.store.rows().join(uses, on="request_hash", how="semi")
    exports = _exports_of(workbench, row)
    held = {(one["collection"], one["version"]) for one in exports}
    taught = [
        {name: one[name] for name in _TAUGHT}
        for one in lineage.iter_rows(named=True)
        if (one["collection"], one["export_version"]) in held and row["pair_id"] in one["pair_ids"]
    ]
    label = _labels(workbench, row["canonical_label_id"])
    return {
        "pair": row,
        "derived_from": found["trace"].struct.field("parent_ids").to_list()[0] or [],
        "label": label[0] if label else None,
        "decisions": decisions.sort("at", "decision_id").select(_DECISION).to_dicts(),
        "examples": sorted(shown_examples(found)["example_id"]),
        "requests": requests.select("request_hash", "model", "answered_at", "cost_usd")
        .sort("answered_at")
        .collect()
        .to_dicts(),
        "exports": exports,
        "models": taught,
    }


def _exports_of(workbench: Workbench, row: dict[str, Any]) -> list[dict[str, Any]]:
    """The exports that hold a pair, and whether it still says what it says there."""
    found = []
    history = workbench.record("export_versions", EXPORT_VERSIONS).sort("collection", "version")
    for export in history.select("collection", "version", "path").iter_rows(named=True):
        try:
            rows = ExportFolder.leaves(export["path"]).filter(pl.col("pair_id") == row["pair_id"])
        except ExportError:
            continue  # its files are gone; `recall` names those exports
        for pair_hash, split, weight in rows.select("pair_hash", "split", "weight").iter_rows():
            unchanged = pair_hash == row["pair_hash"]
            found.append({**export, "split": split, "weight": weight, "unchanged_since": unchanged})
    return found


def _labels(workbench: Workbench, label: str | None) -> list[dict[str, Any]]:
    if label is None or not workbench.lake.exists("label", "canonical_labels"):
        return []
    rows = workbench.lake.scan("label", "canonical_labels").filter(pl.col("canonical_label_id") == label)
    return rows.select(_LABEL).collect().to_dicts()


def _model(workbench: Workbench, row: dict[str, Any]) -> dict[str, Any]:
    """What a model version was made of, and the figures of its evaluation."""
    figures = workbench.record("model_evaluations", MODEL_EVALUATIONS).filter(
        (pl.col("model_name") == row["model_name"])
        & (pl.col("model_version") == row["model_version"])
        & ~pl.col("metric").str.contains(".", literal=True)
    )
    pairs = pl.DataFrame({"pair_id": row["pair_ids"]}, schema={"pair_id": pl.String})
    of = []
    if workbench.lake.exists("label", "labeled_pairs"):
        columns = ("training_sheet", "sheet", "template", "template_version")
        now = workbench.lake.scan("label", "labeled_pairs").select("pair_id", *columns)
        of = (
            now.join(pairs.lazy(), on="pair_id", how="semi")
            .group_by(columns)
            .len("pairs")
            .sort(columns)
            .collect()
            .to_dicts()
        )
    names = (
        "model_name", "model_version", "collection", "export_version", "train_pair_count", "val_pair_count", "mlflow_run_id",
        "trained_at", "created_by",
    )  # fmt: skip
    shown = figures.sort("predictor", "metric").select("predictor", "metric", "value", "n").to_dicts()
    return {**{name: row[name] for name in names}, "pairs_of": of, "evaluation": shown}
