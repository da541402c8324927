"""Batches of prompts and enhancements through the real command line: taken, shown, deleted, restored, exported."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from workbench_pipelines.catalog import IntakeSpec
from workbench_pipelines.clients.lake_sql import query
from workbench_pipelines.restrictions import MASK, restrictions_of
from workbench_pipelines.settings import CHECKOUT
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.intake_world import NOON, plant, ref, row, write_rows
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import DAGSTER_YAML


def batches(project: Project, **spec: Any) -> Path:
    folder = plant(project, **spec)
    write_rows(
        folder,
        "a.jsonl",
        *(row(n, data_source="crm", training_priority=n, session_id=f"s{n % 3}") for n in range(1, 13)),
    )
    write_rows(folder, "b.jsonl", row(20, data_source="web", training_priority=2000), row(21, data_source="web"))
    return folder


def take(project: Project) -> None:
    workbench = project.workbench
    workbench.intake_of(workbench.catalog().sheet("prompts")).take(by="ann", now=NOON)


def test_batches_become_pairs_whose_attributes_say_where_they_came_from(project: Project) -> None:
    folder = batches(project)
    assert project("validate").code == 0
    assert project("plan", "enhanced", "--json").json["training_sheets"][0]["items"] == 13
    assert not project.workbench.lake.exists("records", "items", "prompts")
    ran = project("run", "--json")
    assert ran.code == 0, ran.err
    (snapshot,) = [one for one in ran.json["partitions"] if one["asset"] == "data/sheet_snapshot"]
    assert (snapshot["rows"], snapshot["refused"]) == (13, 1)
    (refused,) = project.table("data", "sheet_snapshot_refusals").to_dicts()
    assert (refused["reason"], refused["detail"]) == (
        "out_of_range",
        "b.jsonl line 1: 'training_priority' is not from 1 to 1000",
    )
    pairs = project.table("label", "labeled_pairs")
    (pair,) = pairs.filter(pl.col("item_ref") == ref(5)).to_dicts()
    assert json.loads(pair["attributes"]) == {"data_source": "crm", "training_priority": 5, "session_id": "s2"}
    assert json.loads(pair["response"]) == {"enhancement": "Answer 5."}
    (export,) = ran.json["exports"]
    assert export["train"] + export["val"] + export["test"] == 13
    # Again, and under other names: nothing is new.
    (folder / "a.jsonl").rename(folder / "z.jsonl")
    again = project("run", "--json")
    assert again.json["exports"] == [export]
    said = "Sheet prompts: rows of its files that are not taken: 1, out_of_range: b.jsonl line 1: "
    assert said in project("run").err


def test_a_deleted_item_leaves_every_pair_and_export_and_comes_back_with_its_label(project: Project) -> None:
    batches(project)
    label = {
        "sheet": "prompts",
        "item_ref": ref(5),
        "label_type": "enhance",
        "label_data": {"enhancement": "Better 5."},
    }
    file = project.write("labels.jsonl", json.dumps(label))
    assert project("label", "import", str(file)).code == 0, "an item can be labeled before its file is taken"
    first = project("run", "--json").json["exports"][0]
    done = project("items", "delete", "prompts", "--item", ref(5), "--why", "asked for", "--json")
    assert (done.code, done.json["deleted"]) == (0, 1)
    second = project("run", "--json").json["exports"][0]
    sizes = [sum(one[part] for part in ("train", "val", "test")) for one in (first, second)]
    assert sizes == [13, 12]
    assert second["version"] == first["version"] + 1
    assert ref(5) not in set(project.table("label", "labeled_pairs")["item_ref"])
    assert ref(5) not in set(project.table("data", "sheet_snapshot", "prompts")["item_ref"])
    gone = project("items", "find", "prompts", "--deleted", "--json").json["items"]
    assert [(one["item_ref"], one["deleted_by"], one["delete_reason"]) for one in gone] == [
        (ref(5), "ann", "asked for")
    ]
    assert project("items", "restore", "prompts", "--item", ref(5), "--why", "a mistake").code == 0
    third = project("run", "--json").json["exports"][0]
    assert third["merkle_root"] == first["merkle_root"]
    (pair,) = project.table("label", "labeled_pairs").filter(pl.col("item_ref") == ref(5)).to_dicts()
    assert json.loads(pair["response"]) == {"enhancement": "Better 5."}


def test_items_are_found_by_name_session_source_and_priority(project: Project) -> None:
    batches(project)
    assert project("items", "find", "prompts", "--json").json == {"sheet": "prompts", "items": [], "more": False}
    take(project)

    def found(*options: str) -> list[str]:
        shown = project("items", "find", "prompts", *options, "--json").json
        assert not shown["more"]
        return [one["item_ref"] for one in shown["items"]]

    assert found("--item", ref(5)) == [ref(5)]
    assert found("--session", "s1") == sorted(ref(n) for n in (1, 4, 7, 10))
    assert found("--source", "web") == [ref(21)]
    assert found("--priority", "11-1000") == sorted([ref(11), ref(12)])
    assert found("--priority", "3", "--source", "crm") == [ref(3)]
    assert found("--source", "crm", "--priority", "13-20") == []
    some = project("items", "find", "prompts", "--limit", "2", "--json").json
    assert (len(some["items"]), some["more"]) == (2, True)
    piped = project("items", "find", "prompts", "--item", ref(5))
    assert piped.out.splitlines()[0].split("\t") == ["item_ref", "prompt", "enhancement", "data_source", "training_priority",
                                                     "session_id", "source_file", "source_line"]  # fmt: skip


def test_restricted_columns_are_masked_and_can_not_be_looked_for(project: Project) -> None:
    batches(project, columns={"session_id": {"tags": ["PHI"]}, "prompt": {"tags": ["PHI"]}})
    take(project)
    (shown,) = project("items", "find", "prompts", "--item", ref(5), "--json").json["items"]
    assert (shown["prompt"], shown["enhancement"]) == (MASK, "Answer 5.")
    workbench = project.workbench
    sql = query(workbench.lake, "select * from items_prompts", restrictions=restrictions_of(workbench.catalog()))
    assert set(sql["prompt"]) == {MASK}
    assert "the column 'session_id' is restricted" in project("items", "find", "prompts", "--session", "s1").err
    assert project("items", "find", "prompts", "--source", "crm").code == 0


def test_a_restricted_sheet_shows_no_word_of_its_items(project: Project) -> None:
    batches(project, usage={"allowed_uses": ["training"], "data_classification": "restricted"})
    take(project)
    project("items", "delete", "prompts", "--item", ref(5), "--why", "CANARY")
    for options in ((), ("--deleted",)):
        shown = project("items", "find", "prompts", *options, "--json")
        assert "Question" not in shown.out
        assert "CANARY" not in shown.out
        assert "crm" not in shown.out
        assert '"source_file": "a.jsonl"' in shown.out
    assert project("items", "find", "prompts", "--priority", "1-9").code == 2


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["items", "find", "promts"], "there is no Sheet 'promts'; did you mean 'prompts'?"),
        (["items", "find", "prompts", "--priority", "high"], "'high' is no priority; write it like 900 or 900-1000"),
        (["items", "delete", "prompts", "--why", "x"], "name items by --item, or a file by --file"),
        (["items", "delete", "prompts", "--item", "x", "--why", " "], "--why is empty; give the reason"),
        (["items", "delete", "prompts", "--item", "x", "--why", "y"], "Sheet prompts has no item 'x'"),
        (["items", "restore", "prompts", "--file", "x", "--why", "y"], "Sheet prompts took no file 'x'"),
        (["items", "find", "plain"], "the Sheet keeps no items of its own"),
    ],
)
def test_what_can_not_be_done_is_said_in_one_line(project: Project, arguments: list[str], line: str) -> None:
    plain = {"primary_table": "plain.csv", "item_ref": "id"}
    plant(project, make_document("Sheet", "plain", **plain))
    project.write("sheets/plain.csv", "id\n1\n")
    ran = project(*arguments)
    assert ran.code == 2
    assert line in ran.err
    assert len(ran.err.splitlines()) == 1


def test_deleting_is_the_business_of_stewards_where_they_are_named(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = plant(project, make_document("Access", "default", reviewers=["ann"], stewards=["bob"]))
    write_rows(folder, "a.jsonl", row(1))
    take(project)
    arguments = ("items", "delete", "prompts", "--item", ref(1), "--why", "asked for")
    ran = project(*arguments)
    assert (ran.code, "'ann' may not delete items" in ran.err) == (2, True)
    monkeypatch.setenv("WORKBENCH_USER", "bob")
    assert project(*arguments).code == 0


def test_all_items_of_a_file_are_deleted_by_its_name(project: Project) -> None:
    batches(project)
    take(project)
    done = project("items", "delete", "prompts", "--file", "a.jsonl", "--why", "withdrawn", "--json")
    assert done.json == {"ok": True, "sheet": "prompts", "deleted": 12, "already": 0}
    assert (
        "12 items restored, 0 were so already"
        in project("items", "restore", "prompts", "--file", "a.jsonl", "--why", "x").out
    )


def test_a_plain_folder_names_items_by_content_too_and_refuses_rows_that_say_the_same(project: Project) -> None:
    folder = plant(project, intake=None)
    write_rows(folder, "a.jsonl", row(1, training_priority=5), row(2))
    write_rows(folder, "b.jsonl", row(2), row(1, training_priority=4))
    assert project("run", "--json").code == 0
    items = project.table("data", "sheet_snapshot", "prompts").select("item_ref", "training_priority").rows()
    assert sorted(items) == sorted([(ref(1), 4), (ref(2), None)])
    refused = project.table("data", "sheet_snapshot_refusals")
    assert sorted(refused["detail"]) == [
        "row 1: the same item stands in row 4",
        "row 3: the same item stands in row 2",
    ]


def test_a_column_of_content_that_is_not_there_is_named(project: Project) -> None:
    folder = plant(project, intake=None, item_ref={"content_of": ["promt"]})
    write_rows(folder, "a.jsonl", row(1))
    said = project("validate")
    assert said.code == 2
    assert "spec.item_ref.content_of: the primary table has no column 'promt'; did you mean 'prompt'?" in said.err


def test_the_guide_to_folders_does_what_it_says(project: Project) -> None:
    guide = (CHECKOUT / "docs/folders.md").read_text()
    for path, text in re.findall(r"^`(\S+)`:\n\n```\w+\n(.*?)```", guide, re.S | re.M):
        project.write(path, text)
    (shown,) = re.findall(r"```yaml\n# in a Sheet's spec; these fields.*?\n(.*?)```", guide, re.S)
    assert IntakeSpec.model_validate(yaml.safe_load(shown)["intake"]) == IntakeSpec()
    project.write("dagster_home/dagster.yaml", DAGSTER_YAML)
    assert project("validate").code == 0
    ran = project("run", "enhanced", "--json")
    assert ran.json["partitions"][1]["rows"] == 3, ran.err
    for line in re.findall(r"^workbench (.+)$", guide, re.M):
        arguments = shlex.split(
            line.replace("REF", project.table("records", "items", "enhancements")["item_ref"].min())
        )
        assert project(*arguments).code == 0, line
    reasons = set(re.findall(r"`(\w+)`", " ".join(re.findall(r"^\| (`.*?) \|", guide, re.M))))
    code = "".join(
        (CHECKOUT / "workbench_pipelines" / file).read_text()
        for file in ("intake.py", "row_reader.py", "clients/source_folder.py")
    )
    assert {reason for reason in reasons if f'"{reason}"' in code} | {"empty_file"} == reasons
