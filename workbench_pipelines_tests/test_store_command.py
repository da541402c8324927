"""What was paid for can be counted, put in order and handed on, and a restricted answer stays inside."""

from __future__ import annotations

import json
from collections.abc import Iterator

import polars as pl
import pytest

from workbench_pipelines_tests.project_world import Kept, Project
from workbench_pipelines_tests.ticket_world import (
    define,
    project_at,
    provider_that_says,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """Six tickets that two Sheets hold, one of them restricted, drafted for both."""
    folder = tmp_path_factory.mktemp("store") / "project"
    with project_at(folder) as project, provider_that_says('{"team": "billing"}'):
        draft(project)
        yield Kept(project)


@pytest.fixture
def drafted(once: Kept) -> Project:
    return once.put_back()


def draft(project: Project) -> None:
    closed = sheet("secret", usage={"allowed_uses": ["training"], "data_classification": "restricted"})
    define(project, sheet(), training_sheet(), closed, training_sheet("closed", sheet="secret"), template())
    put(project, tickets(6))
    project("run")


def test_the_store_says_what_it_holds(drafted: Project) -> None:
    stats = drafted("store", "stats", "--json").json
    (model,) = stats["models"]
    assert (model["answers"], model["cost_usd"], model["unpriced"], stats["waiting"]) == (6, None, 6, 0)


def test_collecting_garbage_changes_no_answer(drafted: Project) -> None:
    before = drafted.table("records", "requests").sort("answer_id")
    tidied = drafted("store", "gc", "--json").json
    assert tidied["tables"]["records/requests"]["files_after"] == 1
    assert drafted.table("records", "requests").sort("answer_id").equals(before)
    assert drafted("run", "--json").json["llm_calls"] == 0


def test_an_answer_that_a_restricted_sheet_asked_for_is_withheld(drafted: Project) -> None:
    put(drafted, tickets(8))
    file = drafted.folder / "answers.jsonl"
    assert drafted("store", "export", str(file), "--json").json["withheld"] == 6  # both Sheets asked the same
    define(drafted, sheet(), training_sheet(), template())
    drafted("run")
    assert drafted("store", "export", str(file), "--json").json["answers"] == 2
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert {row["items"][0]["item_ref"] for row in rows} == {"T-006", "T-007"}
    assert pl.read_ndjson(file).height == 2
