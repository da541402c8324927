"""Fields of a template: the typed inputs it binds and the typed answer it asks for, as JSON Schema (draft 2020-12)."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, Literal, cast

from jsonschema import Draft202012Validator, FormatChecker, ValidationError
from jsonschema.protocols import Validator
from jsonschema.validators import extend
from pydantic import BaseModel, ConfigDict, Field, model_validator

from workbench_pipelines.errors import nearest

FieldType = Literal["string", "integer", "float", "number", "boolean", "list", "object", "date", "datetime", "any"]

# A local grammar with an unbounded string can run until max_tokens cuts it, so every free string ends somewhere.
DEFAULT_MAX_LENGTH = 2000

_JSON_TYPES: Mapping[str, dict[str, Any]] = {
    "string": {"type": "string"},
    "integer": {"type": "integer"},
    "float": {"type": "number"},
    "number": {"type": "number"},
    "boolean": {"type": "boolean"},
    "list": {"type": "array"},
    "object": {"type": "object"},
    "date": {"type": "string", "format": "date"},
    "datetime": {"type": "string", "format": "date-time"},
    "any": {},
}


# A text that is declared a date is one: what reads it as such must not fail on an answer that was accepted.
_FORMATS = FormatChecker(formats=())


def read_date(text: str) -> dt.date:
    """The day that a text of format `date` names. Raises ValueError."""
    return dt.date.fromisoformat(text)


def read_datetime(text: str) -> dt.datetime:
    """The time that a text of format `date-time` names, in UTC where it says its zone. Raises ValueError."""
    found = dt.datetime.fromisoformat(text)
    try:
        return found.astimezone(dt.UTC) if found.tzinfo else found
    except OverflowError:
        raise ValueError("a time before the year 1 or after 9999") from None


@_FORMATS.checks("date", raises=ValueError)
def _is_date(value: object) -> bool:
    return not isinstance(value, str) or bool(read_date(value))


@_FORMATS.checks("date-time", raises=ValueError)
def _is_datetime(value: object) -> bool:
    return not isinstance(value, str) or bool(read_datetime(value))


class FieldSpec(BaseModel):
    """One typed field of an input or output schema."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: str = Field(min_length=1, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")
    type: FieldType = "string"
    description: str | None = None
    enum: tuple[Any, ...] | None = None
    required: bool = True
    max_length: int | None = Field(default=None, ge=1)
    minimum: float | None = None
    maximum: float | None = None
    items: dict[str, Any] | None = None
    """JSON Schema of the members, for a list."""
    properties: dict[str, Any] | None = None
    """JSON Schema of the members, for an object."""

    @model_validator(mode="after")
    def _enum_is_not_empty(self) -> FieldSpec:
        if self.enum is not None and not self.enum:
            raise ValueError(f"field {self.name}: enum lists no value")
        return self

    def json_schema(self) -> dict[str, Any]:
        """The JSON Schema of this field's value."""
        schema = dict(_JSON_TYPES[self.type])
        if self.description:
            schema["description"] = self.description
        if self.enum is not None:
            schema["enum"] = list(self.enum)
        elif self.type == "string":
            schema["maxLength"] = self.max_length or DEFAULT_MAX_LENGTH
        if self.minimum is not None:
            schema["minimum"] = self.minimum
        if self.maximum is not None:
            schema["maximum"] = self.maximum
        if self.items is not None:
            schema["items"] = self.items
        if self.properties is not None:
            schema["properties"] = self.properties
        return schema


def json_schema_of(fields: Sequence[FieldSpec]) -> dict[str, Any]:
    """The JSON Schema of an object with exactly these fields."""
    return {
        "type": "object",
        "properties": {field.name: field.json_schema() for field in fields},
        "required": [field.name for field in fields if field.required],
        "additionalProperties": False,
    }


def _in_order(_: Validator, names: Sequence[str], value: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    """The keyword `inOrder`, which JSON Schema lacks: of the members it names, those that are there grow."""
    found = [value[name] for name in names if name in value] if isinstance(value, Mapping) else []
    if any(isinstance(one, bool) or not isinstance(one, int | float) for one in found):
        return  # `type` says what is wrong then
    if any(later <= earlier for earlier, later in pairwise(found)):
        yield ValidationError(f"not in the order of {', '.join(names)}")


_Validator = cast(type[Draft202012Validator], extend(Draft202012Validator, {"inOrder": _in_order}))


@lru_cache(maxsize=256)
def _validator(schema_text: str) -> Draft202012Validator:
    return _Validator(json.loads(schema_text), format_checker=_FORMATS)


def schema_violation(value: Any, schema: Mapping[str, Any]) -> str | None:
    """Why a value breaks a schema, naming the field and never the value, or None where it fits.

    A field that the schema does not name is a value itself: a model may put what it was shown there.
    """
    for error in _validator(json.dumps(schema, sort_keys=True)).iter_errors(value):
        named = _named_fields(schema)
        steps = (str(step) if isinstance(step, int) or step in named else "*" for step in error.absolute_path)
        where = ".".join(steps) or "the answer"
        if error.validator == "enum":
            return f"{where} is none of the allowed values"
        if error.validator == "required":
            missing = sorted(set(error.validator_value) - set(error.instance))
            return f"{where} lacks {', '.join(missing)}"
        if error.validator == "additionalProperties":
            known = sorted(error.schema.get("properties", {}))
            extra = sorted(set(error.instance) - set(known))
            return f"{where} has {len(extra)} unknown field{'s' if len(extra) > 1 else ''}{nearest(extra[0], known)}"
        if error.validator == "type":
            return f"{where} is not of type {error.validator_value}"
        if error.validator == "inOrder":
            return f"{where}: {' < '.join(error.validator_value)} does not hold"
        if error.validator == "format":
            return f"{where} is no ISO 8601 {error.validator_value}"
        return f"{where} breaks {error.validator} {error.validator_value}"
    return None


def _named_fields(schema: Any) -> set[str]:
    """Every field that a schema names, however deep."""
    if isinstance(schema, Mapping):
        own = schema.get("properties", {})
        return {*(own if isinstance(own, Mapping) else ()), *(n for one in schema.values() for n in _named_fields(one))}
    return {name for one in schema for name in _named_fields(one)} if isinstance(schema, list) else set()


def is_closed(schema: Mapping[str, Any]) -> bool:
    """Whether every value that fits is one of few known ones, so that it can carry nothing over from what was looked at.

    A text or a number that is not listed can hold anything, a name or a record number among it.
    """
    if "enum" in schema or "const" in schema:
        return True
    kind = schema.get("type")
    if kind == "object":
        members = schema.get("properties", {})
        return schema.get("additionalProperties") is False and all(map(is_closed, members.values()))
    if kind == "array":
        return is_closed(schema.get("items", {}))
    return kind in ("boolean", "null")
