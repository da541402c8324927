"""A Sheet may get another name; the labels experts gave under the old one stay."""

from __future__ import annotations

from workbench_pipelines_tests.project_world import Project

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
