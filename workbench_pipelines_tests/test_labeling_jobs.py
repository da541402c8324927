"""A queue is shared out to people, their labels close their tasks, and who disagrees waits for a third person."""

from __future__ import annotations

import os
import threading
from typing import Any

import polars as pl
import pytest

from workbench_pipelines.errors import LabelError
from workbench_pipelines.labeling_jobs import HISTORY, JobAsk, change_task, create_job, tasks_now
from workbench_pipelines_tests.job_world import ITEMS, desk, documents, planted_job, provider, says, take
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import define, one_line

__all__ = ["desk", "planted_job", "provider"]


def create(project: Project, *arguments: str) -> dict[str, Any]:
    ran = project("tasks", "create", "drafted", *arguments, "--json")
    assert ran.code == 0, ran.err
    return dict(ran.json)


def listed(project: Project, *arguments: str) -> list[dict[str, Any]]:
    return list(project("tasks", "list", *arguments, "--json").json["tasks"])


def items_of(project: Project, task: str) -> list[str]:
    return list(project("tasks", "show", task, "--json").json["items"])


def test_a_queue_is_shared_out_evenly_and_each_item_once(desk: Project) -> None:
    made = create(desk, "--to", "ann", "--to", "rob", "--instructions", "Mind invoices.", "--due", "2026-12-24")
    assert [(one["assignee"], one["progress"], one["status"]) for one in made["tasks"]] == [
        ("ann", "0 / 6", "pending"),
        ("rob", "0 / 6", "pending"),
    ]
    refs = [item for one in made["tasks"] for item in items_of(desk, one["task"])]
    assert len(set(refs)) == len(refs) == ITEMS
    shown = desk("tasks", "show", made["tasks"][0]["task"], "--json").json
    assert (shown["instructions"], shown["created_by"], shown["due"]) == ("Mind invoices.", "bob", "2026-12-24")
    assert [one["change"] for one in shown["history"]] == ["created"]
    kept = desk.table("records", "annotation_tasks")
    assert kept.select("assignee", "status", "target_count", "done").sort("assignee").rows() == [
        ("ann", "pending", 6, 0),
        ("rob", "pending", 6, 0),
    ]
    again = desk("tasks", "create", "drafted", "--to", "kim")
    assert again.code == 1
    assert "nothing waits that could be given out; item T-" in one_line(again)


def test_the_labels_that_arrive_close_a_task(desk: Project) -> None:
    made = create(desk, "--to", "ann", "--to", "rob", "--limit", "4")
    ann = made["tasks"][0]["task"]
    one, other = items_of(desk, ann)
    take(desk, says(one, "ann"))
    assert [(task["status"], task["progress"]) for task in listed(desk, "--job", made["job"])] == [
        ("in_progress", "1 / 2"),
        ("pending", "0 / 2"),
    ]
    take(desk, says(other, "ann", minutes=3))
    assert [task["assignee"] for task in listed(desk, "--status", "completed")] == ["ann"]
    found = desk("tasks", "list", "--json").json
    assert found["jobs"] == [{"job": made["job"], "done": 2, "target": 4, "progress": "2 / 4"}]
    speed = {row["assignee"]: row for row in found["people"]}
    assert speed["ann"]["median_seconds"] == pytest.approx(120, abs=1)
    assert speed["rob"]["per_hour"] is None
    refused = desk("tasks", "update", ann, "--status", "in_progress")
    assert refused.code == 2
    assert "it can not go from completed to in_progress; allowed: nothing" in one_line(refused)
    assert desk("run", "drafted").code in (0, 5)
    kept = desk.table("records", "annotation_tasks").sort("assignee")
    assert kept.select("status", "done").rows() == [("completed", 2), ("pending", 0)]
    assert kept["completed_at"].null_count() == 1


