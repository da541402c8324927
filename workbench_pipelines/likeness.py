"""Likeness: how much two answers to one task say the same, from 0 to 1, in the way that fits what they are.

A choice, a number or a truth value is the same or is not. Free texts share words (F1, as SQuAD counts it: Rajpurkar et al.
2016), lists share members (F1), boxes and polygons overlap (intersection over union of those that belong together; one
without a partner counts as 0). An answer of several fields is as like another one as its fields are on average.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from workbench_pipelines.fields import is_closed
from workbench_pipelines.identity import canonical_text

T = TypeVar("T")
Measure = str
"""`equal`, `f1`, `iou`, or `mixed` where the fields of an answer are compared in several ways."""

_GRID = 200  # cells to the longer side of two polygons: an overlap is found to about one part in a hundred
_BOX = frozenset({"x", "y", "width", "height"})


def likeness(one: Any, other: Any, schema: Mapping[str, Any]) -> float:
    """How much two answers that fit a JSON Schema say the same."""
    members = _members(schema)
    if members:
        if not isinstance(one, Mapping) or not isinstance(other, Mapping):
            return float(_same(one, other))
        names = sorted({*one, *other})
        shares = [_field(one.get(name), other.get(name), members.get(name, {})) for name in names]
        return sum(shares) / len(shares) if shares else 1.0
    return _field(one, other, schema)


def measure_of(schema: Mapping[str, Any]) -> Measure:
    """In which way the answers of a task are compared."""
    members = _members(schema)
    ways = {measure_of(one) for one in members.values()} if members else {_way(schema)}
    return ways.pop() if len(ways) == 1 else "mixed"


def number_of(answer: Any, schema: Mapping[str, Any]) -> float | None:
    """The number that an answer is, for a task that asks for one number and nothing else; None for any other."""
    members = _members(schema)
    if len(members) == 1:
        ((name, member),) = members.items()
        return number_of(answer.get(name) if isinstance(answer, Mapping) else None, member)
    is_number = schema.get("type") in ("number", "integer") and not members
    return float(answer) if is_number and isinstance(answer, (int, float)) and not isinstance(answer, bool) else None


def _field(one: Any, other: Any, schema: Mapping[str, Any]) -> float:
    if one is None or other is None:
        return float(one is other)
    if _members(schema):
        return likeness(one, other, schema)
    way = _way(schema)
    if isinstance(one, str) and isinstance(other, str) and way == "f1":
        return _shared(_words(one), _words(other))
    if isinstance(one, list) and isinstance(other, list) and way in ("f1", "iou"):
        if way == "iou":
            return _matched(one, other, _polygons if "points" in _members(schema["items"]) else _boxes)
        return _shared([canonical_text(value) for value in one], [canonical_text(value) for value in other])
    return float(_same(one, other))


def _way(schema: Mapping[str, Any]) -> Measure:
    if "enum" in schema or "const" in schema:
        return "equal"
    kind = schema.get("type")
    if kind == "array":
        drawn = set(_members(schema.get("items", {})))
        return "iou" if drawn >= _BOX or "points" in drawn else "f1"
    return "f1" if kind == "string" and not schema.get("format") and not is_closed(schema) else "equal"


def _members(schema: Mapping[str, Any]) -> Mapping[str, Any]:
    found = schema.get("properties")
    return found if isinstance(found, Mapping) else {}


def _same(one: Any, other: Any) -> bool:
    return canonical_text(one) == canonical_text(other)


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


def _shared(one: Sequence[str], other: Sequence[str]) -> float:
    """F1: twice what both have, of all that they have."""
    if not one and not other:
        return 1.0
    return 2 * (Counter(one) & Counter(other)).total() / (len(one) + len(other))


def _matched(one: Sequence[Any], other: Sequence[Any], overlap: Callable[[Any, Any], float]) -> float:
    """The mean overlap of shapes of the same name, each matched with the free one that it overlaps most."""
    if not one and not other:
        return 1.0
    found = [
        (overlap(first, second), i, j)
        for i, first in enumerate(one)
        for j, second in enumerate(other)
        if _name(first) == _name(second)
    ]
    total, used, taken = 0.0, set(), set()
    for share, i, j in sorted(found, key=lambda match: (-match[0], match[1], match[2])):
        if i not in used and j not in taken:
            total += share
            used.add(i)
            taken.add(j)
    return total / max(len(one), len(other))


def _name(shape: Any) -> str:
    """What a shape is said to be: all of it but where it is."""
    where = _BOX | {"points"}
    return canonical_text({key: value for key, value in shape.items() if key not in where})


def _boxes(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    wide = min(one["x"] + one["width"], other["x"] + other["width"]) - max(one["x"], other["x"])
    high = min(one["y"] + one["height"], other["y"] + other["height"]) - max(one["y"], other["y"])
    both = max(0.0, wide) * max(0.0, high)
    all_ = one["width"] * one["height"] + other["width"] * other["height"] - both
    return both / all_ if all_ > 0 else float(_same(one, other))


def _polygons(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """The overlap of two polygons as it is counted in cells of a grid over both."""
    from PIL import Image, ImageChops, ImageDraw

    corners = [[_point(point) for point in shape["points"]] for shape in (one, other)]
    if min(map(len, corners)) < 3:
        return float(_same(one, other))
    points = [point for polygon in corners for point in polygon]
    left, top = min(x for x, _ in points), min(y for _, y in points)
    scale = _GRID / (max(max(x for x, _ in points) - left, max(y for _, y in points) - top) or 1)
    drawn = []
    for polygon in corners:
        image = Image.new("1", (_GRID + 1, _GRID + 1))
        ImageDraw.Draw(image).polygon([((x - left) * scale, (y - top) * scale) for x, y in polygon], fill=1)
        drawn.append(image)
    both, all_ = ImageChops.logical_and(*drawn), ImageChops.logical_or(*drawn)
    return both.histogram()[-1] / all_.histogram()[-1]


def _point(point: Any) -> tuple[float, float]:
    return (point["x"], point["y"]) if isinstance(point, Mapping) else (point[0], point[1])
