"""Output schemas in the words that providers accept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# A strict mode refuses a schema with bounds on text; the answer is held to them when it is read.
_NOT_IN_STRICT = frozenset({"maxLength", "minLength", "default"})


def response_format(schema: Mapping[str, Any], *, bounded: bool = False) -> dict[str, Any]:
    """The `response_format` that asks for JSON of this schema; strict where every object in it names all its members.

    `bounded` says that the model takes bounds on text: then the schema goes as it is.
    """
    strict = not bounded and _is_closed(schema)
    named = {"name": "answer", "schema": _without_bounds(schema) if strict else dict(schema), "strict": strict}
    return {"type": "json_schema", "json_schema": named}


def _is_closed(schema: Mapping[str, Any]) -> bool:
    """Whether a schema is made of typed values, lists, and objects of which every member is known and required."""
    kind = schema.get("type")
    if kind == "object":
        members = schema.get("properties") or {}
        complete = schema.get("additionalProperties") is False and set(schema.get("required") or ()) == set(members)
        return complete and bool(members) and all(_is_closed(member) for member in members.values())
    if kind == "array":
        return isinstance(schema.get("items"), Mapping) and _is_closed(schema["items"])
    return kind in ("string", "integer", "number", "boolean", "null") or "enum" in schema


def _without_bounds(schema: Any) -> Any:
    if isinstance(schema, Mapping):
        kept = {key: value for key, value in schema.items() if key not in _NOT_IN_STRICT}
        if isinstance(members := kept.get("properties"), Mapping):
            # A member may be called as a keyword is.
            kept["properties"] = {name: _without_bounds(member) for name, member in members.items()}
        if "items" in kept:
            kept["items"] = _without_bounds(kept["items"])
        return kept
    return schema
