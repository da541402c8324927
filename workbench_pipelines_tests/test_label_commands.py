"""Labels go out as a file that comes in again, are withdrawn and restored with a reason, and have a history."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.project_world import Kept, Project
from workbench_pipelines_tests.ticket_world import (
    collection,
    define,
    one_line,
    project_at,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)  # fmt: skip

NOON = "2026-03-01T12:00:00+00:00"


def plant(project: Project) -> None:
    """Six tickets of which three are labeled, one of them with a restriction, and a steward."""
    access = make_document("Access", "people", reviewers=["rob"], stewards=["ann"])
    define(
        project, sheet(), training_sheet(labeling_mode="manual"), collection("routing", "drafted"), template(), access
    )
    put(project, tickets(6))
    labels = [{"item_ref": f"T-00{n}", "label_data": {"team": "billing"}, "labeled_at": NOON} for n in range(3)]
    labels[1] |= {"prohibited_uses": ["training"], "usage_reason": "a trial", "notes": "see below", "confidence": "low"}
    rows = [{"sheet": "tickets", "label_type": "team", **label} for label in labels]
    file = project.write("labels.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert project("label", "import", str(file)).code == 0


@pytest.fixture
def labeled(project: Project) -> Project:
    plant(project)
    return project


@pytest.fixture(scope="module")
def paired_once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    with project_at(tmp_path_factory.mktemp("labels") / "project") as project:
        plant(project)
        assert statuses(project)["T-000"] == "labeled"
        yield Kept(project)


@pytest.fixture
def paired(paired_once: Kept) -> Project:
    """The same, after a run."""
    return paired_once.put_back()


def statuses(project: Project) -> dict[str, str]:
    assert project("run").code in (0, 5)
    return dict(project.table("label", "labeled_pairs").select("item_ref", "status").iter_rows())


def test_exported_labels_come_in_again_as_the_same_labels(
    paired: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = paired.table("label", "canonical_labels").drop("version").sort("item_ref")
    out = tmp_path / "out.jsonl"
    ran = paired("label", "export", str(out), "--json")
    assert (ran.code, ran.json["labels"], ran.json["left_out"]) == (0, 3, {}), ran.err
    assert paired("label", "import", str(out), "--json").json["decisions"] == 0

    elsewhere = paired.folder.parent / "other_lake"
    monkeypatch.setenv("WORKBENCH_LAKE", str(elsewhere))
    assert paired("label", "import", str(out), "--json").json["decisions"] == 3
    assert paired("run").code in (0, 5)
    again = paired.table("label", "canonical_labels").drop("version").sort("item_ref")
    assert again.equals(before)


def test_a_withdrawn_label_leaves_its_pair_waiting_until_it_is_restored(paired: Project, tmp_path: Path) -> None:
    key = ("tickets", "T-000", "team")
    assert paired("label", "withdraw", *key, "--why", "the wrong ticket").code == 0
    assert statuses(paired)["T-000"] == "unlabeled"
    ran = paired("label", "export", str(tmp_path / "out.jsonl"), "--json")
    assert (ran.json["labels"], ran.json["left_out"]) == (2, {"stale, withdrawn or waiting": 1})

    assert paired("label", "restore", *key, "--why", "the right one after all").code == 0
    assert statuses(paired)["T-000"] == "labeled"
    versions = paired("label", "history", "tickets", "T-000", "--json").json
    said = [(one["version"], one["action"], one["by"], one["reason"]) for one in versions]
    assert said[1:] == [(2, "reject", "ann", "the wrong ticket"), (3, "restore", "ann", "the right one after all")]


def test_a_restricted_label_trains_nothing_until_that_is_lifted(labeled: Project) -> None:
    key = ("tickets", "T-000", "team")
    assert labeled("label", "restrict", *key, "--why", "a client asked", "--prohibit", "training").code == 0
    assert statuses(labeled)["T-000"] == "labeled"
    pairs = labeled.table("label", "labeled_pairs")
    (uses,) = pairs.filter(pairs["item_ref"] == "T-000")["prohibited_uses"].to_list()
    assert uses == ["training"]
    audit = labeled.table("records", "usage_constraint_audit")
    assert audit.filter(audit["reason"] == "a client asked").height == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("withdraw", "tickets", "T-005", "team", "--why", "x"), "Sheet tickets: item 'T-005' has no label for team"),
        (("withdraw", "ticket", "T-000", "team", "--why", "x"), "there is no Sheet 'ticket'; did you mean 'tickets'?"),
        (("history", "tickets", "T-009"), "Sheet tickets: nobody said anything of item 'T-009'"),
        (("export", "out.txt"), "out.txt: a label file is written as .jsonl"),
        (("export", "out.jsonl", "--sheet", "ticket"), "unknown Sheet 'ticket'; did you mean 'tickets'?"),
        (("restrict", "tickets", "T-000", "team", "--why", "x", "--prohibit", "trainig"), "trainig"),
    ],
)
def test_what_is_not_there_is_named_in_a_line(labeled: Project, arguments: tuple[str, ...], line: str) -> None:
    ran = labeled("label", *arguments)
    assert ran.code != 0
    assert line in one_line(ran)


def test_only_a_steward_withdraws(labeled: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORKBENCH_USER", "rob")
    ran = labeled("label", "withdraw", "tickets", "T-000", "team", "--why", "x")
    assert ran.code != 0
    assert "rob may not withdraw a label; the Access document names who may" in one_line(ran)


def test_what_is_restricted_is_neither_exported_nor_shown(labeled: Project, tmp_path: Path) -> None:
    define(labeled, sheet(columns={"subject": {"tags": ["PHI"]}}), training_sheet(labeling_mode="manual"), template())
    ran = labeled("label", "export", str(tmp_path / "out.jsonl"), "--json")
    assert (ran.json["labels"], ran.json["left_out"]) == (0, {"restricted": 3})
    assert "billing" not in labeled("label", "history", "tickets", "T-000").out

    sees = make_document("Access", "people", stewards=["ann"], see_restricted=["ann"])
    labeled.write("sheets/access.yaml", json.dumps(sees))
    assert labeled("label", "export", str(tmp_path / "out.jsonl"), "--json").json["labels"] == 3


def test_an_item_has_a_label_for_each_task_with_constraints_of_its_own(labeled: Project) -> None:
    output = [{"name": "urgency", "type": "string", "enum": ["low", "high"]}]
    urgency = template("How urgent? {{ subject }}", "urgency", label_type="urgency", output_schema=output)
    sheets = [
        training_sheet(labeling_mode="manual"),
        training_sheet("rated", template="urgency", labeling_mode="manual"),
    ]
    access = make_document("Access", "people", stewards=["ann"])
    define(labeled, sheet(), *sheets, collection("routing", "drafted", "rated"), template(), urgency, access)
    rows = [
        {"sheet": "tickets", "label_type": "urgency", "item_ref": f"T-00{n}", "label_data": {"urgency": "low"}}
        for n in range(3)
    ]
    file = labeled.write("urgency.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert labeled("label", "import", str(file)).code == 0
    assert (
        labeled(
            "label", "restrict", "tickets", "T-000", "team", "--why", "a client asked", "--prohibit", "training"
        ).code
        == 0
    )
    assert labeled("run").code in (0, 5)
    pairs = labeled.table("label", "labeled_pairs").filter(pl.col("item_ref") == "T-000")
    uses = dict(pairs.select("training_sheet", "prohibited_uses").iter_rows())
    assert uses == {"drafted": ["training"], "rated": []}
    assert set(pairs["status"]) == {"labeled"}
    labels = labeled.table("label", "canonical_labels").filter(pl.col("item_ref") == "T-000")
    assert labels["label_type"].sort().to_list() == ["team", "urgency"]
    assert labels["canonical_label_id"].n_unique() == 2
