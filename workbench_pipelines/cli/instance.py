"""The Dagster instance and the graph, opened only by the commands that need them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from workbench_pipelines.settings import CHECKOUT
from workbench_pipelines.workbench import Workbench


def announce(workbench: Workbench, table: Sequence[str], versions: Mapping[str, str]) -> None:
    """Tells Dagster which partitions of an external table changed, so that automation sees it."""
    if not versions:
        return
    from workbench_pipelines.launching import dagster_instance, report_arrival

    with dagster_instance(CHECKOUT) as instance:
        report_arrival(instance, table, versions)
