"""A task in Label Studio: the controls that the schema of its answer becomes, and the data that it shows.

A list of values becomes Choices, truth values too; numbers become Number, texts TextArea; boxes and polygons are drawn on the
item's first image, spans are marked in the only text that is shown. Whatever has no control of its own is JSON in a TextArea.
Beside them stand `verdict` (reject or flag, in place of an answer) and `notes`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple
from xml.etree import ElementTree

from workbench_pipelines.label_form import WHOLE, FormField, form_fields
from workbench_pipelines.review_tasks import ReviewTask, text_of

ControlKind = Literal["choice", "choices", "number", "integer", "text", "json", "box", "polygon", "spans"]
ANSWER, VERDICT, NOTES = "answer.", "verdict", "notes"
ITEM, PROMPT, TEXT, IMAGE = "item", "prompt", "text", "image"
VERDICTS = ("reject", "flag")
_MANY_CHOICES = 8  # more of them are a list to open
_BOX = {"x", "y", "width", "height"}


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
    rows = [f"{name}: {text_of(value)}" for name, value in task.shown.items()]
    picture = next(iter(task.pictures.values()), None)
    return {
        ITEM: "\n".join(rows) or task.item_ref,
        PROMPT: task.prompt,
        TEXT: marked_text(task, look),
        IMAGE: "" if picture is None else picture.uri,
    }


def marked_text(task: ReviewTask, look: Look) -> str:
    """The text of a task in which spans are marked."""
    return "" if look.text is None else text_of(task.shown.get(look.text))


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
