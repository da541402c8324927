"""An erased item is nowhere any more: lake, exports, events, MLflow, logs; it comes back in no later snapshot."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from workbench_pipelines.clients.byte_search import find_texts
from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.clients.text_scrubbing import scrub_database, scrub_file, scrubbed
from workbench_pipelines.erasing import erase_item
from workbench_pipelines.errors import ExportError
from workbench_pipelines.export_formats import FORMATS
from workbench_pipelines.export_taints import refuse_tainted
from workbench_pipelines.exporting import export_used
from workbench_pipelines.modelling import train_models
from workbench_pipelines_tests.project_world import Project, project
from workbench_pipelines_tests.ticket_world import (
    collection,
    define,
    one_line,
    provider,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)

__all__ = ["project", "provider"]

SECRET = "Quillfeather of 12 Elm Street can not log in since the operation on his left knee"
NOTE = "he rang up twice on Tuesday"
ITEM = "T-003"


def planted(project: Project, count: int = 16) -> None:
    """A project that ran once, in which one ticket says what no other one does."""
    define(
        project,
        sheet(),
        training_sheet(),
        training_sheet("known", column="team"),
        template(),
        collection(
            "routing",
            "known",
            formats=list(FORMATS),
            splits={"train": 0.7, "val": 0, "test": 0.3, "seed": 1},
            trainers=[{"name": "fast", "target": "team"}],
            evaluation={"promote_if": None, "base_model_items": 0},
        ),
    )
    own = pl.col("ticket") == ITEM
    rows = tickets(count).with_columns(
        subject=pl.when(own).then(pl.lit(SECRET)).otherwise("subject"),
        note=pl.when(own).then(pl.lit(NOTE)).otherwise("note"),
    )
    put(project, rows)
    ran = project("run", "drafted", "known", "routing", "--json")
    assert ran.json["exports"], ran.err


def places(project: Project) -> set[str]:
    """Everywhere but the source."""
    hits = find_texts([project.folder], [SECRET, NOTE])
    return {str(hit.path.relative_to(project.folder)) for hit in hits} - {"sheets/data/tickets.csv"}


def cut_places(project: Project) -> set[str]:
    """Where a sample shows the beginning of it, however short."""
    files = [path for path in project.folder.rglob("*") if path.is_file() and path.name != "tickets.csv"]
    return {str(path.relative_to(project.folder)) for path in files if SECRET[:9].encode() in path.read_bytes()}


def test_an_erased_item_is_nowhere_and_never_comes_back(project: Project, provider: ScriptedProvider) -> None:
    planted(project)
    state = project.settings.state
    (state / "requests" / "old.log").write_text(f"asked: {json.dumps(SECRET)}\n")
    with sqlite3.connect(state / "mlflow.db") as database:
        database.execute("INSERT INTO experiment_tags VALUES ('note', ?, 0)", (f"preview: {SECRET[:60]}…",))
    before = places(project)
    assert len(before) > 10
    assert any(path.startswith("dagster_home") for path in before)
    assert any(path.startswith("dagster_home") for path in cut_places(project))
    (version,) = project.table("records", "export_versions").filter(pl.col("collection") == "routing")["version"]
    old = project.settings.state / "lake/exports/routing" / f"v{version}"

    looked = project("erase", f"tickets/{ITEM}", "--reason", "asked for it", "--dry-run", "--json")
    assert (looked.code, places(project)) == (0, before)
    assert {"collection": "routing", "version": version} in looked.json["exports"]

    done = project("erase", f"tickets/{ITEM}", "--reason", "asked for it", "--yes", "--json")
    assert (done.code, done.json["hits"], done.json["left"]) == (0, [], []), done.err
    assert places(project) == set()
    assert cut_places(project) == set()
    assert SECRET not in done.out + done.err
    assert done.json["searched"] >= 2
    assert done.json["models"] == ["routing.fast/1"]
    assert sorted(path.name for path in old.iterdir()) == ["erased.json", "manifest.json"]
    verified = project("verify", str(old))
    assert verified.code == 1
    assert "superseded by erasure" in one_line(verified)
    assert project("verify", str(old.parent / f"v{version + 1}")).code == 0
    assert json.loads((old.parent / "current.json").read_bytes())["version"] == version + 1
    recalled = project("recall", "--item", "tickets/T-001", "--json")
    assert (recalled.code, recalled.json["unread"]) == (0, []), recalled.err
    buried = {(one["collection"], one["version"]): one["said"] for one in recalled.json["superseded"]}
    assert buried["routing", version].endswith(f"v{version + 1} takes its place")
    assert ("routing", version + 1) in {(one["collection"], one["version"]) for one in recalled.json["exports"]}
    (row,) = project.table("records", "erasures").to_dicts()
    assert (row["sheet"], row["reason"], row["by"]) == ("tickets", "asked for it", "ann")
    assert ITEM not in json.dumps(row, default=str)
    others = project.table("label", "labeled_pairs")
    assert others.filter(pl.col("training_sheet") == "known").height == 15
    # The model of the export that was taken away learned from others, too, and they find it.
    (first,) = project.table("records", "model_training_lineage").filter(pl.col("model_version") == "1").to_dicts()
    taught = others.filter(pl.col("pair_id").is_in(first["pair_ids"]))["item_ref"][0]
    models = project("recall", "--item", f"tickets/{taught}", "--json").json["models"]
    assert [(one["model_name"], one["model_version"]) for one in models][:1] == [("routing.fast", "1")]

    assert project("run", "drafted", "known").code in (0, 5)
    assert places(project) == set()
    assert ITEM not in set(project.table("data", "sheet_snapshot", "tickets")["item_ref"])
    refused = project.table("data", "sheet_snapshot_refusals")
    assert set(refused["reason"]) == {"erased"}
    again = project("erase", f"tickets/{ITEM}", "--reason", "asked for it", "--yes", "--json")
    assert (again.code, again.json["tables"], again.json["hits"]) == (0, [], [])


def test_an_export_that_held_an_erased_item_teaches_nobody_again(project: Project, provider: ScriptedProvider) -> None:
    planted(project, 10)
    workbench = project.workbench
    document = workbench.catalog().collection("routing")
    routing = pl.col("collection") == "routing"
    before = project.table("train", "governed_export").filter(routing)
    assert project("erase", f"tickets/{ITEM}", "--reason", "r", "--yes").code == 0
    left = before.filter(pl.col("item_ref") != ITEM)
    with pytest.raises(ExportError, match=r"v1 was superseded by erasure: .* erased; run `workbench run routing`"):
        refuse_tainted(workbench, "routing", left)
    with pytest.raises(ExportError, match=r"the \d+ rows of governed_export are not the pairs of export v1; run"):
        export_used(workbench, document, left)
    # Without a run in between the next training reads the export that took its place, and makes another model of it.
    rows = project.table("train", "governed_export").filter(routing)
    assert rows["export_version"].unique().to_list() == [2]
    assert set(rows["pair_id"]) == set(left["pair_id"])
    refuse_tainted(workbench, "routing", rows)
    models = train_models(workbench, document, rows, export_used(workbench, document, rows))
    assert models["model_version"].to_list() == ["2"]


def test_an_erasure_that_was_killed_is_finished_by_the_same_command(
    project: Project, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    planted(project, 10)

    def killed(*given: Any) -> Any:
        raise KeyboardInterrupt

    for step in ("supersede", "scrub", "search"):
        with monkeypatch.context() as patch:
            patch.setattr(f"workbench_pipelines.erasing.{step}", killed)
            with pytest.raises(KeyboardInterrupt):
                erase_item(project.workbench, f"tickets/{ITEM}", reason="r", further=[project.home])
    (project.folder / "sheets/data/tickets.csv").unlink()  # what is looked for was kept
    done = erase_item(project.workbench, f"tickets/{ITEM}", reason="r", further=[project.home])
    assert (done.hits, done.models) == ([], ["routing.fast/1"])
    assert done.searched >= 2
    assert places(project) == set()
    assert not list((project.settings.state / "erasing").iterdir())


def test_only_a_steward_erases_where_people_have_roles(project: Project, provider: ScriptedProvider) -> None:
    from workbench_pipelines_tests.definition_world import make_document

    access = make_document("Access", "people", reviewers=["ann"], approvers=["ann"], stewards=["stella"])
    define(project, sheet(), training_sheet("known", column="team"), template(), access)
    put(project, tickets(3))
    ran = project("erase", "tickets/T-001", "--reason", "r", "--yes")
    assert (ran.code, "ann may not erase items" in one_line(ran)) == (2, True)
    assert not project.workbench.lake.exists("records", "erasures")
    assert project("erase", "tickets/nobody", "--reason", "r", "--yes").code == 2


def test_a_text_is_taken_out_whole_or_cut_and_the_rest_stays(tmp_path: Path) -> None:
    long = SECRET + " " + "and so on " * 20
    for held in (f"a {long} b", f"a {long[:79]}… b", f"a {long[30:220]} b"):
        left = scrubbed(held.encode(), [long]).decode()
        assert (left[0], "•••" in left) == ("a", True)
        assert left.endswith(" b")
        assert "Street" not in left
    event = json.dumps({"sample": f"| {SECRET} |", "n": 3})
    assert json.loads(scrubbed(event.encode(), [SECRET])) == {"sample": "| ••• |", "n": 3}
    (tmp_path / "log").write_text(f"one {SECRET}\ntwo")
    scrub_file(tmp_path / "log", [SECRET])
    assert (tmp_path / "log").read_text() == "one •••\ntwo"


def test_a_database_keeps_everything_else(tmp_path: Path) -> None:
    file = tmp_path / "events.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE e (id INTEGER PRIMARY KEY, event TEXT, raw BLOB)")
        database.executemany(
            "INSERT INTO e (event, raw) VALUES (?, ?)",
            [(SECRET, SECRET.encode()), ("other", b"\x00\xff"), (None, None)],
        )
    scrub_database(file, [SECRET])
    with sqlite3.connect(file) as database:
        rows = database.execute("SELECT event, raw FROM e ORDER BY id").fetchall()
    assert rows == [("•••", "•••".encode()), ("other", b"\x00\xff"), (None, None)]
    assert find_texts([tmp_path], [SECRET]) == []
