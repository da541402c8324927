"""The tables that lie under a reviewer's desk, each kept as long as the lake holds the same version of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import polars as pl

from workbench_pipelines.access import Roles, roles_of
from workbench_pipelines.annotation_tasks import AnnotationTask, asked_of
from workbench_pipelines.catalog import Catalog
from workbench_pipelines.consensus import Panels
from workbench_pipelines.derivation import derived_row, with_derived
from workbench_pipelines.errors import ArgumentError
from workbench_pipelines.labels import fold_labels
from workbench_pipelines.pairs import LABELED_PAIRS
from workbench_pipelines.review_queue import REVIEW_QUEUE
from workbench_pipelines.workbench import Workbench

T = TypeVar("T")
SOURCE_HOLDS_S = 60.0
CATALOG_HOLDS_S = 3.0  # a page asks for it a dozen times, and people edit files slowly
QUEUE = ("label", "review_queue")
PAIRS = ("label", "labeled_pairs")
LEDGER = ("label", "decisions")
TASKS = ("records", "annotation_task_history")


class Tables:
    """What the lake and the definitions of one project say now."""

    def __init__(self, workbench: Workbench) -> None:
        self.workbench = workbench
        self._kept: dict[tuple[str, ...], tuple[Any, Any]] = {}
        self._catalog: tuple[float, Catalog] | None = None
        self._panels_kept: tuple[Catalog, list[AnnotationTask], Panels] | None = None

    @property
    def catalog(self) -> Catalog:
        """The definitions, read anew every few seconds."""
        read_at = time.monotonic()
        if self._catalog is None or read_at - self._catalog[0] > CATALOG_HOLDS_S:
            self._catalog = (read_at, self.workbench.catalog())
        return self._catalog[1]

    def roles(self) -> Roles:
        return roles_of(self.catalog)

    def label(self, sheet: str, item_ref: str, label_type: str) -> dict[str, Any] | None:
        """The row of `label/canonical_labels` of one item and task; None where nothing was said."""
        labels = self.labels(sheet)
        found = labels.filter((pl.col("item_ref") == item_ref) & (pl.col("label_type") == label_type))
        return found.row(0, named=True) if found.height else None

    def decisions_of(self, sheet: str, item_ref: str, label_type: str) -> pl.DataFrame:
        """What was decided of one item for a task."""
        ledger = self.ledger(sheet)
        return ledger.filter((pl.col("item_ref") == item_ref) & (pl.col("label_type") == label_type))

    def row(self, sheet: str, item_ref: str) -> dict[str, Any]:
        """What an item shows, a derived one too."""
        items = self.items(sheet)

        def row_of(name: str) -> dict[str, Any] | None:
            found = items.filter(pl.col("item_ref") == name)
            return found.row(0, named=True) if found.height else None

        row = row_of(item_ref) or derived_row(item_ref, self.catalog.training_sheets_of(sheet), row_of)
        if row is None:
            raise ArgumentError(f"Sheet {sheet} has no item '{item_ref}' any more")
        return dict(row)

    def ledger(self, sheet: str) -> pl.DataFrame:
        """The decisions of a Sheet."""
        return self._read(
            ("ledger", sheet), [LEDGER], lambda: self.workbench.sheet_decisions(self.catalog.sheet(sheet))
        )

    def labels(self, sheet: str) -> pl.DataFrame:
        """The labels of a Sheet as its decisions make them now."""

        def fold() -> pl.DataFrame:
            ledger = self.ledger(sheet)
            derives = self.catalog.training_sheets_of(sheet)
            items = with_derived(self.items(sheet), ledger["item_ref"].unique(), derives)
            return fold_labels(ledger, items, self.catalog.two_person_sheets(), self.panels())

        return self._read(("labels", sheet), [LEDGER, TASKS, ("data", "sheet_snapshot", sheet)], fold)

    def annotation_tasks(self) -> list[AnnotationTask]:
        """The annotation tasks as people changed them last."""
        return self._read(("tasks",), [TASKS], self.workbench.annotation_tasks)

    def panels(self) -> Panels:
        """Which labels take several people who answer on their own."""
        catalog, tasks = self.catalog, self.annotation_tasks()
        if self._panels_kept is None or self._panels_kept[0] is not catalog or self._panels_kept[1] is not tasks:
            self._panels_kept = (catalog, tasks, catalog.panels(asked_of(tasks)))
        return self._panels_kept[2]

    def items(self, sheet: str) -> pl.DataFrame:
        """The items as the last snapshot has them; before there is one, as the sources do."""
        table = ("data", "sheet_snapshot", sheet)
        document = self.catalog.sheet(sheet)
        if not self.workbench.lake.exists(*table):
            # A source has no version to look at.
            minute = str(int(time.monotonic() // SOURCE_HOLDS_S))
            return self._read(("items", sheet, minute), [table], lambda: self.workbench.read_items(document))
        return self._read(("items", sheet), [table], lambda: self.workbench.lake.read(*table))

    def pair_count(self, name: str) -> int:
        """How many pairs a TrainingSheet has."""

        def count() -> int:
            if not self.workbench.lake.exists(*PAIRS):
                return 0
            rows = self.workbench.lake.scan(*PAIRS, partition={"training_sheet": [name]})
            return int(rows.select(pl.len()).collect().item())

        return self._read(("total", name), [PAIRS], count)

    def pair(self, name: str, pair_id: str) -> dict[str, Any]:
        """A pair, read alone: a TrainingSheet may hold a million."""
        found = LABELED_PAIRS.to_frame()
        if self.workbench.lake.exists(*PAIRS):
            rows = self.workbench.lake.scan(*PAIRS, partition={"training_sheet": [name]})
            found = rows.filter(pl.col("pair_id") == pair_id).collect()
        if found.is_empty():
            raise ArgumentError(f"TrainingSheet {name} has no such pair; its queue was made anew meanwhile")
        return found.row(0, named=True)

    def queue(self, name: str) -> pl.DataFrame:
        """The review queue of a TrainingSheet as it was made last."""
        if not self.workbench.lake.exists(*QUEUE):
            return REVIEW_QUEUE.to_frame()
        return self._read(
            (*QUEUE, name), [QUEUE], lambda: self.workbench.lake.read(*QUEUE, partition={"training_sheet": [name]})
        )

    def _read(self, key: tuple[str, ...], tables: Sequence[tuple[str, ...]], read: Callable[[], T]) -> T:
        lake = self.workbench.lake
        versions = [lake.version(*table) if lake.exists(*table) else None for table in tables]
        kept = self._kept.get(key)
        if kept is None or kept[0] != versions:
            kept = self._kept[key] = (versions, read())
        found: T = kept[1]
        return found
