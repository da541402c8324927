"""The command `erase`: an item goes for good, and the absence of what it said is proved by a search."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path

import click

from workbench_pipelines.cli.output import print_json, print_table, warn
from workbench_pipelines.cli.project import open_workbench
from workbench_pipelines.erasing import Erased, erase_item
from workbench_pipelines.errors import ArgumentError
from workbench_pipelines.settings import CHECKOUT

# Where Dagster keeps runs and events below its home, unless dagster.yaml says otherwise.
_OF_DAGSTER = ("history", "schedules", "storage", "logs")


@click.command()
@click.argument("item", metavar="SHEET/REF")
@click.option("--reason", required=True, help="Why; kept for good, so write no value of the item into it.")
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def erase(item: str, reason: str, dry_run: bool, yes: bool, as_json: bool) -> int:
    """Erase an item and all that was made of it, for good; its source stays, and later snapshots leave it out.

    Exports that held it lose their files, and what is left of their Collections is published as a new version. Models that
    learned from it are named. At the end everything is searched for its texts, those that people wrote of it among them: exit
    code 1 where one is still found, or something could not be reached. What is not looked for is counted by column. An erasure
    that was cut short is finished by the same command.
    """
    if not reason.strip():
        raise ArgumentError("--reason: say why")
    workbench = open_workbench()
    home = Path(os.environ.get("DAGSTER_HOME") or CHECKOUT)
    further = [home / ".workbench" / "dagster", *(home / name for name in _OF_DAGSTER)]
    foreseen = erase_item(workbench, item, reason=reason, dry_run=True, further=further)
    if dry_run or not yes:
        if not as_json:
            _show(item, foreseen, "would go")
        elif dry_run:
            print_json({"ok": True, "item": item, "dry_run": True, **asdict(foreseen)})
        if dry_run:
            return 0
        click.confirm(f"Erase {item} for good?", abort=True, err=True)
    done = erase_item(workbench, item, reason=reason, further=further)
    if as_json:
        print_json({"ok": not done.hits and not done.left, "item": item, "dry_run": False, **asdict(done)})
    else:
        _show(item, done, "erased")
        click.echo(f"searched for {done.searched} texts: {len(done.hits)} hits")
    for line in (*done.hits, *done.left):
        warn(line)
    return 1 if done.hits or done.left else 0


def _show(item: str, found: Erased, what: str) -> None:
    rows = [[one.table, one.rows, one.old_files] for one in found.tables]
    print_table(["table", "rows", "files of older versions"], rows, title=f"{item}: {what}")
    for path in found.files:
        click.echo(f"file: {path}")
    for one in found.exports:
        by = one.get("superseded_by")
        why = one.get("not_rebuilt")
        after = f", v{by} takes its place" if by else f", nothing takes its place: {why}" if why else ""
        click.echo(f"export: {one['collection']} v{one['version']}{after}")
    for left in found.not_searched:
        click.echo(f"not searched for: {left.values} of {left.field}: {left.reason}")
    if found.models:
        click.echo(f"models to train again: {', '.join(found.models)}")
