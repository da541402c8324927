"""Pairs: the question/answer rows of a TrainingSheet with everything that decides whether they may be used.

A pair is `labeled` when its answer stands: an expert's canonical label holds for the item, or its value comes from a
trusted column. It is `unlabeled` while it waits for a person, `rejected` when a person refused this very answer, and
`flagged` when a person asked for a second look or an expert's label no longer fits the template's output schema.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from workbench_pipelines.decisions import UTC_TIME
from workbench_pipelines.fields import schema_violation
from workbench_pipelines.identity import digest, pair_hash
from workbench_pipelines.labels import KEY, live_labels
from workbench_pipelines.usage import UsageStatement, effective_use, statements_from_json

MESSAGE = pl.Struct({"role": pl.String(), "content": pl.String(), "parts": pl.String()})
STEP = pl.Struct({"name": pl.String(), "at": UTC_TIME, "params": pl.String()})
TRACE = pl.Struct({"parent_ids": pl.List(pl.String()), "steps": pl.List(STEP)})

LABELED_PAIRS = pl.Schema(
    {
        "training_sheet": pl.String(),
        "pair_id": pl.String(),
        "pair_hash": pl.String(),
        "sheet": pl.String(),
        "item_ref": pl.String(),
        "item_hash": pl.String(),
        "seen_hash": pl.String(),
        "template": pl.String(),
        "template_version": pl.String(),
        "label_type": pl.String(),
        "messages": pl.List(MESSAGE),
        "response": pl.String(),
        "inputs": pl.String(),
        "attributes": pl.String(),
        "tags": pl.List(pl.String()),
        "canonical_label_id": pl.String(),
        "status": pl.String(),
        "labeling_mode": pl.String(),
        "allowed_uses": pl.List(pl.String()),
        "prohibited_uses": pl.List(pl.String()),
        "usage_reason": pl.String(),
        "data_classification": pl.String(),
        "model": pl.String(),
        "ai_confidence": pl.Float64(),
        "quality_score": pl.Float64(),
        "language": pl.String(),
        "duplicate_of": pl.String(),
        "pii": pl.List(pl.String()),
        "reviewed_by": pl.String(),
        "reviewed_at": UTC_TIME,
        "review_notes": pl.String(),
        "trace": TRACE,
        "created_at": UTC_TIME,
        "updated_at": UTC_TIME,
    }
)
"""Columns of `label/labeled_pairs`; `response`, `inputs` and `attributes` are canonical JSON texts."""

STATUSES = ("labeled", "unlabeled", "rejected", "flagged")


def label_pairs(
    rendered: pl.DataFrame,
    generated: pl.DataFrame,
    labels: pl.DataFrame,
    decisions: pl.DataFrame,
    *,
    schema: Mapping[str, Any],
    trusted: bool,
    vocabulary: Sequence[str],
) -> pl.DataFrame:
    """The pairs of a TrainingSheet with their status and their permitted uses.

    Args:
        rendered: rows of `generate/rendered_prompts` of one TrainingSheet.
        generated: rows of `generate/generated_pairs` of the same one; a prompt without a draft makes no pair.
        labels: rows of `label/canonical_labels` of its Sheet.
        decisions: rows of `label/decisions`; those that name a pair or TrainingSheet bind to the answer they saw.
        schema: the template's output schema; a label that breaks it flags its pair.
        trusted: whether the values of an existing column count as approved.
        vocabulary: the uses that are known.

    Returns:
        Rows of `LABELED_PAIRS`, sorted by item.
    """
    joined = _joined(rendered, generated, labels)
    last = _last_pair_decision(decisions)
    stale_notes = _stale_labels(labels)
    uses: dict[tuple[Any, ...], dict[str, Any]] = {}
    fits: dict[str, str | None] = {}
    rows = []
    for row in joined.iter_rows(named=True):
        label_data = row["label_data"]
        if label_data is not None and label_data not in fits:
            fits[label_data] = schema_violation(json.loads(label_data), schema)
        key = (row["usage_statements"], row["canonical_label_id"], row["label_uses"])
        if key not in uses:
            uses[key] = _uses(row, vocabulary)
        judged = _judge(row, fits.get(label_data or ""), last, trusted)
        stale = stale_notes.get((row["item_ref"], row["label_type"]))
        if stale and judged["status"] == "unlabeled":
            judged["review_notes"] = stale
        rows.append(
            judged
            | uses[key]
            | {
                "pair_id": row["pair_id"],
                "pair_hash": pair_hash(
                    row["prompt_hash"], judged["response"], row["label_type"], judged["canonical_label_id"]
                ),
            }
        )
    decided = pl.DataFrame(rows, schema_overrides=_known(rows), infer_schema_length=None)
    if not rows:
        return LABELED_PAIRS.to_frame()
    kept = joined.drop([c for c in decided.columns if c != "pair_id"], strict=False)
    return (
        kept.join(decided, on="pair_id", how="left", maintain_order="left")
        .with_columns([pl.lit(None).alias(c) for c in LABELED_PAIRS if c not in kept.columns + decided.columns])
        .select([pl.col(name).cast(dtype) for name, dtype in LABELED_PAIRS.items()])
        .sort("item_ref", "pair_id")
    )


def status_counts(pairs: pl.DataFrame) -> dict[str, int]:
    """How many pairs have each status, and how many were approved by an expert's label before anyone looked."""
    counts = dict(pairs.group_by("status").len().iter_rows())
    pre_approved = pairs.filter((pl.col("status") == "labeled") & (pl.col("labeling_mode") == "canonical")).height
    return {status: counts.get(status, 0) for status in STATUSES} | {"pre_approved": pre_approved}


