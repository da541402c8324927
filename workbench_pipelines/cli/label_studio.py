"""`workbench review push | pull`: reviews in Label Studio."""

from __future__ import annotations

import click

from workbench_pipelines.cli.output import print_json, warn
from workbench_pipelines.cli.project import open_workbench
from workbench_pipelines.cli.review_files import report
from workbench_pipelines.label_studio_review import (
    items_of,
    open_label_studio,
    pull_reviews,
    push_reviews,
)
from workbench_pipelines.review_questions import ask

BACK_ENDS = ("label-studio",)


@click.command()
@click.argument("name", metavar="TRAINING_SHEET")
@click.option(
    "--to", type=click.Choice(BACK_ENDS), default=BACK_ENDS[0], show_default=True, help="Where people decide."
)
@click.option("--task", help="The items of the Sheet of this name for a task (a label_type), before there are pairs.")
@click.option(
    "--needs", multiple=True, help="Only pairs of this need (flagged, stale, ...); may be given several times."
)
@click.option("--limit", type=click.IntRange(min=1), help="At most so many, in the order of the queue.")
@click.option(
    "--for", "person", help="A person who may see what is restricted: it goes along then. By default it stays here."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def push(
    name: str,
    to: str,
    task: str | None,
    needs: tuple[str, ...],
    limit: int | None,
    person: str | None,
    as_json: bool,
) -> int:
    """Hand what waits for a person to Label Studio, with the proposed answers as predictions.

    Pushed again, nothing is there twice; what waits for nobody any more goes, unless somebody worked on it. LABEL_STUDIO_URL and
    LABEL_STUDIO_TOKEN say where it is. Whatever is pushed is seen by everybody with an account there.
    """
    workbench = open_workbench()
    with open_label_studio(workbench) as server:
        asked = ask(workbench, name, person, task=task, needs=needs, limit=limit, shared=True)
        pushed = push_reviews(workbench, server, name if task is None else items_of(name), asked)
    counts = {one: getattr(pushed, one) for one in ("added", "updated", "unchanged", "removed", "kept")}
    if as_json:
        print_json({"ok": True, "to": to, **counts, "withheld": asked.withheld, "apart": asked.apart})
    else:
        if asked.withheld:
            who = f"{person} may not see it" if person else "it stays here without --for"
            warn(f"{asked.withheld} left out: they show what is restricted, and {who}")
        if asked.apart:
            warn(
                f"{asked.apart} left out: several people answer for them on their own, and Label Studio shows what others say"
            )
        click.echo(", ".join(f"{count} {what}" for what, count in counts.items()))
    return 0


@click.command()
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def pull(names: tuple[str, ...], as_json: bool) -> int:
    """Take what people said in Label Studio into the ledger, of the TrainingSheets and Sheets that are named, or of all.

    An answer as it was proposed is an approval, any other an edit; what was skipped stays undecided. What was pulled before
    changes nothing.
    """
    workbench = open_workbench()
    with open_label_studio(workbench) as server:
        return report(workbench, pull_reviews(workbench, server, names), as_json)
