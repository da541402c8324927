"""A task's answer in Label Studio as regions: what an answer is drawn as, and what the regions of an annotation say.

Boxes are in pixels of the image, Label Studio's are in percent of it; its offsets count units of UTF-16.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from workbench_pipelines.errors import LabelError
from workbench_pipelines.identity import MAX_SAFE_INTEGER, canonical_text
from workbench_pipelines.label_form import WHOLE
from workbench_pipelines.label_studio_config import IMAGE, ITEM, NOTES, TEXT, VERDICT, Control, Look, marked_text
from workbench_pipelines.review_tasks import Picture, ReviewTask

# A pixel is not drawn more exactly.
_DECIMALS = 3

Region = dict[str, Any]
"""One part of an annotation or a prediction, as Label Studio writes it."""


class Said(NamedTuple):
    """What an annotation says: an answer, or a verdict in place of it."""

    answer: Any
    verdict: str | None
    notes: str | None


def regions_of(controls: Sequence[Control], answer: Any, task: ReviewTask, look: Look) -> list[Region]:
    """An answer as the regions of a prediction; a field that can not be drawn is left out."""
    picture = next(iter(task.pictures.values()), None)
    source = marked_text(task, look)
    found: list[Region] = []
    for control in controls:
        value = answer if control.field == WHOLE else answer.get(control.field) if isinstance(answer, Mapping) else None
        if value is None:
            continue
        if control.kind in ("box", "polygon"):
            found += [_drawn(control, one, picture) for one in value] if picture is not None else []
        elif control.kind == "spans":
            found += [_span(control, one, source) for one in value]
        else:
            region = _region(control, value)
            found += [region] if region else []
    return found


def said_by(controls: Sequence[Control], regions: Sequence[Mapping[str, Any]], task: Mapping[str, Any]) -> Said:
    """What the regions of an annotation say.

    Args:
        task: the data of its task, as `task_data` made it.

    Raises:
        LabelError: naming the control that says what can not be read.
    """
    by_name: dict[str, list[Mapping[str, Any]]] = {}
    for region in regions:
        by_name.setdefault(str(region.get("from_name")), []).append(region)
    answer: dict[str, Any] = {}
    for control in controls:
        drawn = by_name.pop(control.name, [])
        try:
            value = _value(control, drawn, str(task.get(TEXT, "")))
        except (KeyError, TypeError, ValueError, IndexError, ZeroDivisionError) as error:
            why = error.args[0] if isinstance(error, ValueError) and error.args else "can not be read"
            raise LabelError(f"{control.field}: {why}") from None
        if value is not None:
            answer[control.field] = value
    verdicts = [choice for region in by_name.pop(VERDICT, []) for choice in region["value"].get("choices", ())]
    notes = [text for region in by_name.pop(NOTES, []) for text in region["value"].get("text", ())]
    unknown = next(iter(by_name), None)
    if unknown is not None:
        raise LabelError(f"'{unknown[:60]}' is none of the controls of this task; was its schema changed since?")
    return Said(answer.get(WHOLE, answer), next(iter(verdicts), None), "\n".join(notes).strip() or None)


def is_same(one: Any, other: Any) -> bool:
    """Whether two answers say the same, what is drawn as exactly as a pixel is."""
    return canonical_text(_rounded(one)) == canonical_text(_rounded(other))


def _region(control: Control, value: Any) -> Region | None:
    target = {"from_name": control.name, "to_name": ITEM}
    if control.kind in ("choice", "choices"):
        wanted = [canonical_text(one) for one in (value if control.kind == "choices" else [value])]
        chosen = [shown for one, shown in control.options if canonical_text(one) in wanted]
        return {**target, "type": "choices", "value": {"choices": chosen}} if chosen else None
    if control.kind in ("number", "integer"):
        return {**target, "type": "number", "value": {"number": value}}
    text = value if control.kind == "text" and isinstance(value, str) else canonical_text(value)
    return {**target, "type": "textarea", "value": {"text": [text]}}


def _drawn(control: Control, value: Mapping[str, Any], picture: Picture) -> Region:
    across, down = 100 / picture.width, 100 / picture.height
    kind = "rectangle" if control.kind == "box" else "polygon"
    place: dict[str, Any]
    if control.kind == "box":
        place = {"x": value["x"] * across, "y": value["y"] * down, "rotation": 0}
        place |= {"width": value["width"] * across, "height": value["height"] * down}
    else:
        place = {"points": [[x * across, y * down] for x, y in value["points"]], "closed": True}
    if control.labels:
        kind = f"{kind}labels"
        place[kind] = [value["label"]] if value.get("label") else []
    size = {"original_width": picture.width, "original_height": picture.height, "image_rotation": 0}
    return {"from_name": control.name, "to_name": IMAGE, "type": kind, **size, "value": place}


def _span(control: Control, value: Mapping[str, Any], source: str) -> Region:
    start, end = value["start"], value["end"]
    place = {"start": _units(source[:start]), "end": _units(source[:end]), "text": source[start:end]}
    return {"from_name": control.name, "to_name": TEXT, "type": "labels", "value": place | {"labels": [value["label"]]}}


def _value(control: Control, drawn: Sequence[Mapping[str, Any]], source: str) -> Any:
    """What the regions of one control say; None where there are none of a control that may say nothing."""
    if control.kind in ("box", "polygon", "spans"):
        read = {"box": _box, "polygon": _polygon, "spans": lambda c, r: _marked(c, r, source)}[control.kind]
        return [read(control, region) for region in drawn] if drawn or control.required else None
    if control.kind in ("choice", "choices"):
        chosen = [choice for region in drawn for choice in region["value"]["choices"]]
        values = {shown: value for value, shown in control.options}
        unknown = next((one for one in chosen if one not in values), None)
        if unknown is not None:
            raise ValueError("says what is none of its choices")
        if control.kind == "choices":
            return [values[one] for one in chosen] if chosen or control.required else None
        if len(chosen) > 1:
            raise ValueError("says several things")
        return values[chosen[0]] if chosen else None
    if not drawn:
        return None
    if control.kind in ("number", "integer"):
        number = drawn[-1]["value"]["number"]
        return int(number) if float(number).is_integer() and abs(number) <= MAX_SAFE_INTEGER else number
    text = "\n".join(part for region in drawn for part in region["value"]["text"])
    if control.kind == "text":
        return text.replace("\r\n", "\n")
    try:
        return json.loads(text)
    except ValueError:
        raise ValueError("is no JSON") from None


def _box(control: Control, region: Mapping[str, Any]) -> dict[str, Any]:
    place = region["value"]
    if place.get("rotation"):
        raise ValueError("a box is turned, and boxes stand upright")
    across, down = region["original_width"] / 100, region["original_height"] / 100
    sides = {"x": across, "y": down, "width": across, "height": down}
    return _labeled(control, place) | {name: _pixels(place[name] * factor) for name, factor in sides.items()}


def _polygon(control: Control, region: Mapping[str, Any]) -> dict[str, Any]:
    across, down = region["original_width"] / 100, region["original_height"] / 100
    points = [[_pixels(x * across), _pixels(y * down)] for x, y in region["value"]["points"]]
    return _labeled(control, region["value"]) | {"points": points}


def _marked(control: Control, region: Mapping[str, Any], source: str) -> dict[str, Any]:
    place = region["value"]
    start, end = (_characters(source, int(place[side])) for side in ("start", "end"))
    if "text" in place and source[start:end] != place["text"]:
        raise ValueError("a span is not where its text stands")
    more = {"text": source[start:end]} if control.keeps_text else {}
    return _labeled(control, place) | {"start": start, "end": end} | more


def _labeled(control: Control, place: Mapping[str, Any]) -> dict[str, Any]:
    if not control.labels:
        return {}
    kind = {"box": "rectanglelabels", "polygon": "polygonlabels"}.get(control.kind, "labels")
    named = list(place.get(kind) or [])
    if len(named) != 1 or named[0] not in control.labels:
        raise ValueError("a region has no label, or several")
    return {"label": named[0]}


def _units(text: str) -> int:
    return len(text.encode("utf-16-le")) // 2


def _characters(text: str, units: int) -> int:
    """How many characters so many units of UTF-16 are; ValueError within one."""
    try:
        return len(text.encode("utf-16-le")[: units * 2].decode("utf-16-le"))
    except UnicodeDecodeError:
        raise ValueError("a span begins or ends within a character") from None


def _pixels(value: float) -> float | int:
    found = round(value, _DECIMALS)
    return int(found) if found.is_integer() else found


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _rounded(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_rounded(inner) for inner in value]
    return round(value, _DECIMALS) if isinstance(value, float) else value