def pairs_digest(pairs: pl.DataFrame) -> str:
    """The content of a TrainingSheet: its pairs and statuses in the order of their names, without times."""
    columns = ["pair_id", "pair_hash", "status", "allowed_uses", "prohibited_uses", "data_classification"]
    return digest([list(row.values()) for row in pairs.select(columns).sort("pair_id").iter_rows(named=True)])


def _joined(rendered: pl.DataFrame, generated: pl.DataFrame, labels: pl.DataFrame) -> pl.DataFrame:
    drafts = generated.select(
        "pair_id", "response", "response_hash", "model", "answered_at", pl.col("labeling_mode").alias("mode")
    )
    live = live_labels(labels).select(
        *KEY,
        "canonical_label_id",
        "label_data",
        "last_modified_by",
        "last_modified_at",
        pl.struct("allowed_uses", "prohibited_uses", "data_classification", "usage_reason")
        .map_elements(lambda uses: json.dumps(uses, sort_keys=True), return_dtype=pl.String)
        .alias("label_uses"),
    )
    return rendered.join(drafts, on="pair_id", how="inner").join(live, on=KEY, how="left").sort("item_ref", "pair_id")


def _judge(
    row: Mapping[str, Any], violation: str | None, last: Mapping[str, Mapping[str, Any]], trusted: bool
) -> dict[str, Any]:
    """Status, answer and reviewer of one pair."""
    judged: dict[str, Any] = {
        "status": "unlabeled",
        "response": row["response"],
        "labeling_mode": row["mode"],
        "canonical_label_id": None,
        "reviewed_by": None,
        "reviewed_at": None,
        "review_notes": None,
        "created_at": row["answered_at"],
        "updated_at": row["answered_at"],
    }
    steps = [_step("draft", row["answered_at"], {"model": row["model"]})] if row["model"] else []
    if row["label_data"] is not None:
        judged |= {
            "response": row["label_data"],
            "labeling_mode": "canonical",
            "canonical_label_id": row["canonical_label_id"],
            "status": "labeled" if violation is None else "flagged",
            "reviewed_by": row["last_modified_by"],
            "reviewed_at": row["last_modified_at"],
            "review_notes": violation and f"the expert's label does not fit the template: {violation}",
            "created_at": row["answered_at"] or row["last_modified_at"],
            "updated_at": row["last_modified_at"],
        }
        steps.append(_step("label", row["last_modified_at"], {"canonical_label_id": row["canonical_label_id"]}))
    elif row["mode"] == "existing_column" and trusted and row["response"] is not None:
        judged["status"] = "labeled"
    decision = last.get(row["pair_id"])
    if decision and _binds(decision, row, judged):
        judged |= {
            "status": "rejected" if decision["action"] == "reject" else "flagged",
            "reviewed_by": decision["by"],
            "reviewed_at": decision["at"],
            "review_notes": decision["reason"],
            "updated_at": decision["at"],
        }
        steps.append(_step(decision["action"], decision["at"], {"decision_id": decision["decision_id"]}))
    judged["trace"] = {"parent_ids": [], "steps": steps}
    return judged


def _binds(decision: Mapping[str, Any], row: Mapping[str, Any], judged: Mapping[str, Any]) -> bool:
    """Whether a rejection or flag still speaks of this pair: the answer it saw stands, and no later label overrules it."""
    if decision["response_hash"] is not None and decision["response_hash"] != row["response_hash"]:
        return False
    labeled_at: dt.datetime | None = judged["reviewed_at"]
    return judged["canonical_label_id"] is None or labeled_at is None or labeled_at < decision["at"]


def _last_pair_decision(decisions: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """By pair, the rejection or flag that stands: the last one no restore came after."""
    events = (
        decisions.unique("decision_id", keep="any")
        .filter(pl.col("pair_id").is_not_null() & pl.col("action").is_in(["reject", "flag", "restore"]))
        .sort("at", "decision_id")
        .group_by("pair_id", maintain_order=True)
        .last()
        .filter(pl.col("action") != "restore")
    )
    return {row["pair_id"]: row for row in events.to_dicts()}


def _stale_labels(labels: pl.DataFrame) -> dict[tuple[str, str], str]:
    """By item and label type, why an expert's label does not hold now."""
    stale = labels.filter(pl.col("active") & pl.col("stale"))
    return {
        (
            row["item_ref"],
            row["label_type"],
        ): f"the label of {row['last_modified_by']} is stale: what it saw has changed"
        for row in stale.iter_rows(named=True)
    }


def _uses(row: Mapping[str, Any], vocabulary: Sequence[str]) -> dict[str, Any]:
    statements = list(statements_from_json(row["usage_statements"]))
    if row["label_uses"] is not None:
        own = json.loads(row["label_uses"])
        statements.append(
            UsageStatement(
                source="its label",
                allowed_uses=None if own["allowed_uses"] is None else tuple(own["allowed_uses"]),
                prohibited_uses=tuple(own["prohibited_uses"] or ()),
                data_classification=own["data_classification"],
                reason=own["usage_reason"],
            )
        )
    effective = effective_use(statements, vocabulary)
    return {
        "allowed_uses": list(effective.allowed_uses),
        "prohibited_uses": list(effective.prohibited_uses),
        "usage_reason": effective.reason,
        "data_classification": effective.data_classification,
    }


def _step(name: str, at: dt.datetime | None, params: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "at": at, "params": json.dumps(params, sort_keys=True)}


def _known(rows: Sequence[Mapping[str, Any]]) -> dict[str, pl.DataType]:
    names = rows[0].keys() if rows else LABELED_PAIRS.keys()
    return {name: dtype for name, dtype in LABELED_PAIRS.items() if name in names}
