"""What every test finds: no network, a quiet Great Expectations, time for examples, and a project to drive.

Projects of tests lie in memory where there is some: Dagster brings each of its events to the disk, a thousand in a run.
"""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

from hypothesis import HealthCheck, settings

from workbench_pipelines_tests.project_world import project

__all__ = ["project"]

# How long an example takes says how busy the machine is: speed is what the benchmarks look at.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

IN_MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 8 * 2**30  # the projects of a whole run of the suite take a quarter of it


def pytest_configure(config: pytest.Config) -> None:
    """Puts temporary folders into memory, unless `--basetemp` names another place, and lets Dagster keep its connections."""
    _keep_engines()
    if hasattr(config, "workerinput") or config.option.basetemp is not None or not IN_MEMORY.is_dir():
        return
    if shutil.disk_usage(IN_MEMORY).free >= ENOUGH_BYTES:
        config.option.basetemp = tempfile.mkdtemp(prefix="workbench-tests-", dir=IN_MEMORY)


def pytest_unconfigure(config: pytest.Config) -> None:
    chosen = str(config.option.basetemp or "")
    if not hasattr(config, "workerinput") and chosen.startswith(f"{IN_MEMORY}/workbench-tests-"):
        shutil.rmtree(chosen, ignore_errors=True)


def _keep_engines() -> None:
    """Dagster makes a new SQLAlchemy engine for every event, a quarter of a run's time; one a database does the same."""
    from dagster._core.storage.event_log.sqlite import sqlite_event_log
    from dagster._core.storage.runs.sqlite import sqlite_run_storage

    make = sqlite_event_log.create_engine
    engines: dict[str, Any] = {}

    def kept(url: str, **options: Any) -> Any:
        if url not in engines:
            engines[url] = make(url, **options)
        return engines[url]

    for storage in (sqlite_event_log, sqlite_run_storage):
        storage.create_engine = kept  # type: ignore[attr-defined]
