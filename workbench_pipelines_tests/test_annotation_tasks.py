"""Annotation tasks go one way, end by the labels that arrive, and share items so that nobody gets one twice."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from workbench_pipelines.annotation_tasks import (
    MOVES,
    STATUSES,
    AnnotationTask,
    Progress,
    asked_of,
    latest_tasks,
    progress_of,
    task_id_of,
    task_rows,
)
from workbench_pipelines.consensus import Panels
from workbench_pipelines.errors import ArgumentError
from workbench_pipelines.labels import fold_labels
from workbench_pipelines.task_sharing import JobItem, share_out
from workbench_pipelines.throughput import THROUGHPUT, throughput_of
from workbench_pipelines_tests.pair_world import NOON, later, ledger, make_decision


def make_task(assignee: str = "ann", *items: str, **given: Any) -> AnnotationTask:
    items = items or ("a", "b")
    known = {"job": "job", "sheet": "s", "label_type": "t", "created_by": "bob", "created_at": NOON}
    known |= {"target_count": len(items), **given}
    return AnnotationTask(task_id_of("job", assignee, items), item_refs=items, assignee=assignee, **known)


def progress(task: AnnotationTask, *decisions: dict[str, Any], **asked: int) -> Progress:
    said = ledger(*decisions)
    panels = Panels(asked={("s", item, "t"): number for item, number in asked.items()})
    (found,) = progress_of([task], said, fold_labels(said, None, (), panels))
    return found


def test_a_task_goes_one_way_and_keeps_who_moved_it() -> None:
    task = make_task()
    started = task.started("ann", later(1))
    ended = started.completed("ann", later(2), {"a", "b"})
    assert (task.status, started.status, ended.status) == STATUSES
    assert (ended.version, ended.changed_by, ended.started_at, ended.completed_at) == (3, "ann", later(1), later(2))
    assert latest_tasks(task_rows([ended, task, started])) == [ended]


@pytest.mark.parametrize("start", STATUSES)
@pytest.mark.parametrize("to", STATUSES)
def test_a_move_that_is_not_allowed_is_refused_in_one_line(start: str, to: str) -> None:
    task = make_task(status=start)
    move = {
        "in_progress": lambda: task.started("ann", NOON),
        "completed": lambda: task.completed("ann", NOON, ["a", "b"]),
    }
    if to in MOVES[start]:
        assert move[to]().status == to
    elif to in move:
        with pytest.raises(ArgumentError, match=f"task {task.short}: it can not go from {start} to {to}; allowed: "):
            move[to]()


def test_ending_a_task_early_takes_a_reason_and_sets_its_other_items_free() -> None:
    started = make_task(pair_ids=("pa", "pb")).started("ann", NOON)
    with pytest.raises(ArgumentError, match="1 of 2 are done; give a reason"):
        started.completed("ann", NOON, {"b"})
    ended = started.completed("ann", NOON, {"b"}, "enough of these")
    assert (ended.item_refs, ended.pair_ids, ended.change) == (("b",), ("pb",), "enough of these")


def test_a_task_is_given_to_somebody_else_until_it_is_completed() -> None:
    given_on = make_task().assigned("rob", "bob", later(1))
    assert (given_on.assignee, given_on.change, given_on.task_id) == ("rob", "from ann to rob", make_task().task_id)
    with pytest.raises(ArgumentError, match="it is ann's already"):
        make_task().assigned("ann", "bob", NOON)
    with pytest.raises(ArgumentError, match="it is completed"):
        make_task(status="completed").assigned("rob", "bob", NOON)


def test_labels_that_arrive_start_a_task_and_complete_it() -> None:
    task = make_task()
    assert progress(task).status == "pending"
    begun = progress(task, make_decision("a", at=later(5)))
    assert (begun.status, begun.open_items, begun.now.started_at) == ("in_progress", ["b"], later(5))
    ended = progress(task, make_decision("b", at=later(9)), make_decision("a", at=later(5))).now
    assert (ended.status, ended.started_at, ended.completed_at) == ("completed", later(5), later(9))
    assert progress(make_task(target_count=1), make_decision("a", at=later(5))).status == "completed"


def test_what_was_said_before_or_taken_back_or_of_another_task_is_nothing_done() -> None:
    task = make_task()
    before = make_decision("a", at=later(-5), action="flag")
    assert progress(task, before).status == "pending"
    assert progress(task, make_decision("a", label_type="other", at=later(1))).status == "pending"
    said = make_decision("a", at=later(5))
    undone = make_decision("a", action="restore", undoes=said["decision_id"], at=later(6))
    assert progress(task, said, undone).status == "pending"
    assert progress(task, make_decision("a", action="reject", pair_id="p", at=later(1))).status == "in_progress"


def test_an_item_whose_label_stands_without_its_person_is_done_and_one_that_waits_for_them_is_not() -> None:
    by_bob = make_decision("a", by="bob", at=later(5))
    assert progress(make_task(), by_bob).open_items == ["b"]
    assert progress(make_task(), by_bob).status == "pending"  # ann has not begun
    assert progress(make_task("ann", "a"), by_bob).status == "completed"
    assert progress(make_task(), by_bob, a=2).open_items == ["a", "b"]


def test_a_job_asks_for_as_many_answers_as_people_have_the_item_and_jobs_do_not_add_up() -> None:
    first, second = make_task("ann", "a", "b"), make_task("rob", "a")
    assert asked_of([first, second]) == {("s", "a", "t"): 2, ("s", "b", "t"): 1}
    assert asked_of([first, make_task("rob", "a", job="later")]) == {("s", "a", "t"): 1, ("s", "b", "t"): 1}


def test_items_are_shared_so_that_everybody_has_as_much_of_each_stratum() -> None:
    items = [JobItem(f"i{n}", stratum="rare" if n % 5 == 0 else "usual") for n in range(20)]
    shares = share_out(items, ["ann", "bob"]).by_person
    assert {name: len(share) for name, share in shares.items()} == {"ann": 10, "bob": 10}
    assert {sum(one.stratum == "rare" for one in share) for share in shares.values()} == {2}
    assert [one.item_ref for one in shares["ann"]] == [i.item_ref for i in items if i in shares["ann"]]


def test_a_tenth_of_the_items_goes_to_one_person_more_and_to_the_same_tenth_again() -> None:
    items = [JobItem(f"i{n}") for n in range(50)]
    shares = share_out(items, ["ann", "bob"], overlap=0.1).by_person
    both = {i.item_ref for i in shares["ann"]} & {i.item_ref for i in shares["bob"]}
    assert len(both) == 5
    again = share_out(items[::-1], ["rob", "eve", "ann"], overlap=0.1).by_person
    refs = [item.item_ref for share in again.values() for item in share]
    assert {ref for ref in refs if refs.count(ref) > 1} == both


def test_an_item_that_nobody_named_can_have_is_refused_with_the_reason() -> None:
    items = [JobItem("a", not_for={"ann": "answered it already"}), JobItem("b")]
    shares = share_out(items, ["ann"])
    assert shares.refused == (("a", "it takes 1 more, and ann answered it already"),)
    assert [one.item_ref for one in shares.by_person["ann"]] == ["b"]


@pytest.mark.parametrize(
    ("people", "given", "line"),
    [
        (["ann"], {"annotators": 2}, "2 people are asked of an item and 1 is named"),
        (["ann"], {"overlap": 0.1}, "2 people are asked of an item and 1 is named"),
        (["ann", "ann"], {}, "ann is named twice"),
        (["ann", "bob"], {"overlap": 10}, "an overlap of 10 is none"),
    ],
)
def test_what_can_not_be_shared_is_refused(people: list[str], given: dict[str, Any], line: str) -> None:
    with pytest.raises(ArgumentError, match=line):
        share_out([JobItem("a")], people, **given)


@given(
    st.lists(st.sampled_from([None, "x", "y", "z"]), max_size=40),
    st.integers(1, 5),
    st.integers(1, 5),
    st.sampled_from([0.0, 0.1, 0.5, 1.0]),
)
@settings(max_examples=80, deadline=None)
def test_every_item_goes_to_as_many_different_people_as_asked_and_the_work_is_even(
    strata: list[str | None], number: int, annotators: int, overlap: float
) -> None:
    people = [f"p{n}" for n in range(number)]
    items = [JobItem(f"i{n}", stratum=stratum) for n, stratum in enumerate(strata)]
    if annotators + (overlap > 0) > number:
        return
    shares = share_out(items, people, annotators=annotators, overlap=overlap)
    refs = [item.item_ref for share in shares.by_person.values() for item in share]
    counts = {item.item_ref: refs.count(item.item_ref) for item in items}
    assert set(counts.values()) <= {annotators, annotators + 1}
    extra = sum(count > annotators for count in counts.values())
    assert extra == (max(1, round(overlap * len(items))) if overlap and items else 0)
    loads = [len(shares.by_person.get(name, ())) for name in people]
    assert max(loads) - min(loads) <= 1
    assert all(len(set(share)) == len(share) for share in ([i.item_ref for i in s] for s in shares.by_person.values()))


def test_throughput_counts_the_time_between_decisions_and_no_breaks() -> None:
    seconds = [0, 30, 60, 120, 120 + 3600, 120 + 3600 + 30]
    said = [
        make_decision(f"i{n}", at=NOON + dt.timedelta(seconds=second), source="review")
        for n, second in enumerate(seconds)
    ]
    said += [make_decision("z", by="bob", source="review"), make_decision("q", by="import", source="import:x.csv")]
    found = throughput_of(ledger(*said, said[0]))
    assert found.schema == THROUGHPUT
    ann, bob = found.to_dicts()
    assert (ann["decisions"], ann["timed"], ann["median_seconds"]) == (6, 4, 30)
    assert ann["active_hours"] == pytest.approx(150 / 3600)
    assert ann["per_hour"] == pytest.approx(96)
    assert (bob["person"], bob["decisions"], bob["per_hour"], bob["median_seconds"]) == ("bob", 1, None, None)
    assert throughput_of(ledger()).is_empty()


def test_the_columns_of_the_record_are_those_of_a_task() -> None:
    assert isinstance(task_rows([make_task()]), pl.DataFrame)
    assert set(Progress(make_task(), {}, None).row()) == {*task_rows([]).columns, "done"}
