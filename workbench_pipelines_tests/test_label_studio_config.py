"""Every answer that a schema allows can be said in Label Studio, and comes back as it was."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest

from workbench_pipelines.errors import LabelError
from workbench_pipelines.fields import schema_violation
from workbench_pipelines.label_studio_config import controls_of, labeling_config, look_of, task_data
from workbench_pipelines.label_studio_regions import is_same, regions_of, said_by
from workbench_pipelines.review_tasks import Picture, ReviewTask
from workbench_pipelines_tests.page_world import AREAS, BOXES

SPANS = {
    "type": "object",
    "properties": {
        "entities": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "start": {"type": "integer"},
                    "end": {"type": "integer"},
                    "label": {"enum": ["drug", "dose"]},
                    "text": {"type": "string"},
                },
            },
        }
    },
    "required": ["entities"],
}
MANY = {
    "type": "object",
    "properties": {
        "team": {"enum": ["access", 'bill"ing & <co>', "other"]},
        "priority": {"enum": [1, 2, 3]},
        "tags": {"type": "array", "items": {"enum": ["a", "b", "c"]}},
        "urgent": {"type": "boolean"},
        "count": {"type": "integer"},
        "weight": {"type": "number"},
        "reply": {"type": "string"},
        "day": {"type": "string", "format": "date"},
        "parts": {"type": "object"},
    },
    "required": ["team"],
}
PICTURE = {"photo_image": Picture("data:image/png;base64,AAAA", 300, 200)}


def make_task(answer: Any, **given: Any) -> ReviewTask:
    said = {"shown": {"note": "500 mg 😀 aspirin"}, "pair_id": "p", "response": json.dumps(answer), **given}
    return ReviewTask("s", "i", "t", seen_columns=("note",), seen_hash="h", **said)


def there_and_back(schema: Any, answer: Any, **given: Any) -> Any:
    task = make_task(answer, **given)
    look = look_of([task])
    controls = controls_of(schema, look)
    data = task_data(task, look)
    config = ElementTree.fromstring(labeling_config(controls, look))
    # Label Studio refuses a config whose data a task lacks, and an annotation of a control that is not there.
    assert {one.get("value", "")[1:] for one in config.iter() if one.get("value", "").startswith("$")} <= set(data)
    named = {one.get("name") for one in config.iter()}
    regions = regions_of(controls, answer, task, look)
    assert {name for one in regions for name in (one["from_name"], one["to_name"])} <= named
    said = said_by(controls, json.loads(json.dumps(regions)), data)
    assert (said.verdict, said.notes) == (None, None)
    assert schema_violation(said.answer, schema) is None
    return said.answer


def kinds(schema: Any, **given: Any) -> list[str]:
    return [one.kind for one in controls_of(schema, look_of([make_task({}, **given)]))]


@pytest.mark.parametrize(
    ("schema", "answer", "more"),
    [
        (MANY, {"team": 'bill"ing & <co>'}, {}),
        (MANY, {"team": "other", "priority": 2, "tags": ["a", "c"], "urgent": False, "count": 7, "weight": 2.5}, {}),
        (MANY, {"team": "other", "reply": "two\nlines", "day": "2026-03-01", "parts": {"a": [1, None]}}, {}),
        (SPANS, {"entities": [{"start": 9, "end": 16, "label": "drug", "text": "aspirin"}]}, {}),
        (SPANS, {"entities": []}, {}),
        (
            SPANS,
            {"entities": [{"start": 0, "end": 3, "label": "dose", "text": "500"}]},
            {"shown": {"a": "x", "b": "y"}},
        ),
        (
            BOXES,
            {"cars": [{"label": "van", "x": 33, "y": 10.5, "width": 7, "height": 19}], "clear": True},
            {"pictures": PICTURE},
        ),
        (BOXES, {"cars": []}, {"pictures": PICTURE}),
        (BOXES, {"cars": [{"label": "car", "x": 1, "y": 2, "width": 3, "height": 4}]}, {}),
        (AREAS, {"areas": [{"points": [[0, 0], [299, 13], [7, 199]]}]}, {"pictures": PICTURE}),
    ],
)
def test_an_answer_comes_back_as_it_was(schema: Any, answer: Any, more: Any) -> None:
    assert is_same(there_and_back(schema, answer, **more), answer)


def test_what_can_be_drawn_is_drawn_and_the_rest_is_json() -> None:
    assert kinds(MANY) == ["choice", "choice", "choices", "choice", "integer", "number", "text", "text", "json"]
    assert kinds(SPANS) == ["spans"]
    assert kinds(SPANS, shown={"a": "x", "b": "y"}) == ["json"]
    assert kinds(BOXES, pictures=PICTURE) == ["box", "choice"]
    assert kinds(BOXES) == ["json", "choice"]
    assert kinds(AREAS, pictures=PICTURE) == ["polygon"]
    assert kinds({"type": "object", "properties": {"price": {"enum": ["$5", "$9"]}}}) == ["json"]


def test_markup_in_names_and_values_is_text() -> None:
    schema = {"type": "object", "properties": {'a"><Bad/>': {"enum": ["<b>", "&"]}}}
    look = look_of([make_task({})])
    config = ElementTree.fromstring(labeling_config(controls_of(schema, look), look))
    assert config.find(".//Bad") is None
    assert [one.get("value") for one in config.iter("Choice")] == ["<b>", "&", "reject", "flag"]


@pytest.mark.parametrize(
    ("region", "reason"),
    [
        ({"from_name": "answer.team", "value": {"choices": ["nobody"]}}, "team: says what is none of its choices"),
        ({"from_name": "answer.parts", "value": {"text": ["{"]}}, "parts: is no JSON"),
        ({"from_name": "answer.count", "value": {}}, "count: can not be read"),
        ({"from_name": "answer.gone", "value": {}}, "'answer.gone' is none of the controls of this task"),
    ],
)
def test_a_region_that_can_not_be_read_is_named(region: dict[str, Any], reason: str) -> None:
    look = look_of([make_task({})])
    with pytest.raises(LabelError, match=reason):
        said_by(controls_of(MANY, look), [region], {})


def test_a_turned_box_and_a_span_elsewhere_are_refused() -> None:
    look = look_of([make_task({}, pictures=PICTURE)])
    box = {"x": 1, "y": 1, "width": 1, "height": 1, "rotation": 30, "rectanglelabels": ["car"]}
    drawn = {"from_name": "answer.cars", "original_width": 10, "original_height": 10, "value": box}
    with pytest.raises(LabelError, match="a box is turned"):
        said_by(controls_of(BOXES, look), [drawn], {})
    span = {"from_name": "answer.entities", "value": {"start": 0, "end": 2, "text": "no", "labels": ["drug"]}}
    with pytest.raises(LabelError, match="not where its text stands"):
        said_by(controls_of(SPANS, look), [span], {"text": "aspirin"})
