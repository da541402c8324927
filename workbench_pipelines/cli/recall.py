"""Commands that follow lineage both ways: `trace` of a pair or model, and `recall` of everything that came of something."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import click

from workbench_pipelines.cli.output import print_json, print_table, warn
from workbench_pipelines.cli.project import open_workbench
from workbench_pipelines.errors import ArgumentError
from workbench_pipelines.recalling import (
    Recalled,
    recall as recall_seeds,
    seeds_of_annotator,
    seeds_of_item,
    seeds_of_label,
    seeds_of_source,
)
from workbench_pipelines.tracing import trace as trace_name

_SEEDS = {
    "item": seeds_of_item,
    "label": seeds_of_label,
    "annotator": seeds_of_annotator,
    "source": seeds_of_source,
}


@click.command()
@click.option("--item", metavar="SHEET/REF", help="An item with all its labels.")
@click.option("--label", metavar="ID", help="A canonical label.")
@click.option("--annotator", metavar="NAME", help="All that a person decided.")
@click.option("--source", metavar="TABLE", help="All items of the Sheets that read a table.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object with every name.")
def recall(as_json: bool, **asked: str | None) -> int:
    """List every pair, export, model, evaluation, example and trace that something reached, and what a rebuild takes.

    Nothing is changed. Names are shown and no value. Exit code 1: an export could not be looked into.
    """
    given = [(kind, name) for kind, name in asked.items() if name is not None]
    if len(given) != 1:
        raise ArgumentError("give one of --item SHEET/REF, --label ID, --annotator NAME, --source TABLE")
    ((kind, name),) = given
    workbench = open_workbench()
    found = recall_seeds(workbench, f"{kind} {name}", _SEEDS[kind](workbench, name))
    if as_json:
        print_json(_plain(found))
    else:
        _show(found)
    for line in found.unread:
        warn(line)
    return 1 if found.unread else 0


@click.command()
@click.argument("name", metavar="PAIR_ID|MODEL")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def trace(name: str, as_json: bool) -> int:
    """Show where a pair comes from and where it went, or what a model was made of; names and no values.

    \b
    workbench trace 3f9c2a10               # a pair, by its id or how it begins
    workbench trace invoices.fast/2        # a model version, or all of invoices.fast
    """
    found = trace_name(open_workbench(), name)
    if as_json:
        print_json(found)
        return 0
    for one in found["models"] if found["kind"] == "model" else [found]:
        _show_way(one)
    return 0


def _plain(found: Recalled) -> dict[str, Any]:
    lists = ("labels", "exports", "models", "evaluations", "examples", "optimized_prompts", "traces", "sets")
    return {
        "ok": not found.unread,
        "of": found.of,
        "pairs": found.pairs.to_dicts(),
        **{name: getattr(found, name) for name in lists},
        "plan": asdict(found.plan),
        "unread": found.unread,
        "superseded": found.superseded,
        "erased": found.erased,
    }


def _show(found: Recalled) -> None:
    pairs = dict(found.pairs.group_by("how").len().iter_rows())
    by_how = ", ".join(f"{count} by {how}" for how, count in sorted(pairs.items()))
    exports = ", ".join(f"{one['collection']} v{one['version']} ({one['pairs']} pairs)" for one in found.exports)
    models = ", ".join(f"{one['model_name']}/{one['model_version']} ({one['pairs']} pairs)" for one in found.models)
    print_table(
        ["touched", "count", "which"],
        [
            ["labels", len(found.labels), ""],
            ["pairs", found.pairs.height, by_how],
            ["exports", len(found.exports), exports],
            ["models", len(found.models), models],
            ["evaluations", len(found.evaluations), ""],
            ["examples", len(found.examples), ", ".join(sorted({one["store"] for one in found.examples}))],
            ["optimized prompts", len(found.optimized_prompts), ""],
            ["traces", len(found.traces), ""],
            ["sets", len(found.sets), ", ".join(f"{one['path']} ({one['pairs']} pairs)" for one in found.sets)],
        ],
        title=found.of,
    )
    for one in found.superseded:
        click.echo(f"export {one['collection']} v{one['version']} holds nothing any more: {one['said']}")
    for one in found.erased:
        click.echo(f"{one['items']} of the items {'was' if one['items'] == 1 else 'were'} erased on {one['day']}")
    plan = found.plan
    cost = "at an unknown price" if plan.cost_usd is None else f"for ${plan.cost_usd:.4f}"
    click.echo(
        f"to rebuild: {len(plan.training_sheets)} TrainingSheets ({', '.join(plan.training_sheets)}), ", nl=False
    )
    click.echo(f"{len(plan.collections)} Collections ({', '.join(plan.collections)}), {plan.calls} calls {cost}")
    if plan.models:
        click.echo(f"to train again: {', '.join(plan.models)}")


def _show_way(found: dict[str, Any]) -> None:
    for name, value in found.items():
        if isinstance(value, dict):
            print_table(["", name], [[key, one] for key, one in value.items()])
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            print_table(list(value[0]), [list(one.values()) for one in value], title=name)
        else:
            said = ", ".join(map(str, value)) if isinstance(value, list) else value
            click.echo(f"{name}: {'none' if said in (None, '') else said}")
