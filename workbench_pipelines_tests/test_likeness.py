"""Two answers are compared as what they are: choices, numbers, texts, lists, boxes, polygons, or several of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from workbench_pipelines.likeness import likeness, measure_of, number_of
from workbench_pipelines_tests.page_world import AREAS, BOXES


def asks(**fields: Any) -> dict[str, Any]:
    return {"type": "object", "properties": fields, "additionalProperties": False}


TEXT, NUMBER, CHOICE = {"type": "string"}, {"type": "number"}, {"enum": ["yes", "no"]}
WORDS = {"type": "array", "items": {"type": "string"}}


def box(x: float, label: str = "car", size: float = 10) -> dict[str, Any]:
    return {"label": label, "x": x, "y": 0, "width": size, "height": size}


@pytest.mark.parametrize(
    ("schema", "one", "other", "expected"),
    [
        (asks(a=CHOICE), {"a": "yes"}, {"a": "yes"}, 1),
        (asks(a=CHOICE), {"a": "yes"}, {"a": "no"}, 0),
        (asks(a=NUMBER), {"a": 5}, {"a": 5.0}, 1),
        (asks(a=NUMBER), {"a": 5}, {"a": 5.1}, 0),
        (asks(a=TEXT), {"a": "The door is open."}, {"a": "the DOOR is shut"}, 3 / 4),
        (asks(a=TEXT), {"a": ""}, {"a": ""}, 1),
        (asks(a={**TEXT, "format": "date"}), {"a": "2026-01-01"}, {"a": "2026-01-02"}, 0),
        (asks(a=WORDS), {"a": ["x", "y"]}, {"a": ["y", "z"]}, 1 / 2),
        (asks(a=CHOICE, b=TEXT), {"a": "yes", "b": "one two"}, {"a": "yes", "b": "two three"}, 3 / 4),
        (asks(a=CHOICE, b=CHOICE), {"a": "yes"}, {"a": "yes", "b": "no"}, 1 / 2),
        (asks(), {}, {}, 1),
        (TEXT, "a b", "a c", 1 / 2),
    ],
)
def test_answers_are_as_like_as_their_fields(schema: Any, one: Any, other: Any, expected: float) -> None:
    assert likeness(one, other, schema) == pytest.approx(expected)


def test_boxes_overlap_and_one_without_a_partner_counts_as_nothing() -> None:
    def cars(*boxes: dict[str, Any]) -> dict[str, Any]:
        return {"cars": list(boxes)}

    assert likeness(cars(box(0)), cars(box(5)), BOXES) == pytest.approx(50 / 150)
    assert likeness(cars(box(0), box(100)), cars(box(100), box(0)), BOXES) == 1
    assert likeness(cars(box(0), box(100)), cars(box(0)), BOXES) == 1 / 2
    assert likeness(cars(box(0)), cars(box(0, "van")), BOXES) == 0
    assert likeness(cars(), cars(), BOXES) == 1
    assert likeness(cars(box(0, size=0)), cars(box(0, size=0)), BOXES) == 1


def test_polygons_overlap() -> None:
    def area(*points: tuple[float, float]) -> dict[str, Any]:
        return {"areas": [{"points": [list(point) for point in points]}]}

    square, shifted = [(0, 0), (10, 0), (10, 10), (0, 10)], [(5, 0), (15, 0), (15, 10), (5, 10)]
    assert likeness(area(*square), area(*square), AREAS) == 1
    assert likeness(area(*square), area(*shifted), AREAS) == pytest.approx(1 / 3, abs=0.01)
    assert likeness(area((0, 0), (10, 0), (0, 10)), area(*square), AREAS) == pytest.approx(1 / 2, abs=0.01)


def test_a_task_says_how_it_is_compared() -> None:
    assert [measure_of(one) for one in (asks(a=CHOICE), asks(a=TEXT), AREAS, BOXES, asks(a=CHOICE, b=NUMBER))] == [
        "equal", "f1", "iou", "mixed", "equal",
    ]  # fmt: skip
    assert number_of({"a": 3}, asks(a=NUMBER)) == 3
    assert number_of({"a": 3, "b": 1}, asks(a=NUMBER, b=NUMBER)) is None
    assert number_of({"a": "yes"}, asks(a=CHOICE)) is None


VALUES = st.fixed_dictionaries({}, optional={"a": st.sampled_from(["yes", "no"]), "b": st.text("ab ", max_size=8)})


@given(VALUES, VALUES)
def test_likeness_is_mutual_and_an_answer_is_wholly_like_itself(one: dict[str, Any], other: dict[str, Any]) -> None:
    schema = asks(a=CHOICE, b=TEXT)
    assert likeness(one, other, schema) == likeness(other, one, schema)
    assert likeness(one, one, schema) == 1
    assert 0 <= likeness(one, other, schema) <= 1
