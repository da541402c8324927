"""Jobs, schedule, instance: what `dg launch`, a backfill and the daemon find, and what is left when a process is killed."""

from __future__ import annotations

import datetime as dt
import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from workbench_pipelines.clients.living_processes import ended, living
from workbench_pipelines.decisions import DECISIONS
from workbench_pipelines.errors import MissingPart
from workbench_pipelines.launching import dagster_instance, run_job
from workbench_pipelines.settings import CHECKOUT
from workbench_pipelines_tests.daemon_world import command, keep_state_in, readme_line
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.loop_world import NOON, corrections, plant
from workbench_pipelines_tests.project_world import Project, forget_definitions

RANGE = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")


def load() -> dg.Definitions:
    forget_definitions()
    from workbench_pipelines.definitions import definitions

    return definitions()


def test_the_line_of_the_readme_brings_one_partition_up_to_date(project: Project) -> None:
    drafted = make_document(
        "TrainingSheet",
        "iris_drafted",
        sheet="iris",
        template="iris_species",
        labeling_mode="existing_column",
        column="species",
    )
    plant(project, 20, drafted)
    keep_state_in(project.home)
    with dagster_instance(project.home) as instance:
        defs = load()
        for job, partition in (("templates", "iris_species"), ("sheets", "iris")):
            assert run_job(instance, defs, job, partition).failures == ()
        command(project, *readme_line("dg launch"))
        (run,) = instance.get_runs(dg.RunsFilter(job_name="training_sheets"))
    assert run.is_success
    assert run.tags["dagster/partition"] == "iris_drafted"
    assert set(project.table("label", "labeled_pairs")["training_sheet"]) == {"iris_drafted"}


def test_the_jobs_of_the_readme_are_the_jobs_there_are() -> None:
    readme = " ".join((CHECKOUT / "README.md").read_text().split())
    jobs = {job.name for job in load().resolve_all_job_defs() if not job.name.startswith("__")}
    assert "Jobs: " + ", ".join(f"`{name}`" for name in _in_order(jobs)) in readme


def _in_order(jobs: set[str]) -> list[str]:
    return sorted(jobs, key=["templates", "sheets", "stores", "training_sheets", "collections", "feedback_days"].index)


def test_every_sheet_is_taken_anew_each_night_once(project: Project) -> None:
    plant(project)
    load()
    from workbench_pipelines.defs.jobs import nightly_snapshots

    night = dt.datetime(2026, 1, 6, 3, tzinfo=dt.UTC)
    requests = nightly_snapshots(dg.build_schedule_context(scheduled_execution_time=night))
    assert [(one.run_key, one.partition_key) for one in requests] == [("2026-01-06:iris", "iris")]  # type: ignore[union-attr]


def test_a_range_in_one_run_that_changes_nothing_moves_nothing(project: Project) -> None:
    plant(project)
    text = (project.folder / "templates/iris_species.yaml").read_text()
    project.write("templates/again.yaml", text.replace("iris_species", "iris_again"))
    defs = load()
    job = defs.resolve_job_def("templates")
    asset = dg.AssetKey(["generate", "prompt_templates"])
    with dg.DagsterInstance.ephemeral() as instance:
        for partition in ("iris_again", "iris_species"):
            assert job.execute_in_process(instance=instance, partition_key=partition).success
        tags = dict(zip(RANGE, ("iris_again", "iris_species"), strict=True))
        assert job.execute_in_process(instance=instance, tags=tags).success
        records = instance.fetch_materializations(asset, limit=10).records
    said = [one.asset_materialization for one in records]
    assert len(said) == 4
    assert len({(one.tags or {})["dagster/data_version"] for one in said if one}) == 1


def test_a_rejected_pair_moves_on_though_it_changes_no_label(project: Project) -> None:
    plant(project)
    job = load().resolve_job_def("sheets")
    asset = dg.AssetKey(["label", "canonical_labels"])
    with dg.DagsterInstance.ephemeral() as instance:
        versions = []
        for decided in (None, "reject", None):
            if decided:
                row = {
                    "decision_id": "d",
                    "sheet": "iris",
                    "item_ref": "001",
                    "pair_id": "p",
                    "action": decided,
                    "at": NOON,
                }
                frame = pl.DataFrame([row], schema=DECISIONS)
                project.workbench.lake.append("label", "decisions", frame=frame, partition_by="sheet")
            assert job.execute_in_process(instance=instance, partition_key="iris").success
            made = instance.get_latest_materialization_event(asset)
            assert made is not None
            versions.append(made.asset_materialization.tags["dagster/data_version"])  # type: ignore[union-attr,index]
    assert versions[0] != versions[1] == versions[2]


