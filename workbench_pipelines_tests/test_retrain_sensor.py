"""When the sensor asks for a retrain: once enough approved corrections reached the pairs, once for each of them."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator

import dagster as dg
import pytest

from workbench_pipelines.feedback_import import approve_corrections, import_feedback
from workbench_pipelines.label_import import import_labels
from workbench_pipelines_tests.loop_world import NOON, corrections, flower_documents, label_lines, plant, settle
from workbench_pipelines_tests.project_world import Project

THRESHOLD = 3


class Loop:
    """A project whose users correct three flowers before it is worth a retrain, and the sensor that watches them."""

    def __init__(self, project: Project, instance: dg.DagsterInstance) -> None:
        self.project, self.instance = project, instance
        self.workbench = project.workbench
        self.cursor: str | None = None
        settle(self.workbench)

    def say(self, items: range, species: str | None = None, name: str = "feedback") -> None:
        assert import_feedback(self.workbench, [corrections(self.project, items, species, name)]).refusals == ()

    def approve(self, *feedback_ids: str) -> int:
        return approve_corrections(self.workbench, feedback_ids, "ann").rows

    def label(self, items: range, species: str, at: dt.datetime | None = None) -> None:
        file = self.project.write("labels.jsonl", label_lines(items, species, at))
        assert import_labels(self.workbench, [file]).refusals == ()

    def look(self) -> list[dg.RunRequest]:
        """What the sensor asks for now; its cursor is kept for the next look."""
        from workbench_pipelines.defs.improve.sensors import retrain_on_feedback

        context = dg.build_sensor_context(self.instance, cursor=self.cursor, resources={"workbench": self.workbench})
        result = retrain_on_feedback(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        return list(result.run_requests or [])

    def retrain(self, request: dg.RunRequest, *, fails: bool = False, then_fails: bool = False) -> None:
        """A run as the daemon would start it for a request."""

        @dg.asset(key=["train", "trained_model"])
        def trained_model() -> None:
            if fails:
                raise dg.Failure("MLflow does not answer", allow_retries=False)

        @dg.asset(key=["train", "eval_report"], deps=[trained_model])
        def eval_report() -> None:
            if then_fails:
                raise dg.Failure("the baseline is better", allow_retries=False)

        tags = {**request.tags, "dagster/run_key": str(request.run_key)}
        dg.materialize([trained_model, eval_report], instance=self.instance, tags=tags, raise_on_error=False)


@pytest.fixture
def loop(project: Project) -> Iterator[Loop]:
    plant(project, THRESHOLD)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Loop(project, instance)


def test_below_the_threshold_nothing_is_asked_for(loop: Loop) -> None:
    loop.say(range(2))
    loop.approve()
    settle(loop.workbench)
    assert loop.look() == []


def test_at_the_threshold_each_collection_that_trains_is_asked_for_once(loop: Loop) -> None:
    loop.say(range(3))
    loop.approve()
    settle(loop.workbench)
    (request,) = loop.look()  # `measured` has a Collection of its own, which trains nothing
    assert request.partition_key == "iris"
    assert str(request.run_key).startswith("iris:")
    assert request.tags["workbench/cause"] == "3 approved corrections"
    assert loop.look() == []
    loop.retrain(request)
    assert loop.look() == []


def test_collections_that_share_a_training_sheet_are_asked_for_each(project: Project) -> None:
    second = flower_documents(THRESHOLD)[-1] | {"metadata": {"name": "flowers"}}
    plant(project, THRESHOLD, second)
    with dg.DagsterInstance.ephemeral() as instance:
        loop = Loop(project, instance)
        loop.say(range(3))
        loop.approve()
        settle(loop.workbench)
        requests = loop.look()
    assert [request.partition_key for request in requests] == ["flowers", "iris"]
    assert len({request.run_key for request in requests}) == 2


def test_a_correction_that_nobody_approved_does_not_count(loop: Loop) -> None:
    loop.say(range(3))
    assert loop.look() == []


def test_a_label_that_says_the_same_approves_a_correction(loop: Loop) -> None:
    loop.say(range(3), "virginica")
    loop.label(range(2), "virginica")
    loop.approve("feedback-003")
    settle(loop.workbench)
    assert len(loop.look()) == 1


def test_a_declined_or_unmatched_correction_does_not_count(loop: Loop) -> None:
    loop.say(range(3), "virginica")
    loop.label(range(1), "setosa")  # another expert sees it otherwise
    stray = json.loads((loop.project.folder / "feedback.jsonl").read_text().splitlines()[0])
    stray |= {"feedback_id": "stray", "input": {"sheet": "iris", "item_ref": "no such flower"}}
    import_feedback(loop.workbench, [loop.project.write("stray.jsonl", json.dumps(stray))])
    settle(loop.workbench)
    loop.approve()
    settle(loop.workbench)
    assert loop.look() == []


def test_a_correction_counts_only_once_its_pair_says_so(loop: Loop) -> None:
    loop.label(range(3), "setosa", at=NOON - dt.timedelta(days=1))  # the pairs hold an older label
    settle(loop.workbench)
    loop.say(range(3), "virginica")
    loop.approve()
    assert loop.look() == []
    settle(loop.workbench, pairs=False)
    assert loop.look() == []
    settle(loop.workbench)
    assert len(loop.look()) == 1


def test_a_lost_cursor_asks_under_the_same_run_key(loop: Loop) -> None:
    loop.say(range(3))
    loop.approve()
    settle(loop.workbench)
    (request,) = loop.look()
    loop.retrain(request)
    for lost in (None, "", "{", '{"iris": ["feedback-001"]}', "[]", '{"asked": {"iris": 3}}'):
        loop.cursor = lost
        assert [again.run_key for again in loop.look()] == [request.run_key]
        assert loop.look() == []  # Dagster starts no second run for the key, and the first one made its model


def test_only_what_came_since_counts_for_the_next_retrain(loop: Loop) -> None:
    loop.say(range(3))
    loop.approve()
    settle(loop.workbench)
    (first,) = loop.look()
    loop.retrain(first)
    loop.say(range(3, 5), name="more")
    loop.approve()
    settle(loop.workbench)
    assert loop.look() == []
    loop.say(range(5, 6), name="last")
    loop.approve()
    settle(loop.workbench)
    (second,) = loop.look()
    assert second.tags["workbench/cause"] == "3 approved corrections"
    assert second.run_key != first.run_key


def test_corrections_of_a_retrain_that_failed_go_in_with_the_next_one(loop: Loop) -> None:
    loop.say(range(3))
    loop.approve()
    settle(loop.workbench)
    (first,) = loop.look()
    loop.retrain(first, fails=True)
    assert loop.look() == []  # what fails once fails again: nobody is asked twice for the same
    loop.say(range(3, 4), name="more")
    loop.approve()
    settle(loop.workbench)
    (second,) = loop.look()
    assert second.tags["workbench/cause"] == "4 approved corrections"


def test_a_failed_retrain_that_was_run_again_counts(loop: Loop) -> None:
    loop.say(range(3))
    loop.approve()
    settle(loop.workbench)
    (request,) = loop.look()
    loop.retrain(request, fails=True)
    loop.look()
    loop.retrain(request)
    loop.say(range(3, 4), name="more")
    loop.approve()
    settle(loop.workbench)
    assert loop.look() == []


def test_a_model_that_its_baseline_beats_has_taken_its_corrections_in(loop: Loop) -> None:
    loop.say(range(3))
    loop.approve()
    settle(loop.workbench)
    (request,) = loop.look()
    loop.retrain(request, then_fails=True)
    loop.say(range(3, 4), name="more")
    loop.approve()
    settle(loop.workbench)
    assert loop.look() == []


def test_while_a_retrain_runs_the_next_one_waits(loop: Loop) -> None:
    loop.say(range(3))
    loop.approve()
    settle(loop.workbench)
    (request,) = loop.look()
    run = loop.instance.create_run_for_job(
        dg.job(name="collections")(lambda: None), tags={"dagster/run_key": str(request.run_key)}
    )
    loop.say(range(3, 6), name="more")
    loop.approve()
    settle(loop.workbench)
    assert loop.look() == []
    loop.instance.report_run_canceled(run)
    assert [request.tags["workbench/cause"] for request in loop.look()] == ["6 approved corrections"]


def test_approving_and_importing_again_changes_nothing(loop: Loop) -> None:
    loop.say(range(3))
    assert loop.approve() == 3
    assert loop.approve() == 0
    settle(loop.workbench)
    assert len(loop.look()) == 1
    loop.say(range(3))
    assert loop.approve() == 0
    settle(loop.workbench)
    assert loop.look() == []
