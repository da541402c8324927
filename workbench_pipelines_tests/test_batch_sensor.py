"""The sensor collects what ended, and asks once for the TrainingSheets that have all their batches back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest

from workbench_pipelines.clients.scripted_provider import Reply, ScriptedProvider
from workbench_pipelines_tests.batch_world import asked_in, ledger, make, pairs, plant, reasons
from workbench_pipelines_tests.project_world import Project, forget_definitions
from workbench_pipelines_tests.ticket_world import provider

__all__ = ["provider"]


class Watch:
    """A project whose TrainingSheets ask by batches, and the sensor that looks after them."""

    def __init__(self, project: Project, instance: dg.DagsterInstance) -> None:
        self.project, self.instance = project, instance
        self.workbench = project.workbench
        self.cursor: str | None = None

    def look(self) -> list[dg.RunRequest]:
        """What the sensor asks for now; its cursor is kept for the next look."""
        forget_definitions()
        from workbench_pipelines.defs.generate.sensors import collect_batches

        context = dg.build_sensor_context(self.instance, cursor=self.cursor, resources={"workbench": self.workbench})
        result = collect_batches(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        return list(result.run_requests or [])


@pytest.fixture
def watch(project: Project, provider: ScriptedProvider) -> Iterator[Watch]:
    plant(project, 6, "drafted", "also")
    with dg.DagsterInstance.ephemeral() as instance:
        yield Watch(project, instance)


def test_while_a_batch_is_worked_on_nothing_is_asked_for(watch: Watch) -> None:
    assert watch.look() == []
    make(watch.workbench)
    assert watch.look() == []


def test_a_batch_that_ended_is_collected_and_its_training_sheets_are_asked_for_once(
    watch: Watch, provider: ScriptedProvider
) -> None:
    make(watch.workbench)
    make(watch.workbench, "also")
    provider.batches.end()
    requests = watch.look()
    assert watch.project.table("records", "requests").height == 6
    assert [one.partition_key for one in requests] == ["also", "drafted"]
    assert watch.look() == []
    keys = [one.run_key for one in requests]
    for lost in (None, "", "{", "[]", "3"):
        watch.cursor = lost
        assert [one.run_key for one in watch.look()] == keys
        assert watch.look() == []


@pytest.mark.parametrize("status", ["expired", "failed", "cancelled"])
def test_a_batch_that_ended_otherwise_is_asked_for_too(watch: Watch, provider: ScriptedProvider, status: str) -> None:
    make(watch.workbench)
    provider.batches.end(status, answered=2, codes=["invalid"])
    assert [one.partition_key for one in watch.look()] == ["drafted"]


def test_a_training_sheet_is_asked_for_once_all_its_batches_are_back(watch: Watch, provider: ScriptedProvider) -> None:
    make(watch.workbench)
    plant(watch.project, 8, "drafted", "also")
    make(watch.workbench)
    first, second = provider.batches.batches.values()
    second["status"] = "finalizing"
    later = dict(second)
    second["status"] = "paused"
    provider.batches.end()
    second.update(later)
    assert watch.look() == []
    assert [one.answers for one in ledger(watch.project).batches()] == [6, None]
    provider.batches.end()
    assert [one.partition_key for one in watch.look()] == ["drafted"]
    assert first["status"] == second["status"] == "completed"


def test_one_batch_is_collected_a_look(watch: Watch, provider: ScriptedProvider) -> None:
    make(watch.workbench)
    plant(watch.project, 8, "drafted", "also")
    make(watch.workbench)
    provider.batches.end()
    assert watch.look() == []
    assert [one.partition_key for one in watch.look()] == ["drafted"]


def test_a_provider_that_does_not_answer_is_asked_again_at_the_next_look(
    watch: Watch, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(watch.workbench)
    provider.batches.end()
    handle = provider.batches.handle
    monkeypatch.setattr(provider.batches, "handle", lambda *given: (503, b"{}"))
    assert watch.look() == []
    monkeypatch.setattr(provider.batches, "handle", handle)
    assert [one.partition_key for one in watch.look()] == ["drafted"]


def test_a_batch_that_was_never_taken_asks_for_nothing(watch: Watch, provider: ScriptedProvider) -> None:
    provider.batches.refuses = (401, "invalid_api_key")
    with pytest.raises(Exception, match="refused the key"):
        make(watch.workbench)
    assert watch.look() == []


def run(watch: Watch, job: str, key: str, **given: Any) -> None:
    from workbench_pipelines.definitions import definitions

    defs = definitions()
    assert defs.resolve_job_def(job).execute_in_process(instance=watch.instance, partition_key=key, **given).success


def test_the_run_that_it_asks_for_takes_the_answers_in_and_asks_nothing_again(
    watch: Watch, provider: ScriptedProvider
) -> None:
    def by_number(body: dict[str, Any]) -> Reply | str:
        if "number 2" in str(body):
            return Reply('{"team": "acc', finish_reason="length")
        return '{"team": "sales"}' if "number 3" in str(body) and len(body["messages"]) == 1 else '{"team": "other"}'

    provider.answer_by(by_number)
    for job, key in (("templates", "team"), ("sheets", "tickets"), ("training_sheets", "drafted")):
        run(watch, job, key)
    assert set(reasons(watch.project).values()) == {"pending_batch"}
    for left in (2, 1):
        provider.batches.end()
        (request,) = watch.look()
        run(watch, "training_sheets", "drafted", tags=request.tags)
        assert len(pairs(watch.project)) == 6 - left
    assert reasons(watch.project) == {"T-002": "truncated"}
    assert [len(asked_in(provider, number)) for number in range(len(provider.batches.batches))] == [6, 1]
    assert watch.look() == []
    assert provider.calls == 0
    assert watch.project.table("label", "labeled_pairs").height == 5
