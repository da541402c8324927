"""A snapshot row is one item with its name, its hash, its source columns, its tags and what is stated of its uses."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from workbench_pipelines.catalog import Sheet, TagPolicy
from workbench_pipelines.errors import DefinitionError, FilterError, SourceError, WorkbenchError
from workbench_pipelines.identity import item_hash
from workbench_pipelines.sheet_columns import check_sheet_columns, key_names
from workbench_pipelines.sheets import take_snapshot
from workbench_pipelines.usage import USES, UsageStatement, effective_use, statements_from_json, strictest

WHERE = "sheets/invoices.yaml: Sheet invoices"
POLICIES = {
    "PHI": TagPolicy(prohibited_uses=("training",), data_classification="restricted", reason="health"),
    "CONFIDENTIAL": TagPolicy(prohibited_uses=("few_shot",), data_classification="confidential"),
}
ALL = {"allowed_uses": list(USES), "data_classification": "internal"}


def make_sheet(**spec: Any) -> Sheet:
    document = {
        "apiVersion": "workbench/v1",
        "kind": "Sheet",
        "metadata": {"name": "invoices"},
        "spec": {"primary_table": "data/invoices.csv", "item_ref": "id", "usage": ALL, **spec},
    }
    return Sheet.model_validate(document)


def invoices(**columns: list[Any]) -> pl.DataFrame:
    return pl.DataFrame({"id": ["1", "2", "3"], "total": [10.0, -1.0, 30.0], "npi": ["007", "7", None], **columns})


PROVIDERS = pl.DataFrame({"npi": ["007", "8"], "city": ["Ulm", "Bonn"]})
PROVIDERS_SOURCE = {"name": "providers", "path": "data/providers.csv", "join_keys": ["npi"]}


def snapshot(sheet: Sheet, primary: pl.DataFrame, **secondaries: pl.DataFrame) -> pl.DataFrame:
    return take_snapshot(sheet, primary, secondaries, policies=POLICIES, vocabulary=USES, where=WHERE).frame


def refusal(sheet: Sheet, primary: pl.DataFrame, kind: type[WorkbenchError], **secondaries: pl.DataFrame) -> str:
    with pytest.raises(kind) as error:
        snapshot(sheet, primary, **secondaries)
    assert error.value.line.startswith(WHERE)
    assert "\n" not in str(error.value)
    return error.value.line.removeprefix(f"{WHERE}: ")


def statements(frame: pl.DataFrame, item_ref: str) -> dict[str, UsageStatement]:
    (text,) = frame.filter(pl.col("item_ref") == item_ref)["usage_statements"]
    return {statement.source: statement for statement in statements_from_json(text)}


def test_a_row_has_a_name_a_hash_its_columns_and_its_statements() -> None:
    frame = snapshot(make_sheet(), invoices())
    assert frame.columns == ["item_ref", "item_hash", "id", "total", "npi", "row_tags", "usage_statements"]
    assert frame["item_ref"].to_list() == ["1", "2", "3"]
    assert frame["item_hash"][0] == item_hash({"id": "1", "total": 10.0, "npi": "007"})


def test_a_key_column_may_be_called_item_ref_itself() -> None:
    frame = snapshot(make_sheet(item_ref="item_ref"), invoices().rename({"id": "item_ref"}))
    assert frame.columns == ["item_ref", "item_hash", "total", "npi", "row_tags", "usage_statements"]


def test_an_integer_key_is_a_text_and_a_text_key_keeps_its_zeros() -> None:
    numbers = pl.DataFrame({"id": [7, 8]})
    assert snapshot(make_sheet(), numbers)["item_ref"].to_list() == ["7", "8"]
    assert snapshot(make_sheet(), pl.DataFrame({"id": ["007", "7"]}))["item_ref"].to_list() == ["007", "7"]
    assert snapshot(make_sheet(), pl.DataFrame({"id": [7.0, 8.0]}))["item_ref"].to_list() == ["7", "8"]


def test_a_composite_key_is_a_json_array() -> None:
    frame = pl.DataFrame({"id": ["a", "a"], "line": [1, 2]})
    assert snapshot(make_sheet(item_ref=["id", "line"]), frame)["item_ref"].to_list() == ['["a","1"]', '["a","2"]']


@given(st.permutations(["id", "total", "npi"]), st.randoms(use_true_random=False))
@settings(max_examples=20, deadline=None)
def test_an_item_hash_does_not_depend_on_the_order_of_rows_and_columns(order: list[str], rnd: random.Random) -> None:
    rows = rnd.sample(range(3), 3)
    shuffled = snapshot(make_sheet(), invoices().select(order)[rows])
    assert dict(shuffled.select("item_ref", "item_hash").iter_rows()) == dict(
        snapshot(make_sheet(), invoices()).select("item_ref", "item_hash").iter_rows()
    )


def test_a_changed_cell_changes_the_hash_of_its_row_only() -> None:
    before = snapshot(make_sheet(), invoices())["item_hash"].to_list()
    after = snapshot(make_sheet(), invoices(total=[10.0, 5.0, 30.0]))["item_hash"].to_list()
    assert [one == other for one, other in zip(before, after, strict=True)] == [True, False, True]


def test_the_filter_keeps_what_is_true_and_the_sample_comes_after_it() -> None:
    sheet = make_sheet(filter_condition="total > 0", sample={"size": 1, "method": "head"})
    assert snapshot(sheet, invoices(total=[None, 5.0, 6.0]))["item_ref"].to_list() == ["2"]


def test_a_broken_filter_is_named_with_its_field() -> None:
    found = refusal(make_sheet(filter_condition="totl > 0"), invoices(), FilterError)
    assert found == "spec.filter_condition: unknown column 'totl'; did you mean 'total'?"
    assert "not a condition" in refusal(make_sheet(filter_condition="total + 1"), invoices(), FilterError)


# Keys ---------------------------------------------------------------------------------------------------------------


def test_a_row_without_a_key_is_refused_with_its_number() -> None:
    found = refusal(make_sheet(), invoices(id=["1", None, " "]), SourceError)
    assert found.startswith("data/invoices.csv: 2 rows have no value in the key column 'id' (rows 2, 3)")


def test_equal_keys_are_refused_with_their_rows_and_keys() -> None:
    found = refusal(make_sheet(), invoices(id=["1", "2", "2"]), SourceError)
    assert found == "data/invoices.csv: 2 rows share their id with another (rows 2, 3): 2; item_ref has to be unique"


@pytest.mark.parametrize(
    "spec",
    [
        {"source_tags": ["PHI"]},
        {"usage": {"data_classification": "restricted"}},
    ],
)
def test_a_restricted_key_stands_in_no_error(spec: dict[str, Any]) -> None:
    found = refusal(make_sheet(**spec), invoices(id=["1", "Smith", "Smith"]), SourceError)
    assert "Smith" not in found
    assert "rows 2, 3" in found


def test_a_key_that_carries_a_restricting_tag_is_refused() -> None:
    found = refusal(make_sheet(columns={"id": {"tags": ["PHI"]}}), invoices(id=["1", "Smith", "3"]), DefinitionError)
    assert "the key column 'id' carries the tag PHI" in found
    assert "Smith" not in found


def test_a_key_of_fractions_is_refused() -> None:
    found = refusal(make_sheet(), pl.DataFrame({"id": [1.5, 2.0]}), SourceError)
    assert "'id' holds 1 numbers that are not whole" in found


def test_rows_outside_the_filter_may_share_a_key() -> None:
    sheet = make_sheet(filter_condition="total > 0")
    assert snapshot(sheet, invoices(id=["1", "1", "3"]))["item_ref"].to_list() == ["1", "3"]


@pytest.mark.parametrize("name", ["item_hash", "row_tags", "usage_statements", "item_ref"])
def test_a_source_column_with_a_name_of_ours_is_refused(name: str) -> None:
    assert refusal(make_sheet(), invoices(**{name: [1, 2, 3]}), SourceError).startswith(
        f"the column '{name}' has a name"
    )


# Joins --------------------------------------------------------------------------------------------------------------


def test_a_left_join_keeps_every_row_and_compares_keys_as_text() -> None:
    frame = snapshot(make_sheet(secondary_sources=[PROVIDERS_SOURCE]), invoices(), providers=PROVIDERS)
    assert frame["city"].to_list() == ["Ulm", None, None]


def test_an_inner_join_keeps_the_rows_that_match() -> None:
    sheet = make_sheet(secondary_sources=[PROVIDERS_SOURCE | {"how": "inner"}])
    assert snapshot(sheet, invoices(), providers=PROVIDERS)["item_ref"].to_list() == ["1"]


def test_a_number_in_one_table_meets_its_text_in_the_other() -> None:
    numbers = pl.DataFrame({"npi": [7, 8], "city": ["Ulm", "Bonn"]})
    frame = snapshot(make_sheet(secondary_sources=[PROVIDERS_SOURCE]), invoices(), providers=numbers)
    assert frame["city"].to_list() == [None, "Ulm", None]


def test_a_join_that_makes_two_rows_of_one_is_refused_unless_it_is_allowed() -> None:
    twice = pl.concat([PROVIDERS, PROVIDERS.with_columns(city=pl.lit("Hof"))])
    found = refusal(make_sheet(secondary_sources=[PROVIDERS_SOURCE]), invoices(), SourceError, providers=twice)
    assert "data/providers.csv: 1 rows find more than one row by npi" in found
    sheet = make_sheet(secondary_sources=[PROVIDERS_SOURCE | {"allow_fan_out": True}], item_ref=["id", "city"])
    whole = invoices().filter(pl.col("id") == "1")
    assert snapshot(sheet, whole, providers=twice)["item_ref"].to_list() == ['["1","Ulm"]', '["1","Hof"]']


def test_equal_keys_that_no_row_looks_for_are_no_fan_out() -> None:
    unused = pl.DataFrame({"npi": ["9", "9", None, None], "city": ["a", "b", "c", "d"]})
    assert snapshot(make_sheet(secondary_sources=[PROVIDERS_SOURCE]), invoices(), providers=unused).height == 3


def test_a_column_both_tables_have_takes_the_name_of_its_source() -> None:
    priced = PROVIDERS.with_columns(total=pl.lit(1))
    frame = snapshot(make_sheet(secondary_sources=[PROVIDERS_SOURCE]), invoices(), providers=priced)
    assert frame["providers_total"].to_list() == [1, None, None]
    assert frame["total"].to_list() == [10.0, -1.0, 30.0]


def test_a_missing_join_key_is_named() -> None:
    other = PROVIDERS.rename({"npi": "np_i"})
    found = refusal(make_sheet(secondary_sources=[PROVIDERS_SOURCE]), invoices(), DefinitionError, providers=other)
    assert found.endswith("join_keys: data/providers.csv has no column 'npi'; did you mean 'np_i'?")


def test_keys_of_items_and_joins_are_read_as_text() -> None:
    sheet = make_sheet(secondary_sources=[PROVIDERS_SOURCE])
    assert key_names(sheet) == ("id", "npi")


# Usage --------------------------------------------------------------------------------------------------------------


def test_a_sheet_that_states_nothing_allows_nothing() -> None:
    frame = snapshot(make_sheet(usage={}), invoices())
    closed = UsageStatement("sheet invoices", allowed_uses=(), data_classification="restricted")
    (said,) = statements(frame, "1").values()
    assert replace(said, policy=None) == closed
    assert effective_use(statements_from_json(frame["usage_statements"][0])).allowed_uses == ()


def test_a_tag_opens_no_sheet_that_states_no_classification() -> None:
    frame = snapshot(make_sheet(usage={"allowed_uses": ["training"]}, source_tags=["CONFIDENTIAL"]), invoices())
    stated = statements_from_json(frame["usage_statements"][0])
    assert strictest(one.data_classification for one in stated) == "restricted"


def test_a_tag_of_the_table_counts_for_every_row() -> None:
    frame = snapshot(make_sheet(source_tags=["CONFIDENTIAL"]), invoices())
    assert frame["row_tags"].to_list() == [["CONFIDENTIAL"]] * 3
    assert statements(frame, "3")["tag CONFIDENTIAL"].columns is None


def test_a_tagged_column_counts_where_it_is_shown() -> None:
    frame = snapshot(make_sheet(columns={"npi": {"tags": ["PHI"]}}), invoices())
    said = statements(frame, "1")["tag PHI on column npi"]
    assert (said.columns, said.prohibited_uses, said.reason) == (("npi",), ("training",), "health")
    assert frame["row_tags"].to_list() == [[], [], []]


def test_a_row_rule_tags_the_rows_for_which_it_holds() -> None:
    rules = [{"when": "total < 0", "tags": ["PHI"]}, {"when": "npi = '7'", "tags": ["CONFIDENTIAL", "PHI"]}]
    sheet = make_sheet(usage={**ALL, "rows": rules}, source_tags=["CONFIDENTIAL"])
    frame = snapshot(sheet, invoices(npi=["1", "7", "1"]))
    assert frame["row_tags"].to_list() == [["CONFIDENTIAL"], ["CONFIDENTIAL", "PHI"], ["CONFIDENTIAL"]]
    assert sorted(statements(frame, "2")) == [
        "sheet invoices",
        "tag CONFIDENTIAL",
        "tag CONFIDENTIAL by row rule 2",
        "tag PHI by row rule 1",
        "tag PHI by row rule 2",
    ]


def test_a_row_rule_that_can_not_be_decided_holds() -> None:
    sheet = make_sheet(usage={**ALL, "rows": [{"when": "npi = '7'", "tags": ["PHI"]}]})
    assert snapshot(sheet, invoices())["row_tags"].to_list() == [[], ["PHI"], ["PHI"]]


def test_a_joined_source_speaks_of_its_own_columns() -> None:
    usage = {"allowed_uses": ["testing"], "rows": [{"when": "city = 'Ulm'", "tags": ["PHI"]}]}
    source = PROVIDERS_SOURCE | {"usage": usage, "source_tags": ["CONFIDENTIAL"]}
    frame = snapshot(make_sheet(secondary_sources=[source]), invoices(), providers=PROVIDERS)
    said = statements(frame, "1")
    assert said["source providers"].allowed_uses == ("testing",)
    assert said["tag CONFIDENTIAL on source providers"].columns == ("city",)
    assert said["tag PHI on source providers by row rule 1"].columns == ("city",)
    assert "tag PHI on source providers by row rule 1" not in statements(frame, "2")
    assert frame["row_tags"].to_list() == [[], [], []]


def test_a_joined_source_that_states_nothing_makes_no_statement() -> None:
    frame = snapshot(make_sheet(secondary_sources=[PROVIDERS_SOURCE]), invoices(), providers=PROVIDERS)
    assert set(statements(frame, "1")) == {"sheet invoices"}


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ({"source_tags": ["PHl"]}, "spec.source_tags: the tag 'PHl' has no policy; did you mean 'PHI'?"),
        (
            {"usage": {"allowed_uses": ["trainin"]}},
            "spec.usage.allowed_uses: unknown use 'trainin'; did you mean 'training'?",
        ),
        (
            {"usage": {"data_classification": "publik"}},
            "spec.usage.data_classification: unknown data_classification 'publik'; did you mean 'public'?",
        ),
        ({"columns": {"nip": {"tags": ["PHI"]}}}, "spec.columns: unknown column 'nip'; did you mean 'npi'?"),
        (
            {"usage": {**ALL, "rows": [{"when": "npi = ", "tags": ["PHI"]}]}},
            "spec.usage.rows[0].when: the filter is not one SQL condition at line 1, column 5",
        ),
        (
            {"sample": {"size": 1, "method": "stratified", "by": "citi"}},
            "spec.sample.by: unknown column 'citi'; known: id, npi, total",
        ),
        ({"item_ref": "idd"}, "spec.item_ref: unknown column 'idd'; did you mean 'id'?"),
    ],
)
def test_a_name_nobody_knows_is_refused_with_and_without_rows(spec: dict[str, Any], line: str) -> None:
    sheet = make_sheet(**spec)
    assert refusal(sheet, invoices(), WorkbenchError) == line
    assert check_sheet_columns(sheet, invoices().schema, {}, POLICIES, USES, WHERE) == [f"{WHERE}: {line}"]


def test_every_problem_of_a_sheet_is_named_at_once() -> None:
    sheet = make_sheet(filter_condition="x > 1", item_ref="idd", source_tags=["PHl"])
    assert len(check_sheet_columns(sheet, invoices().schema, {}, POLICIES, USES, WHERE)) == 3


def test_a_sheet_without_problems_has_no_lines() -> None:
    sheet = make_sheet(secondary_sources=[PROVIDERS_SOURCE], filter_condition="city = 'Ulm'")
    assert check_sheet_columns(sheet, invoices().schema, {"providers": PROVIDERS.schema}, POLICIES, USES, WHERE) == []


def test_an_empty_table_gives_an_empty_snapshot_with_its_columns() -> None:
    frame = snapshot(make_sheet(source_tags=["PHI"], columns={"npi": {"tags": ["PHI"]}}), invoices().head(0))
    assert frame.schema["row_tags"] == pl.List(pl.String)
    assert frame.height == 0


def test_nested_dates_and_null_columns_are_hashed() -> None:
    frame = invoices(parts=[[1], [], None]).with_columns(day=pl.date(2024, 1, 1), nothing=pl.lit(None))
    assert snapshot(make_sheet(), frame)["item_hash"].n_unique() == 3
