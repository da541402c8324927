"""What a person writes into a prompt may hold what the person saw: it is used as far as that may be used."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from workbench_pipelines.edited_inputs import seen_by_editors
from workbench_pipelines.identity import pair_id
from workbench_pipelines.label_inheritance import inherit_uses
from workbench_pipelines.labels import fold_labels
from workbench_pipelines.restrictions import restrictions_of
from workbench_pipelines.usage import USES, UsageStatement, statements_to_json
from workbench_pipelines_tests.definition_world import make_catalog, make_document
from workbench_pipelines_tests.pair_world import later, ledger, make_decision
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import USAGE, define, put, sheet, template, tickets, training_sheet

PHI = UsageStatement(
    "tag PHI on column name", prohibited_uses=("training",), data_classification="restricted", columns=("name",)
)
SNAPSHOT = pl.DataFrame({"item_ref": ["a"], "usage_statements": [statements_to_json([PHI])]})


def edit(**given: Any) -> dict[str, Any]:
    said = {"action": "edit", "pair_id": pair_id("ts", "s", "a"), "inputs": json.dumps({"x": "of Quill"})}
    return make_decision(**({"at": later(1), "label_data": '{"answer":"no"}'} | said | given))


@pytest.mark.parametrize(("seen", "prohibited"), [(["x", "name"], ["training"]), (["x"], []), (None, ["training"])])
def test_a_label_that_came_with_an_edited_input_keeps_what_is_stated_of_what_its_author_saw(
    seen: list[str] | None, prohibited: list[str]
) -> None:
    said = ledger(edit(seen_columns=seen))
    labels = fold_labels(said, None)
    (label,) = inherit_uses(labels, SNAPSHOT, ["t"], seen_by_editors(said)).to_dicts()
    assert label["prohibited_uses"] == prohibited


def test_a_later_label_of_somebody_who_saw_less_frees_nothing_while_the_edit_stands() -> None:
    said = ledger(edit(seen_columns=["name", "x"]), make_decision(at=later(2), seen_columns=["x"], by="bob"))
    (label,) = inherit_uses(fold_labels(said, None), SNAPSHOT, ["t"], seen_by_editors(said)).to_dicts()
    assert label["prohibited_uses"] == ["training"]
    taken_back = ledger(*said.to_dicts(), edit(inputs="{}", at=later(3), seen_columns=["x"]))
    (label,) = inherit_uses(fold_labels(taken_back, None), SNAPSHOT, ["t"], seen_by_editors(taken_back)).to_dicts()
    assert label["prohibited_uses"] == []


DOMAIN = make_document(
    "Domain",
    "house",
    glossary=[{"term": "ward", "definition": "where people lie"}],
    usage={"allowed_uses": list(USES), "prohibited_uses": ["training"], "data_classification": "restricted"},
)


@pytest.mark.parametrize(
    "spec",
    [
        {"primary_table": "domain:house/glossary", "item_ref": "term"},
        {"secondary_sources": [{"name": "terms", "path": "domain:house/glossary", "join_keys": ["term"]}]},
    ],
)
def test_what_a_restricted_domain_holds_is_masked_in_the_sheets_that_take_it(spec: dict[str, Any]) -> None:
    given = {"primary_table": "rows.csv", "item_ref": "ticket", "usage": {"data_classification": "public"}} | spec
    assert restrictions_of(make_catalog(make_document("Sheet", "s", **given), DOMAIN)).sheets["s"] is None


def test_a_domain_that_is_joined_states_its_uses_as_any_source_does(project: Project) -> None:
    source = {"name": "terms", "path": "domain:house/glossary", "join_keys": ["term"]}
    define(project, sheet(secondary_sources=[source]), training_sheet(column="team"), template(), DOMAIN)
    put(project, tickets(2).with_columns(term=pl.lit("ward")))
    workbench = project.workbench
    items = workbench.read_items(workbench.catalog().sheet("tickets"))
    assert items["usage_statements"].str.contains("Domain house").all()


def test_a_preview_knows_the_uses_that_a_policy_file_adds(project: Project) -> None:
    own = make_document("UsagePolicy", "house", uses=["distillation"])
    usage = USAGE | {"allowed_uses": ["training", "distillation"]}
    define(project, sheet(usage=usage), training_sheet(column="team"), template(), own)
    put(project, tickets(2))
    assert project("preview", "drafted").code == 0
