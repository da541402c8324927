"""Answer models: an output schema as a pydantic model, for code that reads answers by attribute instead of by key.

The model accepts what the JSON Schema of the same fields accepts, and nothing else. What pydantic has no word for (a
pattern, a list of types, an enum of mixed values) is checked by the JSON Schema itself.
"""

from __future__ import annotations

import datetime as dt
import keyword
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict, create_model

from workbench_pipelines.fields import FieldSpec, json_schema_of, read_date, read_datetime, schema_violation

_SAYS_NOTHING = frozenset({"type", "title", "description"})
# The keywords that a type of each kind stands for; a schema with any other is checked as it is.
_WORDS: Mapping[str, frozenset[str]] = {
    "string": frozenset({"minLength", "maxLength"}),
    "date": frozenset({"format"}),
    "integer": frozenset({"minimum", "maximum"}),
    "number": frozenset({"minimum", "maximum"}),
    "boolean": frozenset(),
    "array": frozenset({"items", "minItems", "maxItems"}),
    "object": frozenset({"properties", "required", "additionalProperties"}),
}


def answer_model(fields: Sequence[FieldSpec], name: str = "Answer") -> type[BaseModel]:
    """A model of the answers that an output schema asks for; what the model refuses it names without its value.

    A date is a `datetime.date`, an object with declared members a model of its own. A field whose name Python or
    pydantic keeps for itself (`class`, `copy`, `_x`) has a `_` behind it, and its own name in JSON.
    """
    return _model(json_schema_of(fields), name)


def _model(schema: Mapping[str, Any], name: str) -> type[BaseModel]:
    properties, required = schema.get("properties", {}), schema.get("required", ())
    members: dict[str, Any] = {}
    for key, attribute in _attributes(properties).items():
        # A default that is not looked at: the field may be absent, and null is a value like any other.
        default = ... if key in required else None
        members[attribute] = (_type(properties[key], f"{name}_{attribute}"), Field(default=default, alias=key))
    config = ConfigDict(
        extra="allow" if schema.get("additionalProperties", True) else "forbid",
        hide_input_in_errors=True,
        protected_namespaces=(),
    )
    return create_model(name, __config__=config, **members)


def _attributes(names: Iterable[str]) -> dict[str, str]:
    """What each member is called in Python: its own name, where that is free."""
    taken: dict[str, str] = {}
    for name in names:
        attribute = re.sub(r"\W", "_", name).lstrip("_") or "field"
        attribute = f"field_{attribute}" if attribute[0].isdigit() else attribute
        while attribute in taken.values() or keyword.iskeyword(attribute) or hasattr(BaseModel, attribute):
            attribute += "_"
        taken[name] = attribute
    return taken


def _type(schema: Mapping[str, Any], name: str) -> Any:
    """The Python type whose values are those of a schema."""
    kind = schema.get("type")
    if kind == "string" and "enum" in schema and not schema.keys() - _SAYS_NOTHING - {"enum"}:
        if all(isinstance(value, str) for value in schema["enum"]):
            return Literal[tuple(schema["enum"])]
    elif kind == "string" and schema.get("format") in _READ and not schema.keys() - _SAYS_NOTHING - _WORDS["date"]:
        return _READ[schema["format"]]
    elif isinstance(kind, str) and kind in _TYPES and not schema.keys() - _SAYS_NOTHING - _WORDS[kind]:
        found = _TYPES[kind](schema, name)
        if found is not None:
            return found
    elif not schema.keys() - (_SAYS_NOTHING - {"type"}):
        return Any
    return Annotated[Any, AfterValidator(_check(schema))]


def _check(schema: Mapping[str, Any]) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        problem = schema_violation(value, schema)
        if problem:
            raise ValueError(problem)
        return value

    return check


def _text(schema: Mapping[str, Any], name: str) -> Any:
    return Annotated[str, Strict(), Field(min_length=schema.get("minLength"), max_length=schema.get("maxLength"))]


def _integer(schema: Mapping[str, Any], name: str) -> Any:
    low, high = _bounds(schema)
    if not all(bound is None or math.isfinite(bound) for bound in (low, high)):
        return None
    bounds = Field(ge=None if low is None else math.ceil(low), le=None if high is None else math.floor(high))
    return Annotated[int, BeforeValidator(_whole), Strict(), bounds]


def _number(schema: Mapping[str, Any], name: str) -> Any:
    integer, (low, high) = _integer(schema, name), _bounds(schema)
    return None if integer is None else integer | Annotated[float, BeforeValidator(_fraction), Field(ge=low, le=high)]


def _boolean(schema: Mapping[str, Any], name: str) -> Any:
    return Annotated[bool, Strict()]


def _list(schema: Mapping[str, Any], name: str) -> Any:
    items = schema.get("items", {})
    if not isinstance(items, Mapping):
        return None
    length = Field(min_length=schema.get("minItems"), max_length=schema.get("maxItems"))
    return Annotated[list[_type(items, f"{name}_item")], Strict(), length]  # type: ignore[misc]


def _object(schema: Mapping[str, Any], name: str) -> Any:
    properties = schema.get("properties", {})
    plain = isinstance(schema.get("additionalProperties", True), bool)
    members = isinstance(properties, Mapping) and all(isinstance(one, Mapping) for one in properties.values())
    if not plain or not members or set(schema.get("required", ())) - set(properties):
        return None
    if not properties and schema.get("additionalProperties", True):
        return Annotated[dict[str, Any], Strict()]
    return _model(schema, name)


def _bounds(schema: Mapping[str, Any]) -> tuple[float | None, float | None]:
    return schema.get("minimum"), schema.get("maximum")


def _whole(value: Any) -> Any:
    """JSON has one kind of number: 5.0 is the integer 5."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _fraction(value: Any) -> Any:
    # An integer past 2^53 would be rounded, and may then lie within a bound that it breaks.
    if not isinstance(value, float):
        raise ValueError("no fraction")
    return value


def _reader(read: Callable[[str], Any]) -> Callable[[Any], Any]:
    def from_text(value: Any) -> Any:
        if not isinstance(value, str):
            raise ValueError("no text in ISO 8601")
        return read(value)

    return from_text


_TYPES: Mapping[str, Callable[[Mapping[str, Any], str], Any]] = {
    "string": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "array": _list,
    "object": _object,
}
_READ: Mapping[str, Any] = {
    "date": Annotated[dt.date, BeforeValidator(_reader(read_date))],
    "date-time": Annotated[dt.datetime, BeforeValidator(_reader(read_datetime))],
}
