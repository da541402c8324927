"""Variants through the command line: paid once, labeled one by one, kept in one split, found again by SQL."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    TEAMS,
    collection,
    define,
    error_lines,
    one_line,
    provider,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)  # fmt: skip

__all__ = ["provider"]

VARIANTS = {"parameters": {"persona": ["customer", "lawyer"], "difficulty": ["easy", "hard"]}, "per_item": 2, "seed": 1}
TEXT = "A {{ difficulty }} one, by a {{ persona }}. Which team? {{ subject }}"
LABELS = {"kind": "classification", "fields": [{"name": "team", "type": "string", "enum": list(TEAMS)}]}


def define_tickets(project: Project, *more: dict[str, Any], text: str = TEXT, **spec: Any) -> None:
    drafted = training_sheet(**{"variants": VARIANTS, **spec})
    define(project, sheet(), drafted, collection("routing", "drafted"), template(text), *more)


def label(project: Project, *refs: str) -> int:
    rows = [
        {"sheet": "tickets", "label_type": "team", "label_data": {"team": "billing"}, "item_ref": ref} for ref in refs
    ]
    file = project.write("labels.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    return project("label", "import", str(file), "--json").code


def pairs(project: Project) -> pl.DataFrame:
    return project.table("label", "labeled_pairs").sort("item_ref")


def test_each_variant_is_asked_once_and_new_items_ask_their_own_alone(
    project: Project, provider: ScriptedProvider
) -> None:
    define_tickets(project)
    put(project, tickets(6))
    planned = project("plan", "--json").json
    first = project("run", "--json")
    assert planned["calls"] == first.json["llm_calls"] == provider.calls == 12, first.err
    before = pairs(project).select("item_ref", "pair_id")
    put(project, pl.concat([tickets(2, start=50), tickets(6)]))
    assert project("run", "--json").json["llm_calls"] == 4
    after = pairs(project).select("item_ref", "pair_id")
    assert after.filter(~pl.col("item_ref").str.starts_with("T-05")).equals(before)


def test_a_label_answers_the_item_it_names_and_what_is_derived_only_where_its_type_says_so(
    project: Project, provider: ScriptedProvider
) -> None:
    define_tickets(project)
    put(project, tickets(3))
    assert project("run").code in (0, 5)
    derived = pairs(project)["item_ref"].to_list()
    assert label(project, "T-000", derived[2]) == 0
    project("run")
    assert pairs(project).filter(pl.col("status") == "labeled")["item_ref"].to_list() == [derived[2]]

    define_tickets(project, make_document("LabelType", "team", **LABELS, covers_derived=True))
    ran = project("run", "--json")
    found = pairs(project).filter(pl.col("status") == "labeled")["item_ref"].to_list()
    assert found == derived[:3], ran.err
    assert label(project, "T-000#5") == 1  # no variant makes an item of this name


def test_a_label_of_a_variant_is_stale_while_its_item_says_something_else(
    project: Project, provider: ScriptedProvider
) -> None:
    define_tickets(project)
    put(project, tickets(2))
    project("run")
    ref = pairs(project)["item_ref"][0]
    label(project, ref)
    project("run")
    changed = pl.when(pl.col("ticket") == "T-000").then(pl.lit("Something else")).otherwise("subject").alias("subject")
    put(project, tickets(2).with_columns(changed))
    project("run")
    row = pairs(project).filter(pl.col("item_ref") == ref).to_dicts()[0]
    assert (row["status"], row["review_notes"]) == ("unlabeled", "the label of ann is stale: what it saw has changed")


def test_what_is_derived_of_one_item_is_exported_into_one_split_and_found_both_ways(
    project: Project, provider: ScriptedProvider
) -> None:
    define_tickets(project, make_document("LabelType", "team", **LABELS, covers_derived=True))
    put(project, tickets(12))
    label(project, *tickets(12)["ticket"])
    ran = project("run", "--json")
    assert ran.code == 0, ran.err
    assert ran.json["llm_calls"] == 0
    exported = project.table("train", "governed_export")
    assert exported.height == 24
    torn = exported.group_by(pl.col("item_ref").str.split("#").list.first()).agg(pl.col("split").n_unique())
    assert set(torn["split"]) == {1}
    assert exported["split"].n_unique() > 1

    children = project(
        "sql", "--query", "children_of_item", "--param", "sheet=tickets", "--param", "item_ref=T-003", "--json"
    )
    assert children.code == 0, children.err
    rows = children.json
    assert [row["parent_ids"] for row in rows] == [["T-003"], ["T-003"]]
    assert {row["derived_by"] for row in rows} == {"variant"}
    parents = project("sql", "--query", "parents_of_pair", "--param", f"pair_id={rows[0]['pair_id']}", "--json")
    assert [row["parent_ref"] for row in parents.json] == ["T-003"]


def test_validate_says_what_variants_can_not_be(project: Project) -> None:
    put(project, tickets(2))
    define_tickets(project, text="Which team? {{ subject }} {{ persona }}")
    assert "template 'team' 1.0.0 does not ask for 'difficulty', so variants that differ in it" in one_line(
        project("validate")
    )
    define_tickets(project, variants={"parameters": {"note": ["a"]}}, text="{{ note }} {{ subject }}")
    assert "Sheet 'tickets' has a column 'note'" in one_line(project("validate"))
    define_tickets(project, variants={"parametres": {"a": ["a"]}})
    assert any("parametres" in line and "parameters" in line for line in error_lines(project("validate")))
