"""Labeling jobs: what people are asked to label, shared out into a task for each of them, and how far they are.

A job comes from the queue of a TrainingSheet, or from the description of a gap: items of a Sheet that have no label for a task.
What people did to tasks is a version each in `records/annotation_task_history`, of which two processes can never write the same
one; `records/annotation_tasks` shows what it comes to, with the labels that arrived.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from workbench_pipelines.access import Roles, roles_of
from workbench_pipelines.annotation_tasks import (
    ANNOTATION_TASKS,
    STATUSES,
    TASK_HISTORY,
    AnnotationTask,
    Progress,
    progress_of,
    task_id_of,
    task_rows,
)
from workbench_pipelines.annotator_agreement import annotator_agreement
from workbench_pipelines.errors import ArgumentError, LabelError, WorkbenchError, nearest
from workbench_pipelines.identity import digest
from workbench_pipelines.job_items import JobAsk, job_items, people_of, sheet_now, what_is_asked
from workbench_pipelines.task_sharing import JobItem, share_out
from workbench_pipelines.workbench import Workbench

HISTORY = ("records", "annotation_task_history")
TASKS = ("records", "annotation_tasks")
_TRIES = 20  # as many processes as change tasks of one Sheet at one time


@dataclass(frozen=True)
class Job:
    """A job as it was made: its tasks, and the items that went to nobody with the reason."""

    name: str
    tasks: tuple[AnnotationTask, ...]
    refused: tuple[tuple[str, str], ...]


def create_job(
    workbench: Workbench,
    ask: JobAsk,
    people: Sequence[str],
    *,
    by: str,
    annotators: int | None = None,
    overlap: float = 0.0,
) -> Job:
    """Makes a task for each person, with the items that fall to them.

    Args:
        people: names, or `team:x` for the people of a team.
        annotators: how many people each item takes; as many as its Sheet asks for where nothing is said.
        overlap: the share of the items that take one person more.

    Raises:
        LabelError: where `by` may not assign, or nothing is there to be labeled.
        ArgumentError: for people, needs, items or shares that can not be.
        DefinitionError: for a TrainingSheet, Sheet or label type that is not defined.
    """
    catalog = workbench.catalog()
    roles = roles_of(catalog)
    _refuse_assigning(roles, by)
    named = people_of(catalog, roles, people)
    sheet, label_type = what_is_asked(catalog, ask)
    given = {key: one.task for one in tasks_now(workbench, sheet) for key in one.open_keys}
    candidates, refused = job_items(workbench, ask, sheet, label_type, named, given)
    asked = catalog.panels().sheets[sheet].annotators if annotators is None else annotators
    shares = share_out(candidates, named, annotators=asked, overlap=overlap)
    if not shares.by_person:
        why = [*refused, *shares.refused]
        because = f"; item {why[0][0]}: {why[0][1]}" if why else ""
        raise LabelError(f"{ask.training_sheet or sheet}: nothing waits that could be given out{because}")
    made_at = dt.datetime.now(dt.UTC)
    name = _job_name(workbench, ask, sheet, [by, made_at, [item.item_ref for item in candidates]])
    tasks = _shared_out(ask, name, sheet, label_type, shares.by_person, by, made_at)
    workbench.lake.append_new(*HISTORY, frame=task_rows(tasks), key=["task_id", "version"])
    keep_tasks(workbench, sheet)
    return Job(name, tuple(tasks), (*refused, *shares.refused))


def change_task(
    workbench: Workbench,
    name: str,
    *,
    by: str,
    status: str | None = None,
    assignee: str | None = None,
    reason: str | None = None,
) -> Progress:
    """Moves a task on, or gives it to somebody else; the task as it stands then.

    Raises:
        ArgumentError: for a task there is not, or a move that is not allowed.
        LabelError: where `by` may not do that, or somebody changed the task meanwhile.
    """
    found = find_task(tasks_now(workbench), name)
    task = found.now
    catalog = workbench.catalog()
    roles = roles_of(catalog)
    at = dt.datetime.now(dt.UTC)
    if assignee is not None:
        _refuse_assigning(roles, by)
        (person,) = people_of(catalog, roles, [assignee])
        _refuse_twice(workbench, task, person)
        task = task.assigned(person, by, at, reason)
    if status is not None:
        if by != task.assignee and not roles.may(by, "approve"):
            raise LabelError(f"task {task.short} is {task.assignee}'s; they or an approver move it on, and not {by}")
        if status not in STATUSES:
            raise ArgumentError(f"there is no status '{status}'{nearest(status, STATUSES)}")
        if status == "completed":
            moved = task.completed(by, at, list(found.done), reason)
        elif status == "in_progress":
            moved = task.started(by, at, reason)
        else:
            raise ArgumentError(task.refusal_of("pending"))
        # Both at once are one change.
        task = replace(moved, version=found.task.version + 1)
    if task.version == found.task.version:
        raise ArgumentError("say what to change: a status, or whom to assign it to")
    if not workbench.lake.append_new(*HISTORY, frame=task_rows([task]), key=["task_id", "version"]):
        raise LabelError(f"task {task.short}: somebody changed it meanwhile; look at it again")
    keep_tasks(workbench, task.sheet)
    return find_task(tasks_now(workbench), task.task_id)


def tasks_now(workbench: Workbench, of_sheet: str | None = None) -> list[Progress]:
    """Every task, of one Sheet or of all, with what the labels that arrived did to it, in the order they were made."""
    tasks = [task for task in workbench.annotation_tasks() if of_sheet in (None, task.sheet)]
    found: dict[str, Progress] = {}
    for sheet in sorted({task.sheet for task in tasks}):
        own = [task for task in tasks if task.sheet == sheet]
        try:
            now = sheet_now(workbench, sheet)
        except WorkbenchError:
            # A Sheet that can not be read says nothing of its tasks; its run says why.
            found |= {task.task_id: Progress(task, {}, None) for task in own}
            continue
        found |= {one.task.task_id: one for one in progress_of(own, now.decisions, now.labels)}
    return [found[task.task_id] for task in tasks]


def find_task(tasks: Sequence[Progress], name: str) -> Progress:
    """The task of this name, or whose name begins so.

    Raises:
        ArgumentError: for none, or several.
    """
    found = [one for one in tasks if one.task.task_id.startswith(name)] if name else []
    if len(found) == 1:
        return found[0]
    if found:
        raise ArgumentError(f"{len(found)} tasks begin with '{name}'; write more of it")
    raise ArgumentError(f"there is no task '{name}'{nearest(name, [one.task.short for one in tasks])}")


def history_of(workbench: Workbench, task_id: str) -> pl.DataFrame:
    """Who changed a task, when and why; rows of `TASK_HISTORY`, oldest first."""
    rows = workbench.record("annotation_task_history", TASK_HISTORY)
    return rows.filter(pl.col("task_id") == task_id).sort("version")


def agreement_now(workbench: Workbench, sheet: str, label_type: str | None = None) -> pl.DataFrame:
    """How far the annotators of a Sheet agree; rows of `ANNOTATOR_AGREEMENT`.

    Raises:
        DefinitionError: for a Sheet or label type that is not defined.
    """
    catalog = workbench.catalog()
    if label_type is not None:
        catalog.label_schema(label_type)
    now = sheet_now(workbench, sheet)
    rows = annotator_agreement(sheet, now.decisions, now.items, workbench.panels())
    return rows if label_type is None else rows.filter(pl.col("label_type") == label_type)


def keep_tasks(workbench: Workbench, sheet: str) -> None:
    """Writes what the tasks of a Sheet come to into `records/annotation_tasks`; where that is there already, nothing."""
    if not workbench.lake.exists(*HISTORY):
        return
    names = [sheet, *workbench.catalog().sheet(sheet).metadata.formerly]
    for _ in range(_TRIES):
        version = workbench.lake.version(*HISTORY)
        rows = [one.row() for one in tasks_now(workbench, sheet)]
        frame = pl.DataFrame(rows, schema=ANNOTATION_TASKS)
        kept = workbench.record("annotation_tasks", ANNOTATION_TASKS).filter(pl.col("sheet").is_in(names))
        if not kept.select(frame.columns).sort("task_id").equals(frame.sort("task_id")):
            workbench.lake.replace_partition(*TASKS, frame=frame, partition_by="sheet", keys=names)
        # What came in while this was written is not in it.
        if workbench.lake.version(*HISTORY) == version:
            return


def _shared_out(
    ask: JobAsk,
    job: str,
    sheet: str,
    label_type: str,
    by_person: Mapping[str, Sequence[JobItem]],
    by: str,
    made_at: dt.datetime,
) -> list[AnnotationTask]:
    """A task for each person; what is wanted of all is asked of them in even parts, and of whom nothing is wanted gets none."""
    tasks: list[AnnotationTask] = []
    left = ask.target_count
    for person, share in by_person.items():
        refs = tuple(item.item_ref for item in share)
        rest = len(by_person) - len(tasks)
        target = len(refs) if left is None else min(len(refs), -(-left // rest))
        left = None if left is None else left - target
        tasks.append(
            AnnotationTask(
                task_id=task_id_of(job, person, refs),
                job=job,
                training_sheet=ask.training_sheet,
                sheet=sheet,
                label_type=label_type,
                item_refs=refs,
                pair_ids=tuple(item.pair_id for item in share if item.pair_id is not None),
                assignee=person,
                instructions=ask.instructions,
                target_count=target,
                source=ask.source,
                reason=ask.reason,
                due=ask.due,
                created_by=by,
                created_at=made_at,
                changed_by=by,
                changed_at=made_at,
                change="created",
            )
        )
    return [task for task in tasks if task.target_count]


def _refuse_assigning(roles: Roles, by: str) -> None:
    if not roles.may(by, "approve"):
        raise LabelError(f"{by} may not assign tasks; the Access document names the approvers and stewards who may")


def _refuse_twice(workbench: Workbench, task: AnnotationTask, person: str) -> None:
    """Refuses somebody who was asked for one of its items by another task: nobody labels an item twice for a job."""
    own = {
        item
        for one in workbench.annotation_tasks()
        if one.assignee == person and one.job == task.job and one.task_id != task.task_id
        for item in one.item_refs
    }
    twice = [item for item in task.item_refs if item in own]
    if twice:
        raise ArgumentError(f"task {task.short}: {person} has {len(twice)} of its items already, {twice[0]} among them")


def _job_name(workbench: Workbench, ask: JobAsk, sheet: str, made_of: Sequence[object]) -> str:
    if ask.job is None:
        return f"{ask.training_sheet or sheet}-{digest(list(made_of))[:8]}"
    if not ask.job.strip() or len(ask.job) > 100:
        raise ArgumentError("the name of a job has 1 to 100 characters")
    if any(task.job == ask.job for task in workbench.annotation_tasks()):
        raise ArgumentError(f"there is a job '{ask.job}' already; give this one another name")
    return ask.job