def test_people_move_their_own_tasks_and_approvers_give_them_on(desk: Project) -> None:
    made = create(desk, "--to", "ann", "--to", "rob", "--limit", "4")
    ann, rob = (one["task"] for one in made["tasks"])
    assert "it can not go from pending to completed" in one_line(desk("tasks", "update", ann, "--status", "completed"))
    assert "did you mean 'in_progress'" in one_line(desk("tasks", "update", ann, "--status", "in_progres"))
    assert "say what to change" in one_line(desk("tasks", "update", ann))
    os.environ["WORKBENCH_USER"] = "ann"
    assert desk("tasks", "update", ann, "--status", "in_progress", "--json").json["status"] == "in_progress"
    assert desk("tasks", "update", rob, "--status", "in_progress").code == 1
    assert "ann may not assign tasks" in one_line(desk("tasks", "update", ann, "--assign", "kim"))
    assert "ann may not assign tasks" in one_line(desk("tasks", "create", "drafted", "--to", "ann"))
    early = desk("tasks", "update", ann, "--status", "completed")
    assert "0 of 2 are done; give a reason" in one_line(early)
    os.environ["WORKBENCH_USER"] = "stella"
    given = desk("tasks", "update", ann, "--assign", "kim", "--reason", "ann is away", "--json").json
    assert (given["assignee"], given["status"]) == ("kim", "in_progress")
    ended = desk("tasks", "update", ann, "--status", "completed", "--reason", "enough", "--json").json
    assert ended["status"] == "completed"
    history = desk("tasks", "show", ann, "--json").json["history"]
    assert [(one["changed_by"], one["change"]) for one in history] == [
        ("bob", "created"), ("ann", None), ("stella", "ann is away"), ("stella", "enough"),
    ]  # fmt: skip
    # What was not done is free again.
    assert len(create(desk, "--to", "kim")["tasks"]) == 1


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["drafted", "--to", "anne"], "anne may not label; the Access document names who may; did you mean 'ann'?"),
        (["drafted", "--to", "team:dusk"], "there is no team 'team:dusk'; did you mean 'desk'?"),
        (["draftet", "--to", "ann"], "there is no TrainingSheet 'draftet'; did you mean 'drafted'?"),
        (["tickets", "--to", "ann"], "it is a Sheet, name the task with --label-type"),
        (["tickets", "--to", "ann", "--label-type", "tema"], "unknown label_type 'tema'; did you mean 'team'?"),
        (["drafted", "--to", "ann", "--needs", "coverag"], "there is no need 'coverag'; did you mean 'coverage'?"),
        (["drafted", "--to", "ann", "--annotators", "2"], "2 people are asked of an item and 1 is named"),
        (["drafted", "--to", "ann", "--where", "subjct = 'x'"], "did you mean"),
        (["drafted", "--to", "ann", "--to", "team:desk"], "ann is named twice"),
    ],
)
def test_what_can_not_be_is_refused_in_one_line(desk: Project, arguments: list[str], line: str) -> None:
    ran = desk("tasks", "create", *arguments)
    assert ran.code == 2
    assert line in one_line(ran)
    assert not desk.workbench.lake.exists(*HISTORY)


def test_a_gap_becomes_tasks_with_instructions_a_reason_and_a_target(desk: Project) -> None:
    take(desk, says("T-001", "eve"))
    ask = JobAsk(
        sheet="tickets",
        label_type="team",
        filter_condition="subject LIKE 'Invoice%'",
        source="gap",
        reason="billing is rarely recognised",
        instructions="Invoices only.",
        target_count=3,
        job="more billing",
    )
    made = create_job(desk.workbench, ask, ["ann", "rob"], by="bob")
    assert sorted(item for task in made.tasks for item in task.item_refs) == [
        "T-003",
        "T-005",
        "T-007",
        "T-009",
        "T-011",
    ]
    assert sorted(task.target_count for task in made.tasks) == [1, 2]
    kept = desk.table("records", "annotation_tasks")
    assert set(kept.select("source", "reason", "label_type").rows()) == {
        ("gap", "billing is rarely recognised", "team")
    }
    for task in made.tasks:
        take(desk, *(says(item, task.assignee) for item in task.item_refs[: task.target_count]))
    assert {one.status for one in tasks_now(desk.workbench)} == {"completed"}
    with pytest.raises(Exception, match="there is a job 'more billing' already"):
        create_job(desk.workbench, ask, ["ann"], by="bob")


def test_an_overlap_is_answered_by_two_and_counts_only_once_both_agree(desk: Project) -> None:
    made = create(desk, "--to", "ann", "--to", "rob", "--overlap", "0.1")
    shares = {one["assignee"]: set(items_of(desk, one["task"])) for one in made["tasks"]}
    (both,) = shares["ann"] & shares["rob"]
    alone = min(shares["ann"] - shares["rob"])
    take(desk, says(both, "ann"), says(alone, "ann"))
    assert desk("run", "drafted").code in (0, 5)
    pairs = {row["item_ref"]: row for row in desk.table("label", "labeled_pairs").to_dicts()}
    assert (pairs[alone]["status"], pairs[both]["status"]) == ("labeled", "unlabeled")
    assert pairs[both]["review_notes"] == "answered by ann, waits for another annotator"
    take(desk, says(both, "rob", minutes=2))
    assert desk("run", "drafted").code in (0, 5)
    done = desk.table("label", "labeled_pairs").filter(pl.col("item_ref") == both)
    assert done["status"].to_list() == ["labeled"]


