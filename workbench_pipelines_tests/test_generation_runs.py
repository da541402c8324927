"""What a person pays when a source changes, and when a run is cancelled from the UI: through the real command line and daemon."""

from __future__ import annotations

import time
from collections.abc import Callable

import dagster as dg
import polars as pl
import pytest

from workbench_pipelines.clients.scripted_provider import Reply, ScriptedProvider
from workbench_pipelines.launching import dagster_instance
from workbench_pipelines_tests.daemon_world import BIN, command, daemon, keep_state_in
from workbench_pipelines_tests.project_world import Project, forget_definitions
from workbench_pipelines_tests.ticket_world import define, provider, put, sheet, template, tickets, training_sheet

__all__ = ["provider"]

BACKFILL_OF_THE_UI = """mutation { launchPartitionBackfill(backfillParams: {
  assetSelection: [{path: ["generate", "generated_pairs"]}], partitionNames: ["drafted"]
}) { __typename } }"""
PATIENCE_S = 120.0


@pytest.mark.parametrize("count", [200, pytest.param(1000, marks=pytest.mark.chaos)])
def test_seven_changed_items_are_seven_calls(project: Project, provider: ScriptedProvider, count: int) -> None:
    rows = tickets(count)
    put(project, rows)
    define(project, sheet(), training_sheet(), template())
    assert project("run", "drafted", "--json").json["llm_calls"] == count
    before = project.table("generate", "generated_pairs")
    edited = [f"T-{number:03d}" for number in range(count // 10, count * 8 // 10, count // 10)]
    is_edited = pl.col("ticket").is_in(edited)
    subject = pl.when(is_edited).then(pl.col("subject") + ", again").otherwise("subject")
    put(project, rows.with_columns(subject.alias("subject")).sample(fraction=1.0, shuffle=True, seed=1))
    ran = project("run", "drafted", "--json").json
    assert (ran["llm_calls"], ran["store_hits"]) == (7, count - 7)
    assert provider.calls == count + 7
    after = project.table("generate", "generated_pairs")
    kept = ["pair_id", "item_ref", "request_hash"]
    moved = after.select(kept).join(before.select(kept), on=kept, how="anti")
    assert sorted(moved["item_ref"]) == edited
    assert after["pair_id"].to_list() == before["pair_id"].to_list()


@pytest.mark.daemon
def test_a_run_that_is_cancelled_from_the_ui_ends_and_has_lost_nothing(
    project: Project, provider: ScriptedProvider
) -> None:
    provider.answer_by(lambda _: Reply('{"team": "other"}', latency_s=0.2))
    put(project, tickets(1000))
    define(project, sheet(), training_sheet(), template())
    keep_state_in(project.home)
    with dagster_instance(project.home) as instance, daemon(project):
        make_the_prompts(instance)
        command(project, str(BIN / "dagster-graphql"), "-w", "workspace.yaml", "-t", BACKFILL_OF_THE_UI)
        wait_until(lambda: provider.calls >= 100)
        (run,) = [run for run in instance.get_runs() if not run.is_finished]
        # What the UI's "Terminate" does.
        assert instance.run_coordinator is not None
        assert instance.run_coordinator.cancel_run(run.run_id)
        wait_until(lambda: all(one.is_finished for one in instance.get_runs()))
        ended = instance.get_run_by_id(run.run_id)
        assert ended is not None
        assert ended.status == dg.DagsterRunStatus.CANCELED
    calls = provider.calls
    assert calls < 1000
    assert project.table("records", "requests").height == calls
    assert project("run", "drafted", "--json").json["llm_calls"] == 1000 - calls


def make_the_prompts(instance: dg.DagsterInstance) -> None:
    forget_definitions()
    from workbench_pipelines.definitions import definitions

    defs = definitions()
    for job, partition in (("templates", "team"), ("sheets", "tickets")):
        assert defs.resolve_job_def(job).execute_in_process(instance=instance, partition_key=partition).success
    prompts = defs.resolve_job_def("training_sheets").get_subset(
        asset_selection={dg.AssetKey(["generate", "rendered_prompts"])}
    )
    assert prompts.execute_in_process(instance=instance, partition_key="drafted").success


def wait_until(true: Callable[[], bool]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.1)
