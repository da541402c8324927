"""Each output field of an answer is a column of its own type, in a table of each TrainingSheet that SQL reads masked."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
from hypothesis import given, settings, strategies as st

from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.fields import FieldSpec, json_schema_of, schema_violation
from workbench_pipelines.identity import canonical_text, canonical_value, response_hash
from workbench_pipelines.restrictions import MASK, Restrictions, mask_of
from workbench_pipelines.typed_answers import ANSWER_KEYS, typed_answers
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import define, provider, put, sheet, template, tickets, training_sheet

__all__ = ["provider"]

NOON = dt.datetime(2026, 1, 2, 12, tzinfo=dt.UTC)


def pairs(*answers: dict[str, Any] | None) -> pl.DataFrame:
    texts = [None if answer is None else canonical_text(answer) for answer in answers]
    return pl.DataFrame(
        [
            {
                "training_sheet": "ts",
                "sheet": "s",
                "pair_id": f"p{number}",
                "item_ref": str(number),
                "response_hash": None if text is None else response_hash(text),
                "response": text,
            }
            for number, text in enumerate(texts)
        ],
        schema={**ANSWER_KEYS, "response": pl.String()},
    )


def typed(answer: dict[str, Any], **field: Any) -> tuple[Any, pl.DataType]:
    """The one column of an answer of one field."""
    frame = typed_answers(pairs(answer), [FieldSpec.model_validate({"name": "x", **field})])
    return frame["x"][0], frame.schema["x"]


def test_every_type_of_field_is_a_column_of_its_own() -> None:
    assert typed({"x": "a"}) == ("a", pl.String)
    assert typed({"x": 5}, type="integer") == (5, pl.Int64)
    assert typed({"x": 5.0}, type="integer") == (5, pl.Int64)
    assert typed({"x": 1e300}, type="integer") == (None, pl.Int64)
    assert typed({"x": 1e16}, type="integer") == (10**16, pl.Int64)
    assert typed({"x": 5}, type="float") == (5.0, pl.Float64)
    assert typed({"x": True}, type="boolean") == (True, pl.Boolean)
    assert typed({"x": "2026-01-02"}, type="date") == (dt.date(2026, 1, 2), pl.Date)
    assert typed({"x": "2026-01-02T13:00:00+01:00"}, type="datetime") == (NOON, pl.Datetime("us", "UTC"))
    assert typed({"x": "2026-01-02T12:00:00"}, type="datetime")[0] == NOON
    assert typed({"x": [1, "a"]}, type="any") == ('[1,"a"]', pl.String)
    assert typed({"x": [1, "a"]}, type="list") == ('[1,"a"]', pl.String)
    assert typed({"x": {"a": 1}}, type="object") == ('{"a":1}', pl.String)


def test_declared_members_are_lists_and_structs() -> None:
    members = {"due": {"type": "string", "format": "date"}, "price": {"type": "number"}}
    found, dtype = typed({"x": {"due": "2026-01-02", "other": 1}}, type="object", properties=members)
    assert found == {"due": dt.date(2026, 1, 2), "price": None}
    assert dtype == pl.Struct({"due": pl.Date, "price": pl.Float64})
    lines, dtype = typed({"x": [{"price": 1}]}, type="list", items={"type": "object", "properties": members})
    assert (lines.to_list(), dtype.__class__) == ([{"due": None, "price": 1.0}], pl.List)
    # A table can have no column of this name.
    assert typed({"x": {"a b": 1}}, type="object", properties={"a b": {"type": "integer"}})[1] == pl.String


def test_a_row_is_an_answer_and_names_its_pair() -> None:
    fields = [FieldSpec(name="team"), FieldSpec(name="item_ref", required=False)]
    frame = typed_answers(pairs({"team": "a", "item_ref": "other"}, None, {"team": "a"}), fields)
    assert frame.columns == [*ANSWER_KEYS, "team", "answer_item_ref"]
    assert frame.select("pair_id", "item_ref", "team", "answer_item_ref").rows() == [
        ("p0", "0", "a", "other"),
        ("p2", "2", "a", None),
    ]
    assert typed_answers(pairs(None), fields).schema == frame.schema


KINDS = ("string", "integer", "float", "boolean", "list", "object", "date", "datetime", "any")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5) | st.dates().map(str) | st.datetimes(timezones=st.timezones()).map(dt.datetime.isoformat),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("ab"), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


@given(st.sampled_from(KINDS), st.lists(VALUES, min_size=1, max_size=3), st.data())
@settings(max_examples=300, deadline=None)
def test_every_answer_that_fits_its_schema_has_a_row_of_the_declared_types(
    kind: str, values: list[Any], data: st.DataObject
) -> None:
    inner = data.draw(st.sampled_from([None, {"type": "integer"}, {"type": "string", "format": "date-time"}]))
    extra = {"list": {"items": inner}, "object": {"properties": inner and {"a": inner}}}.get(kind, {})
    fields = [FieldSpec.model_validate({"name": "x", "type": kind, "required": False, **extra})]
    answers = [canonical_value(canonical_text({"x": value})) for value in values]
    fitting = [answer for answer in answers if schema_violation(answer, json_schema_of(fields)) is None]
    frame = typed_answers(pairs(*fitting), fields)
    assert frame.height == len(fitting)
    assert frame.schema == typed_answers(pairs(), fields).schema
    kept = [answer["x"] is not None and not (kind == "integer" and abs(answer["x"]) >= 2**63) for answer in fitting]
    assert [value is not None for value in frame["x"]] == kept


def test_a_field_that_is_called_like_a_column_of_ours_is_masked_like_any_other() -> None:
    columns = [*ANSWER_KEYS, "data_classification", "team"]
    mask = mask_of("ts", columns, Restrictions({"open": frozenset(), "closed": None}, ("ts",)), answers_of="ts")
    assert mask.columns == {"response_hash", "data_classification", "team"}
    assert (mask.sheets, mask.unknown_sheet, mask.classified) == (("open",), True, False)


def test_sql_reads_the_typed_answers_and_masks_what_is_restricted(project: Project, provider: ScriptedProvider) -> None:
    put(project, tickets(4))
    fields = [
        {"name": "team"},
        {"name": "score", "type": "float"},
        {"name": "lines", "type": "list", "items": {"type": "integer"}},
    ]
    fits = '{"team": "access", "score": 5, "lines": [1, 2]}'
    provider.answer_by(lambda body: "no answer" if "number 2" in str(body["messages"]) else fits)
    definitions = [sheet(), training_sheet("by-model"), template(output_schema=fields)]
    define(project, *definitions)
    project("run", "by-model")
    table = project.table("generate", "typed_answers", "by-model")
    assert table.schema["lines"] == pl.List(pl.Int64)
    assert table.height == 3
    asked = "select team, score, lines[1] as line from typed_answers_by_model limit 1"
    assert project("sql", asked, "--json").json == [{"team": "access", "score": 5.0, "line": 1}]
    # Its pairs and prompts are masked from now on, and so is what the model made of them.
    definitions[0] = sheet(columns={"note": {"tags": ["PHI"]}})
    define(project, *definitions)
    asked = "select item_ref, team, score, lines from typed_answers_by_model order by item_ref limit 1"
    (row,) = project("sql", asked, "--json").json
    assert row == {"item_ref": "T-000", "team": MASK, "score": None, "lines": None}
