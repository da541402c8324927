"""`workbench batch`: what providers work on as batches, looked after without a daemon."""

from __future__ import annotations

import click

from workbench_pipelines.batch_collecting import Looked, collect_batches, forget_batch
from workbench_pipelines.cli.output import print_json, print_table, warn
from workbench_pipelines.cli.project import open_workbench
from workbench_pipelines.clients.batch_ledger import BatchLedger


@click.group()
def batch() -> None:
    """Questions that providers answer as batches, for TrainingSheets of `generation: {mode: batch}`."""


@batch.command("list")
@click.option("--open", "only_open", is_flag=True, help="Those only that answers may still come of.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON array.")
def list_(only_open: bool, as_json: bool) -> int:
    """Say what was handed in and what came of it, as it was recorded; no provider is asked."""
    rows = [one.row() for one in BatchLedger(open_workbench().lake).batches() if one.is_open or not only_open]
    columns = [
        "batch_id",
        "status",
        "training_sheet",
        "model",
        "requests",
        "answers",
        "refused",
        "cost_usd",
        "submitted_at",
    ]
    if as_json:
        print_json(rows)
    else:
        print_table(columns, [[row[column] for column in columns] for row in rows])
    return 0


@batch.command()
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def collect(names: tuple[str, ...], as_json: bool) -> int:
    """Keep what came of batches that ended: of those the named TrainingSheets wait for, or of all.

    `workbench run NAME` does so too, and makes the pairs.
    """
    workbench = open_workbench()
    for name in names:
        workbench.catalog().training_sheet(name)
    looked = collect_batches(workbench, names or None)
    problems = [one for one in looked if one.problem is not None]
    if as_json:
        print_json({"ok": not problems, "batches": [_told(one) for one in looked]})
    else:
        for one in looked:
            if one.problem is None:
                click.echo(one.line)
        click.echo(f"{sum(one.batch.answers is not None for one in looked)} of {len(looked)} open batches collected")
    for one in problems:
        warn(one.line)
    return 3 if problems else 0


@batch.command()
@click.argument("batch_id")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def forget(batch_id: str, as_json: bool) -> int:
    """Count a batch as lost that its provider does not know any more; its questions may be handed in, and paid, anew."""
    workbench = open_workbench()
    lost = forget_batch(workbench, batch_id, workbench.settings.user)
    if as_json:
        print_json({"ok": True, "batch": lost.row()})
    else:
        click.echo(f"batch {batch_id} of {lost.training_sheet}: {lost.requests} questions may be handed in anew")
    return 0


def _told(looked: Looked) -> dict[str, object]:
    return {**looked.batch.row(), "progress": looked.progress, "problem": looked.problem}
