"""`workbench feedback`: what users say of a model's answers comes in, and corrections are approved."""

from __future__ import annotations

from pathlib import Path

import click

from workbench_pipelines.cli.instance import announce
from workbench_pipelines.cli.output import print_json, warn_each
from workbench_pipelines.cli.project import open_workbench
from workbench_pipelines.feedback_import import Arrived, approve_corrections, import_feedback


@click.group()
def feedback() -> None:
    """Feedback on answers of models."""


@feedback.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path, resolve_path=True))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def import_(files: tuple[Path, ...], as_json: bool) -> int:
    """Take JSONL files of feedback into the inbox; a feedback_id that is there already changes nothing."""
    workbench = open_workbench()
    arrived = import_feedback(workbench, files)
    announce(workbench, ("monitor", "feedback_inbox"), arrived.versions)
    return _print(arrived, as_json, "feedback rows taken")


@feedback.command()
@click.argument("feedback_ids", nargs=-1)
@click.option("--by", help="Who approves; WORKBENCH_USER where it is not said.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def approve(feedback_ids: tuple[str, ...], by: str | None, as_json: bool) -> int:
    """Turn pending corrections into label decisions: the named ones, or all."""
    workbench = open_workbench()
    arrived = approve_corrections(workbench, feedback_ids, by or workbench.settings.user)
    announce(workbench, ("label", "decisions"), arrived.versions)
    announce(workbench, ("monitor", "feedback_inbox"), arrived.days)
    return _print(arrived, as_json, "corrections approved")


def _print(arrived: Arrived, as_json: bool, what: str) -> int:
    lines = [refusal.line for refusal in arrived.refusals]
    if as_json:
        print_json({"ok": not lines, "rows": arrived.rows, "repeated": arrived.repeated, "refused": lines})
    else:
        warn_each(lines)
        click.echo(f"{arrived.rows} {what}, {arrived.repeated} known already, {len(lines)} refused")
    return 1 if lines else 0
