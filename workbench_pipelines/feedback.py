"""Feedback: what people who use a model say of its answers, and how a correction becomes a label.

A correction waits until a person decides on it. It is *approved* when the label of its item came from it or says the
same, *declined* when a later label says something else.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from workbench_pipelines.decisions import DECISIONS, LABELING_ACTIONS, Refusal, Seen
from workbench_pipelines.errors import LabelError, nearest
from workbench_pipelines.fields import schema_violation
from workbench_pipelines.identity import canonical_text, digest

_TIME = pl.Datetime("us", "UTC")
SOURCE = "feedback:"
"""What the `source` of a decision starts with that came from feedback; the feedback_id follows."""

_FILE_TEXTS = (
    "feedback_id", "model_name", "model_version", "endpoint_name", "request_id", "trace_id", "input", "output",
    "feedback_type", "feedback_value", "correction", "created_by",
)  # fmt: skip

FEEDBACK_INBOX = pl.Schema({"day": pl.String(), **dict.fromkeys(_FILE_TEXTS, pl.String()), "created_at": _TIME})
"""`monitor/feedback_inbox`: the feedback file and the UTC day of `created_at`; a value that is no text is JSON."""

_MATCH = ("sheet", "item_ref", "label_type", "training_sheet", "pair_id", "status", "decision_id", "reason")
FEEDBACK = pl.Schema({**FEEDBACK_INBOX, **dict.fromkeys(_MATCH, pl.String())})
"""`monitor/feedback`; `status` is recorded (nothing to correct), unmatched, pending, approved or declined."""

_KEY = ("sheet", "item_ref", "label_type")


class FeedbackRow(BaseModel):
    """One row of a feedback file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    feedback_id: str = Field(min_length=1)
    model_name: str | None = None
    model_version: str | None = None
    endpoint_name: str | None = None
    request_id: str | None = None
    trace_id: str | None = None
    input: Any = None
    output: Any = None
    feedback_type: Literal["thumbs", "rating", "correction", "comment"]
    feedback_value: Any = None
    correction: Any = None
    created_by: str | None = None
    created_at: dt.datetime

    @field_validator("feedback_id", "model_version", "request_id", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("created_at", mode="before")
    @classmethod
    def _iso(cls, value: Any) -> Any:
        # pydantic would take a bare number for seconds since 1970.
        if not isinstance(value, str):
            raise ValueError("is no ISO 8601 time")
        return value

    @field_validator("created_at")
    @classmethod
    def _utc(cls, value: dt.datetime) -> dt.datetime:
        if value.tzinfo is None:
            raise ValueError("has no time zone; write it with an offset or Z")
        try:
            return value.astimezone(dt.UTC)
        except OverflowError:
            raise ValueError("lies outside the calendar") from None

    @model_validator(mode="after")
    def _correction_corrects(self) -> FeedbackRow:
        if self.feedback_type == "correction" and self.correction is None:
            raise ValueError("feedback_type correction needs a `correction`")
        return self


def stored_value(value: Any) -> str | None:
    """A value of a feedback file as a column holds it: text as it is, anything else as canonical JSON."""
    return value if value is None or isinstance(value, str) else canonical_text(value)


def parse_feedback(lines: Iterable[str], path: str) -> tuple[pl.DataFrame, list[Refusal]]:
    """The rows of a JSONL feedback file, and the lines that are refused; the good ones go on.

    A feedback_id that stands twice with one content is one row; with another content the later line is refused.

    Returns:
        rows of `FEEDBACK_INBOX`; refusals with file and line.
    """
    taken: dict[str, dict[str, Any]] = {}
    refusals: list[Refusal] = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{path} line {number}"
        try:
            row = _inbox_row(FeedbackRow.model_validate(_json_object(line)))
        except ValidationError as error:
            refusals.append(Refusal(where, _explain(error)))
            continue
        except ValueError as error:
            refusals.append(Refusal(where, str(error)))
            continue
        if taken.setdefault(row["feedback_id"], row) != row:
            refusals.append(Refusal(where, f"feedback_id {row['feedback_id']} stands before with another content"))
    return pl.DataFrame(list(taken.values()), schema=FEEDBACK_INBOX), refusals


def split_known(rows: pl.DataFrame, inbox: pl.DataFrame, path: str) -> tuple[pl.DataFrame, list[Refusal]]:
    """The rows whose feedback_id the inbox does not hold yet; one it holds with another content is refused."""
    there = {row["feedback_id"]: row for row in inbox.select(list(FEEDBACK_INBOX)).iter_rows(named=True)}
    known = [there.get(row["feedback_id"]) for row in rows.iter_rows(named=True)]
    refusals = [
        Refusal(path, f"feedback_id {row['feedback_id']} is in the inbox with another content")
        for row, before in zip(rows.iter_rows(named=True), known, strict=True)
        if before is not None and before != row
    ]
    return rows.filter(pl.Series([before is None for before in known], dtype=pl.Boolean)), refusals


def _json_object(line: str) -> dict[str, Any]:
    try:
        value = json.loads(line)
        line.encode(), canonical_text(value)  # half a surrogate pair is JSON, but no text a table can hold
    except RecursionError:
        raise ValueError("is nested too deeply") from None
    except (TypeError, UnicodeError):
        raise ValueError("holds half a character (a lone surrogate)") from None
    except ValueError as error:
        raise ValueError(f"is no JSON ({getattr(error, 'msg', 'unreadable')})") from None
    if not isinstance(value, dict):
        raise ValueError("is no JSON object")
    return value


def _inbox_row(row: FeedbackRow) -> dict[str, Any]:
    values = {name: getattr(row, name) for name in FEEDBACK_INBOX if name != "day"}
    stored = {name: stored_value(values[name]) for name in ("input", "output", "feedback_value", "correction")}
    return {"day": row.created_at.date().isoformat(), **values, **stored}


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    field = ".".join(str(step) for step in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown field {field}{nearest(field, FeedbackRow.model_fields)}"
    if first["type"] == "missing":
        return f"{field} is missing"
    return ": ".join(part for part in (field, first["msg"].removeprefix("Value error, ")) if part)


def correction_as_label(correction: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """The label a correction proposes: an object, or the bare value of a label type with one field.

    Raises:
        LabelError: where it does not fit the schema of the label type; the value itself is not named.
    """
    try:
        value = json.loads(correction)
    except ValueError:
        value = correction
    if not isinstance(value, dict):
        fields = list(schema.get("properties", {}))
        if len(fields) != 1:
            raise LabelError(f"the correction is a bare value and the label has the fields {', '.join(fields)}")
        # "7" may be meant as text: the form that fits the schema is taken.
        wrapped = [{fields[0]: value}, {fields[0]: correction}]
        fitting = [one for one in wrapped if schema_violation(one, schema) is None]
        value = (fitting or wrapped)[0]
    violation = schema_violation(value, schema)
    if violation:
        raise LabelError(f"the correction does not fit its label: {violation}")
    return dict(value)


def approval_of(matched: pl.DataFrame, canonical_labels: pl.DataFrame, decisions: pl.DataFrame) -> pl.DataFrame:
    """The matched feedback with the `status` that the labels in force give it, and the `decision_id` behind it.

    A correction is approved when a decision from it set the label in force, or when that label says the same and was
    decided when the feedback was there; it is declined when a label decided since says something else.

    Args:
        matched: rows of `FEEDBACK`, their corrections as `feedback_matching.match_feedback` wrote them.
        canonical_labels: rows of `labels.CANONICAL_LABELS`.
        decisions: rows of `DECISIONS`.
    """
    labels = {
        tuple(row[part] for part in _KEY): row["label_data"]
        for row in canonical_labels.filter(pl.col("active")).iter_rows(named=True)
    }
    setting = decisions.filter(pl.col("action").is_in(LABELING_ACTIONS)).sort("at", "decision_id")
    last = {tuple(row[part] for part in _KEY): row for row in setting.iter_rows(named=True)}
    rows = []
    for row in matched.iter_rows(named=True):
        key = tuple(row[part] for part in _KEY)
        if row["status"] == "pending" and key in labels and key in last:
            rows.append(row | _approval(row, labels[key], last[key]))
        else:
            rows.append(row)
    return pl.DataFrame(rows, schema=FEEDBACK)


def _approval(row: Mapping[str, Any], label_data: str, decision: Mapping[str, Any]) -> dict[str, Any]:
    from_it = decision["source"] == SOURCE + row["feedback_id"]
    since = decision["at"] >= row["created_at"]
    if from_it or (since and _same_label(row["correction"], label_data)):
        return {"status": "approved", "decision_id": decision["decision_id"], "reason": None}
    if since:
        return {"status": "declined", "decision_id": decision["decision_id"], "reason": "a later label differs"}
    return {}


def _same_label(correction: str, label_data: str) -> bool:
    """Whether a correction says what a label says, as an object or as the value of its one field."""
    label = json.loads(label_data)
    try:
        said = json.loads(correction)
    except ValueError:
        said = correction
    bare = next(iter(label.values())) if isinstance(label, dict) and len(label) == 1 else None
    return any(canonical_text(one) == canonical_text(said) for one in (label, bare)) or (bare == correction)


def decisions_for(
    corrections: pl.DataFrame,
    *,
    by: str,
    at: dt.datetime,
    schema_of: Callable[[str], Mapping[str, Any]],
    seen: Callable[[str, str, str], Seen] | None = None,
) -> tuple[pl.DataFrame, list[Refusal]]:
    """The label decisions that approve these corrections, and the ones whose correction is no label.

    A correction approved twice is one decision: its id comes from the feedback and the label alone.

    Args:
        corrections: pending rows of `FEEDBACK`.
        by: who approves; at: when.
        schema_of: the JSON Schema of a label type.
        seen: what the item shows for (sheet, item_ref, label_type), so that the label can become stale.
    """
    rows: list[dict[str, Any]] = []
    refusals: list[Refusal] = []
    for row in corrections.filter(pl.col("correction").is_not_null()).iter_rows(named=True):
        where = f"feedback {row['feedback_id']}"
        if row["item_ref"] is None:
            refusals.append(Refusal(where, row["reason"] or "belongs to no item"))
            continue
        try:
            label = canonical_text(correction_as_label(row["correction"], schema_of(row["label_type"])))
        except LabelError as error:
            refusals.append(Refusal(where, error.line))
            continue
        shown = seen(row["sheet"], row["item_ref"], row["label_type"]) if seen else None
        copied = {part: row[part] for part in (*_KEY, "training_sheet", "pair_id")}
        rows.append(
            {
                **copied,
                "decision_id": digest(["feedback", row["feedback_id"], *(row[part] for part in _KEY), label]),
                "action": "label",
                "label_data": label,
                "seen_columns": list(shown.columns) if shown else None,
                "seen_hash": shown.seen_hash if shown else None,
                "source": SOURCE + row["feedback_id"],
                "by": by,
                "at": at,
                "confidence": "high",
            }
        )
    return pl.DataFrame(rows, schema=DECISIONS), refusals


def new_approved(
    approved_ids: Iterable[str], already_counted_ids: Iterable[str], threshold: int
) -> tuple[Sequence[str], str] | None:
    """The approved corrections no retrain has counted, with a run key, once there are enough; else None."""
    new = sorted(set(approved_ids) - set(already_counted_ids))
    return (new, digest(["retrain", new])) if len(new) >= max(threshold, 1) else None
