"""A process of its own that publishes a Collection's pairs and is killed where it is told to.

python -m workbench_pipelines_tests.publish_program COLLECTION POINT
"""

from __future__ import annotations

import os
import signal
import sys
from types import SimpleNamespace
from typing import Any

from workbench_pipelines import exporting
from workbench_pipelines.clients import export_folder, export_pointer
from workbench_pipelines.settings import settings_from
from workbench_pipelines.workbench import Workbench


def die(*given: Any, **named: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


POINTS: dict[str, tuple[Any, str, Any]] = {
    "written": (export_folder, "verify_export", die),
    "verified": (exporting, "audit_export", die),
    "audited": (export_folder, "to_disk", die),
    "renamed": (exporting, "record_export", die),
    "drafted": (exporting, "version_row", die),
    "published": (exporting, "_settle", die),
    "members": (export_pointer, "os", SimpleNamespace(replace=die)),
}
"""Where it dies: as the next thing begins."""


def main() -> None:
    name, point = sys.argv[1:3]
    setattr(*POINTS[point])
    workbench = Workbench(settings_from(os.environ))
    publish(workbench, name)


def publish(workbench: Workbench, name: str) -> int:
    """The version that a Collection's pairs in the lake are published as."""
    collection = workbench.catalog().collection(name)
    members = [member.training_sheet for member in collection.spec.members]
    pairs = workbench.lake.read("label", "labeled_pairs", partition={"training_sheet": members})
    return int(exporting.publish_export(workbench, collection, pairs).figures["export_version"])


if __name__ == "__main__":
    main()
