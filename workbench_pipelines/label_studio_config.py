"""A task's answer in Label Studio: the controls that its schema becomes, the regions an answer is drawn as, and back.

A list of values becomes Choices, truth values too; numbers become Number, texts TextArea; boxes and polygons are drawn on the
item's first image, spans are marked in the only text that is shown. Whatever has no control of its own is JSON in a TextArea.
Beside them stand `verdict` (reject or flag, in place of an answer) and `notes`.

Boxes are in pixels of the image, Label Studio's are in percent of it; its offsets count units of UTF-16.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple
from xml.etree import ElementTree

from workbench_pipelines.errors import LabelError
from workbench_pipelines.identity import MAX_SAFE_INTEGER, canonical_text
from workbench_pipelines.label_form import WHOLE, FormField, form_fields
from workbench_pipelines.review_tasks import Picture, ReviewTask

ControlKind = Literal["choice", "choices", "number", "integer", "text", "json", "box", "polygon", "spans"]
ANSWER, VERDICT, NOTES = "answer.", "verdict", "notes"
ITEM, PROMPT, TEXT, IMAGE = "item", "prompt", "text", "image"
VERDICTS = ("reject", "flag")
_MANY_CHOICES = 8  # more of them are a list to open
_BOX = {"x", "y", "width", "height"}
# A pixel is not drawn more exactly.
_DECIMALS = 3

Region = dict[str, Any]
"""One part of an annotation or a prediction, as Label Studio writes it."""


class Control(NamedTuple):
    """What one field of an answer is said with; `options` are (value, shown), `labels` what a region can be called."""

    field: str
    kind: ControlKind
    options: tuple[tuple[Any, str], ...] = ()
    labels: tuple[str, ...] = ()
    keeps_text: bool = False
    required: bool = False

    @property
    def name(self) -> str:
        return ANSWER + self.field


class Said(NamedTuple):
    """What an annotation says: an answer, or a verdict in place of it."""

    answer: Any
    verdict: str | None
    notes: str | None


class Look(NamedTuple):
    """What the tasks of a project have in common: whether they are of pairs, whether they show an image, and the only text they
    show, in which spans can be marked (None where there is no such one)."""

    of_pairs: bool
    pictures: bool
    text: str | None


def look_of(tasks: Sequence[ReviewTask]) -> Look:
    """What these tasks have in common."""
    texts = {name for task in tasks for name, value in task.shown.items() if isinstance(value, str)}
    return Look(
        of_pairs=any(task.pair_id for task in tasks),
        pictures=any(task.pictures for task in tasks),
        text=texts.pop() if len(texts) == 1 else None,
    )


def controls_of(schema: Mapping[str, Any], look: Look) -> list[Control]:
    """The controls of an answer."""
    members = schema.get("properties") or {}
    return [_control(one, members.get(one.name, schema), look) for one in form_fields(schema)]


def labeling_config(controls: Sequence[Control], look: Look) -> str:
    """The labeling config as XML; the data it names are those of `task_data`."""
    view = ElementTree.Element("View")
    if look.of_pairs:
        _shown(view, "Prompt", PROMPT)
    if look.text is not None and any(one.kind == "spans" for one in controls):
        _shown(view, look.text, TEXT)
    _shown(view, "Item", ITEM)
    if look.pictures:
        ElementTree.SubElement(view, "Image", name=IMAGE, value=f"${IMAGE}", zoom="true")
    for control in controls:
        ElementTree.SubElement(view, "Header", value=control.field if control.field != WHOLE else "Answer", size="5")
        _add(view, control)
    ElementTree.SubElement(view, "Header", value="In place of an answer", size="5")
    verdict = ElementTree.SubElement(view, "Choices", name=VERDICT, toName=ITEM, choice="single", showInline="true")
    for value in VERDICTS:
        ElementTree.SubElement(verdict, "Choice", value=value)
    ElementTree.SubElement(view, "Header", value="Notes", size="5")
    ElementTree.SubElement(view, "TextArea", name=NOTES, toName=ITEM, rows="2", maxSubmissions="1", editable="true")
    return ElementTree.tostring(view, encoding="unicode")


def task_data(task: ReviewTask, look: Look) -> dict[str, str]:
    """What a task shows, by the names that `labeling_config` uses."""
    rows = [f"{name}: {_written(value)}" for name, value in task.shown.items()]
    picture = next(iter(task.pictures.values()), None)
    prompt = [f"[{role}]\n{content or ''}" for role, content in task.messages]
    return {
        ITEM: "\n".join(rows) or task.item_ref,
        PROMPT: (task.messages[0][1] or "") if len(prompt) == 1 else "\n\n".join(prompt),
        TEXT: "" if look.text is None else _written(task.shown.get(look.text)),
        IMAGE: "" if picture is None else picture.uri,
    }


def regions_of(controls: Sequence[Control], answer: Any, task: ReviewTask, look: Look) -> list[Region]:
    """An answer as the regions of a prediction; a field that can not be drawn is left out."""
    picture = next(iter(task.pictures.values()), None)
    source = "" if look.text is None else _written(task.shown.get(look.text))
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


def _control(field: FormField, schema: Mapping[str, Any], look: Look) -> Control:
    required = field.required
    items = schema.get("items") if schema.get("type") == "array" else None
    properties = items.get("properties", {}) if isinstance(items, Mapping) else {}
    if field.kind == "choice":
        options = tuple((json.loads(value), shown) for value, shown in field.options if value)
        # A value that begins with a dollar would be the name of a part of the task's data.
        plain = all(shown.strip() and not shown.startswith("$") for _, shown in options)
        if plain and len({shown for _, shown in options}) == len(options):
            return Control(field.name, "choice", options, required=required)
        return Control(field.name, "json", required=required)
    if isinstance(items, Mapping) and items.get("enum") and all(isinstance(one, str) for one in items["enum"]):
        return Control(field.name, "choices", tuple((one, one) for one in items["enum"]), required=required)
    if field.kind in ("number", "integer"):
        return Control(field.name, field.kind, required=required)
    if field.kind in ("text", "long_text", "date"):
        return Control(field.name, "text", required=required)
    labels = _labels(properties)
    if look.pictures and field.kind == "box" and set(properties) <= {*_BOX, "label"} and labels is not None:
        return Control(field.name, "box", labels=labels, required=required)
    if look.pictures and field.kind == "polygon" and set(properties) <= {"points", "label"} and labels is not None:
        return Control(field.name, "polygon", labels=labels, required=required)
    if look.text is not None and labels and {"start", "end"} <= set(properties) <= {"start", "end", "label", "text"}:
        return Control(field.name, "spans", labels=labels, keeps_text="text" in properties, required=required)
    return Control(field.name, "json", required=required)


def _labels(properties: Mapping[str, Any]) -> tuple[str, ...] | None:
    """What a region can be called: nothing where it has no label; None where the labels are no list of texts."""
    if "label" not in properties:
        return ()
    listed = properties["label"].get("enum") if isinstance(properties["label"], Mapping) else None
    return tuple(listed) if listed and all(isinstance(one, str) for one in listed) else None


def _shown(view: ElementTree.Element, title: str, name: str) -> None:
    ElementTree.SubElement(view, "Header", value=title, size="5")
    # A text that is an address is shown, and never fetched.
    ElementTree.SubElement(view, "Text", name=name, value=f"${name}", valueType="text")


def _add(view: ElementTree.Element, control: Control) -> None:
    said = {"name": control.name, "toName": ITEM}
    if control.kind in ("choice", "choices"):
        said["choice"] = "single" if control.kind == "choice" else "multiple"
        said |= {"layout": "select"} if len(control.options) > _MANY_CHOICES else {"showInline": "true"}
        choices = ElementTree.SubElement(view, "Choices", said)
        for _, shown in control.options:
            ElementTree.SubElement(choices, "Choice", value=shown)
    elif control.kind in ("number", "integer"):
        step = {"step": "1"} if control.kind == "integer" else {}
        ElementTree.SubElement(view, "Number", said | step)
    elif control.kind in ("box", "polygon", "spans"):
        tag = {"box": "Rectangle", "polygon": "Polygon"}.get(control.kind, "")
        said["toName"] = IMAGE if tag else TEXT
        regions = ElementTree.SubElement(view, f"{tag}Labels" if control.labels else tag, said)
        for label in control.labels:
            ElementTree.SubElement(regions, "Label", value=label)
    else:
        rows = {"rows": "3" if control.kind == "text" else "6"}
        ElementTree.SubElement(view, "TextArea", said | rows | {"maxSubmissions": "1", "editable": "true"})


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


def _written(value: Any) -> str:
    return "" if value is None else value if isinstance(value, str) else canonical_text(value)
