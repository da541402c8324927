"""Judgements: what one person says of one pair or item, as any review back end delivers it, and the decisions it makes.

A decision is named by what it says, who says it and when, and never by the back end it came through: delivered twice, late,
shuffled or by two back ends it is one row of the ledger.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import polars as pl
from pydantic import Field, ValidationError, field_validator, model_validator

from workbench_pipelines.access import Roles
from workbench_pipelines.decisions import (
    DECISIONS,
    LABELING_ACTIONS,
    REVIEWED,
    Refusal,
    Seen,
    StatedUses,
    check_uses,
    explain_misfit,
    in_utc,
    uses_of,
)
from workbench_pipelines.errors import LabelError, WorkbenchError
from workbench_pipelines.fields import schema_violation
from workbench_pipelines.identity import canonical_text, canonical_value, digest, response_hash

Action = Literal["label", "approve", "edit", "reject", "flag", "restrict", "restore"]

CLOCKS_DIFFER = dt.timedelta(minutes=5)
"""How far the clocks of people's machines may be ahead."""


class Judgement(StatedUses):
    """What one person says of one pair (then with `pair_id`) or of one item.

    `label_data` is the answer of a label or an edit; `proposed_response` and `response_hash` are the answer that was looked
    at. `inputs` are edited prompt inputs by variable, those that were changed. `undoes` names an own earlier decision that
    a restore takes back. With `adjudicates` a third person decides between the answers of several annotators.
    `seen_columns` and `seen_hash` say what was shown; without them, what the item shows when the judgement is taken.
    """

    sheet: str = Field(min_length=1)
    item_ref: str = Field(min_length=1)
    label_type: str = Field(min_length=1)
    action: Action
    training_sheet: str | None = None
    pair_id: str | None = None
    response_hash: str | None = None
    proposed_response: str | None = None
    label_data: dict[str, Any] | None = None
    inputs: dict[str, Any] | None = None
    undoes: str | None = None
    adjudicates: bool = False
    confidence: Literal["high", "medium", "low"] | None = None
    notes: str | None = None
    reason: str | None = None
    seen_columns: tuple[str, ...] | None = None
    seen_hash: str | None = None
    by: str = Field(min_length=1)
    at: dt.datetime

    @field_validator("at")
    @classmethod
    def _utc(cls, value: dt.datetime) -> dt.datetime:
        return in_utc(value)

    @model_validator(mode="after")
    def _says_what_its_action_needs(self) -> Judgement:
        if self.action in ("label", "edit") and self.label_data is None:
            raise ValueError(f"action {self.action} needs `label_data`")
        if self.action not in ("label", "edit") and self.label_data is not None:
            raise ValueError(f"`label_data` goes with a label or an edit, not with {self.action}")
        if self.action == "approve" and self.proposed_response is None:
            raise ValueError(
                "action approve needs `proposed_response`, the answer that is approved; a pair without one is answered by an edit"
            )
        if self.action == "flag" and self.pair_id is None:
            raise ValueError("action flag needs `pair_id`")
        if self.action == "reject" and self.pair_id is not None and self.response_hash is None:
            raise ValueError(
                "a rejection of a pair needs `response_hash`, the answer it saw; a pair without an answer is answered or flagged"
            )
        if self.inputs is not None and (self.action != "edit" or self.pair_id is None):
            raise ValueError("`inputs` go with the edit of a pair")
        if self.undoes is not None and self.action != "restore":
            raise ValueError("`undoes` goes with a restore")
        if self.adjudicates and self.action not in LABELING_ACTIONS:
            raise ValueError(f"`adjudicates` goes with {', '.join(LABELING_ACTIONS)}, not with {self.action}")
        if self.action == "restrict" and uses_of(self) is None:
            raise ValueError("action restrict needs allowed_uses, prohibited_uses or data_classification")
        if self.action == "restore" and self.undoes is None and not (self.reason or "").strip():
            raise ValueError("action restore needs a `reason`")
        return self

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.sheet, self.item_ref, self.label_type)

    @property
    def asks_for(self) -> str:
        """The kind of decision that its author must be allowed to take; withdrawing a label is the business of stewards, and
        deciding between annotators that of approvers."""
        if self.undoes is not None:
            return "undo"
        if self.adjudicates:
            return "approve"
        return "restore" if self.action == "reject" and self.pair_id is None else self.action

    @property
    def decision_id(self) -> str:
        """The name of the decision it makes, by its content alone."""
        said = [self.action, self.label_data, self.response_hash, uses_of(self), self.inputs, self.undoes]
        remarks = [self.confidence, self.notes, self.reason]
        between = ["adjudicates"] if self.adjudicates else []
        return digest(["decision", *self.key, self.pair_id, *said, *remarks, self.by, self.at, *between])


class Judged(NamedTuple):
    """What judgements come to: rows of `DECISIONS`, and those refused, each by its place and the name of its delivery."""

    decisions: pl.DataFrame
    refusals: list[tuple[str, Refusal]]


def parse_judgement(raw: Mapping[str, Any]) -> Judgement:
    """A delivered judgement.

    Raises:
        LabelError: naming the field that is wrong and never its value.
    """
    try:
        return Judgement.model_validate(dict(raw))
    except ValidationError as error:
        raise LabelError(explain_misfit(error, Judgement.model_fields)) from None


