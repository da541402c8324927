"""The decisions ledger: what people, imports and approved feedback said of items and pairs. Append-only.

Everything that is known of labels is a fold of this ledger (`labels`), so a decision delivered twice, late or out of order
changes nothing more.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from workbench_pipelines.errors import ArgumentError, WorkbenchError, nearest
from workbench_pipelines.fields import schema_violation
from workbench_pipelines.identity import canonical_text, digest
from workbench_pipelines.usage import known_classification, known_use

UTC_TIME = pl.Datetime("us", "UTC")
ACTIONS = ("label", "approve", "edit", "reject", "flag", "restrict", "restore")
# A decision of these makes or renews the canonical label of its item.
LABELING_ACTIONS = ("label", "approve", "edit")

DECISIONS = pl.Schema(
    {
        "decision_id": pl.String(),
        "sheet": pl.String(),
        "item_ref": pl.String(),
        "label_type": pl.String(),
        "training_sheet": pl.String(),
        "pair_id": pl.String(),
        "response_hash": pl.String(),
        "action": pl.String(),
        "label_data": pl.String(),
        "proposed_response": pl.String(),
        "seen_columns": pl.List(pl.String()),
        "seen_hash": pl.String(),
        "uses": pl.String(),
        "reason": pl.String(),
        "source": pl.String(),
        "by": pl.String(),
        "at": UTC_TIME,
        "confidence": pl.String(),
        "notes": pl.String(),
    }
)
"""Columns of `label/decisions`; `label_data`, `proposed_response` and `uses` are canonical JSON."""


class LabelRow(BaseModel):
    """One row of a label file: what somebody says is true of an item."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sheet: str = Field(min_length=1)
    item_ref: str = Field(min_length=1)
    label_type: str = Field(min_length=1)
    label_data: dict[str, Any]
    confidence: Literal["high", "medium", "low"] = "high"
    notes: str | None = None
    allowed_uses: tuple[str, ...] | None = None
    prohibited_uses: tuple[str, ...] = ()
    usage_reason: str | None = None
    data_classification: str | None = None
    labeled_by: str | None = None
    labeled_at: dt.datetime | None = None
    seen_columns: tuple[str, ...] | None = None

    @field_validator("item_ref", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) and not isinstance(value, bool) else value

    @field_validator("labeled_at")
    @classmethod
    def _utc(cls, value: dt.datetime | None) -> dt.datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=dt.UTC) if value.tzinfo is None else value.astimezone(dt.UTC)

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.sheet, self.item_ref, self.label_type)


@dataclass(frozen=True)
class Refusal:
    """A row that was not taken, with the file and row it stands in and the reason."""

    where: str
    reason: str

    @property
    def line(self) -> str:
        return f"{self.where}: {self.reason}"


@dataclass(frozen=True)
class Seen:
    """What an item shows for a task: the row's `seen_hash` over `columns`."""

    columns: tuple[str, ...]
    seen_hash: str


def read_label_file(name: str, text: str) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    """The rows of a JSONL or CSV label file with where each stands; a row that can not be read is its reason as text."""
    if name.lower().endswith(".csv"):
        for number, row in enumerate(csv.DictReader(io.StringIO(text, newline="")), start=2):
            yield f"{name} row {number}", _cells(row)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            yield f"{name} line {number}", f"is no JSON ({getattr(error, 'msg', 'unreadable')})"
            continue
        yield f"{name} line {number}", value if isinstance(value, dict) else "is no JSON object"


