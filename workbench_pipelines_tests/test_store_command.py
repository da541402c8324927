"""What was paid for can be counted, put in order and handed on, and a restricted answer stays inside."""

from __future__ import annotations

import json

import polars as pl

from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import define, provider, put, sheet, template, tickets, training_sheet

__all__ = ["provider"]


def drafted(project: Project, provider: ScriptedProvider) -> Project:
    provider.answer_by(lambda body: '{"team": "billing"}')
    closed = sheet("secret", usage={"allowed_uses": ["training"], "data_classification": "restricted"})
    define(project, sheet(), training_sheet(), closed, training_sheet("closed", sheet="secret"), template())
    put(project, tickets(6))
    project("run")
    return project


def test_the_store_says_what_it_holds(project: Project, provider: ScriptedProvider) -> None:
    stats = drafted(project, provider)("store", "stats", "--json").json
    (model,) = stats["models"]
    assert (model["answers"], model["cost_usd"], model["unpriced"], stats["waiting"]) == (6, None, 6, 0)


def test_collecting_garbage_changes_no_answer(project: Project, provider: ScriptedProvider) -> None:
    drafted(project, provider)
    before = project.table("records", "requests").sort("answer_id")
    tidied = project("store", "gc", "--json").json
    assert tidied["tables"]["records/requests"]["files_after"] == 1
    assert project.table("records", "requests").sort("answer_id").equals(before)
    assert project("run", "--json").json["llm_calls"] == 0


def test_an_answer_that_a_restricted_sheet_asked_for_is_withheld(project: Project, provider: ScriptedProvider) -> None:
    drafted(project, provider)
    put(project, tickets(8))
    file = project.folder / "answers.jsonl"
    assert project("store", "export", str(file), "--json").json["withheld"] == 6  # both Sheets asked the same
    define(project, sheet(), training_sheet(), template())
    project("run")
    assert project("store", "export", str(file), "--json").json["answers"] == 2
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert {row["items"][0]["item_ref"] for row in rows} == {"T-006", "T-007"}
    assert pl.read_ndjson(file).height == 2
