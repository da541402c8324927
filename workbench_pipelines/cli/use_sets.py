"""`workbench export set | sets`: pairs taken for a use that no run is for, and which sets there are."""

from __future__ import annotations

from pathlib import Path

import click

from workbench_pipelines.cli.output import print_json, print_table, warn
from workbench_pipelines.cli.project import open_workbench
from workbench_pipelines.use_set_taking import set_states, tainted_set_lines, take_set
from workbench_pipelines.use_sets import TESTING

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_SHOWN = ("at", "by", "use", "collection", "pairs", "refused_now", "path")


@click.command("set")
@click.argument("name", metavar="COLLECTION")
@click.option("--use", default=TESTING, show_default=True, help="What for: testing, or a use that a UsagePolicy adds.")
@click.option(
    "--out",
    "file",
    type=click.Path(dir_okay=False, path_type=Path, resolve_path=True),
    help="A .jsonl or .csv file that is not there yet; by default one in the state folder of the project.",
)
@click.option("--sample", type=click.IntRange(min=1), help="At most so many pairs of those that are permitted.")
@click.option("--seed", default=0, show_default=True, help="Of the sample.")
@_JSON
def take(name: str, use: str, file: Path | None, sample: int | None, seed: int, as_json: bool) -> int:
    """Take the labeled pairs of a COLLECTION (or TrainingSheet) that permit a use, by the gate that exports pass.

    Who took what stays in records/use_sets, what was refused and by whom in records/use_set_refusals. What is restricted is
    for those alone who may see it.
    """
    taken = take_set(open_workbench(), name, use, file, sample=sample, seed=seed)
    refused = sum(taken.refused.values())
    if as_json:
        print_json(
            {
                "ok": True,
                "set_id": taken.set_id,
                "collection": name,
                "use": use,
                "path": str(taken.path),
                "pairs": taken.pairs,
                "refused": refused,
                "refused_by": dict(taken.refused),
                "learned_from": dict(taken.learned_from),
            }
        )
        return 0
    for reason, count in taken.refused.items():
        warn(f"{count} refused: {reason}")
    for collection, count in taken.learned_from.items():
        warn(f"{count} are of items that {collection} trains on: no test of its models")
    click.echo(f"{taken.pairs} pairs for {use} in {taken.path}, {refused} refused")
    return 0


@click.command("sets")
@_JSON
def listed(as_json: bool) -> int:
    """List the sets that were taken, and how many of their pairs may not be used for that any more.

    Exit code 1: there are such pairs.
    """
    workbench = open_workbench()
    states = set_states(workbench)
    if as_json:
        print_json({"ok": not any(one["refused_now"] for one in states), "sets": states})
    else:
        print_table(_SHOWN, [[one[name] for name in _SHOWN] for one in states])
        for line in tainted_set_lines(workbench):
            warn(line)
    return 1 if any(one["refused_now"] for one in states) else 0