def table_label_rows(name: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    """The rows of a spreadsheet, with the cells that hold JSON or lists read."""
    for number, row in enumerate(rows, start=2):
        yield f"{name} row {number}", _cells(row)


def _cells(row: Mapping[str, Any]) -> Mapping[str, Any] | str:
    """A spreadsheet row as a label row: empty cells are absent, `label_data` is JSON, lists are JSON or `a;b`."""
    cells: dict[str, Any] = {}
    for column, value in row.items():
        if column is None:
            return "has more cells than the header"
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        if column == "label_data" and isinstance(value, str):
            try:
                cells[column] = json.loads(value)
            except ValueError:
                return "label_data is no JSON"
        elif column in ("allowed_uses", "prohibited_uses", "seen_columns") and isinstance(value, str):
            try:
                cells[column] = json.loads(value) if value.lstrip().startswith("[") else value.split(";")
            except ValueError:
                return f"{column} is no JSON list"
        else:
            cells[column] = value
    return cells


def decide_labels(
    rows: Iterable[tuple[str, Mapping[str, Any] | str]],
    *,
    schema_of: Callable[[str], Mapping[str, Any]],
    seen: Callable[[LabelRow], Seen],
    vocabulary: Sequence[str],
    by: str,
    now: dt.datetime,
    source: str,
    current: Mapping[tuple[str, str, str], str],
) -> tuple[pl.DataFrame, list[Refusal]]:
    """The decisions that label rows make, and the rows that are refused.

    Args:
        schema_of: the JSON Schema of a label type; raises a WorkbenchError for an unknown one.
        seen: what the labeled item shows; raises a WorkbenchError where the sheet holds no such item.
        vocabulary: the uses a constraint may name.
        by: who labels where a row does not say.
        now: the time of labels that state none.
        source: where the rows come from.
        current: by (sheet, item_ref, label_type), the content digest of the label in force. A row without `labeled_at`
            that says the same again makes no decision, so an import can be repeated.

    Returns:
        decisions: rows of `DECISIONS`; refusals: the rows not taken.
    """
    taken: dict[str, dict[str, Any]] = {}
    refusals: list[Refusal] = []
    latest = dict(current)
    for where, raw in rows:
        if isinstance(raw, str):
            refusals.append(Refusal(where, raw))
            continue
        try:
            row = LabelRow.model_validate(raw)
            _check(row, schema_of(row.label_type), vocabulary)
            shown = seen(row)
        except ValidationError as error:
            refusals.append(Refusal(where, _explain(error)))
            continue
        except WorkbenchError as error:
            refusals.append(Refusal(where, error.line))
            continue
        content = label_content(row, shown)
        if row.labeled_at is None and latest.get(row.key) == content:
            continue
        latest[row.key] = content
        decision = _decision(row, shown, content, by=by, at=row.labeled_at or now, source=source)
        taken[decision["decision_id"]] = decision
    return pl.DataFrame(list(taken.values()), schema=DECISIONS), refusals


def label_content(row: LabelRow, shown: Seen) -> str:
    """The digest of what a label says, without who said it when."""
    return digest([row.label_data, row.confidence, row.notes, uses_of(row), list(shown.columns), shown.seen_hash])


def uses_of(row: LabelRow) -> dict[str, Any] | None:
    """The usage statement of a label, or None where it makes none and inherits its Sheet's."""
    if row.allowed_uses is None and not row.prohibited_uses and row.data_classification is None:
        return None
    return {
        "allowed_uses": None if row.allowed_uses is None else sorted(set(row.allowed_uses)),
        "prohibited_uses": sorted(set(row.prohibited_uses)),
        "usage_reason": row.usage_reason,
        "data_classification": row.data_classification,
    }


def _decision(row: LabelRow, shown: Seen, content: str, *, by: str, at: dt.datetime, source: str) -> dict[str, Any]:
    uses = uses_of(row)
    who = row.labeled_by or by
    return {
        "decision_id": digest(["decision", *row.key, "label", content, who, at]),
        "sheet": row.sheet,
        "item_ref": row.item_ref,
        "label_type": row.label_type,
        "action": "label",
        "label_data": canonical_text(row.label_data),
        "seen_columns": list(shown.columns),
        "seen_hash": shown.seen_hash,
        "uses": None if uses is None else canonical_text(uses),
        "reason": row.usage_reason,
        "source": source,
        "by": who,
        "at": at,
        "confidence": row.confidence,
        "notes": row.notes,
    }


def _check(row: LabelRow, schema: Mapping[str, Any], vocabulary: Sequence[str]) -> None:
    violation = schema_violation(row.label_data, schema)
    if violation:
        raise ArgumentError(f"item {row.item_ref}: label_data: {violation}")
    for use in (*(row.allowed_uses or ()), *row.prohibited_uses):
        known_use(use, vocabulary, f"item {row.item_ref}")
    if row.data_classification is not None:
        known_classification(row.data_classification, f"item {row.item_ref}")


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    field = ".".join(str(step) for step in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown column {field}{nearest(field, LabelRow.model_fields)}"
    if first["type"] == "missing":
        return f"{field} is missing"
    return f"{field}: {first['msg'].lower().replace('tuple', 'list')}"
