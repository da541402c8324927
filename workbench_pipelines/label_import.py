"""Label files become decisions in the ledger, each label with the hash of what its item shows now."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from workbench_pipelines.decisions import (
    DECISIONS,
    LabelRow,
    Refusal,
    Seen,
    decide_labels,
    read_label_file,
    table_label_rows,
)
from workbench_pipelines.errors import ArgumentError, nearest
from workbench_pipelines.identity import digest, seen_hash
from workbench_pipelines.labels import KEY, fold_labels, label_contents
from workbench_pipelines.rendering import seen_by_default
from workbench_pipelines.workbench import Workbench


@dataclass(frozen=True)
class Taken:
    """What an import did: decisions written, rows known already, rows refused, and the ledger's version by Sheet."""

    decisions: int
    repeated: int
    refusals: tuple[Refusal, ...]
    versions: Mapping[str, str]
    outdated: tuple[str, ...] = ()
    """Labels that were taken and are not in force, since one that is as new or newer says something else."""


def import_labels(workbench: Workbench, files: Sequence[Path]) -> Taken:
    """Takes label files into `label/decisions`; a row taken before changes nothing.

    Raises:
        ArgumentError: for a file that can not be read at all; bad rows are refused one by one instead.
    """
    catalog = workbench.catalog()
    items = SeenItems(workbench)
    ledger = workbench.decisions()
    count, total = 0, 0
    refusals: list[Refusal] = []
    sheets: set[str] = set()
    taken: list[pl.DataFrame] = [DECISIONS.to_frame()]
    for file in files:
        rows = list(_rows(workbench, file))
        total += len(rows)
        made, refused = decide_labels(
            rows,
            schema_of=catalog.label_schema,
            seen=items.seen,
            vocabulary=catalog.vocabulary(),
            by=workbench.settings.user,
            now=dt.datetime.now(dt.UTC),
            source=f"import:{file.name}",
            current=label_contents(fold_labels(ledger, None)),
        )
        refusals += refused
        new = made.filter(~made["decision_id"].is_in(ledger["decision_id"].implode()))
        if not new.is_empty():
            workbench.lake.append_new("label", "decisions", frame=new, key=["decision_id"], partition_by="sheet")
            sheets |= set(new["sheet"])
            taken.append(new)
            count += new.height
            ledger = workbench.decisions()
    versions = {name: digest(sorted(ledger.filter(ledger["sheet"] == name)["decision_id"])) for name in sheets}
    outdated = _outdated(pl.concat(taken), fold_labels(ledger, None))
    return Taken(count, total - count - len(refusals), tuple(refusals), versions, outdated)


def _outdated(taken: pl.DataFrame, labels: pl.DataFrame) -> tuple[str, ...]:
    """A line for each item whose newly taken label is not the one in force: a correction needs a later `labeled_at`."""
    said = taken.sort("at").group_by(KEY, maintain_order=True).last().select(*KEY, "label_data")
    beaten = said.join(labels.select(*KEY, "label_data", "last_modified_by", "last_modified_at"), on=KEY, suffix="_now")
    return tuple(
        f"item {row['item_ref']} of {row['sheet']}: taken and not in force: the label of {row['last_modified_by']} from "
        f"{row['last_modified_at'].isoformat()} is as new or newer; give a correction a later labeled_at, or none"
        for row in beaten.filter(pl.col("label_data") != pl.col("label_data_now"))
        .sort("item_ref")
        .iter_rows(named=True)
    )


class SeenItems:
    """What labeled items show; the items of each Sheet that is named are read once."""

    def __init__(self, workbench: Workbench) -> None:
        self._workbench = workbench
        self._catalog = workbench.catalog()
        self._rows: dict[str, dict[str, dict[str, Any]]] = {}
        self._defaults: dict[tuple[str, str], tuple[str, ...]] = {}

    def seen(self, row: LabelRow) -> Seen:
        """What the labeled item shows: the columns the row names, else all that a template of this task binds.

        Raises:
            ArgumentError: where the Sheet holds no such item or column.
        """
        return self.by_key(row.sheet, row.item_ref, row.label_type, row.seen_columns)

    def by_key(self, sheet: str, item_ref: str, label_type: str, seen_columns: Sequence[str] | None = None) -> Seen:
        """The same for a label's key."""
        item = self._items_of(sheet).get(item_ref)
        if item is None:
            raise ArgumentError(f"Sheet {sheet} has no item '{item_ref}'")
        if (sheet, label_type) not in self._defaults:
            self._defaults[sheet, label_type] = seen_by_default(self._catalog, sheet, label_type, tuple(item))
        columns = seen_columns or self._defaults[sheet, label_type]
        unknown = [column for column in columns if column not in item]
        if unknown:
            raise ArgumentError(f"seen_columns: Sheet {sheet} has no column '{unknown[0]}'{nearest(unknown[0], item)}")
        return Seen(tuple(sorted(columns)), seen_hash(item, columns))

    def _items_of(self, sheet: str) -> dict[str, dict[str, Any]]:
        if sheet not in self._rows:
            frame = self._workbench.read_items(self._catalog.sheet(sheet), sampled=False)
            self._rows[sheet] = {row["item_ref"]: row for row in frame.iter_rows(named=True)}
        return self._rows[sheet]


def _rows(workbench: Workbench, file: Path) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    if not file.is_file():
        raise ArgumentError(f"there is no file {file.name}")
    if file.suffix.lower() in (".xlsx", ".xls"):
        yield from table_label_rows(file.name, workbench.read_spreadsheet(file))
        return
    if file.suffix.lower() not in (".jsonl", ".ndjson", ".csv"):
        raise ArgumentError(f"{file.name}: a label file ends in .jsonl, .csv or .xlsx")
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{file.name}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
    yield from read_label_file(file.name, text)
