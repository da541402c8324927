"""What the templates of the page are given: values only, and of those only what the person before it may see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Progress:
    """How far a TrainingSheet is: pairs that need nobody any more, of all, and the rest by need."""

    name: str
    done: int
    total: int
    needs: Mapping[str, int]

    @property
    def waiting(self) -> int:
        return self.total - self.done


@dataclass(frozen=True)
class Task:
    """Items of a Sheet that can be labeled for a task, and how many are; `problem` where the Sheet can not be read."""

    sheet: str
    label_type: str
    done: int
    total: int
    problem: str | None = None


@dataclass(frozen=True)
class Assigned:
    """A task of a person: what is done of it, and what it asks."""

    task_id: str
    job: str
    assignee: str
    what: str
    status: str
    done: int
    target: int
    instructions: str | None
    reason: str | None
    due: str | None
    open_items: list[str]


@dataclass(frozen=True)
class Badge:
    """A use or classification of a pair, whether it is granted, and why."""

    text: str
    granted: bool
    why: str


@dataclass(frozen=True)
class Said:
    """One decision in the history of an item."""

    at: str
    by: str
    action: str
    answer: str | None
    remark: str
    undone: bool


@dataclass(frozen=True)
class ItemView:
    """An item as one person may see it.

    `rows` are the columns that the task is decided by, `more` the others, `masked` the names of those not shown. `columns` and
    `seen_hash` say what was seen where only the first were looked at, `all_columns` and `all_seen_hash` where the others were
    opened. `state` is what was decided so far.
    """

    sheet: str
    item_ref: str
    label_type: str
    rows: list[tuple[str, Any]]
    more: list[tuple[str, Any]]
    masked: list[str]
    images: list[str]
    documents: list[str]
    """The texts that were taken from a PDF, which can be looked at itself."""
    columns: list[str]
    all_columns: list[str]
    seen_hash: str
    all_seen_hash: str
    state: str
    label: Mapping[str, Any] | None
    changes: list[tuple[str, Any, Any]]
    history: list[Said]
    two_persons: bool
    visible: bool
    answers: list[tuple[str, str]]
    """What annotators said on their own, for whoever may see it: by name."""
    adjudicates: bool
    """Whether this person decides between them."""
    waiting: str | None
    """Why there is no label yet, where annotators are still to be heard or disagree."""


@dataclass(frozen=True)
class PairView:
    """A pair as one person may see it; without `visible` there is nothing in it but its place in the queue."""

    item: ItemView
    training_sheet: str
    pair_id: str
    visible: bool
    rank: int | None
    need: str | None
    detail: str | None
    waits_for: str | None
    messages: list[tuple[str, str | None]]
    response: str | None
    response_hash: str | None
    draft: str | None
    proposed_by: str | None
    model: str | None
    status: str
    inputs: Mapping[str, Any]
    edited: Mapping[str, Any]
    """What a person changed of them so far."""
    badges: list[Badge]
    schema: Mapping[str, Any]
