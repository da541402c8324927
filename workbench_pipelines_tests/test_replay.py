"""An export is made again from the lake, byte for byte and without a model, whatever changed since."""

from __future__ import annotations

import shutil
from pathlib import Path

from deltalake import DeltaTable

from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.export_formats import FORMATS
from workbench_pipelines.review_inbox import receive, take_deliveries
from workbench_pipelines_tests.project_world import Project, project
from workbench_pipelines_tests.test_review_loop import ACCESS, say
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

SPLITS = {"train": 0.6, "val": 0.2, "test": 0.2}


def exported(project: Project, count: int = 24) -> Path:
    """An export in every format with edited drafts among its pairs."""
    every = collection("routing", "drafted", "known", formats=list(FORMATS), splits=SPLITS)
    define(project, sheet(), training_sheet(), training_sheet("known", column="team"), template(), ACCESS, every)
    put(project, tickets(count))
    assert project("run", "drafted", "known").code in (0, 5)
    rows = project.table("label", "review_queue").sort("item_ref").to_dicts()
    said = [say(row, "edit", label_data={"team": "billing"}) for row in rows[:6]]
    said += [say(row, "approve") for row in rows[6:12]]
    receive(project.workbench, said, "test")
    assert take_deliveries(project.workbench).refusals == ()
    ran = project("run", "--json")
    assert ran.code in (0, 5), ran.err
    (path,) = [one["path"] for one in ran.json["exports"] if one["collection"] == "routing"]
    return Path(path)


def test_a_replay_is_the_export_byte_for_byte_and_asks_nobody(
    project: Project, provider: ScriptedProvider, tmp_path: Path
) -> None:
    folder = exported(project)
    calls = provider.calls
    # Much changes: more items and labels, another version of the export, another definition, no source and no request log.
    put(project, tickets(40))
    define(
        project,
        sheet(),
        training_sheet(),
        training_sheet("known", column="team"),
        template(),
        ACCESS,
        collection("routing", "known", formats=["csv"], splits={"train": 1, "val": 0, "test": 0}),
    )
    assert project("run", "known").code in (0, 5)
    assert (folder.parent / "v2").is_dir()
    shutil.rmtree(project.folder / "sheets/data")
    into = tmp_path / "again"
    ran = project("replay", str(folder), "--into", str(into), "--json")
    assert (ran.code, ran.json["problems"], ran.json["llm_calls"]) == (0, [], 0)
    assert provider.calls == calls
    there = {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert there == {path.relative_to(into): path.read_bytes() for path in into.rglob("*") if path.is_file()}
    assert len(there) == ran.json["files"] > 30
    assert project("replay", str(folder.parent / "v2")).code == 0
    assert project("replay", str(folder), "--into", str(into)).code == 2


def test_a_replay_says_what_differs_and_what_the_lake_no_longer_has(
    project: Project, provider: ScriptedProvider
) -> None:
    folder = exported(project)
    path = folder / "train.csv"
    path.write_bytes(path.read_bytes() + b"x")
    (folder / "README.md").unlink()
    ran = project("replay", str(folder))
    assert ran.code == 1
    assert [line.split(":")[0] for line in ran.err.splitlines()] == [
        "README.md is in the replay alone",
        "train.csv differs",
    ]
    put(project, tickets(30))
    assert project("run").code in (0, 5)
    table = DeltaTable(project.workbench.lake.path("label", "labeled_pairs"))
    table.vacuum(0, dry_run=False, enforce_retention_duration=False)
    gone = project("replay", str(folder))
    assert gone.code == 1
    assert "the lake no longer has what the export was made of" in one_line(gone)


def test_a_collection_without_a_document_of_its_own_is_replayed(project: Project, provider: ScriptedProvider) -> None:
    define(project, sheet(), training_sheet("known", column="team"), template())
    put(project, tickets(12))
    (export,) = project("run", "known", "--json").json["exports"]
    assert project("replay", export["path"]).code == 0