def test_who_disagrees_waits_for_a_third_person_whose_word_is_the_label(desk: Project) -> None:
    define(desk, *documents(annotators=2))
    made = create(desk, "--to", "ann", "--to", "rob", "--item", "T-000", "--item", "T-001")
    assert [one["progress"] for one in made["tasks"]] == ["0 / 2", "0 / 2"]
    take(
        desk,
        says("T-000", "ann", "access"),
        says("T-000", "rob", "billing"),
        says("T-001", "ann", "billing"),
        says("T-001", "rob", "billing"),
    )
    assert desk("run", "drafted").code in (0, 5)
    pairs = {row["item_ref"]: row for row in desk.table("label", "labeled_pairs").to_dicts()}
    assert (pairs["T-001"]["status"], pairs["T-001"]["response"]) == ("labeled", '{"team":"billing"}')
    assert (pairs["T-000"]["status"], pairs["T-000"]["response"]) == ("unlabeled", '{"team":"other"}')
    assert pairs["T-000"]["review_notes"] == "ann and rob disagree, waits for a third person"
    queue = desk.table("label", "review_queue").sort("rank")
    assert queue.select("item_ref", "need", "waits_for").row(0) == (
        "T-000", "adjudication", "an approver other than ann, rob",
    )  # fmt: skip
    refused = desk("tasks", "create", "drafted", "--to", "kim", "--item", "T-000", "--annotators", "1")
    assert "it waits for an approver who decides between its annotators" in one_line(refused)
    shown = desk("tasks", "agreement", "tickets", "--json").json["agreement"]
    raw = [one for one in shown if one["measure"] == "raw" and one["annotator_a"] is None]
    assert [(one["n"], one["value"]) for one in raw] == [(2, 0.5)]
    rows = desk.table("label", "agreement")
    assert rows.filter(pl.col("measure") == "cohen").select("annotator_a", "annotator_b", "n").rows() == [
        ("ann", "rob", 2)
    ]
    take(desk, says("T-000", "eve", "access", minutes=5, adjudicates=True))
    assert desk("run", "drafted").code in (0, 5)
    (pair,) = desk.table("label", "labeled_pairs").filter(pl.col("item_ref") == "T-000").to_dicts()
    assert (pair["status"], pair["response"], pair["reviewed_by"]) == ("labeled", '{"team":"access"}', "eve")
    history = desk.table("records", "label_history").filter(pl.col("item_ref") == "T-000").sort("version")
    assert history.select("by", "label_data").rows() == [
        ("ann", '{"team":"access"}'),
        ("rob", '{"team":"billing"}'),
        ("eve", '{"team":"access"}'),
    ]


def test_of_two_who_change_one_task_at_once_one_is_told_and_nothing_is_lost(desk: Project) -> None:
    made = create(desk, "--to", "ann", "--limit", "2")
    task, outcomes = made["tasks"][0]["task"], []

    def give_on(person: str) -> None:
        try:
            change_task(desk.workbench, task, by="bob", assignee=person)
            outcomes.append(person)
        except LabelError as error:
            outcomes.append(error.line)

    # Both look at the task as it is now, and each writes the version that comes next.
    barrier = threading.Barrier(2)
    original = type(desk.workbench.lake).append_new

    def together(lake: Any, *parts: str, **given: Any) -> int:
        if parts == HISTORY:
            barrier.wait(timeout=60)
        return original(lake, *parts, **given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(desk.workbench.lake), "append_new", together)
        threads = [threading.Thread(target=give_on, args=(person,)) for person in ("rob", "kim")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    (winner,) = [one for one in outcomes if one in ("rob", "kim")]
    assert any("somebody changed it meanwhile" in one for one in outcomes)
    assert listed(desk)[0]["assignee"] == winner
    assert desk.table(*HISTORY).height == 2
    assert desk.table("records", "annotation_tasks")["assignee"].to_list() == [winner]
