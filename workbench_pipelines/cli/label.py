"""`workbench label`: what experts decided comes into the ledger, out of it, and is looked through, withdrawn and restored."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Any

import click
import polars as pl

from workbench_pipelines.access import roles_of
from workbench_pipelines.cli.instance import announce
from workbench_pipelines.cli.output import print_frame, print_json, warn, warn_each
from workbench_pipelines.cli.project import open_workbench
from workbench_pipelines.closed_labels import restrictions_in
from workbench_pipelines.errors import ArgumentError
from workbench_pipelines.label_export import export_labels
from workbench_pipelines.label_import import import_labels
from workbench_pipelines.labels import LABEL_HISTORY, fold_labels, label_history
from workbench_pipelines.restrictions import MASK, mask_of
from workbench_pipelines.review_inbox import settle
from workbench_pipelines.workbench import Workbench


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


@label.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path, resolve_path=True))
@click.option("--sheet", "sheets", multiple=True, help="Only this Sheet; may be given several times.")
@click.option("--label-type", "label_types", multiple=True, help="Only this task; may be given several times.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def export(out: Path, sheets: tuple[str, ...], label_types: tuple[str, ...], as_json: bool) -> int:
    """Write the labels that hold to OUT (.jsonl), as `label import` takes them.

    Stale, withdrawn and waiting labels are left out, and what is restricted unless WORKBENCH_USER may see it.
    """
    if out.suffix not in (".jsonl", ".ndjson"):
        raise ArgumentError(f"{out.name}: a label file is written as .jsonl")
    workbench = open_workbench()
    made = export_labels(workbench, sheets, label_types, workbench.settings.user)
    beside = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        beside.write_bytes(b"".join(line + b"\n" for line in made.lines))
        beside.replace(out)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise ArgumentError(f"{out.name} can not be written: {error.strerror}") from None
    if as_json:
        print_json({"ok": True, "labels": len(made.lines), "left_out": made.left_out, "path": str(out)})
        return 0
    for reason, count in made.left_out.items():
        whom = (
            f"; {workbench.settings.user} is not among `see_restricted` of an Access document"
            if reason == "restricted"
            else ""
        )
        warn(f"{count} left out: {reason}{whom}")
    click.echo(f"{len(made.lines)} labels in {out.name}")
    return 0


@label.command()
@click.argument("sheet")
@click.argument("item_ref")
@click.option("--label-type", help="Only this task.")
@click.option("--json", "as_json", is_flag=True, help="Print rows as JSON.")
def history(sheet: str, item_ref: str, label_type: str | None, as_json: bool) -> int:
    """Every version of the labels of an item: who said what, when and why. What is restricted is masked, unless one may see it."""
    workbench = open_workbench()
    catalog = workbench.catalog()
    versions = label_history(workbench.sheet_decisions(catalog.sheet(sheet))).filter(pl.col("item_ref") == item_ref)
    if label_type:
        versions = versions.filter(pl.col("label_type") == label_type)
    if versions.is_empty():
        raise ArgumentError(f"Sheet {sheet}: nobody said anything of item '{item_ref}'")
    mask = mask_of("label_history", list(LABEL_HISTORY), restrictions_in(workbench))
    closed = mask.columns | {"uses"}  # it quotes the reason
    sees = roles_of(catalog).sees_restricted(workbench.settings.user)
    is_closed = mask.sheets is None or sheet not in mask.sheets or item_ref in mask.items.get(sheet, ())
    if mask.columns and not sees and is_closed:
        versions = versions.with_columns(
            pl.when(pl.col(name).is_not_null()).then(pl.lit(MASK)).alias(name) for name in sorted(closed)
        )
    shown = ["label_type", "version", "action", "label_data", "uses", "reason", "notes", "source", "by", "at"]
    print_frame(versions.sort("label_type", "version").select(shown), as_json)
    return 0


def _of_label(command: Any) -> Any:
    """The arguments that name a label, and why something is done to it."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        click.option("--why", required=True, help="The reason, for whoever looks at the history."),
        click.argument("label_type"),
        click.argument("item_ref"),
        click.argument("sheet"),
    ):
        command = option(command)
    return command


@label.command()
@_of_label
def withdraw(sheet: str, item_ref: str, label_type: str, why: str, as_json: bool) -> int:
    """Withdraw a label: its pairs wait for an answer again, its history stays. A steward's business."""
    return _decide((sheet, item_ref, label_type), {"action": "reject", "reason": why}, "withdrawn", as_json)


@label.command()
@_of_label
def restore(sheet: str, item_ref: str, label_type: str, why: str, as_json: bool) -> int:
    """Give back a label that was withdrawn; lift what restricts one that stands. A steward's business.

    What restricted a withdrawn label still does when it is given back: restore it once more to lift that.
    """
    return _decide((sheet, item_ref, label_type), {"action": "restore", "reason": why}, "restored", as_json)


@label.command()
@_of_label
@click.option("--prohibit", multiple=True, help="A use that is forbidden from now on; may be given several times.")
@click.option("--classification", help="The data classification of the label from now on.")
def restrict(
    sheet: str,
    item_ref: str,
    label_type: str,
    why: str,
    as_json: bool,
    prohibit: tuple[str, ...],
    classification: str | None,
) -> int:
    """Restrict what a label may be used for; `label restore` lifts it. A steward's business."""
    said = {"prohibited_uses": list(prohibit), "data_classification": classification, "usage_reason": why}
    return _decide((sheet, item_ref, label_type), {"action": "restrict", **said}, "restricted", as_json)


def _decide(key: tuple[str, str, str], said: dict[str, Any], done: str, as_json: bool) -> int:
    workbench = open_workbench()
    label = _known_label(workbench, *key)
    if done == "withdrawn" and label["withdrawn"]:
        raise ArgumentError(f"Sheet {key[0]}: the label of item '{key[1]}' for {key[2]} is withdrawn already")
    names = dict(zip(("sheet", "item_ref", "label_type"), key, strict=True))
    judgement = {**names, **said, "by": workbench.settings.user, "at": dt.datetime.now(dt.UTC).isoformat()}
    taken = settle(workbench, judgement, "command")
    announce(workbench, ("label", "decisions"), taken.versions)
    if as_json:
        print_json({"ok": True, **names, "done": done})
    else:
        click.echo(f"the label of item {key[1]} for {key[2]} is {done}; the next run tells its pairs")
    return 0


def _known_label(workbench: Workbench, sheet: str, item_ref: str, label_type: str) -> dict[str, Any]:
    """The label as it was made, and whether it is withdrawn.

    Raises:
        ArgumentError: naming it.
    """
    labels = fold_labels(workbench.sheet_decisions(workbench.catalog().sheet(sheet)), None)
    # Without the rules for several people, only a withdrawal makes a label inactive.
    found = labels.filter((pl.col("item_ref") == item_ref) & (pl.col("label_type") == label_type))
    if found.is_empty():
        raise ArgumentError(f"Sheet {sheet}: item '{item_ref}' has no label for {label_type}")
    return {**found.row(0, named=True), "withdrawn": not found["active"][0]}
