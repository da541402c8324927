"""`workbench collection`: the versions of a Collection, how they stand and what changed between them."""

from __future__ import annotations

import click

from workbench_pipelines.cli.output import print_json, print_table
from workbench_pipelines.cli.project import open_workbench
from workbench_pipelines.clients.published_export import read_published
from workbench_pipelines.collection_diff import compare
from workbench_pipelines.collection_releases import move_version, published, states, version_of
from workbench_pipelines.collection_versions import State, parse_status
from workbench_pipelines.errors import ArgumentError
from workbench_pipelines.pair_refusals import refused_pairs_now

_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
_STATE = ("version", "status", "by", "at", "reason")


@click.group()
def collection() -> None:
    """Versions of Collections: their status and what changed between them."""


@collection.command()
@click.argument("name")
@click.argument("version", required=False)
@click.option(
    "--to", help="draft, in_review, approved, released, deprecated or retired; shows how they stand without it."
)
@click.option("--reason", help="Why; it is kept with the status.")
@_JSON
def status(name: str, version: str | None, to: str | None, reason: str | None, as_json: bool) -> int:
    """Show how the versions of Collection NAME stand, or move one on, the newest where none is named.

    draft, in_review, approved, released, deprecated, retired: a step at a time; what is not released yet may go back to draft.
    Somebody else approves than made it or handed it in.
    """
    workbench = open_workbench()
    number = None if version is None else _number(version)
    if to is None:
        found = [one for one in states(workbench, name) if number in (None, one.version)]
        if not found:
            version_of(published(workbench, name), number)
    else:
        found = [move_version(workbench, name, number, parse_status(to), reason)]
    if as_json:
        print_json({"ok": True, "collection": name, "versions": [_shown(one) for one in found]})
    else:
        print_table(_STATE, [[_shown(one)[column] for column in _STATE] for one in found], title=f"Collection {name}")
    return 0


@collection.command()
@click.argument("name")
@click.argument("before", required=False, metavar="[FROM")
@click.argument("after", required=False, metavar="TO]")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(min=0), help="How many pairs to name.")
@_JSON
def diff(name: str, before: str | None, after: str | None, limit: int, as_json: bool) -> int:
    """Show which pairs of Collection NAME came, went or changed from version FROM to version TO, and why.

    Without versions, from the last but one to the newest; without TO, to the newest.
    """
    workbench = open_workbench()
    rows = published(workbench, name)
    if before is None and rows.height < 2:
        raise ArgumentError(f"Collection {name} has one version, and nothing to compare it with")
    first = version_of(rows, rows["version"][-2] if before is None else _number(before))
    second = version_of(rows, None if after is None else _number(after))
    earlier, later = (read_published(name, one["version"], one["path"]) for one in (first, second))
    found = compare(earlier, later, refused_pairs_now(workbench, earlier.rows["training_sheet"].unique().to_list()))
    if as_json:
        versions = {"collection": name, "from": first["version"], "to": second["version"]}
        reasons = [{"change": change, "why": why, "pairs": n} for change, why, n in found.reasons]
        print_json({"ok": True, **versions, **found.counts, "reasons": reasons, "pairs": found.changes.to_dicts()})
        return 0
    counts = ", ".join(f"{n} {what}" for what, n in found.counts.items())
    print_table(
        ("pairs", "change", "why"),
        [(n, change, why) for change, why, n in found.reasons],
        title=f"{name} v{first['version']} to v{second['version']}: {counts}",
    )
    shown = found.changes.head(limit)
    if shown.height:
        print_table(shown.columns, shown.rows(), title=f"the first {shown.height} of {found.changes.height}")
    return 0


def _number(text: str) -> int:
    """``3`` or ``v3``."""
    digits = text.removeprefix("v")
    if not digits.isdecimal():
        raise ArgumentError(f"'{text}' is no version; write it like 3 or v3")
    return int(digits)


def _shown(state: State) -> dict[str, object]:
    return {name: getattr(state, name) for name in _STATE}
