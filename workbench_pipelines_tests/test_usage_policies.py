"""What Sheets, columns and tags state of uses is kept version by version, and every change of it is on record once."""

from __future__ import annotations

import datetime as dt
import subprocess
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from workbench_pipelines.clients.git_history import last_author
from workbench_pipelines.policy_history import keep_policies
from workbench_pipelines.usage_policies import USAGE_POLICIES, audit_of_versions
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.pair_world import later
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import define, put, sheet, tickets

OPEN = {"allowed_uses": ["training", "validation"], "data_classification": "internal"}


def policy(*prohibited: str, tag: str = "HOUSE", uses: tuple[str, ...] = (), **stated: Any) -> dict[str, Any]:
    return make_document(
        "UsagePolicy", "house", uses=list(uses), tags={tag: {"prohibited_uses": list(prohibited), **stated}}
    )


def look(project: Project, *documents: dict[str, Any], minute: int = 0) -> list[dict[str, Any]]:
    """What the audit says once a run has seen these definitions."""
    define(project, *documents)
    put(project, tickets(2))
    workbench = project.workbench
    keep_policies(workbench, workbench.catalog(), "tickets", later(minute))
    if not workbench.lake.exists("records", "usage_constraint_audit"):
        return []
    return workbench.lake.read("records", "usage_constraint_audit").sort("at", "subject").to_dicts()


def test_what_is_there_at_first_sight_is_kept_and_changes_nothing(project: Project) -> None:
    documents = [sheet(usage=OPEN, columns={"note": {"tags": ["PII"]}}), policy("training")]
    assert look(project, *documents) == []
    assert look(project, *documents, minute=1) == []
    kept = project.table("records", "usage_policies")
    assert kept.schema == USAGE_POLICIES
    assert set(kept["version"]) == {1}
    assert {"uses", "policy PHI", "policy HOUSE", "sheet tickets", "column tickets.note"} <= set(kept["subject"])


def test_a_sheet_that_states_something_else_is_on_record_with_who_and_why(project: Project) -> None:
    look(project, sheet(usage=OPEN))
    stricter = {"allowed_uses": ["validation"], "data_classification": "restricted", "reason": "the contract ended"}
    (row,) = look(project, sheet(usage=stricter), minute=5)
    assert row == {
        "subject": "sheet tickets",
        "old_allowed_uses": ["training", "validation"],
        "new_allowed_uses": ["validation"],
        "old_prohibited_uses": [],
        "new_prohibited_uses": [],
        "old_data_classification": "internal",
        "new_data_classification": "restricted",
        "reason": "the contract ended",
        "by": "ann",
        "at": later(5),
        "sheet": None,
    }
    assert project.table("records", "usage_policies").filter(pl.col("subject") == "sheet tickets")["version"].max() == 2


def test_a_column_that_is_tagged_later_and_one_that_is_no_more_are_both_changes(project: Project) -> None:
    look(project, sheet(usage=OPEN))
    (tagged,) = look(project, sheet(usage=OPEN, columns={"note": {"tags": ["PHI"]}}), minute=1)
    assert (tagged["subject"], tagged["reason"]) == ("column tickets.note", "tagged PHI")
    assert (tagged["old_data_classification"], tagged["new_data_classification"]) == (None, "restricted")
    assert "training" in tagged["new_prohibited_uses"]
    freed = look(project, sheet(usage=OPEN), minute=2)[-1]
    assert (freed["subject"], freed["reason"]) == ("column tickets.note", "taken out of the definitions")
    assert (freed["old_data_classification"], freed["new_data_classification"]) == ("restricted", None)


def test_a_table_tag_a_row_rule_and_a_joined_source_are_changes(project: Project) -> None:
    look(project, sheet(usage=OPEN))
    (tagged,) = look(project, sheet(usage=OPEN, source_tags=["NO_TRAIN"]), minute=1)
    assert tagged["new_allowed_uses"] == []
    assert tagged["new_prohibited_uses"] == ["few_shot", "training", "validation"]
    ruled = look(project, sheet(usage=OPEN | {"rows": [{"when": "team = 'billing'", "tags": ["PII"]}]}), minute=2)[-1]
    assert (ruled["subject"], ruled["reason"]) == (
        "sheet tickets",
        "row rule 1 (PII) was added; allowed_uses, prohibited_uses, source_tags changed in the definitions",
    )
    rules = [{"when": "team = 'access'", "tags": ["PHI"]}, {"when": "team = 'other'", "tags": ["PII"]}]
    said = OPEN | {"rows": rules, "reason": "a ruling"}
    assert look(project, sheet(usage=said), minute=3)[-1]["reason"] == (
        "a ruling (row rule 1 (PHI) is another one; row rule 2 (PII) was added)"
    )
    shorter = look(project, sheet(usage=said | {"rows": rules[:1], "reason": None}), minute=4)[-1]
    assert shorter["reason"].startswith("row rule 2 (PII) was taken out")
    source = {"name": "teams", "path": "data/teams.csv", "join_keys": ["team"], "source_tags": ["PII"]}
    joined = [row["subject"] for row in look(project, sheet(usage=OPEN, secondary_sources=[source]), minute=5)]
    assert "source tickets.teams" in joined


