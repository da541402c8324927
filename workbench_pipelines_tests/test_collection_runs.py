"""Collections through real runs: leaks block, equal pairs are exported once, retired versions train nothing."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest

from workbench_pipelines.alike_items import find_alike
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    collection,
    define,
    error_lines,
    put,
    sheet,
    template,
    tickets,
    training_sheet as column_sheet,
)

LONG = "the tall grey heron stood quite still in the shallow water of the pond until a fish came near enough"
SPLITS = {"train": 0.4, "val": 0.3, "test": 0.3, "seed": 13}


def copies(count: int) -> pl.DataFrame:
    """Tickets that say nearly the same."""
    return tickets(count).with_columns(subject=pl.format("{} {}", pl.lit(LONG), pl.int_range(pl.len())))


def plant(project: Project, rows: pl.DataFrame, **spec: Any) -> None:
    put(project, rows)
    define(project, sheet(), column_sheet(column="team"), template(), collection("routing", "drafted", **spec))


def test_near_copies_that_cross_block_what_would_train_on_them(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(project, copies(12), splits=SPLITS)
    # As if nobody had looked for near-duplicates when the splits were assigned.
    nobody = lambda pairs, threshold: find_alike(pairs.head(0), threshold)  # noqa: E731
    monkeypatch.setattr("workbench_pipelines.splits.find_alike", nobody)
    ran = project("run", "routing", "--json")
    assert ran.code == 1
    assert "routing is not published, no_near_duplicate_crosses_splits does not hold" in ran.err
    assert ran.json["models"] == ran.json["exports"] == []
    assert not list((project.folder / ".workbench/lake/exports/routing").glob("v*"))
    monkeypatch.undo()
    monkeypatch.setenv("WORKBENCH_PROJECT", str(project.folder))
    monkeypatch.setenv("DAGSTER_HOME", str(project.home))
    again = project("run", "routing", "--json")
    assert again.code == 0, again.err
    rows = project.table("train", "governed_export")
    assert rows["split"].n_unique() == 1
    (export,) = again.json["exports"]
    assert export["version"] == 1
    assert export["excluded"] == 12 - rows.height > 0  # they stood in two splits before, and nobody moves


def test_a_collection_may_say_that_copies_may_cross(project: Project) -> None:
    plant(project, copies(12), splits={**SPLITS, "near_duplicates": False})
    ran = project("run", "routing", "--json")
    assert ran.code == 0, ran.err
    assert project.table("train", "governed_export")["split"].n_unique() > 1


def test_a_retired_version_trains_no_model(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(project, tickets(12), splits=SPLITS)
    assert project("run", "routing").code == 0
    refused = project("collection", "status", "routing", "--to", "released", "--reason", "now")
    assert refused.code == 1
    assert error_lines(refused) == ["workbench: Collection routing v1 is draft and may become in_review, not released"]
    for to in ("in review", "approved", "released", "deprecated", "retired"):
        monkeypatch.setenv("WORKBENCH_USER", "bob" if to == "approved" else "ann")
        moved = project("collection", "status", "routing", "v1", "--to", to, "--reason", "so it goes", "--json")
        assert moved.code == 0, moved.err
    ran = project("run", "routing")
    assert ran.code == 1
    assert "Collection routing v1 is retired since" in ran.err
    assert "trains no model any more" in ran.err
    put(project, tickets(13))
    assert project("run", "routing").code == 0
    shown = project("collection", "status", "routing", "--json").json["versions"]
    assert [(one["version"], one["status"]) for one in shown] == [(1, "retired"), (2, "draft")]


def test_a_version_whose_files_changed_is_not_released(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    plant(project, tickets(6), splits=SPLITS)
    assert project("run", "routing").code == 0
    for by, to in (("ann", "in_review"), ("bob", "approved")):
        monkeypatch.setenv("WORKBENCH_USER", by)
        assert project("collection", "status", "routing", "--to", to, "--reason", "so").code == 0
    card = project.folder / ".workbench/lake/exports/routing/v1/README.md"
    card.write_bytes(card.read_bytes() + b" ")
    refused = project("collection", "status", "routing", "--to", "released", "--reason", "so")
    assert refused.code == 1
    assert "v1 is not released, its files are not what was published: README.md has changed" in refused.err


def test_what_can_not_be_asked_is_said_in_one_line(project: Project) -> None:
    plant(project, tickets(6))
    asked = {
        ("collection", "status", "routng"): "there is no Collection 'routng'; did you mean 'routing'?",
        ("collection", "status", "routing"): "Collection routing has no version yet; `workbench run routing` makes one",
    }
    for arguments, line in asked.items():
        ran = project(*arguments)
        assert (ran.code, error_lines(ran)) == (2, [f"workbench: {line}"])
    assert project("run", "routing").code == 0
    asked = {
        ("collection", "diff", "routing"): "Collection routing has one version, and nothing to compare it with",
        ("collection", "diff", "routing", "x"): "'x' is no version; write it like 3 or v3",
        ("collection", "status", "routing", "7"): "Collection routing has no v7; there are v1",
    }
    for arguments, line in asked.items():
        ran = project(*arguments)
        assert (ran.code, error_lines(ran)) == (2, [f"workbench: {line}"])


def test_a_filter_over_what_is_not_there_or_tagged_is_a_mistake(project: Project) -> None:
    put(project, tickets(6))
    tagged = make_document(
        "Collection", "routing", members=[{"training_sheet": "drafted", "filter": "note = 'x' AND tem = 'y'"}]
    )
    define(project, sheet(columns={"note": {"tags": ["PII"]}}), column_sheet(column="team"), template(), tagged)
    ran = project("validate")
    assert ran.code == 2
    assert "spec.members[0].filter: unknown column 'tem'; did you mean 'team'?" in ran.err
    tagged["spec"]["members"][0]["filter"] = "note = 'x'"
    define(project, sheet(columns={"note": {"tags": ["PII"]}}), column_sheet(column="team"), template(), tagged)
    assert "the column 'note' is tagged; who is in a Collection would tell what it holds" in project("validate").err