@pytest.mark.parametrize("days", [("2026-01-05",), ("2026-01-04", "2026-01-06")], ids=["a day", "days in one run"])
def test_feedback_is_made_by_the_day(project: Project, days: tuple[str, ...]) -> None:
    plant(project)
    assert project("feedback", "import", str(corrections(project, range(3)))).code == 0
    tags = {"dagster/partition": days[0]} if len(days) == 1 else dict(zip(RANGE, days, strict=True))
    job = load().resolve_job_def("feedback_days")
    with dg.DagsterInstance.ephemeral() as instance:
        result = job.execute_in_process(instance=instance, tags=tags)
    assert [one.description for one in result.get_asset_check_evaluations()] == [
        "3 rows, 3 corrections without a pair"  # nothing was labeled in this project
    ]
    assert project.table("monitor", "feedback").height == 3


def test_feedback_from_before_the_first_day_is_kept(project: Project) -> None:
    plant(project)
    file = corrections(project, range(3), at=dt.datetime(2019, 5, 1, tzinfo=dt.UTC))
    assert project("feedback", "import", str(file), "--json").json["rows"] == 3
    assert project.table("monitor", "feedback_inbox").height == 3


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the instance of the checkout, as it is."""
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text((CHECKOUT / "dagster.yaml").read_text())
    return tmp_path


def test_the_instance_tries_crashes_again_and_failures_not(home: Path) -> None:
    with dagster_instance(home) as instance:
        assert instance.run_retries_enabled
        assert instance.run_retries_max_retries == 2
        assert instance.run_retries_retry_on_asset_or_op_failure is False
        assert instance.run_monitoring_enabled
        assert instance.run_monitoring_max_runtime_seconds == 86_400
        assert instance.get_settings("telemetry") == {"enabled": False}
        assert not instance.nux_enabled
        limits = instance.get_concurrency_config()
        assert limits.pool_config.default_pool_limit == 2
        assert limits.run_queue_config is not None
        assert limits.run_queue_config.tag_concurrency_limits == [
            {"key": "dagster/partition", "value": {"applyLimitPerUniqueValue": True}, "limit": 1}
        ]
        assert "retention" in (CHECKOUT / "dagster.yaml").read_text()


def test_the_instance_opens_without_a_warning_and_leaves_its_state_in_one_folder(home: Path) -> None:
    code = "import dagster as dg\nwith dg.DagsterInstance.get() as instance: instance.get_runs()"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=home, env={**os.environ, "DAGSTER_HOME": str(home)}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in home.iterdir()} == {"dagster.yaml", ".workbench"}


def test_a_command_leaves_nothing_where_it_is_started(
    home: Path, project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(project)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    with dagster_instance(home) as instance:
        assert run_job(instance, load(), "templates", "iris_species").failures == ()
    assert Path.cwd() == elsewhere
    assert list(elsewhere.iterdir()) == []


def test_a_home_that_is_no_folder_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "nowhere"))
    with pytest.raises(MissingPart, match=r"DAGSTER_HOME: there is no folder .*nowhere"), dagster_instance(tmp_path):
        pass


def test_a_process_lives_until_it_ends(tmp_path: Path) -> None:
    with living(tmp_path) as name:
        assert not ended(tmp_path, name)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "killed").touch()
    assert ended(tmp_path, "killed")
    assert not ended(tmp_path, "of another machine")


def test_commands_that_were_killed_hold_nothing_back(home: Path) -> None:
    from workbench_pipelines import launching

    with dagster_instance(home) as instance:
        processes = Path(instance.root_directory) / "processes"
        processes.mkdir(parents=True)
        for name in ("one", "two"):  # as many as the pool has places
            (processes / name).touch()
            tags = {launching.COMMAND_TAG: "run", launching.PROCESS_TAG: name}
            run = instance.create_run_for_job(
                dg.job(name="training_sheets")(lambda: None), tags=tags, status=dg.DagsterRunStatus.STARTED
            )
            instance.event_log_storage.initialize_concurrency_limit_to_default("llm")
            instance.event_log_storage.claim_concurrency_slot("llm", run.run_id, "generate__generated_pairs")
        with living(processes) as alive:
            tags = {launching.COMMAND_TAG: "run", launching.PROCESS_TAG: alive}
            other = instance.create_run_for_job(
                dg.job(name="sheets")(lambda: None), tags=tags, status=dg.DagsterRunStatus.STARTED
            )
            assert launching.end_abandoned_runs(instance) == 2
            assert instance.event_log_storage.get_concurrency_info("llm").active_slot_count == 0
            unfinished = [run.run_id for run in instance.get_runs() if not run.is_finished]
            assert unfinished == [other.run_id]
