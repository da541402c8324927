"""Policies over what presidio finds, on the road from a table to an export: `make test-pii` installs it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from workbench_pipelines.clients.byte_search import find_texts
from workbench_pipelines.errors import ExportError
from workbench_pipelines.export_taints import refuse_tainted, tainted_exports
from workbench_pipelines.exporting import publish_export
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import collection, define, put, sheet, template, tickets, training_sheet

pytest.importorskip("presidio_analyzer")

SAID = {
    1: ("my SSN is 123-45-6789", "123-45-6789"),
    3: ("write to ann.smith@example.org", "ann.smith@example.org"),
    5: ("MRN: 00123456 is mine", "00123456"),
    7: ("MRN 00123456 again", "00123456"),
}
POLICY = {"US_SSN": "block", "EMAIL_ADDRESS": "mask", "MRN": "pseudonymise"}


def documents(entities: dict[str, str] | None, **of_sheet: Any) -> list[dict[str, Any]]:
    house = (
        [make_document("UsagePolicy", "house", personal_data={"entities": entities})] if entities is not None else []
    )
    return [
        *house,
        sheet(**of_sheet),
        training_sheet(column="team"),
        collection("routing", "drafted", formats=["openai", "csv"], splits={"train": 0.6, "val": 0.2, "test": 0.2}),
        template(),
    ]


def planted() -> pl.DataFrame:
    rows = tickets(20)
    subjects = [SAID[n][0] if n in SAID else text for n, text in enumerate(rows["subject"])]
    return rows.with_columns(pl.Series("subject", subjects))


def test_blocked_masked_and_named_by_tokens_on_the_way_to_an_export(project: Project) -> None:
    put(project, planted())
    define(project, *documents(POLICY))
    ran = project("run", "routing", "--json")
    assert ran.code == 0, ran.err
    (export,) = ran.json["exports"]
    assert export["train"] + export["val"] + export["test"] == 19
    refused = project.table("generate", "rendered_prompts_refusals")
    assert refused.select("item_ref", "reason", "detail").rows() == [
        ("T-001", "personal_data", "the item holds US_SSN in subject: its policy blocks it")
    ]
    lake = project.folder / ".workbench" / "lake"
    values = sorted({value for _, value in SAID.values()})
    tables = ("generate", "label", "train", "exports")
    assert find_texts([lake / table for table in tables], values) == []
    pairs = {row["item_ref"]: row for row in project.table("label", "labeled_pairs").to_dicts()}
    asked = {ref: row["messages"][-1]["content"] for ref, row in pairs.items()}
    assert asked["T-003"] == "Which team? write to <EMAIL_ADDRESS>"
    assert asked["T-005"].split()[3] == asked["T-007"].split()[3]
    assert asked["T-005"].split()[3].startswith("<MRN_")
    manifest = json.loads((Path(export["path"]) / "manifest.json").read_text())
    # The same run with nothing stated is another policy, and the manifest says so.
    stated = manifest["policy_hash"]
    define(project, *documents(None))
    put(project, tickets(20))
    again = project("run", "routing", "--json")
    (export,) = again.json["exports"]
    assert json.loads((Path(export["path"]) / "manifest.json").read_text())["policy_hash"] != stated
    # The samples of Dagster's events show the items themselves: no text of theirs.
    assert find_texts([project.home], [secret for _, secret in SAID.values()]) == []


def test_an_export_alone_holds_back_what_is_older_than_the_policy(project: Project) -> None:
    put(project, planted())
    define(project, *documents(None))
    first = project("run", "routing", "--json")
    assert first.code == 0, first.err
    define(project, *documents(POLICY))
    workbench = project.workbench
    pairs = project.table("label", "labeled_pairs")
    published = publish_export(workbench, workbench.catalog().collection("routing"), pairs)
    assert sorted(set(pairs["item_ref"]) - set(published.rows["item_ref"])) == ["T-001", "T-003", "T-005", "T-007"]
    held = pl.read_parquet(Path(published.path) / "exclusions.parquet").sort("item_ref")
    assert held["gate"].unique().to_list() == ["personal_data"]
    assert held["reason"][0] == "US_SSN in messages: the policy says block"
    assert find_texts([Path(published.path)], [value for _, value in SAID.values()]) == []
    replayed = project("replay", published.path)
    assert replayed.code == 0, replayed.err + replayed.out


def test_a_policy_that_only_flags_changes_no_hash_and_no_export(project: Project) -> None:
    put(project, planted())
    seen = []
    for entities in (None, {"US_SSN": "flag"}):
        define(project, *documents(entities))
        ran = project("run", "routing", "--json")
        assert ran.code == 0, ran.err
        pairs = project.table("label", "labeled_pairs").sort("pair_id")
        seen.append(
            [pairs["pair_hash"].to_list(), ran.json["exports"][0]["merkle_root"], ran.json["exports"][0]["version"]]
        )
    assert seen[0] == seen[1]
    pii = dict(project.table("label", "labeled_pairs").select("item_ref", "pii").iter_rows())
    assert [pii[ref] for ref in ("T-001", "T-003", "T-005", "T-000")] == [["US_SSN"], ["EMAIL_ADDRESS"], ["MRN"], []]


def test_a_sheet_states_more_than_its_project(project: Project) -> None:
    put(project, planted().filter(ticket="T-005"))
    define(project, *documents(None, personal_data={"entities": {"MRN": "mask"}}))
    shown = project("preview", "drafted", "--json")
    assert shown.code == 0, shown.err
    assert "00123456" not in shown.out
    assert "<MRN>" in shown.out


def test_what_was_exported_before_the_policy_is_tainted_and_not_trained_on(project: Project) -> None:
    put(project, planted())
    define(project, *documents(None))
    assert project("run", "routing", "--json").code == 0
    rows = project.table("train", "governed_export")
    define(project, *documents({"EMAIL_ADDRESS": "mask"}))
    counts = project("export", "preview", "routing", "--json").json["counts"]
    assert (counts["approved"], counts["prohibited"]) == (20, 1)
    with pytest.raises(ExportError, match="EMAIL_ADDRESS in messages"):
        refuse_tainted(project.workbench, "routing", rows)
    ran = project("run", "routing", "--json")
    assert [export["version"] for export in ran.json["exports"]] == [2]
    (tainted,) = tainted_exports(project.workbench, "routing")
    assert (tainted["version"], tainted["pairs"]) == (1, 1)
    assert tainted["reason"].startswith("personal_data: EMAIL_ADDRESS in messages: the policy says mask")
    define(project, *documents({"EMAIL_ADDRESS": "block"}))
    assert project("run", "routing", "--json").code == 0
    (removed,) = project("collection", "diff", "routing", "--json").json["pairs"]
    assert removed["change"] == "removed"
    assert removed["why"].startswith("no pair is made of it by now: personal_data: ")
    gone = project("trace", removed["pair_id"][:12], "--json").json
    assert (gone["pair"]["pair_id"], gone["pair"]["item_ref"]) == (removed["pair_id"], removed["item_ref"])
    assert [(one["collection"], one["version"]) for one in gone["exports"]] == [("routing", 1), ("routing", 2)]
    assert "in no TrainingSheet any more" in project("trace", removed["pair_id"]).out
    define(project, *documents(None))
    project("run", "routing", "--json")
    assert tainted_exports(project.workbench, "routing") == []
