"""The form of a label: made from the schema of its task, and read back to the answer that was typed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, strategies as st

from workbench_pipelines.label_form import form_fields, read_form, refilled

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "team": {"type": "string", "enum": ["access", "billing"]},
        "urgent": {"type": "boolean"},
        "level": {"type": "integer", "minimum": 1},
        "share": {"type": "number"},
        "name": {"type": "string", "maxLength": 40},
        "summary": {"type": "string", "maxLength": 2000},
        "day": {"type": "string", "format": "date"},
        "parts": {"type": "array"},
    },
    "required": ["team"],
    "additionalProperties": False,
}


def member(**properties: Any) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "object", "properties": properties}}


def test_each_part_of_an_answer_gets_the_field_that_fits_it() -> None:
    kinds = {field.name: field.kind for field in form_fields(SCHEMA)}
    assert kinds == {
        "team": "choice",
        "urgent": "choice",
        "level": "integer",
        "share": "number",
        "name": "text",
        "summary": "long_text",
        "day": "date",
        "parts": "json",
    }
    drawn = member(label={"enum": ["car"]}, x={}, y={}, width={}, height={}), member(points={})
    fields = form_fields({"properties": {"boxes": drawn[0], "areas": drawn[1]}})
    assert [(field.kind, field.labels) for field in fields] == [("box", ("car",)), ("polygon", ())]


def test_what_was_typed_is_read_as_its_type_and_what_is_empty_is_left_out() -> None:
    typed = {
        "label.team": '"billing"',
        "label.urgent": "true",
        "label.level": "3",
        "label.share": "0.5",
        "label.name": "",
    }
    assert read_form(SCHEMA, typed).answer == {"team": "billing", "urgent": True, "level": 3, "share": 0.5}


@pytest.mark.parametrize(
    ("typed", "problems"),
    [
        ({}, {"team": "is needed"}),
        (
            {"team": '"billing"', "level": "many", "share": "nan"},
            {"level": "is no whole number", "share": "is no number"},
        ),
        ({"team": '"billing"', "parts": "[1"}, {"parts": "is no JSON"}),
        ({"team": '"nobody"'}, {"": "team is none of the allowed values"}),
        ({"team": '"billing"', "day": "tomorrow"}, {"": "day is no ISO 8601 date"}),
    ],
)
def test_what_does_not_fit_is_told_by_its_field(typed: dict[str, str], problems: dict[str, str]) -> None:
    found = read_form(SCHEMA, {f"label.{name}": text for name, text in typed.items()})
    assert (found.answer, found.problems) == (None, problems)


ANSWERS = st.fixed_dictionaries(
    {"team": st.sampled_from(["access", "billing"])},
    optional={
        "urgent": st.booleans(),
        "level": st.integers(1, 2**53 - 1),
        "share": st.floats(allow_nan=False, allow_infinity=False),
        "summary": st.text(min_size=1).filter(lambda text: text.strip() != "" and "\r" not in text),
        "parts": st.lists(st.one_of(st.integers(-9, 9), st.text())),
    },
)


@given(ANSWERS)
def test_an_answer_goes_through_the_form_unchanged(answer: dict[str, Any]) -> None:
    posted = {field.input_name: field.text for field in form_fields(SCHEMA, answer)}
    assert read_form(SCHEMA, posted).answer == answer


def test_an_answer_that_is_no_object_is_one_field() -> None:
    (field,) = form_fields({"enum": ["pass", "fail"]}, "fail")
    assert (field.kind, field.text) == ("choice", '"fail"')
    assert read_form({"enum": ["pass", "fail"]}, {field.input_name: '"pass"'}).answer == "pass"


def test_a_refused_save_gives_back_what_was_typed() -> None:
    (first, *_) = refilled(form_fields(SCHEMA, {"team": "access"}), {"label.team": '"nobody"'})
    assert first.text == '"nobody"'
