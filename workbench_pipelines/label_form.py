"""The form of a label: a field for each part of an answer, made from the JSON Schema of its task, and read back."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from workbench_pipelines.fields import schema_violation
from workbench_pipelines.identity import MAX_SAFE_INTEGER, canonical_text

Kind = Literal["choice", "number", "integer", "text", "long_text", "json", "box", "polygon", "date"]
PREFIX = "label."
WHOLE = "(answer)"
"""The name of the only field where the answer is no object."""

# A text that may be longer is written in several lines.
_ONE_LINE = 200


@dataclass(frozen=True)
class FormField:
    """One field: `text` is what stands in it, `options` are (value, shown) of a choice."""

    name: str
    kind: Kind
    required: bool
    text: str = ""
    options: tuple[tuple[str, str], ...] = ()
    help: str | None = None
    labels: tuple[str, ...] = ()
    """What a drawn box or polygon can be called."""

    @property
    def input_name(self) -> str:
        return PREFIX + self.name


class FormRead(NamedTuple):
    """The answer that a form holds, or None, and what is wrong by field."""

    answer: Any
    problems: dict[str, str]


def form_fields(schema: Mapping[str, Any], answer: Any = None) -> list[FormField]:
    """The fields of a label form, filled with an answer."""
    members = schema.get("properties")
    if not isinstance(members, Mapping) or not members:
        return [_field(WHOLE, schema, required=True, value=answer)]
    given = answer if isinstance(answer, Mapping) else {}
    required = set(schema.get("required", ()))
    return [_field(name, member, name in required, given.get(name)) for name, member in members.items()]


def refilled(fields: list[FormField], posted: Mapping[str, str]) -> list[FormField]:
    """The fields with what a person typed, so that a save that is refused loses nothing."""
    return [
        FormField(one.name, one.kind, one.required, posted.get(one.input_name, ""), one.options, one.help, one.labels)
        for one in fields
    ]


def read_form(schema: Mapping[str, Any], posted: Mapping[str, str]) -> FormRead:
    """The answer that was typed; a field left empty is left out, and the whole is held against the schema."""
    values: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for field in form_fields(schema):
        text = posted.get(field.input_name, "")
        if not text.strip():
            if field.required:
                problems[field.name] = "is needed"
            continue
        try:
            values[field.name] = _read(field, text)
        except ValueError as error:
            problems[field.name] = str(error)
    if problems:
        return FormRead(None, problems)
    answer = values.get(WHOLE) if WHOLE in values else values
    violation = schema_violation(answer, schema)
    return FormRead(None, {"": violation}) if violation else FormRead(answer, {})


def _field(name: str, schema: Mapping[str, Any], required: bool, value: Any) -> FormField:
    kind = _kind(schema)
    options: tuple[tuple[str, str], ...] = ()
    if "enum" in schema:
        options = tuple((canonical_text(one), _shown(one)) for one in schema["enum"])
    elif schema.get("type") == "boolean":
        options = (("true", "yes"), ("false", "no"))
    if kind == "choice" and not required:
        options = (*options, ("", "not said"))
    written = "" if value is None else _written(kind, value)
    return FormField(name, kind, required, written, options, schema.get("description"), _labels(schema))


def _kind(schema: Mapping[str, Any]) -> Kind:
    if "enum" in schema or schema.get("type") == "boolean":
        return "choice"
    kind = schema.get("type")
    if kind in ("number", "integer"):
        return "number" if kind == "number" else "integer"
    if kind == "string":
        if schema.get("format") == "date":
            return "date"
        return "text" if schema.get("maxLength", _ONE_LINE + 1) <= _ONE_LINE else "long_text"
    drawn = _member(schema)
    if {"x", "y", "width", "height"} <= set(drawn):
        return "box"
    return "polygon" if "points" in drawn else "json"


def _member(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    """The properties of the members of a list."""
    items = schema.get("items") if schema.get("type") == "array" else None
    found = items.get("properties") if isinstance(items, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _labels(schema: Mapping[str, Any]) -> tuple[str, ...]:
    label = _member(schema).get("label")
    return tuple(str(one) for one in label.get("enum", ())) if isinstance(label, Mapping) else ()


def _written(kind: Kind, value: Any) -> str:
    if kind == "choice":
        return canonical_text(value)
    if isinstance(value, str) and kind not in ("json", "box", "polygon"):
        return value
    if kind in ("json", "box", "polygon"):
        return json.dumps(value, indent=1, ensure_ascii=False)
    return canonical_text(value)


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else canonical_text(value)


def _read(field: FormField, text: str) -> Any:
    if field.kind in ("text", "long_text", "date"):
        # A browser sends every line end as CR LF.
        return text.replace("\r\n", "\n")
    if field.kind in ("number", "integer"):
        try:
            return int(text) if field.kind == "integer" else _number(text)
        except ValueError:
            raise ValueError("is no whole number" if field.kind == "integer" else "is no number") from None
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError("is no JSON") from None


def _number(text: str) -> float | int:
    found = float(text)
    if not math.isfinite(found):
        raise ValueError
    # Past 2^53 an integer that was a float is another number.
    return int(text) if text.strip().lstrip("+-").isdigit() and abs(found) <= MAX_SAFE_INTEGER else found
