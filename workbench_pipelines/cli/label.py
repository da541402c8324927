"""`workbench label`: what experts decided comes into the ledger."""

from __future__ import annotations

from pathlib import Path

import click

from workbench_pipelines.cli.instance import announce
from workbench_pipelines.cli.output import print_json, warn_each
from workbench_pipelines.cli.project import open_workbench
from workbench_pipelines.label_import import import_labels


@click.group()
def label() -> None:
    """Labels of experts."""


@label.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path, resolve_path=True))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def import_(files: tuple[Path, ...], as_json: bool) -> int:
    """Take JSONL, CSV or XLSX files of labels into the decisions ledger.

    A row has sheet, item_ref, label_type, label_data, and may have confidence, notes, allowed_uses, prohibited_uses,
    usage_reason, data_classification, labeled_by, labeled_at, seen_columns. A bad row is named and the others are taken;
    a file that was taken before changes nothing.
    """
    workbench = open_workbench()
    taken = import_labels(workbench, files)
    announce(workbench, ("label", "decisions"), taken.versions)
    lines = [refusal.line for refusal in taken.refusals]
    if as_json:
        done = {"decisions": taken.decisions, "repeated": taken.repeated, "outdated": list(taken.outdated)}
        print_json({"ok": not lines, **done, "refused": lines})
    else:
        warn_each(lines)
        warn_each(taken.outdated)
        click.echo(f"{taken.decisions} labels taken, {taken.repeated} known already, {len(lines)} refused")
    return 1 if lines else 0
