"""The decisions ledger: what people, imports and approved feedback said of items and pairs. Append-only.

Everything that is known of labels is a fold of this ledger (`labels`), so a decision delivered twice, late or out of order
changes nothing more.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

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
REVIEWED = "review"
"""The `source` of what a person said in a review, whichever back end it came from."""

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
        "inputs": pl.String(),
        "undoes": pl.String(),
        "adjudicates": pl.Boolean(),
    }
)
"""Columns of `label/decisions`; `label_data`, `proposed_response`, `uses` and `inputs` are canonical JSON.

`inputs` are prompt inputs that a person edited, by variable; `undoes` names the decision that a restore takes back;
`adjudicates` says that its author saw the answers of several annotators and decides between them.
"""


class StatedUses(BaseModel):
    """What somebody who decides states of uses."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    allowed_uses: tuple[str, ...] | None = None
    prohibited_uses: tuple[str, ...] = ()
    usage_reason: str | None = None
    data_classification: str | None = None


class LabelRow(StatedUses):
    """One row of a label file: what somebody says is true of an item."""

    sheet: str = Field(min_length=1)
    item_ref: str = Field(min_length=1)
    label_type: str = Field(min_length=1)
    label_data: dict[str, Any]
    confidence: Literal["high", "medium", "low"] = "high"
    notes: str | None = None
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
        return None if value is None else in_utc(value)

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


class Decided(NamedTuple):
    """What label rows come to: rows of `DECISIONS`, the rows refused, and those that were delivered before."""

    decisions: pl.DataFrame
    refusals: list[Refusal]
    repeated: list[LabelRow]


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
    delivered: Collection[str] = (),
    several: Callable[[tuple[str, str, str]], bool] = lambda key: False,
) -> Decided:
    """The decisions that label rows make.

    Of rows that say different things of one item at one time none is taken: nobody knows which one is meant.

    Args:
        schema_of: the JSON Schema of a label type; raises a WorkbenchError for an unknown one.
        seen: what the labeled item shows; raises a WorkbenchError where the sheet holds no such item.
        vocabulary: the uses a constraint may name.
        by: who labels where a row does not say.
        now: the time of labels that state none.
        source: where the rows come from.
        current: by (sheet, item_ref, label_type), the content digest of the label in force. A row without `labeled_at`
            that says the same again makes no decision.
        delivered: by `deliveries`, what the ledger holds. A row without `labeled_at` that came from this source before, or
            a dated one that came from anywhere, is no new word, whatever was decided since and whatever the item or its
            template shows by now: an import can be repeated.
        several: whether several people answer for a label on their own, each of whom may say something else.
    """
    parsed, refusals = _parse(rows, schema_of, seen, vocabulary)

    def voice(row: LabelRow) -> tuple[Any, ...]:
        """What one row may not say two things of at one time: the item, or one person's view of it."""
        return (*row.key, row.labeled_at, (row.labeled_by or by) if several(row.key) else None)

    said: dict[tuple[Any, ...], dict[str, str]] = {}
    for where, row, _, content in parsed:
        said.setdefault(voice(row), {}).setdefault(content, where)
    taken: dict[str, dict[str, Any]] = {}
    repeated: list[LabelRow] = []
    latest = dict(current)
    for where, row, shown, content in parsed:
        others = [place for other, place in said[voice(row)].items() if other != content]
        if others:
            refusals.append(
                Refusal(where, f"item {row.item_ref}: {others[0]} says something else of it; keep one, or date them")
            )
            continue
        decision = _decision(row, shown, content, by=by, at=row.labeled_at or now, source=source)
        # That somebody says what is known already is news where people are asked one by one.
        known = row.labeled_at is None and latest.get(row.key) == content and not several(row.key)
        if known or _delivery(decision, row) in delivered:
            repeated.append(row)
            continue
        latest[row.key] = content
        taken[decision["decision_id"]] = decision
    return Decided(pl.DataFrame(list(taken.values()), schema=DECISIONS), refusals, repeated)


