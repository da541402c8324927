"""Which items are evaluation ground truth now, by what the Collections say and the Sheets hold, and which were at a commit."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from workbench_pipelines.catalog import Catalog, TrainingSheet
from workbench_pipelines.errors import ExportError, WorkbenchError
from workbench_pipelines.ground_truth import GROUND_TRUTH, GroundTruth
from workbench_pipelines.prompts import taken_items
from workbench_pipelines.workbench import Workbench

TABLE = ("records", "ground_truth")
# Every export writes down what it goes by; between two looks another one may write what has changed since.
_TRIES = 5


def ground_truth_of(workbench: Workbench, catalog: Catalog) -> GroundTruth:
    """The items that TrainingSheets of ground truth take; of a Sheet that was never taken, or can not be told, all of them.

    A Collection that is broken fails with its own line and says nothing.
    """
    return GroundTruth.of_rows(_rows(workbench, catalog))


def record_ground_truth(workbench: Workbench, catalog: Catalog) -> tuple[GroundTruth, int | None]:
    """The same, written down as the newest state of `records/ground_truth`, and its commit.

    Nothing is written where it says so already; the commit is None where nothing ever was ground truth.

    Raises:
        ExportError: when what is ground truth keeps changing meanwhile.
    """
    for _ in range(_TRIES):
        rows = _rows(workbench, catalog)
        sheets = set(rows["sheet"])
        if workbench.lake.exists(*TABLE):
            version = workbench.lake.version(*TABLE)
            there = _sorted(workbench.lake.read(*TABLE, version=version))
            if there.equals(rows):
                return GroundTruth.of_rows(rows), version
            sheets |= set(there["sheet"])
        elif rows.is_empty():
            return GroundTruth(), None
        workbench.lake.replace_partition(*TABLE, frame=rows, partition_by="sheet", keys=sorted(sheets))
    raise ExportError("what is ground truth keeps changing; run again once nobody changes Collections any more")


def ground_truth_at(workbench: Workbench, version: int, sheets: Iterable[str]) -> GroundTruth:
    """What was ground truth of some Sheets at a commit of `records/ground_truth`.

    Raises:
        LakeError: where the lake no longer has it.
    """
    return GroundTruth.of_rows(workbench.lake.read(*TABLE, partition={"sheet": sorted(sheets)}, version=version))


def _rows(workbench: Workbench, catalog: Catalog) -> pl.DataFrame:
    """Rows of `GROUND_TRUTH`, sorted; of an item that several Collections measure with, the last of them by name."""
    items: dict[tuple[str, str | None], str] = {}
    for name in catalog.names("Collection"):
        try:
            collection = catalog.collection(name)
            members = [catalog.training_sheet(member.training_sheet) for member in collection.spec.members]
        except WorkbenchError:
            continue
        if not collection.spec.evaluation.ground_truth:
            continue
        for member in members:
            sheet = member.spec.sheet
            refs = _taken(workbench, catalog, member)
            if refs is None:
                items.setdefault((sheet, None), name)
            else:
                items |= {(sheet, ref): name for ref in refs}
    rows = [(*item, name) for item, name in items.items()]
    return _sorted(pl.DataFrame(rows, schema=GROUND_TRUTH, orient="row"))


def _sorted(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.select(list(GROUND_TRUTH)).sort("sheet", "item_ref")


def _taken(workbench: Workbench, catalog: Catalog, training_sheet: TrainingSheet) -> list[str] | None:
    """The items of its Sheet that a TrainingSheet asks about; None where that is not known."""
    table = ("data", "sheet_snapshot", training_sheet.spec.sheet)
    if not workbench.lake.exists(*table):
        return None
    where = f"{catalog.file_of('TrainingSheet', training_sheet.name)}: TrainingSheet {training_sheet.name}"
    try:
        snapshot = workbench.lake.read(*table)
        return list(taken_items(training_sheet, snapshot, where)["item_ref"])
    except WorkbenchError:
        return None  # a filter that does not hold is said where the TrainingSheet is made
