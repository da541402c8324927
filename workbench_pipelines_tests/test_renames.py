"""A Sheet may get another name; the labels experts gave under the old one stay."""

from __future__ import annotations

from typing import Any

import polars as pl
import yaml

from workbench_pipelines.catalog import ProjectFile, load_catalog
from workbench_pipelines.identity import pair_id
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    collection,
    define,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)

SHEET = """
apiVersion: workbench/v1
kind: Sheet
metadata: {{name: {name}{formerly}}}
spec:
  primary_table: data/items.csv
  item_ref: id
  usage: {{allowed_uses: [training]}}
---
apiVersion: workbench/v1
kind: LabelType
metadata: {{name: colour}}
spec: {{kind: classification, fields: [{{name: colour, enum: [red, blue]}}]}}
"""
LABEL = '{"sheet": "old", "item_ref": "007", "label_type": "colour", "label_data": {"colour": "red"}}\n'


def labeled(project: Project) -> Project:
    project.write("sheets/data/items.csv", "id,what\n007,a rose\n")
    project.write("sheets/items.yaml", SHEET.format(name="old", formerly=""))
    file = project.write("labels.jsonl", LABEL)
    assert project("label", "import", str(file)).code == 0
    return project


def test_removing_a_sheet_that_holds_labels_is_an_error(project: Project) -> None:
    labeled(project).write("sheets/items.yaml", SHEET.format(name="new", formerly=""))
    checked = project("validate")
    assert checked.code == 2
    assert "Sheet old holds 1 labels of experts and is no longer defined" in checked.err


def test_a_renamed_sheet_keeps_its_labels(project: Project) -> None:
    labeled(project).write("sheets/items.yaml", SHEET.format(name="new", formerly=", formerly: [old]"))
    assert project("validate").code == 0
    sheet = project.workbench.catalog().sheet("new")
    assert project.workbench.sheet_decisions(sheet)["sheet"].to_list() == ["new"]
    ran = project("run", "new", "--json")
    assert ran.code == 0, ran.err
    assert project.table("label", "canonical_labels")["item_ref"].to_list() == ["007"]


def called(project: Project, of_sheet: str, name: str, *formerly: tuple[str, str]) -> None:
    """A Sheet and a TrainingSheet of these names, with those that both had before."""
    documents = [sheet(of_sheet), training_sheet(name, column="team", sheet=of_sheet)]
    for document, place in zip(documents, (0, 1), strict=True):
        document["metadata"]["formerly"] = [names[place] for names in formerly]
    spec = {"splits": {"train": 0.6, "val": 0.2, "test": 0.2}}
    define(project, *documents, template(), collection("routing", name, **spec))


def test_renamed_sheets_and_training_sheets_keep_their_pairs_splits_and_exports(project: Project) -> None:
    called(project, "tickets", "told")
    put(project, tickets(20))
    assert project("run", "told").code == 0
    routing = pl.col("collection") == "routing"
    before = project.table("train", "governed_export").filter(routing)
    before = before.select("pair_id", "pair_hash", "split").sort("pair_id")
    assert before["pair_id"].to_list() == sorted(pair_id("told", "tickets", f"T-{number:03d}") for number in range(20))
    members = project.table("records", "collection_members").filter(routing).sort("pair_id")
    called(project, "cases", "routed", ("tickets", "told"))
    assert project("run", "routed").code == 0
    called(project, "matters", "sorted_out", ("tickets", "told"), ("cases", "routed"))
    ran = project("run", "sorted_out", "--json")
    assert ran.code == 0, ran.err
    after = project.table("train", "governed_export").filter(routing)
    assert after.select(before.columns).sort("pair_id").equals(before)
    assert set(after["sheet"]) == {"matters"}
    assert project.table("records", "collection_members").filter(routing).sort("pair_id").equals(members)
    assert [one["version"] for one in ran.json["exports"] if one["collection"] == "routing"] == [1]
    pairs = project.table("label", "labeled_pairs")
    assert set(pairs["training_sheet"]) == {"sorted_out"}  # every pair stands once
    assert pairs["pair_id"].is_unique().all()
    found = project("recall", "--item", "matters/T-003", "--json")
    assert found.code == 0, found.err
    assert {one["pairs"] for one in found.json["exports"]} == {1}


def test_who_takes_a_former_name_has_pairs_of_its_own() -> None:
    documents = [sheet(), training_sheet("told", column="team"), training_sheet("other", column="team")]
    renamed = training_sheet("routed", column="team")
    renamed["metadata"]["formerly"] = ["told"]

    def names(*given: dict[str, Any]) -> dict[str, tuple[str, str]]:
        catalog = load_catalog([ProjectFile("sheets/all.yaml", yaml.safe_dump_all(given))])
        return {one.name: catalog.pair_names(one) for one in catalog.training_sheets()}

    assert names(documents[0], renamed)["routed"] == ("told", "tickets")
    assert names(*documents, renamed)["routed"] == ("routed", "tickets")
    assert names(*documents, renamed)["told"] == ("told", "tickets")
