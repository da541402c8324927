"""The only entry point: every room of the graph, its checks, jobs, schedules, sensors and resources."""

from pathlib import Path

import dagster as dg


@dg.definitions
def definitions() -> dg.Definitions:
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
