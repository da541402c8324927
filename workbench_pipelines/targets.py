"""What a run brings up to date: the partitions that the named definitions need, and those that follow from them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from workbench_pipelines.catalog import Catalog
from workbench_pipelines.errors import ArgumentError, WorkbenchError, nearest
from workbench_pipelines.example_views import sheets_of_store, stores_of


@dataclass(frozen=True)
class Targets:
    """Names of partitions by partition set; each is brought up to date after the ones before it."""

    templates: tuple[str, ...]
    sheets: tuple[str, ...]
    stores: tuple[str, ...]
    training_sheets: tuple[str, ...]
    collections: tuple[str, ...]

    @property
    def count(self) -> int:
        """How many partitions there are."""
        return sum(map(len, (self.templates, self.sheets, self.stores, self.training_sheets, self.collections)))


def targets_of(catalog: Catalog, names: Iterable[str] = ()) -> Targets:
    """The partitions of the named Collections, TrainingSheets and Sheets, with what leads to them and what follows.

    A name that a declared Collection has means the Collection. From a TrainingSheet follow the Collections that take it,
    its own one included; from a Sheet the declared ones, and the own ones of TrainingSheets that stand in none. Without
    a name: every declared Collection, every TrainingSheet that stands in none, every Sheet that none uses, and every
    ExampleStore. With the ExampleStores that TrainingSheets take examples of, and that a named Sheet feeds, come all Sheets
    that feed them.

    Raises:
        ArgumentError: for a name that no Sheet, TrainingSheet or Collection has.
    """
    named = list(dict.fromkeys(names))
    wanted = named or [*catalog.names("Collection"), *_alone(catalog), *_unused_sheets(catalog)]
    known = {*catalog.names("Sheet"), *catalog.names("TrainingSheet"), *catalog.names("Collection")}
    collections: set[str] = set()
    sheets: set[str] = set()
    named_sheets: set[str] = set()
    training_sheets: set[str] = set()
    for name in wanted:
        if name not in known:
            raise ArgumentError(f"there is no Sheet, TrainingSheet or Collection '{name}'{nearest(name, known)}")
        if name in catalog.names("Collection"):
            collections.add(name)
            continue
        if name in catalog.names("TrainingSheet"):
            training_sheets.add(name)
            collections |= {name, *catalog.collections_of(name)}
        if name in catalog.names("Sheet"):
            sheets.add(name)
            named_sheets.add(name)
            of_sheet = {t.name for t in catalog.training_sheets() if t.spec.sheet == name}
            training_sheets |= of_sheet
            declared = {c for t in of_sheet for c in catalog.collections_of(t) if c in catalog.names("Collection")}
            collections |= declared | (of_sheet & set(_alone(catalog)))
    for name in collections:
        training_sheets |= _members(catalog, name)
    parsed = {t.name: t for t in catalog.training_sheets()}
    sheets |= {parsed[name].spec.sheet for name in training_sheets if name in parsed}
    templates = {one for name in training_sheets if name in parsed for one in parsed[name].spec.template_names}
    stores = _stores(catalog, training_sheets, named_sheets) if named else set(stores_of(catalog))
    sheets |= {sheet for store in stores for sheet in sheets_of_store(catalog, store)}
    return Targets(
        templates=tuple(sorted(templates & set(catalog.names("PromptTemplate")))),
        sheets=tuple(sorted(sheets & set(catalog.names("Sheet")))),
        stores=tuple(sorted(stores)),
        training_sheets=tuple(sorted(training_sheets & set(catalog.names("TrainingSheet")))),
        collections=tuple(sorted(collections)),
    )


def leads_to(catalog: Catalog, job: str, key: str) -> set[tuple[str, str]]:
    """The partitions a partition is made of, as (partition set, name); none for a broken document, which fails itself."""
    try:
        if job == "training_sheets":
            spec = catalog.training_sheet(key).spec
            stores = {("stores", spec.few_shot.store)} if spec.few_shot else set()
            return {*(("templates", one) for one in spec.template_names), ("sheets", spec.sheet), *stores}
        if job == "stores":
            return {("sheets", sheet) for sheet in sheets_of_store(catalog, key)}
        if job == "collections":
            return {("training_sheets", member.training_sheet) for member in catalog.collection(key).spec.members}
    except WorkbenchError:
        # Its own Collection is all that a broken TrainingSheet leads to.
        return {("training_sheets", key)} if job == "collections" else set()
    return set()


def unplaced_problems(catalog: Catalog) -> list[str]:
    """The lines of broken documents that no partition stands for: nothing else would say them in a run."""
    partitioned = ("Sheet", "TrainingSheet", "Collection", "PromptTemplate", "ExampleStore")
    return [
        problem.line
        for problem in catalog.problems
        if problem.kind not in partitioned or problem.name not in catalog.names(problem.kind)
    ]


def _stores(catalog: Catalog, training_sheets: set[str], named_sheets: set[str]) -> set[str]:
    """The stores whose examples these TrainingSheets show, and those that one of these Sheets feeds."""
    asked = {
        training_sheet.spec.few_shot.store
        for training_sheet in catalog.training_sheets()
        if training_sheet.spec.few_shot is not None and training_sheet.name in training_sheets
    }
    return {s for s in stores_of(catalog) if s in asked or not named_sheets.isdisjoint(sheets_of_store(catalog, s))}


def _alone(catalog: Catalog) -> list[str]:
    """The TrainingSheets that stand in no declared Collection."""
    members = {member for name in catalog.names("Collection") for member in _members(catalog, name)}
    return [name for name in catalog.names("TrainingSheet") if name not in members]


def _unused_sheets(catalog: Catalog) -> list[str]:
    """The Sheets that no TrainingSheet takes its items from; their names mean nothing else."""
    used = {training_sheet.spec.sheet for training_sheet in catalog.training_sheets()}
    taken = {*catalog.names("Collection"), *catalog.names("TrainingSheet")}
    return [name for name in catalog.names("Sheet") if name not in used | taken]


def _members(catalog: Catalog, collection: str) -> set[str]:
    try:
        return {member.training_sheet for member in catalog.collection(collection).spec.members}
    except WorkbenchError:
        # A broken Collection fails with its own line when its partition runs.
        return set()
