"""The programs of the README, run in the checkout on a project of the test's own."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from workbench_pipelines.settings import CHECKOUT
from workbench_pipelines_tests.project_world import Project

BIN = Path(sys.executable).parent


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
    assert "Error" not in done.stdout, done.stdout
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
                process.wait(120)
            finally:
                # The code servers it started, and itself where it did not go: a process group of our own.
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
