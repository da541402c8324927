"""Labels as a label file: what experts decided, to be kept elsewhere, taken into another lake, or looked through.

`label import` of such a file gives the same labels, where one person's word makes one: of labels that several people made it
holds what they came to, as the word of the last of them. Only labels that hold are in it: a stale one would count as made of
what its item shows when the file is taken.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl

from workbench_pipelines.access import roles_of
from workbench_pipelines.derivation import with_derived
from workbench_pipelines.errors import ArgumentError, nearest
from workbench_pipelines.labels import fold_labels, live_labels
from workbench_pipelines.restrictions import OPEN_CLASSIFICATIONS, restrictions_of
from workbench_pipelines.workbench import Workbench

COLUMNS = (
    "sheet", "item_ref", "label_type", "label_data", "confidence", "notes", "allowed_uses", "prohibited_uses", "usage_reason",
    "data_classification", "labeled_by", "labeled_at", "seen_columns",
)  # fmt: skip


@dataclass(frozen=True)
class LabelFile:
    """The lines of a label file, and how many labels are not in it, by reason."""

    lines: tuple[bytes, ...]
    left_out: dict[str, int]


def export_labels(
    workbench: Workbench, sheets: Collection[str], label_types: Collection[str], person: str
) -> LabelFile:
    """The live labels of Sheets, by item; all Sheets and label types where none is named.

    What is restricted is left out, unless the Access document lets this person see it.

    Raises:
        ArgumentError: for a Sheet or label type that there is not.
    """
    catalog = workbench.catalog()
    for kind, wanted, known in (
        ("Sheet", sheets, catalog.names("Sheet")),
        ("label_type", label_types, catalog.label_types()),
    ):
        for name in wanted:
            if name not in known:
                raise ArgumentError(f"unknown {kind} '{name}'{nearest(name, known)}")
    sees = roles_of(catalog).sees_restricted(person)
    closed_columns = restrictions_of(catalog).sheets
    lines: list[bytes] = []
    left_out = {"stale, withdrawn or waiting": 0, "restricted": 0}
    for name in sorted(sheets) or catalog.names("Sheet"):
        ledger = workbench.sheet_decisions(catalog.sheet(name))
        if ledger.is_empty():
            continue
        items = workbench.read_items(catalog.sheet(name), sampled=False)
        items = with_derived(items, ledger["item_ref"].unique(), catalog.training_sheets_of(name))
        labels = fold_labels(ledger, items, catalog.two_person_sheets(), workbench.panels())
        if label_types:
            labels = labels.filter(pl.col("label_type").is_in(list(label_types)))
        live = live_labels(labels)
        classified = pl.col("data_classification").is_null() | pl.col("data_classification").is_in(OPEN_CLASSIFICATIONS)
        hidden = closed_columns.get(name)
        saw_open = pl.col("seen_columns").list.set_intersection(sorted(hidden or ())).list.len().fill_null(0) == 0
        shown = live if sees else live.filter(classified & saw_open & (hidden is not None))
        left_out["stale, withdrawn or waiting"] += labels.height - live.height
        left_out["restricted"] += live.height - shown.height
        lines += [orjson.dumps(row) for row in _rows(shown)]
    return LabelFile(tuple(lines), {reason: count for reason, count in left_out.items() if count})


def _rows(labels: pl.DataFrame) -> Iterator[dict[str, Any]]:
    """Rows of a label file; the person and time are those of the last word, which is what holds."""
    for row in labels.sort("item_ref", "label_type").iter_rows(named=True):
        said = row | {
            "label_data": json.loads(row["label_data"]),
            "labeled_by": row["last_modified_by"],
            "labeled_at": row["last_modified_at"].isoformat(),
        }
        yield {name: said[name] for name in COLUMNS if said[name] not in (None, [])}
