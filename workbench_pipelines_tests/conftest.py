"""What every test finds: no network, a quiet Great Expectations, time for examples, and a project to drive.

Projects of tests lie in memory where there is some: Dagster brings each of its events to the disk, a thousand in a run.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")

from hypothesis import HealthCheck, settings

from workbench_pipelines_tests.project_world import project
from workbench_pipelines_tests.shared_start import (
    share_component_schemas,
    share_dagster_databases,
    share_mlflow_databases,
)

__all__ = ["project"]

# How long an example takes says how busy the machine is: speed is what the benchmarks look at.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")

IN_MEMORY = Path("/dev/shm")
ENOUGH_BYTES = 8 * 2**30  # the projects of a whole run of the suite take a quarter of it


def pytest_configure(config: pytest.Config) -> None:
    """Puts temporary folders into memory, unless `--basetemp` names another place, and keeps bytecode."""
    _keep_bytecode(config)
    if hasattr(config, "workerinput") or config.option.basetemp is not None or not IN_MEMORY.is_dir():
        return
    if shutil.disk_usage(IN_MEMORY).free >= ENOUGH_BYTES:
        config.option.basetemp = tempfile.mkdtemp(prefix="workbench-tests-", dir=IN_MEMORY)


def pytest_unconfigure(config: pytest.Config) -> None:
    chosen = str(config.option.basetemp or "")
    if not hasattr(config, "workerinput") and chosen.startswith(f"{IN_MEMORY}/workbench-tests-"):
        shutil.rmtree(chosen, ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def shared_start(tmp_path_factory: pytest.TempPathFactory) -> None:
    """What is the same for each project is made once in each process."""
    templates = tmp_path_factory.mktemp("databases")
    share_dagster_databases(templates)
    share_mlflow_databases(templates)
    share_component_schemas()


def _keep_bytecode(config: pytest.Config) -> None:
    """Where Python may leave no bytecode beside the sources, it lies with pytest's own cache.

    Tests that start programs, and the rooms of the graph that each project imports anew, would compile everything again.
    """
    cache = getattr(config, "cache", None)
    if sys.dont_write_bytecode and cache is not None:
        os.environ["PYTHONPYCACHEPREFIX"] = sys.pycache_prefix = str(cache.mkdir("bytecode"))
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        sys.dont_write_bytecode = False
