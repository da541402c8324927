"""Exports through the real command line: what a preview shows, and what lies in the lake after a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from workbench_pipelines.clients.export_folder import ExportFolder
from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.export_formats import FORMATS
from workbench_pipelines.export_preview import Preview
from workbench_pipelines.formats import FILE_FORMATS
from workbench_pipelines.restrictions import MASK
from workbench_pipelines.review_inbox import receive, take_deliveries
from workbench_pipelines_tests.invoice_world import NAME, documents, write_invoices
from workbench_pipelines_tests.project_world import Project, project
from workbench_pipelines_tests.test_review_loop import ACCESS, say
from workbench_pipelines_tests.ticket_world import (
    USAGE,
    collection,
    define,
    provider,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)

__all__ = ["project", "provider"]

EDITED, APPROVED = 12, 6


def made_of(project: Project, name: str) -> list[int]:
    return project.table("records", "export_versions").filter(pl.col("collection") == name)["version"].to_list()


def preview(project: Project, name: str, *options: str) -> Any:
    return project("export", "preview", name, "--json", *options).json


def test_an_edited_draft_becomes_a_preference_and_every_format_is_written_once(
    project: Project, provider: ScriptedProvider
) -> None:
    every = collection("routing", "drafted", formats=list(FORMATS), splits={"train": 0.6, "val": 0.2, "test": 0.2})
    define(project, sheet(), training_sheet(), template(), ACCESS, every)
    put(project, tickets(24))
    assert project("run", "drafted").code in (0, 5)
    waiting = preview(project, "routing")
    assert (waiting["ok"], waiting["counts"]["approved"], waiting["preview"]) == (False, 0, [])
    rows = project.table("label", "review_queue").sort("item_ref").to_dicts()
    said = [say(row, "edit", label_data={"team": "billing"}) for row in rows[:EDITED]]
    said += [say(row, "approve") for row in rows[EDITED : EDITED + APPROVED]]
    receive(project.workbench, said, "test")
    assert take_deliveries(project.workbench).refusals == ()
    assert project("run", "drafted").code in (0, 5)  # and what follows from it: the export

    assert preview(project, "routing", "--format", "dpo", "--limit", "100")["counts"] == {
        "pairs": 24,
        "approved": EDITED + APPROVED,
        "training_allowed": EDITED + APPROVED,
        "prohibited": 0,
    }
    shown = preview(project, "routing", "--format", "dpo", "--limit", "100")["preview"]
    assert len(shown) == EDITED
    for name in FORMATS:
        assert len(preview(project, "routing", "--format", name, "--limit", "2")["preview"]) == 2
    assert project("export", "preview", "routing", "--format", "alpacca").code == 2
    assert made_of(project, "routing") == [1]

    ran = project("run", "routing", "--json")
    (export,) = ran.json["exports"]
    folder = Path(export["path"])
    assert ExportFolder.verify(folder) == []
    assert {"contract.odcs.yaml", "croissant.json", "lengths.png", "README.md"} <= {
        one.name for one in folder.iterdir()
    }
    assert (folder.parent / "openlineage.ndjson").read_bytes().count(b"\n") == 1
    preferred = [
        one
        for split in ("train", "val", "test")
        for one in FILE_FORMATS["dpo"].read((folder / f"{split}.dpo.jsonl").open("rb"))
    ]
    assert [(one.chosen.response, one.rejected) for one in preferred] == [
        ('{"team":"billing"}', '{"team":"other"}')
    ] * EDITED
    manifest = orjson.loads((folder / "manifest.json").read_bytes())
    assert manifest["delta_versions"].keys() >= {"label/labeled_pairs", "label/decisions"}
    assert "## Lengths" in (folder / "README.md").read_text()
    assert made_of(project, "routing") == [1]
    again = project("run", "routing", "--json").json["exports"]
    assert (again[0]["version"], again[0]["merkle_root"]) == (export["version"], export["merkle_root"])
    assert (folder.parent / "openlineage.ndjson").read_bytes().count(b"\n") == 1


def test_a_preview_counts_what_may_not_train_by_tag_and_shows_no_name(
    project: Project, provider: ScriptedProvider
) -> None:
    write_invoices(project)
    define(project, *documents())
    project("run")
    found = project("export", "preview", "invoices", "--limit", "50")
    assert found.code == 0
    counts = preview(project, "invoices")["counts"]
    assert counts["prohibited"] >= 39  # every pair that shows a patient
    assert f"approved {counts['approved']}, training allowed {counts['training_allowed']}, prohibited" in found.out
    assert "(PHI" in found.out
    assert NAME not in found.out + found.err


def test_a_restricted_row_is_masked_in_a_preview(project: Project, provider: ScriptedProvider) -> None:
    trusted = training_sheet("known", column="team")
    restricted = sheet(usage=USAGE | {"data_classification": "restricted"})
    define(project, restricted, trusted, template(), collection("routing", "known"))
    put(project, tickets(10))
    assert project("run", "known").code in (0, 5)
    for name in ("openai", "csv", "hf"):
        rows = preview(project, "routing", "--format", name)["preview"]
        assert {row["text"] for row in rows} == {MASK}
    some = [{"training_sheet": "known", "filter": "item_ref < 'T-004'"}]
    define(project, restricted, trusted, template(), collection("routing", members=some))
    assert preview(project, "routing")["counts"]["pairs"] == 4


def test_the_sentence_names_the_tags_that_keep_pairs_out() -> None:
    counts = {"pairs": 120, "approved": 100, "training_allowed": 85, "prohibited": 15}
    one = Preview([], counts, {"tag PHI on column patient prohibits training: health data": 15})
    assert one.sentence == "approved 100, training allowed 85, prohibited 15 (PHI)"
    two = Preview([], counts, {"tag PHI prohibits training": 10, "sheet s does not allow training": 5})
    assert two.sentence.endswith("prohibited 15 (PHI 10, sheet s does not allow training 5)")


@pytest.mark.parametrize("formats", [["openai", "parquet"], ["parquet"]])
def test_an_export_that_asks_for_nothing_new_keeps_its_identity(formats: list[str]) -> None:
    from dataclasses import replace

    from workbench_pipelines.exports import export_identity
    from workbench_pipelines.formats.preferences import PREFERENCES
    from workbench_pipelines_tests.export_world import make_collection, make_export, many_pairs

    asked = make_collection(formats=formats)
    export = make_export(*many_pairs(), collection=asked)
    edited = pl.DataFrame(
        [{"pair_id": export.rows["pair_id"][0], "rejected": "{}", "decision_id": "d"}], schema=PREFERENCES
    )
    assert export_identity(export, asked) == export_identity(replace(export, preferences=edited), asked)
    with_dpo = make_collection(formats=[*formats, "dpo"])
    assert export_identity(export, with_dpo) != export_identity(replace(export, preferences=edited), with_dpo)
