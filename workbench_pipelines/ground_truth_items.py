"""Which items are evaluation ground truth now, by what the Collections say and the Sheets hold."""

from __future__ import annotations

from workbench_pipelines.catalog import Catalog, TrainingSheet
from workbench_pipelines.errors import WorkbenchError
from workbench_pipelines.ground_truth import GroundTruth
from workbench_pipelines.prompts import taken_items
from workbench_pipelines.split_tokens import item_token
from workbench_pipelines.workbench import Workbench


def ground_truth_of(workbench: Workbench, catalog: Catalog) -> GroundTruth:
    """The items that TrainingSheets of ground truth take; of a Sheet that was never taken, or can not be told, all of them.

    A Collection that is broken fails with its own line and says nothing.
    """
    items: dict[str, str] = {}
    sheets: dict[str, str] = {}
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
                sheets.setdefault(sheet, name)
            else:
                items |= {item_token(sheet, ref): name for ref in refs}
    return GroundTruth(items, sheets)


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
