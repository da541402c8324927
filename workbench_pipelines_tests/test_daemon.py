"""The daemon really running, as the README starts it: backfills are worked off, and feedback leads to one retrain by itself."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import polars as pl
import pytest
import yaml

from workbench_pipelines.launching import dagster_instance, run_job
from workbench_pipelines.settings import CHECKOUT
from workbench_pipelines_tests.loop_world import corrections, plant
from workbench_pipelines_tests.project_world import Project, forget_definitions

BIN = Path(sys.executable).parent
# Runs start as processes of their own; on a busy machine each takes its time.
PATIENCE_S = 240


def keep_state_in(home: Path) -> None:
    """The instance of the checkout, with its state in another folder."""
    text = (CHECKOUT / "dagster.yaml").read_text()
    (home / "dagster.yaml").write_text(text.replace(".workbench/dagster", str(home / "state")))


def readme_line(start: str) -> list[str]:
    """The command of the README that starts like this, with the programs of the environment the tests run in."""
    lines = re.findall(rf"^\.venv/bin/{re.escape(start)}.*$", (CHECKOUT / "README.md").read_text(), re.MULTILINE)
    assert lines, f"the README shows no {start}"
    program, *arguments = lines[0].split()
    return [str(BIN / Path(program).name), *arguments]


def environment(project: Project) -> dict[str, str]:
    return {**os.environ, **project.environ, "GRPC_VERBOSITY": "ERROR"}


def command(project: Project, *arguments: str) -> str:
    """Runs a program in the checkout, as a person would."""
    done = subprocess.run(
        arguments, cwd=CHECKOUT, env=environment(project), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@contextmanager
def daemon(project: Project) -> Iterator[Path]:
    """The daemon in the background; gives its log, and ends it by its process id."""
    log = project.folder / "daemon.log"
    with log.open("w") as output:
        process = subprocess.Popen(
            readme_line("dagster-daemon run"),
            cwd=CHECKOUT,
            env=environment(project),
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            # Where the tests were started in the background SIGINT is ignored, and Dagster would take that over.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        try:
            yield log
        finally:
            process.send_signal(signal.SIGINT)
            try:
                process.wait(30)
            finally:
                if process.poll() is None:
                    process.kill()
                    process.wait()


def wait_until(true: Callable[[], bool], what: str, log: Path) -> None:
    until = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < until, f"waited in vain until {what}:\n{log.read_text()[-6000:]}"
        time.sleep(0.5)


def all_done(instance: dg.DagsterInstance) -> bool:
    return all(run.is_finished for run in instance.get_runs())


def backfills(instance: dg.DagsterInstance) -> set[str]:
    return {backfill.status.value for backfill in instance.get_backfills()}


@pytest.mark.daemon
def test_the_daemon_works_backfills_off_and_retrains_once(project: Project) -> None:
    plant(project)
    keep_state_in(project.home)
    second = yaml.safe_load((project.folder / "templates/iris_species.yaml").read_text())
    second["metadata"]["name"] = "iris_colour"
    second["spec"]["label_type"] = "iris_colour"
    project.write("templates/second.yaml", yaml.safe_dump(second))
    marks = [time.monotonic()]
    def mark(what):
        marks.append(time.monotonic()); print(what, round(marks[-1]-marks[-2], 1), flush=True)
    assert project("run").code == 0
    mark("run")
    with dagster_instance(project.home) as instance:
        print(command(project, *readme_line("dagster job backfill")))
        mark("backfill cli")
        with daemon(project) as log:
            wait_until(lambda: backfills(instance) == {"COMPLETED_SUCCESS"} and all_done(instance), "backfills are done", log)
            mark("backfill done")
            project("feedback", "import", str(corrections(project, range(20), "virginica")))
            project("feedback", "approve")
            mark("approved")
            runs = lambda: instance.get_runs(dg.RunsFilter(job_name="collections", tags={"dagster/sensor_name": "retrain_on_feedback"}))
            wait_until(lambda: bool(runs()), "asked", log)
            mark("asked")
            wait_until(lambda: all(run.is_finished for run in runs()) and all_done(instance), "trained", log)
            mark("trained")
            time.sleep(25)
            for r in reversed(instance.get_runs()): print(r.job_name, r.status, {k:v for k,v in r.tags.items() if not k.startswith('.')})
        mark("stopped")
    print(log.read_text())
    print(project.table("records","export_versions"), project.table("records","model_training_lineage"))