def test_a_policy_that_changes_is_on_record_and_so_is_every_column_it_speaks_of(project: Project) -> None:
    columns = {"note": {"tags": ["HOUSE"]}}
    look(project, sheet(usage=OPEN, columns=columns), policy("training"))
    rows = look(
        project, sheet(usage=OPEN, columns=columns), policy("training", "evaluation", reason="a ruling"), minute=1
    )
    assert [(row["subject"], row["new_prohibited_uses"]) for row in rows] == [
        ("column tickets.note", ["evaluation", "training"]),
        ("policy HOUSE", ["evaluation", "training"]),
    ]
    assert rows[1]["reason"] == "a ruling"


def test_a_use_that_a_policy_file_adds_is_known_and_on_record(project: Project) -> None:
    look(project, sheet(usage=OPEN))
    custom = sheet(usage={"allowed_uses": ["training", "distillation"], "data_classification": "internal"})
    rows = look(project, custom, policy("distillation", uses=("distillation",)), minute=1)
    by_subject = {row["subject"]: row for row in rows}
    assert "distillation" in by_subject["uses"]["new_allowed_uses"]
    assert by_subject["policy HOUSE"]["new_prohibited_uses"] == ["distillation"]
    assert by_subject["sheet tickets"]["new_allowed_uses"] == ["distillation", "training"]


def test_a_sheet_that_is_taken_out_is_gone_on_record_and_can_come_back(project: Project) -> None:
    other = sheet("other", usage=OPEN)
    define(project, sheet(usage=OPEN), other)
    put(project, tickets(2))
    workbench = project.workbench
    keep_policies(workbench, workbench.catalog(), "other", later(0))
    (gone,) = look(project, sheet(usage=OPEN), minute=1)
    assert (gone["subject"], gone["new_allowed_uses"]) == ("sheet other", None)
    assert gone["old_allowed_uses"] == ["training", "validation"]


def test_times_are_no_part_of_what_a_version_is(project: Project) -> None:
    look(project, sheet(usage=OPEN))
    first = project.table("records", "usage_policies").sort("subject")["content_hash"]
    look(project, sheet(usage=OPEN), minute=99)
    assert project.table("records", "usage_policies").sort("subject")["content_hash"].equals(first)


def test_an_audit_that_a_run_did_not_get_to_is_written_by_the_next(project: Project) -> None:
    look(project, sheet(usage=OPEN))
    rows = look(project, sheet(usage={"allowed_uses": []}), minute=1)
    history = project.table("records", "usage_policies")
    assert audit_of_versions(history).to_dicts() == rows
    assert look(project, sheet(usage={"allowed_uses": []}), minute=2) == rows


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


def test_the_author_of_the_commit_is_who_changed_it_and_what_is_not_committed_is_of_who_runs(project: Project) -> None:
    define(project, sheet(usage=OPEN))
    git(project.folder, "init", "-q")
    git(project.folder, "add", "sheets")
    git(project.folder, "-c", "user.name=Grace", "-c", "user.email=g@x", "commit", "-qm", "open")
    assert last_author(project.folder, "sheets/all.yaml") == "Grace"
    look(project, sheet(usage=OPEN))
    assert project.table("records", "usage_policies").filter(pl.col("subject") == "sheet tickets")["by"].to_list() == [
        "Grace"
    ]
    (row,) = look(project, sheet(usage={"allowed_uses": []}), minute=1)
    assert row["by"] == "ann"
    assert last_author(project.folder, "sheets/none.yaml") is None
    assert last_author(project.folder / "nowhere", "sheets/all.yaml") is None


def test_a_run_keeps_what_it_saw(project: Project) -> None:
    define(project, sheet(usage=OPEN))
    put(project, tickets(2))
    assert project("run", "tickets").code == 0
    define(project, sheet(usage=OPEN | {"data_classification": "confidential"}))
    assert project("run", "tickets").code == 0
    (row,) = project.table("records", "usage_constraint_audit").to_dicts()
    assert (row["old_data_classification"], row["new_data_classification"]) == ("internal", "confidential")
    assert abs(row["at"] - dt.datetime.now(dt.UTC)) < dt.timedelta(minutes=10)


@pytest.mark.parametrize("sql", ["select subject, version from usage_policies", "select * from records.usage_policies"])
def test_the_table_can_be_asked(project: Project, sql: str) -> None:
    look(project, sheet(usage=OPEN))
    assert project("sql", sql, "--json").json
