"""Annotation tasks: the items that one person is asked to label, with what to heed, how many and until when.

A task goes `pending -> in_progress -> completed` and never back. People start and end it by hand, or the labels that arrive do:
it is in progress once its person decided of one of its items, and completed once as many as it asks for are done.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import polars as pl

from workbench_pipelines.consensus import Key
from workbench_pipelines.decisions import UTC_TIME, undone_decisions
from workbench_pipelines.errors import ArgumentError
from workbench_pipelines.identity import digest

Status = Literal["pending", "in_progress", "completed"]
STATUSES = ("pending", "in_progress", "completed")
MOVES: Mapping[str, tuple[str, ...]] = {"pending": ("in_progress",), "in_progress": ("completed",), "completed": ()}
"""Where a task may go from each status."""

Source = Literal["queue", "gap"]
DONE_BY = ("label", "approve", "edit", "reject", "flag")
"""What a person decides of an item that settles their part of it."""

TASK_HISTORY = pl.Schema(
    {
        "task_id": pl.String(),
        "version": pl.Int64(),
        "job": pl.String(),
        "training_sheet": pl.String(),
        "sheet": pl.String(),
        "label_type": pl.String(),
        "item_refs": pl.List(pl.String()),
        "pair_ids": pl.List(pl.String()),
        "assignee": pl.String(),
        "instructions": pl.String(),
        "target_count": pl.Int64(),
        "source": pl.String(),
        "reason": pl.String(),
        "due": UTC_TIME,
        "status": pl.String(),
        "created_by": pl.String(),
        "created_at": UTC_TIME,
        "started_at": UTC_TIME,
        "completed_at": UTC_TIME,
        "changed_by": pl.String(),
        "changed_at": UTC_TIME,
        "change": pl.String(),
    }
)
"""Columns of `records/annotation_task_history`: every version of every task, with who changed it, when and why (`change`)."""

ANNOTATION_TASKS = pl.Schema({**TASK_HISTORY, "done": pl.Int64()})
"""Columns of `records/annotation_tasks`: each task as it stands, what labels did to it included; `done` counts its items that
need its person no more."""


@dataclass(frozen=True)
class AnnotationTask:
    """One version of a task. Every change is a new value with the next `version`."""

    task_id: str
    job: str
    sheet: str
    label_type: str
    item_refs: tuple[str, ...]
    assignee: str
    target_count: int
    created_by: str
    created_at: dt.datetime
    training_sheet: str | None = None
    pair_ids: tuple[str, ...] = ()
    instructions: str | None = None
    source: Source = "queue"
    reason: str | None = None
    due: dt.datetime | None = None
    status: Status = "pending"
    started_at: dt.datetime | None = None
    completed_at: dt.datetime | None = None
    version: int = 1
    changed_by: str | None = None
    changed_at: dt.datetime | None = None
    change: str | None = None

    def started(self, by: str, at: dt.datetime, why: str | None = None) -> AnnotationTask:
        """The task in progress.

        Raises:
            ArgumentError: where it is not pending.
        """
        moved = self._moved("in_progress", by, at, why)
        return replace(moved, started_at=at)

    def completed(self, by: str, at: dt.datetime, done: Collection[str], why: str | None = None) -> AnnotationTask:
        """The task completed, with the items that are done; the others are nobody's again.

        Raises:
            ArgumentError: where it is not in progress, or where less is done than it asks for and there is no reason.
        """
        moved = self._moved("completed", by, at, why)
        if len(done) < self.target_count and not why:
            raise ArgumentError(
                f"task {self.short}: {len(done)} of {self.target_count} are done; give a reason to end it with that"
            )
        places = [place for place, item in enumerate(self.item_refs) if item in done]
        items = tuple(self.item_refs[place] for place in places)
        pairs = tuple(self.pair_ids[place] for place in places) if self.pair_ids else ()
        return replace(moved, completed_at=at, item_refs=items, pair_ids=pairs)

    def assigned(self, assignee: str, by: str, at: dt.datetime, why: str | None = None) -> AnnotationTask:
        """The task in the hands of somebody else.

        Raises:
            ArgumentError: where it is completed, or theirs already.
        """
        if self.status == "completed":
            raise ArgumentError(f"task {self.short}: it is completed; nobody can be given it any more")
        if assignee == self.assignee:
            raise ArgumentError(f"task {self.short}: it is {assignee}'s already")
        return replace(self._changed(by, at, why or f"from {self.assignee} to {assignee}"), assignee=assignee)

    @property
    def short(self) -> str:
        """The first letters of its name, as people read it."""
        return self.task_id[:12]

    @property
    def keys(self) -> list[Key]:
        """The labels that it asks for."""
        return [(self.sheet, item, self.label_type) for item in self.item_refs]

    @property
    def is_open(self) -> bool:
        return self.status != "completed"

    def refusal_of(self, to: Status) -> str | None:
        """Why it may not go there, in one line; None where it may."""
        allowed = MOVES[self.status]
        if to in allowed:
            return None
        may = " or ".join(allowed) or "nothing: a completed task stays so, make a new one"
        return f"task {self.short}: it can not go from {self.status} to {to}; allowed: {may}"

    def _moved(self, to: Status, by: str, at: dt.datetime, why: str | None) -> AnnotationTask:
        refusal = self.refusal_of(to)
        if refusal is not None:
            raise ArgumentError(refusal)
        return replace(self._changed(by, at, why), status=to)

    def _changed(self, by: str, at: dt.datetime, why: str | None) -> AnnotationTask:
        return replace(self, version=self.version + 1, changed_by=by, changed_at=at, change=why)


def task_id_of(job: str, assignee: str, item_refs: Sequence[str]) -> str:
    """The name of a task: its job, whom it was made for, and its items."""
    return digest(["annotation_task", job, assignee, sorted(item_refs)])


def task_rows(tasks: Iterable[AnnotationTask]) -> pl.DataFrame:
    """Rows of `TASK_HISTORY`."""
    return pl.DataFrame([asdict(task) for task in tasks], schema=TASK_HISTORY)


def latest_tasks(history: pl.DataFrame) -> list[AnnotationTask]:
    """Each task as it was changed last, in the order they were made."""
    newest = history.sort("version").unique("task_id", keep="last").sort("created_at", "job", "assignee", "task_id")
    found = []
    for row in newest.select(list(TASK_HISTORY)).iter_rows(named=True):
        row |= {name: tuple(row[name] or ()) for name in ("item_refs", "pair_ids")}
        found.append(AnnotationTask(**row))
    return found


def asked_of(tasks: Iterable[AnnotationTask]) -> dict[Key, int]:
    """How many people are asked for each label, by the job that asks most for it.

    What another job asks later, of an item that changed, is another question.
    """
    people: dict[tuple[Key, str], set[str]] = {}
    for task in tasks:
        for key in task.keys:
            people.setdefault((key, task.job), set()).add(task.assignee)
    asked: dict[Key, int] = {}
    for (key, _), names in people.items():
        asked[key] = max(len(names), asked.get(key, 1))
    return asked


@dataclass(frozen=True)
class Progress:
    """How far a task is: its items that need its person no more, by the time of the decision that settled each."""

    task: AnnotationTask
    done: Mapping[str, dt.datetime]
    first_at: dt.datetime | None

    @property
    def status(self) -> Status:
        return self.now.status

    @property
    def open_items(self) -> list[str]:
        """The items that still need its person, in their order."""
        return [item for item in self.task.item_refs if item not in self.done]

    @property
    def open_keys(self) -> list[Key]:
        """The labels that still need its person; none of a task that is completed."""
        if self.status == "completed":
            return []
        return [(self.task.sheet, item, self.task.label_type) for item in self.open_items]

    @property
    def now(self) -> AnnotationTask:
        """The task with what the labels did to it: they start it and complete it, at the time they were given."""
        task = self.task
        if task.status == "pending" and self.first_at is not None:
            task = replace(task, status="in_progress", started_at=self.first_at)
        if task.status == "in_progress" and len(self.done) >= task.target_count:
            ended = sorted(self.done.values())[task.target_count - 1] if task.target_count else task.created_at
            task = replace(task, status="completed", completed_at=max(ended, task.started_at or ended))
        return task

    def row(self) -> dict[str, Any]:
        """A row of `ANNOTATION_TASKS`."""
        return {**asdict(self.now), "done": len(self.done)}


def progress_of(tasks: Sequence[AnnotationTask], decisions: pl.DataFrame, labels: pl.DataFrame) -> list[Progress]:
    """How far tasks are.

    An item is done once its person decided of it since the task was made, or its label stands without them.

    Args:
        decisions: rows of `label/decisions`.
        labels: rows of `label/canonical_labels`.
    """
    if not tasks:
        return []
    asked = pl.DataFrame(
        [(n, *key, t.assignee, t.created_at) for n, t in enumerate(tasks) for key in t.keys],
        schema={
            "place": pl.Int64,
            "sheet": pl.String,
            "item_ref": pl.String,
            "label_type": pl.String,
            "assignee": pl.String,
            "since": UTC_TIME,
        },
        orient="row",
    )
    key = ["sheet", "item_ref", "label_type"]
    own = (
        decisions.filter(pl.col("action").is_in(DONE_BY) & ~undone_decisions(decisions))
        .unique("decision_id", keep="any")
        .select(*key, pl.col("by").alias("assignee"), pl.col("at").alias("own_at"))
        .join(asked, on=[*key, "assignee"])
        .filter(pl.col("own_at") >= pl.col("since"))
        .group_by("place", "item_ref")
        .agg(pl.col("own_at").min())
    )
    live = labels.filter(pl.col("active") & ~pl.col("stale")).select(*key, pl.col("last_modified_at").alias("live_at"))
    known = asked.join(own, on=["place", "item_ref"], how="left").join(live, on=key, how="left")
    known = known.select("place", "item_ref", "own_at", pl.coalesce("own_at", "live_at").alias("done_at"))
    done: dict[int, dict[str, dt.datetime]] = {}
    own_first: dict[int, dt.datetime] = {}
    for place, item, own_at, done_at in known.filter(pl.col("done_at").is_not_null()).iter_rows():
        done.setdefault(place, {})[item] = done_at
        if own_at is not None:
            own_first[place] = min(own_at, own_first.get(place, own_at))
    found = []
    for place, task in enumerate(tasks):
        settled = done.get(place, {})
        first = own_first.get(place)
        # What others did starts nobody's task, unless nothing is left to do.
        if first is None and settled and len(settled) >= task.target_count:
            first = min(settled.values())
        found.append(Progress(task, settled, first))
    return found
