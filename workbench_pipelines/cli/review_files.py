"""`workbench review export | import`: reviews in files that people edit where they like."""

from __future__ import annotations

from pathlib import Path

import click

from workbench_pipelines.access import roles_of
from workbench_pipelines.cli.instance import announce
from workbench_pipelines.cli.output import print_json, warn, warn_each
from workbench_pipelines.cli.project import open_workbench
from workbench_pipelines.clients.review_files import FORMATS
from workbench_pipelines.review_exchange import Exchanged, ReviewFile, deliver
from workbench_pipelines.review_questions import ask
from workbench_pipelines.review_tasks import Asked
from workbench_pipelines.workbench import Workbench


@click.command("export")
@click.argument("name", metavar="TRAINING_SHEET")
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path, resolve_path=True))
@click.option(
    "--task", help="Label the items of the Sheet of this name for a task (a label_type), before there are pairs."
)
@click.option(
    "--needs", multiple=True, help="Only pairs of this need (flagged, stale, ...); may be given several times."
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, in the order of the queue.")
@click.option("--format", "kind", type=click.Choice(FORMATS), help="By default what the file's name ends in.")
@click.option(
    "--for", "person", help="Whom the file is for, as the Access document names them; default: WORKBENCH_USER."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def export_(
    name: str,
    file: Path,
    task: str | None,
    needs: tuple[str, ...],
    limit: int | None,
    kind: str | None,
    person: str | None,
    as_json: bool,
) -> int:
    """Write what waits for a person into a JSONL, CSV or XLSX file, a row a pair, with empty cells for the decisions.

    What is restricted is left out unless the person may see it.
    """
    workbench = open_workbench()
    who = person or workbench.settings.user
    asked = ask(workbench, name, who, task=task, needs=needs, limit=limit)
    back_end = ReviewFile(file, kind, by=who, catalog=workbench.catalog())
    pushed = back_end.push(asked)
    if as_json:
        print_json({"ok": True, "file": str(file), "rows": pushed.added, "withheld": asked.withheld, "for": who})
    else:
        warn_withheld(asked, who)
        if not roles_of(workbench.catalog()).may(who, "label"):
            warn(f"{who} may not label, so that nothing of it would be taken; the Access document names who may")
        click.echo(f"{pushed.added} rows in {file}")
    return 0


@click.command("import")
@click.argument("files", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path, resolve_path=True))
@click.option("--by", help="Who decided, as the Access document names them; default: WORKBENCH_USER.")
@click.option("--format", "kind", type=click.Choice(FORMATS), help="By default what a file's name ends in.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def import_(files: tuple[Path, ...], by: str | None, kind: str | None, as_json: bool) -> int:
    """Take the decisions of exported files into the ledger.

    A row without a decision says nothing; a bad one is named with its column, and the others are taken. A file that was
    taken before changes nothing. A correction needs a `decided_at`, or another export.
    """
    workbench = open_workbench()
    catalog = workbench.catalog()
    who = by or workbench.settings.user
    back_ends = [ReviewFile(file, kind, by=who, catalog=catalog) for file in files]
    return report(workbench, [deliver(workbench, one) for one in back_ends], as_json)


def warn_withheld(asked: Asked, person: str) -> None:
    if asked.withheld:
        warn(f"{asked.withheld} left out: they show what is restricted, and {person} may not see it")


def report(workbench: Workbench, exchanged: list[Exchanged], as_json: bool) -> int:
    """Says what came back, and tells those who wait for news."""
    for one in exchanged:
        announce(workbench, ("label", "decisions"), one.versions)
    lines = [refusal.line for one in exchanged for refusal in one.refusals]
    counts = {name: sum(getattr(one, name) for one in exchanged) for name in ("decisions", "repeated", "undecided")}
    if as_json:
        print_json({"ok": not lines, **counts, "refused": lines})
    else:
        warn_each(lines)
        click.echo(
            f"{counts['decisions']} decisions taken, {counts['repeated']} known already, "
            f"{counts['undecided']} undecided, {len(lines)} refused"
        )
    return 1 if lines else 0
