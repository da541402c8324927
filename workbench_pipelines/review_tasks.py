"""Tasks of a review: what a person is asked, as any back end shows it, and what a back end is.

A back end shows tasks to people and gives back what they said as judgements (`review.Judgement`); the inbox takes those in.
The own page reads the queue itself and delivers each judgement the moment it is made; files and Label Studio are handed
their tasks and asked for what was said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

from workbench_pipelines.decisions import Refusal
from workbench_pipelines.identity import canonical_text, digest


class Picture(NamedTuple):
    """An image of an item: a data URI, and its size in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True)
class ReviewTask:
    """One question to a person: a pair of a queue, or (without `pair_id`) an item that is labeled for a task.

    `shown` is what is looked at by name: the prompt's inputs of a pair, the columns of an item. `response` is the proposed
    answer (JSON), `pictures` are images by name. `seen_columns` and `seen_hash` say which columns of the item that amounts to.
    """

    sheet: str
    item_ref: str
    label_type: str
    shown: Mapping[str, Any]
    seen_columns: tuple[str, ...]
    seen_hash: str
    training_sheet: str | None = None
    pair_id: str | None = None
    response: str | None = None
    response_hash: str | None = None
    messages: tuple[tuple[str, str | None], ...] = ()
    need: str | None = None
    detail: str | None = None
    model: str | None = None
    ai_confidence: float | None = None
    pictures: Mapping[str, Picture] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What a back end calls it, whatever changes of it: its pair, or its item and task."""
        return self.pair_id or item_task(self.sheet, self.item_ref, self.label_type)

    @property
    def prompt(self) -> str:
        """The prompt of a pair as one text: its only message, or all of them under their roles."""
        if len(self.messages) == 1:
            return self.messages[0][1] or ""
        return "\n\n".join(f"[{role}]\n{content or ''}" for role, content in self.messages)

    @property
    def identity(self) -> dict[str, Any]:
        """What a judgement of it says of what it is about, as the person saw it."""
        of_pair = {
            "training_sheet": self.training_sheet,
            "pair_id": self.pair_id,
            "response_hash": self.response_hash,
            "proposed_response": self.response,
        }
        return {
            "sheet": self.sheet,
            "item_ref": self.item_ref,
            "label_type": self.label_type,
            **(of_pair if self.pair_id else {}),
            "seen_columns": list(self.seen_columns),
            "seen_hash": self.seen_hash,
        }


def text_of(value: Any) -> str:
    """A value as people read it: a text as it is, nothing where there is none, anything else as JSON."""
    return "" if value is None else value if isinstance(value, str) else canonical_text(value)


def item_task(sheet: str, item_ref: str, label_type: str) -> str:
    """What a back end calls the labeling of an item."""
    return digest(["item", sheet, item_ref, label_type])


class Asked(NamedTuple):
    """The tasks that a person may be shown, how many were left out since they may not see what is restricted, and the names of
    all that wait and may be shown, where not all of them are asked for; `apart` counts those left out since several people
    answer for them on their own."""

    tasks: list[ReviewTask]
    withheld: int
    label_type: str
    schema: Mapping[str, Any]
    waiting: frozenset[str] = frozenset()
    apart: int = 0


@dataclass(frozen=True)
class Pushed:
    """What became of tasks that a back end was handed, by count."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    removed: int = 0
    kept: int = 0
    """Tasks that wait for nobody any more and stay, since somebody worked on them."""


@dataclass(frozen=True)
class Pulled:
    """What a back end gave back: judgements as they are delivered, each with the place it came from, those that can not be
    read, and how many tasks nobody decided."""

    judgements: Sequence[tuple[str, Mapping[str, Any]]]
    refusals: Sequence[Refusal]
    undecided: int = 0


class ReviewBackEnd(Protocol):
    """Where people decide outside the own page."""

    name: str
    """What `records/review_inbox` calls it."""

    def push(self, asked: Asked) -> Pushed:
        """Shows these tasks; handed over again, nothing is there twice."""

    def pull(self) -> Pulled:
        """All that was said of its tasks so far; what was pulled before comes again and changes nothing."""
