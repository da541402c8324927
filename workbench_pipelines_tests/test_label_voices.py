"""Nobody speaks for others, learns what is closed, or has the last word, by way of a file, a delivery or a page."""

from __future__ import annotations

import datetime as dt
import json

import polars as pl
import pytest

from workbench_pipelines.access import unknown_teams
from workbench_pipelines.identity import seen_hash
from workbench_pipelines.labels import fold_labels
from workbench_pipelines.review_inbox import receive, take_deliveries
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.page_world import at_the_page
from workbench_pipelines_tests.pair_world import ledger, make_decision
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import define, put, sheet, template, tickets, training_sheet

ACCESS = make_document(
    "Access", "people", reviewers=["ann", "rob"], approvers=["bob"], stewards=["stella"], see_restricted=["stella"]
)
KEY = {"sheet": "tickets", "item_ref": "T-000", "label_type": "team"}
NOON = "2026-03-01T12:00:00+00:00"


def world(project: Project, **of_sheet: object) -> None:
    define(project, sheet(**of_sheet), training_sheet(labeling_mode="manual"), template(), ACCESS)
    put(project, tickets(3))


def bring(project: Project, *rows: dict[str, object]) -> list[str]:
    """Imports labels; the lines of those that are refused."""
    file = project.write(
        "labels.jsonl", "".join(json.dumps({**KEY, "label_data": {"team": "other"}, **row}) + "\n" for row in rows)
    )
    return list(project("label", "import", str(file), "--json").json["refused"])


@pytest.mark.parametrize(
    ("user", "of_sheet", "taken"),
    [
        ("mallory", {}, True),  # who imports keeps the lake
        ("mallory", {"review": {"two_persons": True}}, False),
        ("bob", {"review": {"two_persons": True}}, False),
        ("bob", {"review": {"annotators": 2}}, False),
        ("stella", {"review": {"two_persons": True}}, True),
    ],
)
def test_the_words_of_others_come_in_by_those_who_may_bring_them(
    project: Project, monkeypatch: pytest.MonkeyPatch, user: str, of_sheet: dict[str, object], taken: bool
) -> None:
    world(project, **of_sheet)
    monkeypatch.setenv("WORKBENCH_USER", user)
    refused = bring(project, {"labeled_by": "ann", "labeled_at": NOON})
    assert bool(refused) != taken
    assert taken or user in refused[0]


