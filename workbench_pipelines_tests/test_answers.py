"""An answer is strict JSON that fits its schema, or it is refused with a short reason that never quotes it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from workbench_pipelines.answers import answer_reader, column_reader, fits, parse_answer
from workbench_pipelines.fields import FieldSpec, json_schema_of
from workbench_pipelines.identity import canonical_text
from workbench_pipelines_tests.request_world import make_completion, make_request

SPECIES = FieldSpec(name="species", enum=("setosa", "virginica"))
SCHEMA = json_schema_of([SPECIES])


@pytest.mark.parametrize(
    "text",
    [
        '{"species": "setosa"}',
        ' \n{"species":"setosa"}\n',
        '```json\n{"species": "setosa"}\n```',
        '```\n{\n  "species": "setosa"\n}\n```\n',
    ],
)
def test_an_answer_is_the_canonical_json_of_its_object(text: str) -> None:
    assert parse_answer(text, "stop", SCHEMA) == ('{"species":"setosa"}', None, None, False)


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        ('{"species": "set', "length", "truncated"),
        ('{"species": "setosa"}', "length", "truncated"),
        ("", "stop", "empty"),
        (" \n", "stop", "empty"),
        (None, "stop", "empty"),
        (None, "content_filter", "filtered"),
        ("I'm sorry, I can't help with that.", "stop", "refused"),
        ("As an AI, I can not see flowers.", "stop", "refused"),
        (None, "refusal", "refused"),
        ("setosa", "stop", "invalid_json"),
        ('{"species": "setosa"} {"species": "setosa"}', "stop", "invalid_json"),
        ('{"species": "virginica", "species": "setosa"}', "stop", "invalid_json"),
        ('It is {"species": "versicolor"}', "stop", "invalid_json"),
        ('{"species": NaN}', "stop", "invalid_json"),
        ('{"species": -Infinity}', "stop", "invalid_json"),
        ('{"species": 1e999}', "stop", "invalid_json"),
        ('{"species": "\\ud800"}', "stop", "invalid_json"),
        ("[" * 100_000, "stop", "invalid_json"),
        ('{"species": ' + "9" * 5000 + "}", "stop", "invalid_json"),
        ('{"species": "versicolor"}', "stop", "schema_violation"),
        ('{"species": "setosa", "why": "petals"}', "stop", "schema_violation"),
        ("{}", "stop", "schema_violation"),
        ('["setosa"]', "stop", "schema_violation"),
        ("null", "stop", "schema_violation"),
    ],
)
def test_what_is_no_answer_is_refused_with_its_reason(text: str | None, finish: str, reason: str) -> None:
    parsed = parse_answer(text, finish, SCHEMA)
    assert (parsed.response, parsed.reason) == (None, reason)
    assert parsed.detail
    assert "versicolor" not in parsed.detail


@pytest.mark.parametrize("text", ['It is {"species": "setosa"}', '{"species": "setosa",}', "{'species': 'setosa'}"])
def test_an_answer_that_was_mended_says_so(text: str) -> None:
    assert parse_answer(text, "stop", SCHEMA) == ('{"species":"setosa"}', None, None, True)


@pytest.mark.parametrize(("named", "reason"), [("007", None), ("008", "wrong_item"), ("7", "wrong_item")])
def test_an_answer_that_names_another_item_is_none_of_this_one(named: str, reason: str | None) -> None:
    read = answer_reader(json_schema_of([SPECIES, FieldSpec(name="item_ref")]))
    request = make_request("007")
    parsed = read(request, make_completion(request, json.dumps({"species": "setosa", "item_ref": named})))
    assert parsed.reason == reason


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)  # fmt: skip


@given(st.dictionaries(st.text(), json_values, max_size=4))
def test_any_object_comes_back_as_its_canonical_text(value: dict[str, Any]) -> None:
    assert parse_answer(json.dumps(value), "stop", {"type": "object"}).response == canonical_text(value)


def test_label_data_fits_or_says_which_field_does_not() -> None:
    assert fits({"species": "setosa"}, SCHEMA) is None
    assert fits({"species": "John"}, SCHEMA) == "species is none of the allowed values"


@pytest.mark.parametrize(
    ("type", "cell", "response"),
    [
        ("string", "a", '{"x":"a"}'),
        ("string", 3, '{"x":"3"}'),
        ("integer", "3", '{"x":3}'),
        ("float", "2.5", '{"x":2.5}'),
        ("boolean", "True", '{"x":true}'),
        ("list", ["a"], '{"x":["a"]}'),
    ],
)
def test_a_cell_is_cast_to_the_type_of_the_only_field(type: str, cell: object, response: str) -> None:
    read = column_reader([FieldSpec.model_validate({"name": "x", "type": type})])
    assert read(cell).response == response


def test_a_cell_of_several_fields_is_a_json_object_or_a_struct() -> None:
    read = column_reader([FieldSpec(name="a"), FieldSpec(name="b", type="integer", required=False)])
    assert read('{"b": 1, "a": "x"}').response == '{"a":"x","b":1}'
    assert read({"a": "x", "b": None}).response == '{"a":"x"}'
    assert (read("x").detail or "").endswith("Expecting value; an answer of several fields is a JSON object")
    assert read({"a": None, "b": 1}).detail == "a is not of type string"


def test_a_cell_that_breaks_its_field_says_why_and_never_the_value() -> None:
    read = column_reader([SPECIES])
    assert read(None).detail == "species is null, and it is required"
    assert read("John").detail == "species is none of the allowed values"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"species": "setosa"', "truncated"),
        ('{"species": "seto', "truncated"),
        ('{"species": "setosa" "virginica"}', "invalid_json"),
        ('{"species": "setosa", "species": "virginica",}', "invalid_json"),
    ],
)
def test_words_are_never_made_up_dropped_or_cut_in_mending(text: str, reason: str) -> None:
    assert parse_answer(text, "stop", SCHEMA)[:2] == (None, reason)
