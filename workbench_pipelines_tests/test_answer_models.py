"""The pydantic model of an output schema accepts what its JSON Schema accepts, and reads it by attribute."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import ValidationError

from workbench_pipelines.answer_models import answer_model
from workbench_pipelines.fields import FieldSpec, json_schema_of, schema_violation

# Names that Python, pydantic or a leading underscore make difficult, beside plain ones.
NAMES = ("a", "b", "class", "copy", "model_dump", "json", "_x", "field")
TEXTS = st.sampled_from(["", "yes", "no", "x" * 5, "x" * 2001, "2026-01-02", "2026-13-02", "2026-01-02T03:04:05+01:00"])
NUMBERS = st.sampled_from([-1, 0, 1, 2, 5, 7, 2**53 + 1, -0.5, 0.0, 1.0, 2.5, 5.0, 1e300])
BOUNDS = st.sampled_from([None, -1, 0.5, 2, 5.0, float(2**53)])
SCALARS = st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=6,
)


def schemas(depth: int = 2) -> st.SearchStrategy[dict[str, Any]]:
    """JSON Schemas as `items` and `properties` hold them, also with words that pydantic has none for."""
    plain = st.sampled_from(
        [
            {},
            {"type": "string", "maxLength": 4},
            {"type": "string", "minLength": 1, "pattern": "^y"},
            {"type": "string", "format": "date"},
            {"type": "string", "format": "date-time"},
            {"type": "string", "enum": ["yes", "no"]},
            {"type": "integer", "minimum": 0.5, "maximum": 5},
            {"type": "number", "exclusiveMinimum": 0},
            {"type": "number", "maximum": 2**53},
            {"type": ["string", "null"]},
            {"type": "boolean"},
            {"enum": [1, "yes", None, True]},
            {"anyOf": [{"type": "integer"}, {"type": "array"}]},
        ]
    )
    if not depth:
        return plain
    inner = schemas(depth - 1)
    lists = st.fixed_dictionaries({"type": st.just("array")}, optional={"items": inner, "minItems": st.just(1)})
    objects = st.fixed_dictionaries(
        {"type": st.just("object")},
        optional={
            "properties": st.dictionaries(st.sampled_from(NAMES), inner, max_size=2),
            "required": st.just(["a"]),
            "additionalProperties": st.one_of(st.booleans(), inner),
        },
    )
    return st.one_of(plain, lists, objects)


@st.composite
def fields(draw: st.DrawFn) -> list[FieldSpec]:
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
    kinds = ("string", "integer", "float", "number", "boolean", "list", "object", "date", "datetime", "any")
    found = []
    for name in names:
        given: dict[str, Any] = {"name": name, "type": draw(st.sampled_from(kinds)), "required": draw(st.booleans())}
        given |= {"minimum": draw(BOUNDS), "maximum": draw(BOUNDS), "max_length": draw(st.sampled_from([None, 3]))}
        given["enum"] = draw(st.sampled_from([None, None, ("yes", "no"), (1, 2.5), ("yes", 1, True)]))
        if given["type"] == "list":
            given["items"] = draw(st.none() | schemas())
        if given["type"] == "object":
            given["properties"] = draw(st.none() | st.dictionaries(st.sampled_from(NAMES), schemas(), max_size=2))
        found.append(FieldSpec.model_validate(given))
    return found


@given(fields(), st.data())
@settings(max_examples=400, deadline=None)
def test_model_and_json_schema_accept_the_same_values(asked: list[FieldSpec], data: st.DataObject) -> None:
    schema, model = json_schema_of(asked), answer_model(asked)
    names = [field.name for field in asked]
    near = st.fixed_dictionaries({}, optional=dict.fromkeys((*names, "unasked"), VALUES))
    for value in (data.draw(near), {name: data.draw(VALUES) for name in names}, data.draw(VALUES)):
        fits = schema_violation(value, schema) is None
        try:
            model.model_validate(value)
        except ValidationError:
            assert not fits, (schema, value)
        else:
            assert fits, (schema, value)


def test_an_answer_is_read_by_attribute_and_written_as_it_was() -> None:
    model = answer_model(
        [
            FieldSpec(name="department", enum=("cardiology", "other")),
            FieldSpec(name="total", type="integer", minimum=0),
            FieldSpec(name="due", type="date"),
            FieldSpec(name="class", required=False),
            FieldSpec(name="lines", type="list", items={"type": "object", "properties": {"price": {"type": "number"}}}),
        ]
    )
    text = '{"department":"other","total":5.0,"due":"2026-01-02","class":"a","lines":[{"price":1.5,"unit":"h"}]}'
    answer: Any = model.model_validate_json(text)
    assert (answer.department, answer.total, answer.due) == ("other", 5, dt.date(2026, 1, 2))
    assert (answer.class_, answer.lines[0].price) == ("a", 1.5)
    assert json.loads(answer.model_dump_json(by_alias=True)) == json.loads(text)


def test_what_is_refused_is_named_without_its_value() -> None:
    model = answer_model([FieldSpec(name="department", enum=("cardiology", "other"))])
    with pytest.raises(ValidationError) as refused:
        model.model_validate({"department": "John Doe"})
    assert "department" in str(refused.value)
    assert "John" not in str(refused.value)


def test_a_text_that_is_no_date_breaks_the_schema_and_is_not_quoted() -> None:
    schema = json_schema_of([FieldSpec(name="due", type="date"), FieldSpec(name="at", type="datetime")])
    assert schema_violation({"due": "John", "at": "2026-01-02T03:04:05Z"}, schema) == "due is no ISO 8601 date"
    assert schema_violation({"due": "2026-01-02", "at": "John"}, schema) == "at is no ISO 8601 date-time"
    # In UTC it would lie before the first year.
    assert schema_violation({"due": "2026-01-02", "at": "0001-01-01T00:00:00+05:00"}, schema) is not None