def _parse(
    rows: Iterable[tuple[str, Mapping[str, Any] | str]],
    schema_of: Callable[[str], Mapping[str, Any]],
    seen: Callable[[LabelRow], Seen],
    vocabulary: Sequence[str],
) -> tuple[list[tuple[str, LabelRow, Seen, str]], list[Refusal]]:
    """The rows that are labels, each with its place, what its item shows and its content digest; and those that are none."""
    parsed: list[tuple[str, LabelRow, Seen, str]] = []
    refusals: list[Refusal] = []
    for where, raw in rows:
        if isinstance(raw, str):
            refusals.append(Refusal(where, raw))
            continue
        try:
            row = LabelRow.model_validate(raw)
            _check(row, schema_of(row.label_type), vocabulary)
            shown = seen(row)
        except ValidationError as error:
            refusals.append(Refusal(where, explain_misfit(error, LabelRow.model_fields)))
        except WorkbenchError as error:
            refusals.append(Refusal(where, error.line))
        else:
            parsed.append((where, row, shown, label_content(row, shown)))
    return parsed, refusals


def undone_decisions(decisions: pl.DataFrame) -> pl.Expr:
    """Whether a row was taken back by the person who decided it.

    Only what its own author names counts, and a restriction is no such thing: lifting one takes a steward and a reason.
    """
    undo = decisions.filter(pl.col("undoes").is_not_null() & (pl.col("action") == "restore"))
    named = pl.concat_str("by", pl.lit("\n"), "decision_id").is_in(
        [f"{by}\n{undone}" for by, undone in undo.select("by", "undoes").iter_rows()]
    )
    return named.fill_null(False) & ~pl.col("action").is_in(["restrict", "restore"])


def in_utc(time: dt.datetime) -> dt.datetime:
    """A time in UTC; one without a zone is taken to be in UTC."""
    return time.replace(tzinfo=dt.UTC) if time.tzinfo is None else time.astimezone(dt.UTC)


def deliveries(ledger: pl.DataFrame) -> set[str]:
    """What was delivered by import, each label by what it says, who said it, and where it came from or when it was said."""
    labels = ledger.filter(pl.col("action") == "label").select(*_DELIVERED, "source", "at", "seen_columns")
    return {
        digest([*said, by])
        for *said, source, at, columns in labels.iter_rows()
        for by in ([source], [at], [at, columns])
    }


# What the item showed is no part of it: a file that comes again is nobody's second look at a changed item.
_DELIVERED = ("sheet", "item_ref", "label_type", "label_data", "uses", "by", "confidence", "notes")


def _delivery(decision: Mapping[str, Any], row: LabelRow) -> str:
    """The one of `deliveries` that a row is if it comes again; one that names other columns than before is a new word."""
    by = [decision["source"]] if row.labeled_at is None else [decision["at"]]
    if row.labeled_at is not None and row.seen_columns is not None:
        by.append(decision["seen_columns"])
    return digest([*(decision[name] for name in _DELIVERED), by])


def label_content(row: LabelRow, shown: Seen) -> str:
    """The digest of what a label says, without who said it when."""
    return digest([row.label_data, row.confidence, row.notes, uses_of(row), list(shown.columns), shown.seen_hash])


def uses_of(row: StatedUses) -> dict[str, Any] | None:
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
    check_uses(row, vocabulary, f"item {row.item_ref}")


def check_uses(row: StatedUses, vocabulary: Sequence[str], where: str) -> None:
    """Refuses a use or classification that is not known.

    Raises:
        DefinitionError: naming it.
    """
    for use in (*(row.allowed_uses or ()), *row.prohibited_uses):
        known_use(use, vocabulary, where)
    if row.data_classification is not None:
        known_classification(row.data_classification, where)


def explain_misfit(error: ValidationError, known: Iterable[str]) -> str:
    """What is wrong with a row, by its column and never by its value."""
    first = error.errors()[0]
    field = ".".join(str(step) for step in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"unknown column {field}{nearest(field, known)}"
    if first["type"] == "missing":
        return f"{field} is missing"
    said = first["msg"].removeprefix("Value error, ")
    return f"{field}: {said.lower().replace('tuple', 'list')}" if field else said