def delivery_of(raw: Mapping[str, Any]) -> str:
    """The name of a delivery: that of the decision it makes, or of its text where it makes none."""
    try:
        return parse_judgement(raw).decision_id
    except LabelError:
        return digest(["delivery", dict(raw)])


def decide_judgements(
    rows: Iterable[tuple[str, Mapping[str, Any]]],
    *,
    schema_of: Callable[[str], Mapping[str, Any]],
    seen: Callable[[Judgement], Seen],
    roles: Roles,
    vocabulary: Sequence[str],
    now: dt.datetime | None = None,
) -> Judged:
    """The decisions that delivered judgements make, in the order of their names.

    Args:
        rows: judgements as they were delivered, each with the place that a refusal names.
        schema_of: the JSON Schema of a label type; raises a WorkbenchError for an unknown one.
        seen: what the item shows now; raises a WorkbenchError where the Sheet holds no such item.
        roles: who may decide what.
        vocabulary: the uses a constraint may name.
        now: a judgement from later than that is refused, since it would be the last word for as long; None takes any.
    """
    taken: dict[str, dict[str, Any]] = {}
    refusals: list[tuple[str, Refusal]] = []
    for where, raw in rows:
        try:
            judgement = parse_judgement(raw)
            if now is not None and judgement.at > now + CLOCKS_DIFFER:
                raise LabelError(f"item {judgement.item_ref}: its time lies in the future; set the clock it came by")
            _check(judgement, schema_of, roles, vocabulary)
            shown = _shown(judgement, seen)
        except WorkbenchError as error:
            refusals.append((delivery_of(raw), Refusal(where, error.line)))
        else:
            taken[judgement.decision_id] = _decision(judgement, shown)
    ordered = [taken[name] for name in sorted(taken)]
    return Judged(pl.DataFrame(ordered, schema=DECISIONS), refusals)


def _check(
    judgement: Judgement, schema_of: Callable[[str], Mapping[str, Any]], roles: Roles, vocabulary: Sequence[str]
) -> None:
    where = f"item {judgement.item_ref}"
    if not roles.may(judgement.by, judgement.asks_for):
        withdraws = judgement.action == "reject" and judgement.asks_for == "restore"
        what = "withdraw a label" if withdraws else "adjudicate" if judgement.adjudicates else judgement.action
        raise LabelError(f"{where}: {judgement.by} may not {what}; the Access document names who may")
    schema = schema_of(judgement.label_type)
    check_uses(judgement, vocabulary, where)
    answer = judgement.proposed_response
    if answer is not None and judgement.response_hash not in (None, response_hash(answer)):
        raise LabelError(f"{where}: response_hash is not that of proposed_response")
    if judgement.action not in LABELING_ACTIONS:
        return
    field = "proposed_response" if judgement.label_data is None else "label_data"
    said = _read(answer, where) if judgement.label_data is None else judgement.label_data
    violation = schema_violation(said, schema)
    if violation:
        raise LabelError(f"{where}: {field}: {violation}")


def _read(answer: str | None, where: str) -> Any:
    try:
        return json.loads(answer or "")
    except ValueError:
        raise LabelError(f"{where}: proposed_response is no JSON") from None


def _shown(judgement: Judgement, seen: Callable[[Judgement], Seen]) -> Seen:
    """What the person saw, by their own word; else what the item shows now.

    Raises:
        WorkbenchError: where the Sheet holds no such item, whatever is said of it.
    """
    if not (judgement.seen_columns and judgement.seen_hash):
        return seen(judgement)
    seen(judgement.model_copy(update={"seen_columns": None}))
    return Seen(tuple(sorted(judgement.seen_columns)), judgement.seen_hash)


def _decision(judgement: Judgement, shown: Seen) -> dict[str, Any]:
    uses = uses_of(judgement)
    sets = judgement.action in LABELING_ACTIONS

    def text(value: Mapping[str, Any] | None) -> str | None:
        return None if value is None else canonical_text(value)

    # The answer that is approved is the label: two spellings of one answer are one label.
    answer = judgement.proposed_response
    return {
        "decision_id": judgement.decision_id,
        "sheet": judgement.sheet,
        "item_ref": judgement.item_ref,
        "label_type": judgement.label_type,
        "training_sheet": judgement.training_sheet,
        "pair_id": judgement.pair_id,
        "response_hash": judgement.response_hash or (None if answer is None else response_hash(answer)),
        "action": judgement.action,
        "label_data": text(judgement.label_data),
        "proposed_response": text(canonical_value(answer)) if answer and judgement.action == "approve" else answer,
        "seen_columns": list(shown.columns),
        "seen_hash": shown.seen_hash,
        "uses": text(uses),
        "reason": judgement.reason or judgement.usage_reason,
        "source": REVIEWED,
        "by": judgement.by,
        "at": judgement.at,
        "confidence": judgement.confidence or ("high" if sets and judgement.action != "approve" else None),
        "notes": judgement.notes,
        "inputs": text(judgement.inputs),
        "undoes": judgement.undoes,
        "adjudicates": judgement.adjudicates or None,
    }
