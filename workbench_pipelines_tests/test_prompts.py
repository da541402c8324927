"""A prompt depends on its item and template alone; an item that can not be asked is refused alone, with its reason."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from workbench_pipelines import identity
from workbench_pipelines.catalog import PromptTemplate, TrainingSheet
from workbench_pipelines.errors import DefinitionError, FilterError
from workbench_pipelines.prompts import REFUSALS, RENDERED_PROMPTS, Rendered, render_prompts
from workbench_pipelines.rendering import render_training_sheet
from workbench_pipelines.templates import compile_template
from workbench_pipelines.usage import UsageStatement, statements_from_json
from workbench_pipelines_tests.definition_world import (
    OPEN,
    make_catalog,
    make_document,
    make_snapshot,
    make_template,
    make_training_sheet,
    template_document,
)

COLOURS = {"a": {"x": "red"}, "b": {"x": "blue"}, "c": {"x": "green"}}
EXISTING = {"labeling_mode": "existing_column", "column": "y"}


def rendered(
    snapshot: pl.DataFrame,
    template: PromptTemplate | None = None,
    training_sheet: TrainingSheet | None = None,
    **given: Any,
) -> Rendered:
    template = template or make_template()
    compiled = compile_template(template, {}, "t.yaml")
    training_sheet = training_sheet or make_training_sheet()
    return render_prompts(training_sheet, template, compiled, snapshot, where="s.yaml", **given)


def test_a_row_holds_what_is_asked_and_under_which_names() -> None:
    found = rendered(make_snapshot({"a": {"x": "red", "n": 1}}))
    (row,) = found.frame.to_dicts()
    assert found.frame.schema == RENDERED_PROMPTS
    assert found.refusals.schema == REFUSALS
    assert row == {
        "training_sheet": "ts",
        "pair_id": identity.pair_id("ts", "s", "a"),
        "sheet": "s",
        "item_ref": "a",
        "variant": "",
        "item_hash": identity.item_hash({"x": "red", "n": 1}),
        "seen_hash": identity.seen_hash({"x": "red"}, ["x"]),
        "seen_columns": ["x"],
        "template": "t",
        "template_version": "1.0.0",
        "label_type": "l",
        "messages": [{"role": "user", "content": "Is red right?", "parts": None}],
        "prompt_hash": identity.prompt_hash([{"role": "user", "content": "Is red right?"}]),
        "inputs": '{"x":"red"}',
        "attributes": '{"n":1}',
        "tags": [],
        "usage_statements": row["usage_statements"],
        "column_response": None,
        "column_problem": None,
        "parent_ids": [],
        "derivation": [],
        "example_ids": [],
    }
    assert statements_from_json(row["usage_statements"]) == (OPEN,)


def test_the_order_of_the_source_changes_nothing() -> None:
    snapshot = make_snapshot(COLOURS)
    assert rendered(snapshot.reverse()).frame.equals(rendered(snapshot).frame)


def test_editing_one_item_changes_one_prompt_and_no_pair_id() -> None:
    before = rendered(make_snapshot(COLOURS)).frame
    after = rendered(make_snapshot({**COLOURS, "b": {"x": "black"}})).frame
    assert (before["prompt_hash"] != after["prompt_hash"]).to_list() == [False, True, False]
    assert (before["seen_hash"] != after["seen_hash"]).to_list() == [False, True, False]
    assert before["pair_id"].equals(after["pair_id"])


def test_a_number_read_as_integer_or_as_float_gives_the_same_prompt() -> None:
    template = make_template(input_schema=[{"name": "x", "type": "float"}])
    whole = rendered(make_snapshot({"a": {"x": 5}}), template).frame
    half = rendered(make_snapshot({"a": {"x": 5.0}, "b": {"x": 5.5}}), template).frame
    same = ["prompt_hash", "seen_hash", "inputs"]
    assert whole.select(same).row(0) == half.select(same).row(0)


def test_a_variable_takes_the_column_that_the_binding_names() -> None:
    row = rendered(make_snapshot({"a": {"colour": "red"}}), None, make_training_sheet(bindings={"x": "colour"})).frame
    assert row["inputs"].to_list() == ['{"x":"red"}']
    assert row["seen_columns"].to_list() == [["colour"]]


def test_the_name_of_the_item_can_be_shown_and_the_workings_of_the_snapshot_can_not() -> None:
    snapshot = make_snapshot(COLOURS)
    shown = rendered(snapshot, None, make_training_sheet(bindings={"x": "item_ref"})).frame
    assert shown["inputs"].to_list() == ['{"x":"a"}', '{"x":"b"}', '{"x":"c"}']
    with pytest.raises(DefinitionError, match=r"spec\.bindings\.x: Sheet 's' has no column 'row_tags'"):
        rendered(snapshot, None, make_training_sheet(bindings={"x": "row_tags"}))


def test_a_column_that_the_snapshot_lost_is_named_before_anything_is_rendered() -> None:
    said = r"^s.yaml: spec.template: no column binds variable 'x' of template 't' 1.0.0: Sheet 's' has no column 'x'; "
    with pytest.raises(DefinitionError, match=said + r"bind it with spec.bindings: \{x: xx\}$"):
        rendered(make_snapshot({"a": {"xx": 1}}))
    with pytest.raises(
        DefinitionError, match=r"^s.yaml: spec.column: Sheet 's' has no column 'y'; known: item_ref, x$"
    ):
        rendered(make_snapshot(COLOURS), None, make_training_sheet(**EXISTING))


def test_an_optional_variable_without_a_column_is_left_out() -> None:
    template = make_template("{{ x }}{% if note %}!{% endif %}", input_schema=[{"name": "note", "required": False}])
    assert rendered(make_snapshot({"a": {"x": "red"}}), template).frame["inputs"].to_list() == ['{"x":"red"}']


def test_a_bad_item_is_refused_with_its_reason_and_the_rest_is_done() -> None:
    template = make_template("{{ 6 // x }}", input_schema=[{"name": "x", "type": "integer"}])
    found = rendered(make_snapshot({"a": {"x": 1}, "b": {"x": None}, "c": {"x": 0}, "d": {"x": 2}}), template)
    assert found.frame["item_ref"].to_list() == ["a", "d"]
    assert found.refusals.rows() == [
        ("ts", "b", identity.pair_id("ts", "s", "b"), "input_breaks_schema", "x is null, and it is required"),
        (
            "ts",
            "c",
            identity.pair_id("ts", "s", "c"),
            "template_error",
            "t.yaml: spec.user_prompt_template line 1: ZeroDivisionError while rendering",
        ),
    ]


def test_a_subset_is_filtered_and_then_sampled() -> None:
    items = {"filter_condition": "n > 3", "sample": {"size": 4, "method": "random", "seed": 1}}
    snapshot = make_snapshot({f"i{n}": {"x": "red", "n": n} for n in range(10)})
    taken = rendered(snapshot, None, make_training_sheet(items=items)).frame
    assert taken.height == 4
    assert {json.loads(text)["n"] for text in taken["attributes"]} <= {4, 5, 6, 7, 8, 9}
    with pytest.raises(FilterError, match=r"^s.yaml: spec.items.filter_condition: "):
        rendered(snapshot, None, make_training_sheet(items={"filter_condition": "m > 3"}))


def test_nothing_taken_is_an_empty_table_with_all_its_columns() -> None:
    found = rendered(make_snapshot(COLOURS), None, make_training_sheet(items={"filter_condition": "x = 'grey'"}))
    assert found.frame.schema == RENDERED_PROMPTS
    assert found.frame.height == found.refusals.height == 0


def test_only_statements_about_what_is_shown_count_for_a_pair() -> None:
    phi = UsageStatement("tag PHI of name", prohibited_uses=("training",), columns=("name",))
    snapshot = make_snapshot({"a": {"x": "red", "name": "John"}}, (OPEN, phi), tags=("ROW",))
    hidden = rendered(snapshot, column_tags={"name": ["PHI"]}).frame.to_dicts()[0]
    shown = rendered(snapshot, make_template("{{ x }} {{ name }}"), column_tags={"name": ["PHI"]}).frame.to_dicts()[0]
    assert statements_from_json(hidden["usage_statements"]) == (OPEN,)
    assert set(statements_from_json(shown["usage_statements"])) == {OPEN, phi}
    assert (hidden["tags"], shown["tags"]) == (["ROW"], ["PHI", "ROW"])


def test_a_restricted_column_is_no_attribute_and_groups_by_its_digest() -> None:
    phi = UsageStatement("joined", prohibited_uses=("training",), columns=("ward",))
    rows: dict[str, dict[str, Any]] = {
        "a": {"x": "red", "name": "John", "ward": "7b"},
        "b": {"x": "red", "name": None, "ward": "7b"},
    }
    snapshot = make_snapshot(rows, (OPEN, phi))
    tags = {"name": ["PHI"]}
    assert rendered(snapshot, column_tags=tags).frame["attributes"].to_list() == ["{}", "{}"]
    texts = rendered(snapshot, column_tags=tags, attribute_columns=["name", "ward", "absent"]).frame["attributes"]
    first, second = map(json.loads, texts)
    assert first["name"] == f"sha256:{identity.digest('John')}"
    assert second == {"name": None, "ward": first["ward"]}
    assert first["ward"].startswith("sha256:")


def test_documents_and_nested_values_are_no_attributes_unless_a_collection_asks() -> None:
    rows: dict[str, dict[str, Any]] = {"a": {"x": "red", "text": "a" * 300, "list": [1], "n": 1.5}}
    snapshot = make_snapshot(rows)
    assert rendered(snapshot).frame["attributes"].to_list() == ['{"n":1.5}']
    (asked,) = rendered(snapshot, attribute_columns=["text", "x"]).frame["attributes"].to_list()
    assert json.loads(asked) == {"n": 1.5, "text": "a" * 300, "x": "red"}


def test_an_existing_column_answers_and_a_misfit_says_why() -> None:
    snapshot = make_snapshot(
        {"a": {"x": "red", "y": "yes"}, "b": {"x": "red", "y": "perhaps"}, "c": {"x": "red", "y": None}}
    )
    found = rendered(snapshot, None, make_training_sheet(**EXISTING))
    assert found.frame["column_response"].to_list() == ['{"answer":"yes"}', None, None]
    assert found.frame["seen_columns"].to_list() == [["x", "y"]] * 3
    assert found.frame["column_problem"].to_list() == [
        None,
        "column 'y': answer is none of the allowed values",
        "column 'y': answer is null, and it is required",
    ]


def test_the_catalog_says_which_template_tags_and_groups_a_training_sheet_has() -> None:
    catalog = make_catalog(
        make_document("Sheet", "s", primary_table="s.csv", item_ref="id", columns={"ward": {"tags": ["PHI"]}}),
        make_document("TrainingSheet", "ts", sheet="s", template="t"),
        make_document("Collection", "c", members=[{"training_sheet": "ts"}], splits={"group_by": "ward"}),
        template_document("Is {{ x }} {% include 'end.j2' %}"),
        partials={"end.j2": "right?"},
    )
    found = render_training_sheet(catalog, "ts", make_snapshot({"a": {"x": "red", "ward": "7b"}}))
    (row,) = found.frame.to_dicts()
    assert row["messages"][0]["content"] == "Is red right?"
    assert json.loads(row["attributes"])["ward"] == f"sha256:{identity.digest('7b')}"


def test_more_items_than_one_chunk_keep_their_order() -> None:
    snapshot = make_snapshot({f"{n:05}": {"x": n} for n in range(10_001)})
    assert rendered(snapshot).frame["item_ref"].to_list() == snapshot["item_ref"].to_list()
