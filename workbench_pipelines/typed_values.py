"""Typed values: a value as a data frame holds it, as the type that a field of a template declares.

Equal data must give equal prompts however a source stored it, so a number is one number whether its column was read as
integer or float, and a date is ISO 8601 text. A reason names the field and what is wrong, never the value.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, NamedTuple

from workbench_pipelines.fields import FieldSpec, schema_violation
from workbench_pipelines.identity import MAX_SAFE_INTEGER, canonical_text


class Typed(NamedTuple):
    """A value of its field's type, or the reason why it has none."""

    value: Any
    reason: str | None = None


class TypedInputs(NamedTuple):
    """The inputs of one item by variable, or the first reason why they do not fit."""

    values: dict[str, Any]
    reason: str | None = None


def plain_value(value: Any) -> Any:
    """A value without a declared type, as JSON and templates can hold it: times as ISO 8601, decimals as text."""
    if value is None or isinstance(value, (str, bool, int, float)):
        return value
    if isinstance(value, dt.datetime):
        return (value.astimezone(dt.UTC) if value.tzinfo else value).isoformat()
    if isinstance(value, (dt.date, dt.time)):
        return value.isoformat()
    if isinstance(value, dt.timedelta):
        return f"{value.total_seconds()}s"
    if isinstance(value, Decimal):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {str(key): plain_value(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_value(inner) for inner in value]
    return str(value)


def typed_value(value: Any, field: FieldSpec, *, from_text: bool = False) -> Typed:
    """A value as its field's type, within its bounds; `from_text` also reads numbers and booleans from text."""
    if value is None:
        return Typed(None, f"{field.name} is null, and it is required" if field.required else None)
    if from_text and isinstance(value, str):
        value = _read_text(value, field.type)
    found = _convert(value, field)
    return found if found.reason else Typed(found.value, _bound(found.value, field))


def typed_inputs(inputs: Mapping[str, Any], input_schema: Sequence[FieldSpec]) -> TypedInputs:
    """The inputs as the types that the schema declares; a variable the schema does not name passes as a plain value."""
    values = dict(inputs)
    for field in input_schema:
        if field.name not in values:
            if field.required:
                return TypedInputs({}, f"{field.name} is missing")
            continue
        value, reason = typed_value(values[field.name], field)
        if reason:
            return TypedInputs({}, reason)
        values[field.name] = value
    declared = {field.name for field in input_schema}
    for name in values.keys() - declared:
        values[name] = plain_value(values[name])
    return TypedInputs(values)


def _convert(value: Any, field: FieldSpec) -> Typed:
    kind = field.type
    if kind == "string":
        return _as_text(value, field)
    if kind in ("float", "number", "integer"):
        return _as_number(value, field)
    if kind == "boolean":
        return Typed(value) if isinstance(value, bool) else _misfit(value, field)
    if kind == "list":
        return Typed(plain_value(value)) if isinstance(value, (list, tuple)) else _misfit(value, field)
    if kind == "object":
        return Typed(plain_value(value)) if isinstance(value, Mapping) else _misfit(value, field)
    if kind in ("date", "datetime"):
        return _as_time(value, field)
    return Typed(plain_value(value))


def _as_text(value: Any, field: FieldSpec) -> Typed:
    if isinstance(value, str):
        return Typed(value)
    if isinstance(value, (Mapping, list, tuple, bytes)):
        return _misfit(value, field)
    if isinstance(value, (bool, float)):
        # As JSON writes them: true, and 5 for 5.0, so that a column read as float keeps its text.
        return Typed(canonical_text(value).strip('"'))
    return Typed(str(plain_value(value)))


def _as_number(value: Any, field: FieldSpec) -> Typed:
    if isinstance(value, Decimal) and value.is_finite():
        value = int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return _misfit(value, field)
    if isinstance(value, float) and not math.isfinite(value):
        return Typed(None, f"{field.name} is not a finite number")
    if field.type == "integer":
        return Typed(int(value)) if value == int(value) else Typed(None, f"{field.name} has a fraction, not an integer")
    # Past 2^53 a float would be another number.
    return Typed(float(value) if abs(value) <= MAX_SAFE_INTEGER else value)


def _as_time(value: Any, field: FieldSpec) -> Typed:
    if isinstance(value, str):
        try:
            (dt.date if field.type == "date" else dt.datetime).fromisoformat(value)
        except ValueError:
            return Typed(None, f"{field.name} is text that is no ISO 8601 {field.type}")
        return Typed(value)
    right = isinstance(value, dt.datetime) == (field.type == "datetime")
    return Typed(plain_value(value)) if isinstance(value, dt.date) and right else _misfit(value, field)


def _read_text(text: str, kind: str) -> Any:
    """The number or boolean a text stands for, or the text itself where it stands for none."""
    if kind == "boolean":
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    if kind in ("integer", "float", "number"):
        for read in (int, float):
            try:
                return read(text)
            except ValueError:
                continue
    return text


def _bound(value: Any, field: FieldSpec) -> str | None:
    """Why a value of the right type breaks a bound of its field."""
    if field.enum is not None and value not in field.enum:
        return f"{field.name} is none of the allowed values"
    if field.max_length is not None and isinstance(value, str) and len(value) > field.max_length:
        return f"{field.name} is longer than {field.max_length} characters"
    if field.minimum is not None and isinstance(value, (int, float)) and value < field.minimum:
        return f"{field.name} is below {field.minimum:g}"
    if field.maximum is not None and isinstance(value, (int, float)) and value > field.maximum:
        return f"{field.name} is above {field.maximum:g}"
    if field.items is not None or field.properties is not None:
        # Without the length bound that answers get: inputs are as long as their source.
        return schema_violation({field.name: value}, {"properties": {field.name: field.json_schema()}})
    return None


def _misfit(value: Any, field: FieldSpec) -> Typed:
    return Typed(None, f"{field.name} is of type {type(value).__name__}, not {field.type}")