def test_a_file_lifts_nothing_that_a_review_prohibited_and_what_it_changes_is_on_record(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    world(project)
    monkeypatch.setenv("WORKBENCH_USER", "bob")
    said = {**KEY, "action": "label", "label_data": {"team": "other"}, "by": "bob", "at": NOON}
    receive(project.workbench, [said | {"prohibited_uses": ["training"], "usage_reason": "a trial"}], "page")
    assert take_deliveries(project.workbench).decisions == 1
    later = "2026-03-02T12:00:00+00:00"
    assert bring(project, {"allowed_uses": ["training"], "usage_reason": "no", "labeled_at": later}) == []
    (label,) = fold_labels(project.workbench.decisions(), None).to_dicts()
    assert label["prohibited_uses"] == ["training"]
    audit = project.table("records", "usage_constraint_audit")
    assert audit["at"].n_unique() == 2


def test_a_judgement_of_no_item_or_of_the_future_is_refused(project: Project) -> None:
    world(project)
    said = {**KEY, "action": "label", "label_data": {"team": "other"}, "by": "ann", "at": NOON}
    claimed = {"seen_columns": ["subject"], "seen_hash": seen_hash({"subject": "x"}, ["subject"])}
    ahead = (dt.datetime.now(dt.UTC) + dt.timedelta(days=1)).isoformat()
    receive(project.workbench, [said | claimed | {"item_ref": "NOPE"}, said | {"at": ahead}], "page")
    taken = take_deliveries(project.workbench)
    assert taken.decisions == 0
    assert sorted("NOPE" in one.reason or "future" in one.reason for one in taken.refusals) == [True, True]


def test_what_was_said_of_an_item_as_it_was_proposes_nothing_for_what_it_is_now() -> None:
    was, now = {"item_ref": "a", "x": "1", "y": "1"}, {"item_ref": "a", "x": "2", "y": "1"}
    first = make_decision(seen_columns=["x"], seen_hash=seen_hash(was, ["x"]), by="ann")
    second = make_decision(
        action="approve",
        label_data=None,
        proposed_response=first["label_data"],
        seen_columns=["x", "y"],
        seen_hash=seen_hash(now, ["x", "y"]),
        by="bob",
        at=first["at"] + dt.timedelta(minutes=1),
    )
    (label,) = fold_labels(ledger(first, second), pl.DataFrame([now]), ("s",)).to_dicts()
    assert (label["active"], label["proposed_by"]) == (False, "bob")


def test_a_label_that_was_closed_is_shown_to_nobody_who_may_not_see_it(project: Project) -> None:
    world(project)
    said = {**KEY, "action": "label", "label_data": {"team": "billing"}, "notes": "CANARY", "by": "stella", "at": NOON}
    closed = {
        **KEY,
        "action": "restrict",
        "data_classification": "restricted",
        "by": "stella",
        "at": "2026-03-02T12:00:00+00:00",
    }
    receive(project.workbench, [said, closed | {"usage_reason": "a client asked"}], "page")
    assert take_deliveries(project.workbench).decisions == 2
    with at_the_page(project.workbench, "ann", "stella") as [ann, stella]:
        path = "/label/tickets/team/item?ref=T-000"
        assert "CANARY" not in ann.get(path)
        assert "CANARY" in stella.get(path)


def test_nobody_looks_for_restricted_values_by_a_filter_of_a_job(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    world(project, columns={"note": {"tags": ["PHI"]}})
    assert project("run").code in (0, 5)
    monkeypatch.setenv("WORKBENCH_USER", "bob")
    ran = project("tasks", "create", "drafted", "--to", "ann", "--where", "note like '%1%'")
    assert ran.code == 2
    assert "the column 'note' is restricted" in ran.err


def test_a_role_of_an_empty_team_is_told(project: Project) -> None:
    empty = make_document("Access", "people", reviewers=["team:desc"], teams={"desk": ["ann"]})
    define(project, sheet(), training_sheet(), template(), empty)
    put(project, tickets(3))
    assert unknown_teams(project.workbench.catalog().access()[0]) == ["team:desc"]


def stated(**uses: object) -> dict[str, object]:
    return {"labeled_by": "ann", **uses}


def test_a_file_that_says_nothing_of_uses_takes_nothing_back(project: Project) -> None:
    world(project)
    assert bring(project, stated(prohibited_uses=["training"], usage_reason="no consent", labeled_at=NOON)) == []
    later = "2026-03-02T12:00:00+00:00"
    assert bring(project, stated(label_data={"team": "billing"}, labeled_at=later)) == []
    (label,) = fold_labels(project.workbench.decisions(), None).to_dicts()
    assert (label["prohibited_uses"], json.loads(label["label_data"])) == (["training"], {"team": "billing"})


@pytest.mark.parametrize(
    ("user", "reason", "line"),
    [
        ("stella", None, "say why in `usage_reason`"),
        ("bob", "I think so", "that takes a steward"),
        ("stella", "consent came in", None),
    ],
)
def test_lifting_by_a_file_takes_a_steward_and_a_reason_and_is_on_record(
    project: Project, monkeypatch: pytest.MonkeyPatch, user: str, reason: str | None, line: str | None
) -> None:
    world(project)
    assert bring(project, stated(prohibited_uses=["training"], usage_reason="no consent", labeled_at=NOON)) == []
    monkeypatch.setenv("WORKBENCH_USER", user)
    later = "2026-03-02T12:00:00+00:00"
    lifting = stated(prohibited_uses=[], allowed_uses=["training"], usage_reason=reason, labeled_at=later)
    refused = bring(project, lifting)
    (label,) = fold_labels(project.workbench.decisions(), None).to_dicts()
    audit = project.table("records", "usage_constraint_audit").sort("at")
    first = audit.row(0, named=True)
    assert (first["old_prohibited_uses"], first["new_prohibited_uses"], first["by"]) == (None, ["training"], "ann")
    if line is None:
        assert refused == []
        assert label["prohibited_uses"] == []
        last = audit.row(-1, named=True)
        assert (last["old_prohibited_uses"], last["new_prohibited_uses"], last["reason"]) == (["training"], [], reason)
    else:
        assert line in refused[0]
        assert label["prohibited_uses"] == ["training"]
        assert audit.height == 1
