"""`workbench items`: the items that a Sheet took from files are found, deleted and restored."""

from __future__ import annotations

import datetime as dt

import click

from workbench_pipelines.catalog.intake_specs import AUDIT_COLUMNS, PLACE_COLUMNS
from workbench_pipelines.cli.output import print_json, print_table, warn
from workbench_pipelines.cli.project import open_workbench
from workbench_pipelines.errors import ArgumentError, nearest
from workbench_pipelines.item_search import (
    DEFAULT_LIMIT,
    ItemSearch,
    check_search,
    hidden_columns,
    parse_priority,
    shown_items,
)
from workbench_pipelines.restrictions import restrictions_of
from workbench_pipelines.workbench import Workbench

# What stands beside an item in a table for people; --json has all of it.
_ASIDE = {*PLACE_COLUMNS, *AUDIT_COLUMNS} - {"source_file", "source_line"}
_GONE = ["deleted_at", "deleted_by", "delete_reason"]


@click.group()
def items() -> None:
    """Items that Sheets took from files."""


@items.command()
@click.argument("sheet")
@click.option("--item", help="The item of this name.")
@click.option("--session", help="Items of this session_id.")
@click.option("--source", help="Items of this data_source.")
@click.option("--priority", metavar="A-B", help="Items whose training_priority is from A to B.")
@click.option("--deleted", is_flag=True, help="Deleted items, in place of those that are not.")
@click.option("--limit", type=click.IntRange(min=1), default=DEFAULT_LIMIT, show_default=True, help="Most items shown.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def find(
    sheet: str,
    item: str | None,
    session: str | None,
    source: str | None,
    priority: str | None,
    deleted: bool,
    limit: int,
    as_json: bool,
) -> int:
    """Show the items that a Sheet took from files, in the order of their names, restricted columns masked."""
    workbench = open_workbench()
    search = ItemSearch(item, session, source, parse_priority(priority) if priority is not None else None, deleted)
    catalog = workbench.catalog()
    intake = workbench.intake_of(catalog.sheet(_known(workbench, sheet)))
    columns = intake.items.scan().collect_schema().names()
    hidden = hidden_columns(sheet, columns, restrictions_of(catalog))
    check_search(search, sheet, columns, hidden)
    found = intake.items.first(search.condition, limit + 1)
    shown = shown_items(found.head(limit), hidden)
    if as_json:
        print_json({"sheet": sheet, "items": shown.to_dicts(), "more": found.height > limit})
        return 0
    aside = _ASIDE - set(_GONE) if deleted else _ASIDE
    table = shown.select(name for name in columns if name not in aside)
    print_table(table.columns, table.rows())
    if found.height > limit:
        warn(f"the first {limit}; there are more (--limit)")
    return 0


@items.command()
@click.argument("sheet")
@click.option("--item", "named", multiple=True, help="An item by its name; as often as needed.")
@click.option("--file", "file", help="All items that stand in this file, by its path below the folder.")
@click.option("--why", required=True, help="The reason; kept with who did it and when.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def delete(sheet: str, named: tuple[str, ...], file: str | None, why: str, as_json: bool) -> int:
    """Delete items that a Sheet took from files, softly: they stay in its table, and leave whatever is made from now on."""
    return _mark("delete", sheet, named, file, why, as_json)


@items.command()
@click.argument("sheet")
@click.option("--item", "named", multiple=True, help="An item by its name; as often as needed.")
@click.option("--file", "file", help="All items that stand in this file, by its path below the folder.")
@click.option("--why", required=True, help="The reason; kept with who did it and when.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def restore(sheet: str, named: tuple[str, ...], file: str | None, why: str, as_json: bool) -> int:
    """Bring deleted items back; the labels that they had hold again."""
    return _mark("restore", sheet, named, file, why, as_json)


def _mark(action: str, sheet: str, named: tuple[str, ...], file: str | None, reason: str, as_json: bool) -> int:
    if not named and file is None:
        raise ArgumentError("name items by --item, or a file by --file")
    if not reason.strip():
        raise ArgumentError("--why is empty; give the reason")
    workbench = open_workbench()
    intake = workbench.intake_of(workbench.catalog().sheet(_known(workbench, sheet)))
    chosen = [*named, *(intake.items_of_file(file) if file is not None else ())]
    now = dt.datetime.now(dt.UTC)
    marked = intake.mark(chosen, action, reason=reason, by=workbench.settings.user, now=now)
    already = len(set(chosen)) - marked
    if as_json:
        print_json({"ok": True, "sheet": sheet, f"{action}d": marked, "already": already})
    else:
        click.echo(
            f"{marked} items {action}d, {already} were so already; `workbench run {sheet}` brings the rest up to date"
        )
    return 0


def _known(workbench: Workbench, sheet: str) -> str:
    known = workbench.catalog().names("Sheet")
    if sheet not in known:
        raise ArgumentError(f"there is no Sheet '{sheet}'{nearest(sheet, known)}")
    return sheet
