"""A source that is not what its contract promises is named in one line, before a model is asked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.errors import DefinitionError
from workbench_pipelines.settings import CHECKOUT
from workbench_pipelines.source_contract import (
    PromisedTable,
    contract_text,
    parse_contract,
    row_problems,
    schema_problems,
)
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    collection,
    define,
    provider,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)

__all__ = ["provider"]

FILE = "tickets.odcs.yaml"
COLUMNS: dict[str, pl.DataType] = {"ticket": pl.String(), "subject": pl.String(), "amount": pl.Float64()}


def make_contract(*properties: dict[str, Any], table: str = "tickets", **more: Any) -> str:
    schema = [{"name": table, "properties": list(properties), **more}]
    return yaml.safe_dump({"apiVersion": "v3.1.0", "kind": "DataContract", "version": "1.0.0", "schema": schema})


def promised(*properties: dict[str, Any], **more: Any) -> PromisedTable:
    return parse_contract(make_contract(*properties, **more), FILE).tables["tickets"]


OF_NOW = parse_contract(contract_text("tickets", {"tickets": COLUMNS}, ["ticket"], {}), FILE).tables["tickets"]


def without(name: str) -> dict[str, pl.DataType]:
    return {column: dtype for column, dtype in COLUMNS.items() if column != name}


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (without("amount"), "'amount' is missing"),
        (COLUMNS | {"note": pl.String()}, "'note' is new"),
        (
            without("amount") | {"amount_eur": pl.Float64()},
            "'amount' is missing (renamed to 'amount_eur'?), 'amount_eur' is new",
        ),
        (COLUMNS | {"amount": pl.String()}, "'amount' is string and was promised as number"),
        (COLUMNS | {"subject": pl.Int64()}, "'subject' is integer and was promised as string"),
    ],
)
def test_a_column_that_is_missing_new_renamed_or_retyped_is_named(columns: dict[str, pl.DataType], said: str) -> None:
    line = schema_problems(OF_NOW, columns, "a", text_columns=["ticket"])
    assert line == f"a: not what the contract promises of tickets: {said}; mend the source, or agree on a new contract"


@pytest.mark.parametrize(
    "columns",
    [COLUMNS, COLUMNS | {"amount": pl.Int64()}, COLUMNS | {"amount": pl.Null()}, dict(reversed(COLUMNS.items()))],
)
def test_whole_numbers_empty_columns_and_another_order_keep_the_promise(columns: dict[str, pl.DataType]) -> None:
    assert schema_problems(OF_NOW, columns, "a", text_columns=["ticket"]) is None


def test_a_table_that_may_grow_says_nothing_of_a_new_column() -> None:
    growing = promised({"name": "ticket"}, customProperties=[{"property": "additionalColumns", "value": "allowed"}])
    assert schema_problems(growing, COLUMNS, "a") is None


@pytest.mark.parametrize(
    ("promise", "values", "line"),
    [
        ({"required": True}, ["a", None], "1 rows break the contract's `required` (row 2)"),
        ({"primaryKey": True}, [None, "a"], "1 rows break the contract's `required` (row 1)"),
        ({"unique": True}, ["a", "b", "a"], "2 rows break the contract's `unique` (row 1, 3)"),
        ({"logicalTypeOptions": {"pattern": "^T-"}}, ["T-1", "x"], "1 rows break the contract's `pattern` (row 2)"),
        (
            {"logicalTypeOptions": {"maxLength": 1}},
            ["ab"] * 5,
            "5 rows break the contract's `maxLength` (row 1, 2, 3, ...)",
        ),
        ({"logicalTypeOptions": {"minimum": 2}}, [1, 2], "1 rows break the contract's `minimum` (row 1)"),
        (
            {"logicalTypeOptions": {"exclusiveMaximum": 2}},
            [1, 2],
            "1 rows break the contract's `exclusiveMaximum` (row 2)",
        ),
        (
            {"logicalType": "date"},
            ["2026-01-01", "yesterday"],
            "1 rows break the contract's `logicalType: date` (row 2)",
        ),
    ],
)
def test_rows_that_break_a_promise_are_counted_and_never_quoted(
    promise: dict[str, Any], values: list[Any], line: str
) -> None:
    found = row_problems(promised({"name": "c", **promise}), pl.DataFrame({"c": values}), "a")
    assert list(found) == [f"a: column 'c': {line}"]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [", "t.odcs.yaml: line 1: not readable as YAML"),
        ("kind: Sheet", "t.odcs.yaml: no data contract; its `kind` is DataContract"),
        ("{kind: DataContract, apiVersion: v2.3.0}", "t.odcs.yaml: apiVersion: 'v2.3.0' is not read; write v3.1.0"),
        ("{kind: DataContract, apiVersion: v3.1.0}", "t.odcs.yaml: schema: the contract promises no table"),
        (
            make_contract({"name": "a", "logicalType": "strng"}),
            "t.odcs.yaml: schema[0].properties[0]: logicalType 'strng' is unknown; did you mean 'string'?",
        ),
    ],
)
def test_what_is_no_contract_says_so_in_a_line(text: str, line: str) -> None:
    with pytest.raises(DefinitionError) as error:
        parse_contract(text, "t.odcs.yaml")
    assert error.value.line == line


def test_a_bound_that_fits_no_column_of_its_type_is_a_wrong_contract() -> None:
    table = promised({"name": "c", "logicalTypeOptions": {"minLength": 3}})
    with pytest.raises(DefinitionError, match="`minLength` of c can not be held against integer"):
        list(row_problems(table, pl.DataFrame({"c": [1]}), "a"))


def test_what_is_written_is_read_by_the_standards_own_library() -> None:
    standard = pytest.importorskip("open_data_contract_standard.model")
    text = contract_text("tickets", {"tickets": COLUMNS}, ["ticket"], {"subject": ["PII"]})
    read = standard.OpenDataContractStandard.from_string(text)
    assert [one.name for one in read.schema_[0].properties] == list(COLUMNS)
    assert read.schema_[0].properties[0].primaryKey is True


def contracted(project: Project) -> None:
    """A project whose Sheet names a contract that holds."""
    define(
        project,
        sheet(contract=f"contracts/{FILE}"),
        training_sheet(model="openai/scripted"),
        template(),
        collection("c", "drafted"),
    )
    put(project, tickets(4))
    project.write(f"sheets/contracts/{FILE}", make_contract({"name": "ticket", "primaryKey": True}))
    made = project("contract", "tickets")
    assert made.code == 0, made.err
    project.write(f"sheets/contracts/{FILE}", made.out)
    assert project("validate").code == 0


def test_drift_stops_a_run_before_a_call_is_paid(project: Project, provider: ScriptedProvider) -> None:
    contracted(project)
    drifted = tickets(6).rename({"subject": "title"})
    put(project, drifted)
    for command in (["validate"], ["plan"], ["run"]):
        ran = project(*command)
        assert ran.code in (1, 2)
        assert "'subject' is missing (renamed to 'title'?), 'title' is new" in ran.err
    assert provider.calls == 0


def test_rows_that_break_the_contract_stop_a_run_too(project: Project, provider: ScriptedProvider) -> None:
    contracted(project)
    put(project, pl.concat([tickets(4), tickets(1)]))
    ran = project("run")
    assert (ran.code, "column 'ticket': 2 rows break the contract's `unique` (row 1, 5)" in ran.err) == (1, True)
    assert provider.calls == 0


def test_a_tag_that_the_contract_states_and_the_sheet_does_not_is_an_error(project: Project) -> None:
    contracted(project)
    path = project.folder / "sheets" / "contracts" / FILE
    said = yaml.safe_load(path.read_text())
    said["schema"][0]["properties"][1]["tags"] = ["PHI", "finance"]
    path.write_text(yaml.safe_dump(said))
    ran = project("validate")
    assert ran.code == 2
    assert "the contract says that 'subject' is PHI, and the Sheet does not; write `subject: {tags: [PHI]}`" in ran.err


def test_a_contract_is_written_once_and_named_as_one(project: Project, tmp_path: Path) -> None:
    define(project, sheet())
    put(project, tickets(2))
    out = tmp_path / FILE
    assert project("contract", "tickets", "--out", str(out)).code == 0
    assert parse_contract(out.read_text(), FILE).tables["tickets"].columns[0].required
    assert "is there already" in project("contract", "tickets", "--out", str(out)).err
    assert "ends with .odcs.yaml" in project("contract", "tickets", "--out", str(tmp_path / "a.yaml")).err


def test_the_documented_contract_is_one_and_promises_what_the_page_says() -> None:
    text = (CHECKOUT / "docs" / "contracts.md").read_text()
    (block,) = [one for one in re.findall(r"```yaml\n(.*?)```", text, re.S) if "kind: DataContract" in one]
    table = parse_contract(block, "docs").tables["tickets"]
    assert table.may_grow
    rows = pl.DataFrame(
        {"ticket": ["a", "b"], "opened": ["2026-01-01", "x"], "amount": [-1.0, 2], "customer": ["c", None]}
    )
    assert schema_problems(table, dict(rows.schema), "t", text_columns=["ticket"]) is None
    broken = [line.split("'")[1] for line in row_problems(table, rows, "t")]
    assert broken == ["opened", "amount", "customer"]
