"""From the queue through the inbox back to the pairs, by real runs: what waits, what a person says, what stands then."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import dagster as dg
import polars as pl
import pytest

from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.review_inbox import receive, take_deliveries
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.pair_world import later
from workbench_pipelines_tests.project_world import Kept, Project
from workbench_pipelines_tests.ticket_world import (
    define,
    project_at,
    provider,
    provider_that_says,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)

__all__ = ["provider"]

ACCESS = make_document("Access", "people", reviewers=["ann"], approvers=["bob", "eve"], stewards=["stella"])


def start(project: Project, count: int = 6, **of_sheet: Any) -> None:
    define(project, sheet(**of_sheet), training_sheet(), template(), ACCESS)
    put(project, tickets(count))
    assert project("run", "drafted").code in (0, 5)


def queue_of(project: Project) -> pl.DataFrame:
    return project.table("label", "review_queue").filter(pl.col("training_sheet") == "drafted").sort("rank")


def say(row: dict[str, Any], action: str, by: str = "bob", minutes: int = 0, **given: Any) -> dict[str, Any]:
    said = {
        name: row[name] for name in ("sheet", "item_ref", "label_type", "training_sheet", "pair_id", "response_hash")
    }
    if action in ("approve", "edit"):
        said["proposed_response"] = row["response"]
    return said | {"action": action, "by": by, "at": later(minutes).isoformat()} | given


def take(project: Project, *judgements: dict[str, Any]) -> None:
    receive(project.workbench, judgements, "test")
    assert take_deliveries(project.workbench).refusals == ()
    assert project("run", "drafted").code in (0, 5)


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kept, ScriptedProvider]]:
    """Six drafted tickets, none of which anybody has looked at, and the provider that drafted them."""
    folder = tmp_path_factory.mktemp("loop") / "project"
    with project_at(folder) as project, provider_that_says('{"team": "other"}') as scripted:
        start(project)
        yield Kept(project), scripted


@pytest.fixture
def started(begun: tuple[Kept, ScriptedProvider]) -> Project:
    return begun[0].put_back()


def test_what_a_person_decides_of_the_queue_is_what_the_pairs_say_after_the_next_run(started: Project) -> None:
    project = started
    first = queue_of(project).to_dicts()
    assert len(first) == 6
    assert {row["need"] for row in first} == {"coverage"}
    a, b, c, d = first[:4]
    take(
        project,
        say(a, "approve"),
        say(b, "edit", "ann", label_data={"team": "billing"}, inputs={"subject": "Invoice is wrong"}),
        say(c, "reject", "ann", reason="no ticket"),
        say(d, "flag", "ann", reason="ask legal"),
    )
    pairs = {row["item_ref"]: row for row in project.table("label", "labeled_pairs").to_dicts()}
    status = [pairs[one["item_ref"]]["status"] for one in (a, b, c, d)]
    assert status == ["labeled", "labeled", "rejected", "flagged"]
    edited = pairs[b["item_ref"]]
    assert edited["response"] == '{"team":"billing"}'
    assert edited["messages"][-1]["content"] == "Which team? Invoice is wrong"
    asked = project.table("generate", "generated_pairs").filter(pl.col("item_ref") == b["item_ref"])
    assert asked["response"].to_list() in ([None], ['{"team":"other"}'])
    second = queue_of(project)
    assert second["need"].to_list() == ["flagged", "coverage", "coverage"]
    assert second["detail"][0] == "ask legal"
    assert not project.workbench.lake.exists("records", "auto_approvals")  # a person had each of them


def test_another_training_sheet_of_the_task_is_approved_by_itself_and_that_is_on_record(
    started: Project, begun: tuple[Kept, ScriptedProvider]
) -> None:
    project, (_, provider) = started, begun
    take(project, *(say(row, "approve") for row in queue_of(project).to_dicts()))
    define(project, sheet(), training_sheet(), training_sheet("again"), template(), ACCESS)
    calls = provider.calls
    assert project("run", "again").code in (0, 5)
    assert provider.calls == calls
    audit = project.table("records", "auto_approvals")
    assert audit.select("training_sheet").unique().to_series().to_list() == ["again"]
    assert audit.height == 6
    assert project("run", "again").code in (0, 5)
    assert project.table("records", "auto_approvals").equals(audit)
    whole = project.table("label", "labelset_coverage")
    assert whole.select("label_type", "items", "live", "share").rows() == [("team", 6, 6, 1.0)]


def test_a_label_counts_once_a_second_person_approved_it(project: Project, provider: ScriptedProvider) -> None:
    start(project, 2, review={"two_persons": True})
    row = queue_of(project).to_dicts()[0]
    take(project, say(row, "edit", "bob", label_data={"team": "access"}))
    (waiting,) = queue_of(project).filter(pl.col("need") == "second_person").to_dicts()
    assert (waiting["item_ref"], waiting["response"]) == (row["item_ref"], '{"team":"access"}')
    assert waiting["waits_for"] == "somebody other than bob"
    take(project, say(waiting, "approve", "bob", 1))  # one's own word twice is one word
    assert queue_of(project)["need"].to_list() == ["second_person", "coverage"]
    take(project, say(waiting, "approve", "eve", 2))
    pairs = project.table("label", "labeled_pairs").filter(pl.col("item_ref") == row["item_ref"])
    assert pairs.select("status", "response", "reviewed_by").rows() == [("labeled", '{"team":"access"}', "eve")]
    assert queue_of(project)["need"].to_list() == ["coverage"]


def test_a_stale_label_comes_back_with_the_columns_that_changed_and_revives(started: Project) -> None:
    project = started
    row = queue_of(project).to_dicts()[0]
    take(project, say(row, "approve"))
    shown = pl.when(pl.col("ticket") == row["item_ref"]).then(pl.lit("Something else")).otherwise("subject")
    put(project, tickets(6).with_columns(shown.alias("subject")))
    assert project("run", "drafted").code in (0, 5)
    (stale,) = queue_of(project).filter(pl.col("need") == "stale").to_dicts()
    assert stale["detail"] == "the label of bob is stale: subject changed"
    put(project, tickets(6))
    assert project("run", "drafted").code in (0, 5)
    assert queue_of(project).filter(pl.col("need") == "stale").is_empty()


def test_a_run_takes_in_what_waits_where_no_daemon_does(started: Project) -> None:
    project = started
    row, other, *_ = queue_of(project).to_dicts()
    receive(project.workbench, [say(row, "approve"), say(other, "approve", "mallory")], "files")
    ran = project("run", "drafted")
    assert ran.code in (0, 5)
    assert "mallory may not approve" in ran.err
    labeled = project.table("label", "labeled_pairs").filter(pl.col("status") == "labeled")
    assert labeled["item_ref"].to_list() == [row["item_ref"]]


@pytest.fixture
def instance() -> Any:
    with dg.DagsterInstance.ephemeral() as made:
        yield made


def test_the_sensor_takes_what_lies_in_the_inbox_and_announces_it_once(
    started: Project, instance: dg.DagsterInstance
) -> None:
    project = started
    from workbench_pipelines.defs.label.sensors import take_reviews

    def look(cursor: str | None) -> dg.SensorResult:
        context = dg.build_sensor_context(instance, cursor=cursor, resources={"workbench": project.workbench})
        result = take_reviews(context)
        assert isinstance(result, dg.SensorResult)
        return result

    assert look(None).asset_events == []
    receive(project.workbench, [say(queue_of(project).to_dicts()[0], "approve")], "page")
    found = look(None)
    (event,) = found.asset_events
    assert (event.asset_key.to_user_string(), event.partition) == ("label/decisions", "tickets")
    assert project.workbench.decisions().height == 1
    assert look(found.cursor).asset_events == []
    (again,) = look(None).asset_events  # a lost cursor announces the same version
    assert again.tags == event.tags
