"""Checks of the steps of a TrainingSheet: their templates, what they show, and what they make of the answers."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from workbench_pipelines.bindings import binding_problems
from workbench_pipelines.catalog import PromptTemplate, TrainingSheet
from workbench_pipelines.catalog.variety import StepSpec
from workbench_pipelines.derivation import derived_variables
from workbench_pipelines.errors import DefinitionError, TemplateError, nearest
from workbench_pipelines.validation.surroundings import Columns, Surroundings


def step_problems(world: Surroundings, training_sheet: TrainingSheet, columns: Columns | None) -> Iterator[str]:
    """Templates that are not there, variables that nothing binds or nothing has made yet, fields that no answer has."""
    spec = training_sheet.spec
    made_later = {name for step in spec.steps for name in (*step.makes, *step.choose)}
    known = set(derived_variables(training_sheet)) - made_later
    for step in spec.steps:
        where = f"spec.steps.{step.name}"
        try:
            template = world.catalog.template(step.template_name, step.pinned_version)
        except DefinitionError as error:
            yield f"{where}.template: {error.line}"
            continue
        known |= set(step.choose)
        yield from _made_problems(where, step, template)
        compiled = world.compiled(world.catalog.file_of("PromptTemplate", template.name), template)
        if not isinstance(compiled, TemplateError):
            bound = {name for name in made_later if name in spec.bindings or name in (columns or ())}
            for variable in sorted(compiled.variables & made_later - known - bound):
                yield f"{where}: template '{template.name}' asks for '{variable}', which no step before has made"
            if not compiled.variables & set(step.choose) and step.choose:
                yield f"{where}.choose: template '{template.name}' asks for none of {', '.join(sorted(step.choose))}"
            if columns is not None:
                yield from (
                    line.replace("spec.template", f"{where}.template", 1)
                    for line in binding_problems(training_sheet, template, compiled.variables, list(columns))
                )
        known |= set(step.makes)
        if step.round_trip is not None:
            texts = known | set(spec.bindings) | set(columns or ())
            for field, name in (("of", step.round_trip.of), ("against", step.round_trip.against)):
                if columns is not None and name not in texts:
                    yield f"{where}.round_trip.{field}: there is no column or variable '{name}'{nearest(name, texts)}"


def _made_problems(where: str, step: StepSpec, template: PromptTemplate) -> Iterator[str]:
    fields = {field.name: field for field in template.spec.output_schema}
    title = f"template '{template.name}' {template.spec.version}"
    given: Collection[str] | None = fields
    if step.each is not None:
        listed = fields.get(step.each)
        if listed is None or listed.type != "list":
            yield f"{where}.each: {title} answers with no list '{step.each}'{nearest(step.each, fields)}"
            return
        members = (listed.items or {}).get("properties")
        given = members if members is not None else None
        if given is None and len(step.makes) > 1:
            yield f"{where}.makes: the members of '{step.each}' are plain values, which have one name"
    for name in step.makes:
        if given is not None and name not in given:
            yield f"{where}.makes: {title} answers with no '{name}'{nearest(name, given)}"
