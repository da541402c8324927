"""Where examples come from: the Sheets that feed a store, and how an item of theirs is shown for a task."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from workbench_pipelines.bindings import binding_problems, bindings_of
from workbench_pipelines.catalog import Catalog, ExampleStore, PromptTemplate, Sheet, TrainingSheet
from workbench_pipelines.errors import WorkbenchError
from workbench_pipelines.prompt_plan import ADDED_COLUMNS
from workbench_pipelines.rendering import compiled_template
from workbench_pipelines.templates import CompiledTemplate


@dataclass(frozen=True)
class View:
    """One way to show an item for a task: a template, and the column that each of its variables takes."""

    template: PromptTemplate
    compiled: CompiledTemplate
    bindings: Mapping[str, str]
    training_sheet: str | None
    """Whose pairs show the item so; None where no TrainingSheet takes the Sheet."""
    domain: str | None
    function_name: str | None
    pair_names: tuple[str, str] | None = None

    @property
    def shown(self) -> tuple[str, ...]:
        """The columns that are shown."""
        return tuple(sorted(set(self.bindings.values())))


def stores_of(catalog: Catalog) -> list[str]:
    """The stores that are kept: the declared ones, broken documents included, and the default one where it is asked for."""
    asked = {t.spec.few_shot.store for t in catalog.training_sheets() if t.spec.few_shot is not None}
    return sorted({*catalog.names("ExampleStore"), *(asked & {"default"})})


def label_types_of(catalog: Catalog, store: ExampleStore) -> list[str]:
    """The tasks whose labels become examples of a store."""
    return sorted(store.spec.label_types or catalog.label_types())


def sheets_of_store(catalog: Catalog, name: str) -> list[str]:
    """The Sheets whose labels feed a store: those that are asked one of its tasks, and those that no TrainingSheet takes.

    A Sheet that no TrainingSheet takes may be there for its examples alone. A broken store has none.
    """
    try:
        wanted = set(label_types_of(catalog, catalog.example_store(name)))
    except WorkbenchError:
        return []
    return sorted(sheet for sheet, asked in _tasks(catalog).items() if asked is None or asked & wanted)


def sheets_shown(catalog: Catalog) -> dict[str, frozenset[str]]:
    """For each Sheet those of which an example may stand in its prompts, by what its TrainingSheets ask for."""
    tasks = _tasks(catalog)
    stores = {name: set(sheets_of_store(catalog, name)) for name in stores_of(catalog)}
    shown: dict[str, set[str]] = {}
    for training_sheet in catalog.training_sheets():
        few_shot = training_sheet.spec.few_shot
        try:
            task = catalog.template_for(training_sheet).spec.label_type if few_shot else None
        except WorkbenchError:
            continue  # it has no prompts
        if few_shot is not None:
            fed = stores.get(few_shot.store, set())
            found = {sheet for sheet in fed if tasks[sheet] is None or task in (tasks[sheet] or ())}
            shown.setdefault(training_sheet.spec.sheet, set()).update(found)
    return {sheet: frozenset(others) for sheet, others in shown.items()}


def _tasks(catalog: Catalog) -> dict[str, set[str] | None]:
    """By Sheet the tasks that its TrainingSheets ask; None where no TrainingSheet takes it."""
    asked: dict[str, set[str] | None] = dict.fromkeys(catalog.names("Sheet"))
    for training_sheet in catalog.training_sheets():
        sheet = training_sheet.spec.sheet
        if sheet not in asked:
            continue
        of_sheet = asked[sheet] or set()
        asked[sheet] = of_sheet
        try:
            of_sheet.add(catalog.template_for(training_sheet).spec.label_type)
        except WorkbenchError:
            continue  # a broken TrainingSheet shows nobody anything
    return asked


def views_of(catalog: Catalog, sheet: Sheet, columns: Collection[str], label_type: str) -> list[View]:
    """How items of a Sheet are shown for a task: as each of its TrainingSheets does, in the order of their names.

    Where no TrainingSheet takes the Sheet, as the newest published templates of the task do whose variables are columns.

    Args:
        columns: those of the Sheet's snapshot.
    """
    known = [column for column in columns if column not in ADDED_COLUMNS or column == "item_ref"]
    takers = sorted((t for t in catalog.training_sheets() if t.spec.sheet == sheet.name), key=lambda t: t.name)
    candidates: list[tuple[TrainingSheet, str | None]] = [(taker, taker.name) for taker in takers]
    if not takers:
        candidates = [(_bare(sheet.name, name), None) for name in catalog.names("PromptTemplate")]
    found = []
    for taker, name in candidates:
        try:
            template = catalog.template_for(taker)
            if template.spec.label_type != label_type:
                continue
            compiled = compiled_template(catalog, template)
        except WorkbenchError:
            continue
        if any(binding_problems(taker, template, compiled.variables, known)):
            continue
        bindings = {v: c for v, c in bindings_of(taker, template, compiled.variables).items() if c in known}
        tags = {**sheet.metadata.tags, **template.metadata.tags}
        names = catalog.pair_names(taker) if name is not None else None
        found.append(View(template, compiled, bindings, name, tags.get("domain"), tags.get("function_name"), names))
    return found


def _bare(sheet: str, template: str) -> TrainingSheet:
    """A TrainingSheet that says nothing but which template shows the items."""
    return TrainingSheet.model_validate(
        {
            "apiVersion": "workbench/v1",
            "kind": "TrainingSheet",
            "metadata": {"name": sheet},
            "spec": {"sheet": sheet, "template": template, "labeling_mode": "manual"},
        }
    )
