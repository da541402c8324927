"""Kinds of tasks, each with the JSON Schema (draft 2020-12) that its labels have where a LabelType gives none of its own.

Places in an image are pixels of it, from its upper left corner; places in a text count its characters from 0, the end not included,
as Label Studio and spaCy count them.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

LabelKind = Literal[
    "classification", "entity_extraction", "qa", "generation", "summarization", "localization", "document_type",
    "root_cause", "pass_fail", "other",
]  # fmt: skip

NEEDS_CLASSES = ("classification", "document_type")
TAKES_CLASSES = (*NEEDS_CLASSES, "entity_extraction", "localization", "root_cause")

_TEXT = {"type": "string", "minLength": 1, "maxLength": 20_000}
_REMARK = {"type": "string", "maxLength": 2_000}
_PLACE = {"type": "number", "minimum": 0}
_EXTENT = {"type": "number", "exclusiveMinimum": 0}
_COUNT = {"type": "integer", "minimum": 0}


def schema_of_kind(kind: LabelKind, classes: Sequence[str] = ()) -> dict[str, Any]:
    """The JSON Schema of the labels of a kind.

    Args:
        classes: the names that a label may choose from; without them any text where the kind can do without.

    Raises:
        ValueError: for a kind that has none of its own, or classes that it needs and has not, or can not have.
    """
    if kind not in _SCHEMAS:
        raise ValueError(f"kind {kind} has no schema of its own: give `fields` or `schema`")
    if kind in NEEDS_CLASSES and not classes:
        raise ValueError(f"kind {kind} needs `classes`, or `fields` or `schema`")
    if classes and kind not in TAKES_CLASSES:
        raise ValueError(f"`classes` go with the kinds {', '.join(TAKES_CLASSES)}, not with {kind}")
    return _SCHEMAS[kind]({"enum": list(classes)} if classes else {"type": "string", "minLength": 1, "maxLength": 200})


def _object(required: Sequence[str], **members: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(members),
        "required": list(required),
        "additionalProperties": False,
    }


def _list(member: Mapping[str, Any], least: int = 0) -> dict[str, Any]:
    return {"type": "array", "items": member, **({"minItems": least} if least else {})}


def _entities(named: Mapping[str, Any]) -> dict[str, Any]:
    span = _object(["text", "label"], text=_TEXT, label=named, start=_COUNT, end=_COUNT)
    together = {"start": ["end"], "end": ["start"]}
    return _object(["entities"], entities=_list({**span, "dependentRequired": together, "inOrder": ["start", "end"]}))


def _localization(named: Mapping[str, Any]) -> dict[str, Any]:
    box = _object(
        ["label", "x", "y", "width", "height"], label=named, x=_PLACE, y=_PLACE, width=_EXTENT, height=_EXTENT
    )
    corner = {"type": "array", "items": _PLACE, "minItems": 2, "maxItems": 2}
    polygon = _object(["label", "points"], label=named, points=_list(corner, least=3))
    return _object([], boxes=_list(box), polygons=_list(polygon)) | {"minProperties": 1}


_SCHEMAS: Mapping[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "classification": lambda named: _object(["label"], label=named),
    "document_type": lambda named: _object(["document_type"], document_type=named),
    "entity_extraction": _entities,
    "localization": _localization,
    "root_cause": lambda named: _object(
        ["root_cause"], root_cause=named, evidence=_REMARK, contributing_factors=_list({"type": "string"})
    ),
    "pass_fail": lambda _: _object(["result"], result={"enum": ["pass", "fail"]}, reason=_REMARK),
    "qa": lambda _: _object(["answer"], question=_TEXT, answer=_TEXT),
    "generation": lambda _: _object(["text"], text=_TEXT),
    "summarization": lambda _: _object(["summary"], summary=_TEXT),
}
