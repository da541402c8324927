"""The JSON Schemas that editors use say what the documents themselves accept."""

from __future__ import annotations

import pytest
from jsonschema import Draft202012Validator

from workbench_pipelines.catalog.documents import KINDS
from workbench_pipelines.document_schemas import DEFINITION, all_schemas, json_schema_for
from workbench_pipelines.errors import ArgumentError
from workbench_pipelines_tests.definition_world import make_document, template_document


def test_each_kind_has_a_valid_schema_and_so_has_any_document() -> None:
    schemas = all_schemas()
    assert set(schemas) == {*KINDS, DEFINITION}
    for name, schema in schemas.items():
        Draft202012Validator.check_schema(schema)
        assert (schema["$schema"], schema["title"]) == (Draft202012Validator.META_SCHEMA["$id"], name)


def test_a_schema_accepts_the_yaml_words_and_refuses_unknown_fields_and_names() -> None:
    for kind, right in [
        ("PromptTemplate", template_document()),
        ("LabelType", make_document("LabelType", "l", kind="classification", schema={"type": "object"})),
    ]:
        schema = Draft202012Validator(json_schema_for(kind))
        anything = Draft202012Validator(json_schema_for(DEFINITION))
        assert schema.is_valid(right)
        assert anything.is_valid(right)
        for wrong in ({**right, "sepc": {}}, {**right, "metadata": {"name": "No Name"}}):
            assert not schema.is_valid(wrong)
            assert not anything.is_valid(wrong)


def test_an_unknown_kind_names_the_nearest() -> None:
    with pytest.raises(ArgumentError, match="there is no kind 'Sheat'; did you mean 'Sheet'"):
        json_schema_for("Sheat")
