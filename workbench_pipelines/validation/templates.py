"""Checks of PromptTemplate and LabelType documents: text, fields, examples, and the task they share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator, SchemaError

from workbench_pipelines.catalog import LabelType, Problem, PromptTemplate
from workbench_pipelines.errors import TemplateError, nearest
from workbench_pipelines.fields import FieldSpec, json_schema_of, schema_violation
from workbench_pipelines.validation.surroundings import Surroundings, problem


def template_problems(world: Surroundings) -> Iterator[Problem]:
    """Text that does not compile, undeclared variables, contradictory fields, answers that fit no label."""
    for file, template in world.documents(PromptTemplate):
        for message in _of_template(world, file, template):
            versioned = message if isinstance(message, TemplateError) else f"version {template.spec.version}: {message}"
            yield problem(file, template, versioned)


def label_type_problems(world: Surroundings) -> Iterator[Problem]:
    """Label types whose schema is none."""
    for file, label_type in world.documents(LabelType):
        for message in _field_problems("spec.fields", label_type.spec.fields or ()):
            yield problem(file, label_type, message)
        if label_type.spec.json_schema is not None:
            for message in _schema_problems("spec.schema", label_type.spec.json_schema):
                yield problem(file, label_type, message)


def _of_template(world: Surroundings, file: str, template: PromptTemplate) -> Iterator[str | TemplateError]:
    spec = template.spec
    compiled = world.compiled(file, template)
    if isinstance(compiled, TemplateError):
        yield compiled
    elif spec.input_schema:
        # Without an input schema the template takes what it names, untyped.
        declared = {*(field.name for field in spec.input_schema), *spec.attachments}
        for variable in sorted(compiled.variables - declared):
            hint = nearest(variable, declared)
            yield f"spec.input_schema: the text uses '{variable}', which is not declared{hint}"
    yield from _field_problems("spec.input_schema", spec.input_schema)
    yield from _field_problems("spec.output_schema", spec.output_schema)
    answer_schema = json_schema_of(spec.output_schema)
    for number, example in enumerate(spec.examples):
        misfit = schema_violation(example.output, answer_schema)
        if misfit:
            yield f"spec.examples.{number}.output: {misfit}"
    for _, label_type in world.documents(LabelType):
        if label_type.name == spec.label_type:
            yield from _label_misfits(label_type, answer_schema)


def _field_problems(where: str, fields: Sequence[FieldSpec]) -> Iterator[str]:
    names = [field.name for field in fields]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"{where}: the field '{name}' stands twice"
    for field in fields:
        found = list(_schema_problems(f"{where}.{field.name}", field.json_schema()))
        yield from found
        if not found and any(_enum_misfit(field, value) for value in field.enum or ()):
            yield f"{where}.{field.name}: enum holds a value that is not of type {field.type}"


def _enum_misfit(field: FieldSpec, value: Any) -> bool:
    return schema_violation(value, field.model_copy(update={"enum": None}).json_schema()) is not None


def _schema_problems(where: str, schema: Mapping[str, Any]) -> Iterator[str]:
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        place = ".".join(str(step) for step in error.absolute_path)
        yield f"{where}: no JSON Schema{f' at {place}' if place else ''}: {error.message}"


def _label_misfits(label_type: LabelType, answer: Mapping[str, Any]) -> Iterator[str]:
    """Why answers of this form can not all be label data of the declared task."""
    spec = label_type.spec
    label = spec.json_schema if spec.json_schema is not None else json_schema_of(spec.fields or ())
    known = label.get("properties", {})
    given = answer["properties"]
    of_task = f"of label_type '{label_type.name}'"
    for name in label.get("required", ()):
        if name not in answer["required"]:
            yield f"spec.output_schema: the field '{name}' {of_task} is missing or not required"
    for name, field in given.items():
        if name in known:
            yield from _field_misfit(name, field, known[name], of_task)
        elif label.get("additionalProperties") is False:
            yield f"spec.output_schema: '{name}' is no field {of_task}{nearest(name, known)}"


def _field_misfit(name: str, field: Mapping[str, Any], known: Mapping[str, Any], of_task: str) -> Iterator[str]:
    kinds = known.get("type", field.get("type"))
    kinds = [kinds] if not isinstance(kinds, list) else kinds
    kind = field.get("type")
    if kind not in kinds and not (kind == "integer" and "number" in kinds):
        allowed = " or ".join(map(str, kinds))
        yield f"spec.output_schema: the field '{name}' is of type {kind or 'any'}, {of_task} it is {allowed}"
    elif "enum" in known and "enum" not in field:
        yield f"spec.output_schema: the field '{name}' takes any {kind}, {of_task} it has an enum"
    elif "enum" in known:
        extra = [str(value) for value in field["enum"] if value not in known["enum"]]
        if extra:
            yield f"spec.output_schema: the enum of '{name}' has values that are none {of_task}: {', '.join(extra)}"
