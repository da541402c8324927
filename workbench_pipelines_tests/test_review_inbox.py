"""Whatever back end a decision comes from, and however often, the ledger holds it once."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from workbench_pipelines import review_inbox
from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.clients.table_maintenance import TableMaintenance
from workbench_pipelines.identity import canonical_text, digest, seen_hash
from workbench_pipelines.labels import fold_labels, label_history
from workbench_pipelines.review_inbox import INBOX, receive, take_deliveries, waiting_deliveries
from workbench_pipelines.workbench import Workbench
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.pair_world import later
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import TEAMS, define, put, sheet, template, tickets, training_sheet

ACCESS = make_document(
    "Access", "people", reviewers=["ann"], approvers=["team:leads"], stewards=["stella"], teams={"leads": ["bob"]}
)


def say(number: int, action: str = "label", **given: Any) -> dict[str, Any]:
    said = {"sheet": "tickets", "item_ref": f"T-{number:03d}", "label_type": "team", "action": action, "by": "bob"}
    said |= {"at": later(number).isoformat(), "label_data": {"team": TEAMS[number % 3]}}
    return said | given


@pytest.fixture
def desk(project: Project) -> Workbench:
    define(project, sheet(), training_sheet(), template(), ACCESS)
    put(project, tickets(50))
    return project.workbench


def ledger_hash(workbench: Workbench) -> str:
    return digest([canonical_text(row) for row in workbench.decisions().sort("decision_id").to_dicts()])


def a_hundred() -> list[dict[str, Any]]:
    first = [say(number) for number in range(50)]
    return first + [
        say(number, "edit", label_data={"team": "other"}, at=later(500 - number).isoformat()) for number in range(50)
    ]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_hundred_decisions_shuffled_and_delivered_three_times_from_two_back_ends_are_the_same_table(
    project: Project, tmp_path: Path, seed: int
) -> None:
    define(project, sheet(), training_sheet(), template(), ACCESS)
    put(project, tickets(50))
    in_order = project.workbench
    receive(in_order, a_hundred(), "page")
    assert take_deliveries(in_order).decisions == 100
    expected = ledger_hash(in_order)

    other = Workbench(project.settings, Lake(str(tmp_path / "other_lake")))
    mixed = random.Random(seed)
    for back_end in ("files", "page", "files"):
        judgements = a_hundred()
        mixed.shuffle(judgements)
        for part in range(0, 100, 40):  # taken while half of them are still on their way
            receive(other, judgements[part : part + 40], back_end)
            take_deliveries(other)
    assert other.decisions().height == 100
    assert ledger_hash(other) == expected
    assert take_deliveries(other).decisions == 0


WRITER = """
import datetime as dt, os, sys
from workbench_pipelines.review_inbox import settle
from workbench_pipelines.settings import settings_from
from workbench_pipelines.workbench import Workbench
workbench, person, first = Workbench(settings_from(os.environ)), sys.argv[1], int(sys.argv[2])
noon = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
print("ready", flush=True)
sys.stdin.readline()
for number in range(first, first + 8):
    settle(workbench, {
        "sheet": "tickets", "item_ref": "T-000", "label_type": "team", "action": "label", "by": person,
        "label_data": {"team": ("access", "billing", "other")[number % 3]},
        "at": (noon + dt.timedelta(minutes=number)).isoformat(),
    }, "page")
"""


def test_three_processes_that_decide_eight_times_each_of_one_label_lose_nothing(
    desk: Workbench, project: Project
) -> None:
    people = ("ann", "bob", "stella")
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITER, person, str(8 * place)],
            env={**os.environ, **project.environ},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for place, person in enumerate(people)
    ]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    for writer in writers:
        writer.communicate(timeout=120)
    assert [writer.returncode for writer in writers] == [0, 0, 0]

    history = label_history(desk.decisions())
    assert history["version"].to_list() == list(range(1, 25))
    assert history["by"].to_list() == [person for person in people for _ in range(8)]
    (label,) = fold_labels(desk.decisions(), None).to_dicts()
    assert (label["version"], label["labeled_by"], label["last_modified_by"]) == (24, "ann", "stella")
    assert label["label_data"] == canonical_text({"team": TEAMS[23 % 3]})


def test_what_is_taken_says_which_sheets_changed_and_with_what_the_item_shows(desk: Workbench) -> None:
    receive(desk, [say(1)], "files")
    taken = take_deliveries(desk)
    assert set(taken.versions) == {"tickets"}
    (row,) = desk.decisions().to_dicts()
    assert (row["source"], row["seen_columns"]) == ("review", ["subject"])
    assert row["seen_hash"] == seen_hash({"subject": "Invoice number 1"}, ["subject"])


def test_a_bad_delivery_is_kept_with_its_reason_and_refused_once(desk: Workbench) -> None:
    bad = [say(1, by="mallory"), say(2, label_data={"team": "nobody"}), say(3) | {"colour": "red"}, say(99)]
    assert receive(desk, [*bad, say(4)], "files") == 5
    taken = take_deliveries(desk)
    assert (taken.decisions, len(taken.refusals)) == (1, 4)
    kept = desk.lake.read("records", "review_refusals")
    assert kept.height == 4
    assert set(kept["back_end"]) == {"files"}
    told = " ".join(kept["reason"])
    for reason in ("mallory may not label", "team is none of the allowed", "unknown column colour", "no item 'T-099'"):
        assert reason in told
    assert waiting_deliveries(desk).is_empty()
    assert receive(desk, bad, "page") == 0
    assert take_deliveries(desk).refusals == ()


def test_the_inbox_keeps_what_was_delivered_and_by_whom(desk: Workbench) -> None:
    receive(desk, [say(1)], "files")
    receive(desk, [say(1), say(2)], "page")
    inbox = desk.lake.read(*INBOX)
    assert sorted(inbox["back_end"]) == ["files", "page"]
    assert inbox.filter(pl.col("judgement").str.contains('"team":"billing"')).height == 1


def test_an_empty_inbox_is_no_error(desk: Workbench) -> None:
    assert receive(desk, [], "page") == 0
    assert take_deliveries(desk).versions == {}


def test_what_becomes_of_the_uses_of_a_label_is_audited_with_who_and_why(desk: Workbench) -> None:
    bare = {"label_data": None, "by": "stella"}
    restricted = say(1, "restrict", prohibited_uses=["training"], reason="no consent", at=later(10).isoformat(), **bare)
    lifted = say(1, "restore", reason="consent came in", at=later(20).isoformat(), **bare)
    receive(desk, [say(1), restricted, lifted], "page")
    take_deliveries(desk)
    audit = desk.lake.read("records", "usage_constraint_audit").sort("at")
    assert audit.select("old_prohibited_uses", "new_prohibited_uses", "by", "reason").rows() == [
        ([], ["training"], "stella", "no consent"),
        (["training"], [], "stella", "consent came in"),
    ]


def test_many_small_deliveries_leave_few_files(desk: Workbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(review_inbox, "MANY_FILES", 5)
    for number in range(12):
        receive(desk, [say(number)], "page")
        assert take_deliveries(desk).decisions == 1
    maintenance = TableMaintenance(desk.lake, desk.settings.state / "locks")
    assert maintenance.files(*INBOX) <= 6
    assert maintenance.files("label", "decisions") <= 6
    assert desk.decisions().height == 12
