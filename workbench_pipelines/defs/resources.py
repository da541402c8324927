"""What the assets reach the world through. The only reader of the environment among the rooms."""

from __future__ import annotations

import os

import dagster as dg

from workbench_pipelines.defs.io_manager import LakeIOManager
from workbench_pipelines.defs.storage import open_lake
from workbench_pipelines.settings import settings_from
from workbench_pipelines.workbench import Workbench


def workbench_from_environment() -> Workbench:
    """The project that the environment names."""
    settings = settings_from(os.environ)
    return Workbench(settings, open_lake(settings.lake))


WORKBENCH = workbench_from_environment()
CATALOG = WORKBENCH.catalog()
"""The definitions at the time the code location was loaded: they make the partition sets."""


@dg.definitions
def resources() -> dg.Definitions:
    return dg.Definitions(
        resources={"workbench": WORKBENCH, "io_manager": LakeIOManager(WORKBENCH.lake)},
        executor=dg.in_process_executor,
    )
