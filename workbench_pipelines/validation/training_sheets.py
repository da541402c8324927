"""Checks of TrainingSheet documents: their Sheet, their template version, and the columns between the two."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from workbench_pipelines.bindings import binding_problems, column_problems
from workbench_pipelines.catalog import Problem, PromptTemplate, Sheet, TrainingSheet
from workbench_pipelines.chunks import HEADING
from workbench_pipelines.derivation import derived_variables
from workbench_pipelines.domains import DOMAIN
from workbench_pipelines.errors import DefinitionError, TemplateError, WorkbenchError, nearest
from workbench_pipelines.example_views import label_types_of
from workbench_pipelines.filters import compile_filter
from workbench_pipelines.validation.quality import quality_problems
from workbench_pipelines.validation.steps import step_problems
from workbench_pipelines.validation.surroundings import Columns, Surroundings, problem
from workbench_pipelines.variants import VARIANT, parameter_names, shared_numbers, variants_of


def training_sheet_problems(world: Surroundings) -> Iterator[Problem]:
    """References that lead nowhere, variables that no column binds, filters and samples over unknown columns."""
    for file, training_sheet in world.documents(TrainingSheet):
        for message in _of_training_sheet(world, training_sheet):
            yield problem(file, training_sheet, message)


def _of_training_sheet(world: Surroundings, training_sheet: TrainingSheet) -> Iterator[str]:
    spec = training_sheet.spec
    columns: Columns | None = None
    try:
        found = world.columns(world.catalog.sheet(spec.sheet))
        # Columns that can not be known are the Sheet's problem, told there once.
        columns = None if isinstance(found, WorkbenchError) else found
    except DefinitionError as error:
        yield f"spec.sheet: {error.line}"
    template: PromptTemplate | None = None
    try:
        template = world.catalog.template(spec.template_name, spec.pinned_version)
        answered = {field.name for field in template.spec.output_schema}
        for name in spec.answer_language.fields if spec.answer_language else ():
            if name not in answered:
                yield f"spec.answer_language.fields: template '{template.name}' answers with no '{name}'{nearest(name, answered)}"
        yield from _binding_problems(world, training_sheet, template, columns)
        yield from quality_problems(world, training_sheet, template)
    except DefinitionError as error:
        yield f"spec.template: {error.line}"
    try:
        if spec.domain is not None:
            world.catalog.domain(spec.domain, "spec.domain", uses_are_checked=True)
    except DefinitionError as error:
        yield error.line
    yield from _derived_problems(training_sheet, columns or {})
    yield from step_problems(world, training_sheet, columns)
    if columns is not None:
        yield from _stratum_problems(training_sheet, columns)
    if columns is not None:
        yield from _column_problems(training_sheet, columns)
    if spec.few_shot is not None:
        yield from _few_shot_problems(world, spec.few_shot.store, template)


def _few_shot_problems(world: Surroundings, store: str, template: PromptTemplate | None) -> Iterator[str]:
    known = world.catalog.example_stores()
    if store not in known:
        yield f"spec.few_shot.store: there is no ExampleStore '{store}'{nearest(store, known)}"
    elif template is not None:
        try:
            tasks = label_types_of(world.catalog, world.catalog.example_store(store))
        except DefinitionError:
            return  # the store says itself what is wrong with it
        task = template.spec.label_type
        if task not in tasks:
            yield f"spec.few_shot.store: ExampleStore '{store}' keeps no examples of label_type '{task}'{nearest(task, tasks)}"


def _binding_problems(
    world: Surroundings, training_sheet: TrainingSheet, template: PromptTemplate, columns: Columns | None
) -> Iterator[str]:
    compiled = world.compiled(world.catalog.file_of("PromptTemplate", template.name), template)
    if isinstance(compiled, TemplateError):
        return
    spec = training_sheet.spec
    title = f"template '{template.name}' {template.spec.version}"
    known = compiled.variables | {field.name for field in template.spec.input_schema}
    for variable in spec.bindings:
        if variable not in known:
            yield f"spec.bindings.{variable}: {title} has no variable '{variable}'{nearest(variable, known)}"
    yield from _unasked_problems(training_sheet, title, compiled.variables)
    if columns is not None:
        yield from binding_problems(training_sheet, template, compiled.variables, list(columns))


def _derived_problems(training_sheet: TrainingSheet, columns: Columns) -> Iterator[str]:
    """Variables of derived items that hide a column, and variants that nothing tells apart."""
    spec = training_sheet.spec
    for variable in derived_variables(training_sheet):
        if variable in spec.bindings:
            yield f"spec.bindings.{variable}: what is derived has a variable of this name; call one of the two otherwise"
        elif variable in columns:
            yield (
                f"spec: Sheet '{spec.sheet}' has a column '{variable}', and `domain`, `chunks`, `variants` or `steps` show a "
                "variable of this name; call one of the two otherwise"
            )
    if spec.variants is not None:
        for one, other in shared_numbers(variants_of(spec.variants)):
            yield f"spec.variants: '{one}' and '{other}' come to have one number; change a value of one of them"


def _stratum_problems(training_sheet: TrainingSheet, columns: Columns) -> Iterator[str]:
    """Strata and languages that are named by what no item has."""
    spec = training_sheet.spec
    known = {*columns, *derived_variables(training_sheet)} - {DOMAIN, HEADING}
    named = [("targets.by", spec.targets.by if spec.targets else None)]
    named.append(("answer_language.of", spec.answer_language.of if spec.answer_language else None))
    for field, name in named:
        if name is not None and name not in known:
            yield f"spec.{field}: there is no column or parameter '{name}'{nearest(name, known)}"


def _unasked_problems(training_sheet: TrainingSheet, title: str, variables: Collection[str]) -> Iterator[str]:
    """Parameters that a template never asks for: their variants would all be one prompt."""
    spec = training_sheet.spec.variants
    if spec is None or VARIANT in variables:
        return
    if training_sheet.spec.steps:
        return  # a step may be the one that asks for them
    for name in parameter_names(spec):
        if name not in variables:
            yield f"spec.variants: {title} does not ask for '{name}', so variants that differ in it would be one prompt"
    if not parameter_names(spec):
        yield f"spec.variants: {title} asks neither for '{VARIANT}' nor a parameter, so all variants would be one prompt"


def _column_problems(training_sheet: TrainingSheet, columns: Columns) -> Iterator[str]:
    spec = training_sheet.spec
    yield from column_problems(training_sheet, list(columns))
    if spec.items.filter_condition is not None:
        try:
            compile_filter(spec.items.filter_condition, columns, "spec.items.filter_condition")
        except WorkbenchError as error:
            yield error.line


def sheet_column_problems(world: Surroundings) -> Iterator[Problem]:
    """Sheets whose sources can not be looked into, each once however many TrainingSheets use it."""
    for file, sheet in world.documents(Sheet):
        found = world.columns(sheet)
        if isinstance(found, WorkbenchError):
            yield problem(file, sheet, found)
