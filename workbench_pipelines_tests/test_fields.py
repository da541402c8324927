"""Typed fields become JSON Schema, and an answer that breaks it is refused by field and never by value."""

from __future__ import annotations

from typing import Any

import pytest
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from workbench_pipelines.fields import DEFAULT_MAX_LENGTH, FieldSpec, json_schema_of, schema_violation

SPECIES = FieldSpec(name="species", enum=("setosa", "virginica"))
LENGTH = FieldSpec(name="length", type="float", minimum=0, maximum=10, required=False)
SCHEMA = json_schema_of([SPECIES, LENGTH])


def test_the_schema_of_fields_is_an_object_with_exactly_them() -> None:
    assert SCHEMA == {
        "type": "object",
        "properties": {
            "species": {"type": "string", "enum": ["setosa", "virginica"]},
            "length": {"type": "number", "minimum": 0.0, "maximum": 10.0},
        },
        "required": ["species"],
        "additionalProperties": False,
    }


@pytest.mark.parametrize(
    ("type_", "good", "bad"),
    [
        ("string", "x", 1),
        ("integer", 1, 1.5),
        ("float", 1.5, "1.5"),
        ("number", 1, None),
        ("boolean", True, 1),
        ("list", [1], {}),
        ("object", {}, []),
        ("date", "2024-01-01", 20240101),
        ("datetime", "2024-01-01T00:00:00Z", 0),
    ],
)
def test_every_type_takes_its_values_and_no_others(type_: Any, good: object, bad: object) -> None:
    schema = json_schema_of([FieldSpec(name="x", type=type_)])
    Draft202012Validator.check_schema(schema)
    assert schema_violation({"x": good}, schema) is None
    assert schema_violation({"x": bad}, schema) == f"x is not of type {schema['properties']['x']['type']}"


def test_any_takes_anything() -> None:
    schema = json_schema_of([FieldSpec(name="x", type="any")])
    assert all(schema_violation({"x": value}, schema) is None for value in (None, 1, "a", [], {}))


def test_every_free_string_ends_somewhere() -> None:
    assert FieldSpec(name="x").json_schema()["maxLength"] == DEFAULT_MAX_LENGTH
    assert FieldSpec(name="x", max_length=5).json_schema()["maxLength"] == 5
    assert "maxLength" not in SPECIES.json_schema()


def test_members_of_lists_and_objects_are_checked() -> None:
    schema = json_schema_of([FieldSpec(name="codes", type="list", items={"type": "string"})])
    assert schema_violation({"codes": ["a", 1]}, schema) == "codes.1 is not of type string"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ({}, "the answer lacks species"),
        ({"species": "rosa"}, "species is none of the allowed values"),
        ({"species": "setosa", "genus": "rosa"}, "the answer has 1 unknown field; known: length, species"),
        ({"species": "setosa", "spezies": 1, "rosa": 1}, "the answer has 2 unknown fields; known: length, species"),
        ({"species": "setosa", "length": 11}, "length breaks maximum 10.0"),
        ({"species": "setosa", "length": None}, "length is not of type number"),
        ("rosa", "the answer is not of type object"),
    ],
)
def test_a_violation_names_the_field_and_not_the_value(value: object, reason: str) -> None:
    assert schema_violation(value, SCHEMA) == reason
    assert "rosa" not in reason


def test_a_field_that_no_schema_names_is_not_quoted_on_the_way_to_what_is_wrong() -> None:
    schema = {
        "properties": {"said": {"additionalProperties": {"type": "object", "properties": {"age": {"type": "integer"}}}}}
    }
    assert schema_violation({"said": {"Jane Doe": {"age": "old"}}}, schema) == "said.*.age is not of type integer"


def test_a_good_answer_violates_nothing() -> None:
    assert schema_violation({"species": "setosa", "length": 5}, SCHEMA) is None


@pytest.mark.parametrize(
    "given",
    [
        {"name": ""},
        {"name": "two words"},
        {"name": "1st"},
        {"name": "x", "enum": []},
        {"name": "x", "type": "text"},
        {"name": "x", "max_length": 0},
        {"name": "x", "maxlength": 5},
    ],
)
def test_a_field_that_says_nothing_useful_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        FieldSpec.model_validate(given)
