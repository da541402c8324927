"""`workbench tasks`: who labels what, how far everybody is, and how far they agree."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import click
import polars as pl

from workbench_pipelines.annotation_tasks import STATUSES, Progress
from workbench_pipelines.cli.output import print_json, print_table, warn_each
from workbench_pipelines.cli.project import open_workbench
from workbench_pipelines.errors import ArgumentError, nearest
from workbench_pipelines.labeling_jobs import (
    JobAsk,
    agreement_now,
    change_task,
    create_job,
    find_task,
    history_of,
    tasks_now,
)
from workbench_pipelines.throughput import throughput_of

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_SHOWN = ("task", "job", "assignee", "status", "progress", "sheet", "label_type", "due")


@click.group()
def tasks() -> None:
    """Labeling jobs: tasks for people, their progress and their agreement."""


@tasks.command()
@click.argument("name")
@click.option("--to", "people", multiple=True, required=True, help="Who labels: a person, or team:NAME; once for each.")
@click.option("--needs", multiple=True, help="Only pairs with this need, as the queue names it; once for each.")
@click.option("--item", "items", multiple=True, help="Only this item; once for each.")
@click.option("--where", "condition", help="Only items for which this SQL condition holds.")
@click.option("--limit", type=click.IntRange(min=1), help="The first so many.")
@click.option(
    "--annotators", type=click.IntRange(min=1), help="How many people each item takes; else as its Sheet says."
)
@click.option("--overlap", default=0.0, help="The share of the items that take one person more, as 0.1.")
@click.option("--label-type", help="The task, where NAME is a Sheet.")
@click.option(
    "--target", type=click.IntRange(min=1), help="How many labels are wanted, where fewer than items will do."
)
@click.option("--instructions", help="What to heed.")
@click.option("--reason", help="Why they are asked.")
@click.option("--due", type=click.DateTime(["%Y-%m-%d"]), help="Until when, as YYYY-MM-DD.")
@click.option("--job", help="A name for the job; one is made up otherwise.")
@_JSON
def create(
    name: str,
    people: tuple[str, ...],
    needs: tuple[str, ...],
    items: tuple[str, ...],
    condition: str | None,
    limit: int | None,
    annotators: int | None,
    overlap: float,
    label_type: str | None,
    target: int | None,
    instructions: str | None,
    reason: str | None,
    due: dt.datetime | None,
    job: str | None,
    as_json: bool,
) -> int:
    """Share the queue of TrainingSheet NAME out to people, or the unlabeled items of Sheet NAME with --label-type.

    Everybody gets as much to do, an item never goes to one person twice, and nobody is given what they may not see.
    """
    workbench = open_workbench()
    of_queue = label_type is None
    if of_queue and name not in (known := workbench.catalog().names("TrainingSheet")):
        hint = "; it is a Sheet, name the task with --label-type" if name in workbench.catalog().names("Sheet") else ""
        raise ArgumentError(f"there is no TrainingSheet '{name}'{hint or nearest(name, known)}")
    made = create_job(
        workbench,
        JobAsk(
            training_sheet=name if of_queue else None,
            sheet=None if of_queue else name,
            label_type=label_type,
            needs=needs,
            items=items,
            filter_condition=condition,
            limit=limit,
            instructions=instructions,
            target_count=target,
            reason=reason,
            source="queue" if of_queue else "gap",
            due=None if due is None else due.replace(tzinfo=dt.UTC),
            job=job,
        ),
        people,
        by=workbench.settings.user,
        annotators=annotators,
        overlap=overlap,
    )
    refused = [f"item {item}: {why}" for item, why in made.refused]
    rows = [_shown(Progress(task, {}, None)) for task in made.tasks]
    if as_json:
        print_json({"ok": True, "job": made.name, "tasks": rows, "refused": refused})
    else:
        warn_each(refused)
        print_table(_SHOWN, [[row[column] for column in _SHOWN] for row in rows], title=f"job {made.name}")
    return 0


@tasks.command("list")
@click.option("--mine", is_flag=True, help="Only your own.")
@click.option("--status", help="Only those with this status.")
@click.option("--job", help="Only those of this job.")
@_JSON
def list_(mine: bool, status: str | None, job: str | None, as_json: bool) -> int:
    """List the tasks with their progress, and what everybody got done in which time."""
    workbench = open_workbench()
    if status is not None and status not in STATUSES:
        raise ArgumentError(f"there is no status '{status}'{nearest(status, STATUSES)}")
    every = tasks_now(workbench)
    if job is not None and all(one.task.job != job for one in every):
        raise ArgumentError(f"there is no job '{job}'{nearest(job, sorted({one.task.job for one in every}))}")
    chosen = [
        one
        for one in every
        if (not mine or one.task.assignee == workbench.settings.user)
        and status in (None, one.status)
        and job in (None, one.task.job)
    ]
    rows = [_shown(one) for one in chosen]
    jobs, people = _sums(chosen, "job"), _sums(chosen, "assignee")
    speed = {row["person"]: row for row in throughput_of(workbench.decisions()).to_dicts()}
    for row in people:
        found = speed.get(row["assignee"], {})
        row |= {name: found.get(name) for name in ("per_hour", "median_seconds")}
    if as_json:
        print_json({"tasks": rows, "jobs": jobs, "people": people})
        return 0
    print_table(_SHOWN, [[row[column] for column in _SHOWN] for row in rows])
    for title, sums in (("jobs", jobs), ("people", people)):
        if sums:
            print_table(list(sums[0]), [list(row.values()) for row in sums], title=title)
    return 0


@tasks.command()
@click.argument("task")
@_JSON
def show(task: str, as_json: bool) -> int:
    """Show a task: what it asks, what of it is open, and who changed it. The first letters of its name are enough."""
    workbench = open_workbench()
    found = find_task(tasks_now(workbench), task)
    changes = history_of(workbench, found.task.task_id).select(
        "version", "status", "assignee", "changed_by", "changed_at", "change"
    )
    now = found.now
    said: dict[str, Any] = {
        **_shown(found),
        "training_sheet": now.training_sheet,
        "instructions": now.instructions,
        "source": now.source,
        "reason": now.reason,
        "created_by": now.created_by,
        "created_at": now.created_at,
        "started_at": now.started_at,
        "completed_at": now.completed_at,
        "items": list(now.item_refs),
        "open_items": found.open_items,
    }
    if as_json:
        print_json({**said, "history": changes.to_dicts()})
        return 0
    print_table(["field", "value"], [[name, value] for name, value in said.items() if value not in (None, [])])
    print_table(changes.columns, changes.rows(), title="history")
    return 0


@tasks.command()
@click.argument("task")
@click.option("--status", help=f"Move it on to {' or '.join(STATUSES[1:])}.")
@click.option("--assign", help="Give it to somebody else.")
@click.option("--reason", help="Why; needed to end a task before it is done.")
@_JSON
def update(task: str, status: str | None, assign: str | None, reason: str | None, as_json: bool) -> int:
    """Move a task on, or give it to somebody else. Tasks go from pending to in_progress to completed, and never back."""
    workbench = open_workbench()
    done = change_task(workbench, task, by=workbench.settings.user, status=status, assignee=assign, reason=reason)
    row = _shown(done)
    if as_json:
        print_json({"ok": True, **row})
    else:
        print_table(_SHOWN, [[row[column] for column in _SHOWN]])
    return 0


@tasks.command()
@click.argument("sheet")
@click.option("--label-type", help="Only this task.")
@_JSON
def agreement(sheet: str, label_type: str | None, as_json: bool) -> int:
    """Show how far the people agree who label the same items of SHEET: raw, kappa, alpha or overlap, with 95 % intervals."""
    rows = agreement_now(open_workbench(), sheet, label_type)
    columns = ["label_type", "annotator_a", "annotator_b", "measure", "n", "value", "low", "high", "undefined"]
    if as_json:
        print_json({"sheet": sheet, "agreement": rows.select(columns).to_dicts()})
    elif rows.is_empty():
        click.echo(f"no item of {sheet} was answered by several people on their own")
    else:
        print_table(columns, rows.select(columns).rows())
    return 0


def _shown(one: Progress) -> dict[str, Any]:
    task = one.now
    return {
        "task": task.short,
        "task_id": task.task_id,
        "job": task.job,
        "assignee": task.assignee,
        "status": task.status,
        "done": len(one.done),
        "target": task.target_count,
        "progress": f"{len(one.done)} / {task.target_count}",
        "sheet": task.sheet,
        "label_type": task.label_type,
        "due": None if task.due is None else f"{task.due:%Y-%m-%d}",
    }


def _sums(chosen: Sequence[Progress], by: str) -> list[dict[str, Any]]:
    """What is done of how much, by job or by person."""
    rows = [
        {by: getattr(one.task, by), "done": min(len(one.done), one.task.target_count), "target": one.task.target_count}
        for one in chosen
    ]
    if not rows:
        return []
    summed = pl.DataFrame(rows).group_by(by, maintain_order=True).agg(pl.col("done", "target").sum())
    return summed.with_columns(pl.format("{} / {}", "done", "target").alias("progress")).to_dicts()
