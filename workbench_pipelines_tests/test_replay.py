"""An export is made again from the lake, byte for byte and without a model, whatever changed since."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest
from deltalake import DeltaTable

from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.errors import ExportError
from workbench_pipelines.export_formats import FORMATS
from workbench_pipelines.formats.conversation import Image
from workbench_pipelines.replaying import kept_images
from workbench_pipelines.review_inbox import receive, take_deliveries
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.file_world import make_image
from workbench_pipelines_tests.project_world import Kept, Project, project
from workbench_pipelines_tests.test_review_loop import ACCESS, say
from workbench_pipelines_tests.ticket_world import (
    collection,
    define,
    one_line,
    project_at,
    provider,
    provider_that_says,
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


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kept, Path, ScriptedProvider]]:
    folder = tmp_path_factory.mktemp("replay") / "project"
    with project_at(folder) as project, provider_that_says('{"team": "other"}') as scripted:
        path = exported(project)
        yield Kept(project), path, scripted


def test_a_replay_is_the_export_byte_for_byte_and_asks_nobody(
    made: tuple[Kept, Path, ScriptedProvider], tmp_path: Path
) -> None:
    kept, folder, provider = made
    project = kept.put_back()
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
    made: tuple[Kept, Path, ScriptedProvider],
) -> None:
    kept, folder, _ = made
    project = kept.put_back()
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


MEMBERS = [
    {"training_sheet": "told", "filter": "note != 'note 3'", "weight": 2.0},
    {"training_sheet": "asked", "split": "test"},
]
GROUND_TRUTH = {"ground_truth": True, "base_model_items": 0}


def of_many_parts(project: Project, name: str = "tickets", formerly: tuple[str, ...] = (), **given: Any) -> None:
    """A Collection whose rows depend on all that one can depend on, and another one that measures with some of its items."""
    of_sheet = {"sheet": name}
    tickets_sheet = sheet(name)
    tickets_sheet["metadata"]["formerly"] = list(formerly)
    spec = {"splits": {**SPLITS, "seed": 5, "group_by": "team_of"}, "formats": ["openai", "dpo"]}
    define(
        project,
        tickets_sheet,
        training_sheet("told", column="team", **of_sheet),
        training_sheet(
            "asked", template="rank", column="rank", **of_sheet, items={"filter_condition": "rank == 'high'"}
        ),
        training_sheet("measured", column="team", **of_sheet, items={"filter_condition": "ticket < 'T-012'"}),
        template(),
        template(name="rank", label_type="rank", output_schema=[{"name": "rank", "type": "string"}]),
        make_document("Collection", "routing", members=given.get("members", MEMBERS), **spec),
        collection("truth", "measured", splits={"train": 0, "val": 0, "test": 1}, evaluation=given["truth"]),
    )


def parts(count: int) -> pl.DataFrame:
    number = pl.int_range(pl.len())
    return tickets(count).with_columns(
        rank=pl.when(number % 7 == 0).then(pl.lit("high")).otherwise(pl.lit("low")),
        team_of=pl.format("desk {}", number // 2),
        subject=pl.when(number % 5 == 0)
        .then(pl.format("the very same long words of a customer who can not log in any more {}", number))
        .otherwise(pl.col("subject")),
    )


def test_all_that_an_export_depends_on_comes_from_commits_that_it_names(project: Project) -> None:
    of_many_parts(project, truth=GROUND_TRUTH)
    put(project, parts(60))
    ran = project("run", "told", "asked", "measured", "--json")
    assert ran.code == 0, ran.err
    (first,) = [Path(one["path"]) for one in ran.json["exports"] if one["collection"] == "routing"]
    reasons = " ".join(pl.read_parquet(first / "exclusions.parquet")["reason"])
    assert "is ground truth of Collection truth" in reasons
    rows = pl.concat([pl.read_parquet(first / f"{split}.parquet") for split in SPLITS])
    assert set(rows.filter(pl.col("training_sheet") == "asked")["split"]) == {"test"}
    assert set(rows.filter(pl.col("split") == "train")["weight"]) == {2.0}
    assert "records/ground_truth" in orjson.loads((first / "manifest.json").read_bytes())["delta_versions"]
    # Nothing of it is the same any more: what measures, the name of the Sheet, members, weights, rows.
    put(project, parts(66))
    of_many_parts(project, "cases", ("tickets",), members=[{"training_sheet": "told"}], truth={})
    ran = project("run", "told", "measured", "--json")
    assert ran.code == 0, ran.err
    (second,) = [Path(one["path"]) for one in ran.json["exports"] if one["collection"] == "routing"]
    assert second != first
    for folder in (first, second):
        replayed = project("replay", str(folder))
        assert replayed.code == 0, replayed.err


def test_an_image_that_the_project_lost_is_read_from_the_export_that_keeps_it(project: Project, tmp_path: Path) -> None:
    image = Image(make_image("red"), "image/png")
    sha256 = hashlib.sha256(image.content).hexdigest()
    (tmp_path / "images").mkdir()
    (tmp_path / image.beside).write_bytes(image.content)
    assert kept_images(project.workbench, tmp_path)("files/red.png", sha256) == image
    (tmp_path / image.beside).write_bytes(image.content + b"x")
    with pytest.raises(ExportError, match="its image is not there any more"):
        kept_images(project.workbench, tmp_path)("files/red.png", sha256)
