"""The daemon really running, as the README starts it: backfills are worked off, and feedback leads to one retrain by itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import dagster as dg
import pytest

from workbench_pipelines.launching import dagster_instance
from workbench_pipelines_tests.daemon_world import BIN, command, daemon, keep_state_in, readme_line
from workbench_pipelines_tests.loop_world import corrections, plant
from workbench_pipelines_tests.project_world import Project, forget_definitions

RETRAIN = {"dagster/sensor_name": "retrain_on_feedback"}
# What the UI sends when somebody picks partitions of an asset and launches a backfill.
BACKFILL_OF_THE_UI = """mutation { launchPartitionBackfill(backfillParams: {
  assetSelection: [{path: ["generate", "prompt_templates"]}], partitionNames: ["iris_again", "iris_species"]
}) { __typename } }"""
# Runs start as processes of their own; on a busy machine each takes its time.
PATIENCE_S = 240


def runs_of(instance: dg.DagsterInstance, tags: dict[str, str]) -> Sequence[dg.DagsterRun]:
    return instance.get_runs(dg.RunsFilter(tags=tags))


def wait_until(true: Callable[[], bool], what: str, log: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < until, f"waited in vain until {what}:\n{log.read_text()[-6000:]}"
        time.sleep(0.5)


def looks(log: Path, sensor: str) -> int:
    """How often the daemon has asked a sensor and got an answer, less the time it may be asking now."""
    return max(0, log.read_text().count(f"Checking for new runs for sensor: {sensor}") - 1)


def wait_for_looks(count: int, log: Path, sensor: str) -> None:
    before = looks(log, sensor)
    wait_until(lambda: looks(log, sensor) >= before + count, f"{sensor} looked", log)


def make_the_first_export(instance: dg.DagsterInstance) -> None:
    """Everything up to the export, as it stood before the daemon came."""
    forget_definitions()
    from workbench_pipelines.definitions import definitions

    defs = definitions()
    for job, partition in (("templates", "iris_species"), ("sheets", "iris"), ("training_sheets", "measured")):
        assert defs.resolve_job_def(job).execute_in_process(instance=instance, partition_key=partition).success
    export = defs.resolve_job_def("collections").get_subset(asset_selection={dg.AssetKey(["train", "governed_export"])})
    assert export.execute_in_process(instance=instance, partition_key="iris").success


@pytest.mark.daemon
def test_the_daemon_works_backfills_off_and_retrains_once_by_itself(project: Project) -> None:
    plant(project)
    again = (project.folder / "templates/iris_species.yaml").read_text().replace("iris_species", "iris_again")
    project.write("templates/again.yaml", again)
    keep_state_in(project.home)
    ui = [str(BIN / "dagster-graphql"), "-w", "workspace.yaml", "-t", BACKFILL_OF_THE_UI]
    with dagster_instance(project.home) as instance:
        make_the_first_export(instance)
    with dagster_instance(project.home) as instance, daemon(project) as log:
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda line: command(project, *line), [readme_line("dagster job backfill"), ui]))
        wait_until(lambda: looks(log, "automation") > 0, "automation looked", log)

        feedback = str(corrections(project, range(20), "virginica"))
        assert project("feedback", "import", feedback, "--json").json["rows"] == 20
        assert project("feedback", "approve", "--json").json["rows"] == 20
        wait_until(lambda: bool(runs_of(instance, RETRAIN)), "a retrain is asked for", log)
        wait_until(lambda: all(run.is_finished for run in instance.get_runs()), "every run is done", log)

        assert project("feedback", "import", feedback, "--json").json["rows"] == 0
        assert project("feedback", "approve", "--json").json["rows"] == 0
        wait_for_looks(1, log, "retrain_on_feedback")

        runs = instance.get_runs()
        assert [run.status.value for run in runs if not run.is_success] == []
        assert [run.tags["dagster/partition"] for run in runs_of(instance, RETRAIN)] == ["iris"]
        (range_run,) = [run for run in runs if "dagster/asset_partition_range_start" in run.tags]
        assert range_run.tags["dagster/asset_partition_range_end"] == "iris_species"
        backfilled = [run for run in runs if run.job_name == "training_sheets" and "dagster/backfill" in run.tags]
        assert [run.tags["dagster/partition"] for run in backfilled] == ["measured"]

    assert project.table("records", "export_versions")["version"].sort().to_list() == [1, 2]
    assert project.table("records", "model_training_lineage")["export_version"].to_list() == [2]
    assert project.table("monitor", "feedback").height == 20
    behind = project("sql", "--query", "feedback_behind_model", "-p", "model=iris.forest/1", "--json").json
    assert len({row["feedback_id"] for row in behind}) == 20
