"""The life of a Collection's version: `draft -> in_review -> approved -> released -> deprecated -> retired`.

Every published export starts as a draft and may train as one. Statuses are events that are only added: who, when, why. Who made
an export or handed it in for review does not approve it. What is retired trains no model any more.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from workbench_pipelines.access import Roles
from workbench_pipelines.errors import ArgumentError, ExportError, nearest

STATUSES = ("draft", "in_review", "approved", "released", "deprecated", "retired")
MOVES: Mapping[str, tuple[str, ...]] = {
    "draft": ("in_review",),
    "in_review": ("approved", "draft"),
    "approved": ("released", "draft"),
    "released": ("deprecated",),
    "deprecated": ("retired",),
    "retired": (),
}
"""Where a version may go from each status; what is not released yet may be sent back."""

ANNOUNCED = ("released", "deprecated", "retired")
"""The statuses that subscribers are told of, and that take the role `release`."""

COLLECTION_VERSIONS = pl.Schema(
    {
        "collection": pl.String(),
        "version": pl.Int64(),
        "number": pl.Int64(),
        "status": pl.String(),
        "by": pl.String(),
        "at": pl.Datetime("us", "UTC"),
        "reason": pl.String(),
    }
)
"""One row a status that a version of a Collection came to, never changed; `number` counts them from 1. The last one holds."""

KEY = ["collection", "version", "number"]


@dataclass(frozen=True)
class State:
    """A version as it stands: its status and since when, and who may not approve it."""

    collection: str
    version: int
    number: int = 0
    status: str = "draft"
    by: str | None = None
    at: dt.datetime | None = None
    reason: str | None = None
    authors: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return f"Collection {self.collection} v{self.version}"

    def event(self, status: str, *, by: str, at: dt.datetime, reason: str | None) -> pl.DataFrame:
        """The next row of `COLLECTION_VERSIONS`."""
        row = (self.collection, self.version, self.number + 1, status, by, at, reason)
        return pl.DataFrame([row], schema=COLLECTION_VERSIONS, orient="row")


def state_of(history: pl.DataFrame, collection: str, version: int) -> State:
    """A version as it stands; one of which nothing was said is a draft.

    Args:
        history: rows of `COLLECTION_VERSIONS`.
    """
    own = history.filter((pl.col("collection") == collection) & (pl.col("version") == version)).sort("number")
    if own.is_empty():
        return State(collection, version)
    # It is made as a draft and handed in for review: both are the author's.
    made = own.filter((pl.col("status") == "in_review") | (pl.col("number") == 1))
    last = own.row(-1, named=True)
    return State(authors=frozenset(made["by"].drop_nulls()), **last)


def parse_status(text: str) -> str:
    """A status as people write it: `in review`, `in-review`, `in_review`.

    Raises:
        ArgumentError: for any other word.
    """
    found = text.strip().lower().replace("-", "_").replace(" ", "_")
    if found not in STATUSES:
        raise ArgumentError(f"--to: '{text}' is no status{nearest(found, STATUSES)}; they are {', '.join(STATUSES)}")
    return found


def check_move(state: State, to: str, *, by: str, roles: Roles, reason: str | None) -> None:
    """Refuses what a version, or a person, may not do.

    Raises:
        ExportError: naming what may be done, or who may do it.
    """
    if to not in MOVES[state.status]:
        open_to = " or ".join(MOVES[state.status]) or "nothing any more"
        raise ExportError(f"{state.name} is {state.status} and may become {open_to}, not {to}")
    if not (reason or "").strip():
        raise ExportError(f"{state.name}: say why with --reason; it is kept with the status")
    actions = roles.actions_of(by)
    if not actions and not roles.releases(by):
        raise ExportError(f"{state.name}: '{by}' has no role here; an Access document gives them")
    if to == "approved":
        if "approve" not in actions:
            raise ExportError(f"{state.name}: '{by}' is no approver; an approver approves")
        if by in state.authors:
            raise ExportError(f"{state.name}: '{by}' made it or handed it in, and somebody else approves")
    if to in ANNOUNCED and not roles.releases(by):
        raise ExportError(f"{state.name}: '{by}' has not the role `release`, which it takes to be {to}")


def retired_line(state: State) -> str | None:
    """Why a version may train no model; None where it may."""
    if state.status != "retired":
        return None
    return (
        f"{state.name} is retired since {state.at:%Y-%m-%d} by {state.by} ({state.reason}) and trains no model any more; "
        "change the Collection or its pairs and export it again"
    )
