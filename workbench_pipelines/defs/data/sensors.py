"""What asks for a snapshot when files arrive."""

import json
import time

import dagster as dg

from workbench_pipelines.clients.file_intake import FileIntake
from workbench_pipelines.defs.jobs import SHEETS
from workbench_pipelines.defs.partitions import PARTITIONS
from workbench_pipelines.errors import WorkbenchError
from workbench_pipelines.identity import digest
from workbench_pipelines.workbench import Workbench

LOOK_EVERY_S = 30
# Whoever copies files into the folder is done with one that was not written to for so long.
SETTLED_S = 10


@dg.sensor(job=SHEETS, minimum_interval_seconds=LOOK_EVERY_S, default_status=dg.DefaultSensorStatus.RUNNING)
def take_new_files(context: dg.SensorEvaluationContext, workbench: dg.ResourceParam[Workbench]) -> dg.SensorResult:
    """Asks for the snapshot of each Sheet whose folder holds files that were not taken, or whose items were deleted or
    restored since the last one that was asked for.

    The cursor remembers how each folder looked, so that nothing is read while nothing changes, and which run was asked for;
    the run key is made of the contents that wait, so that a tick that is repeated, or a cursor that was lost, asks for
    nothing twice. A file that is renamed, or copied, was taken. Files that are still being written are left for a later look.
    """
    kept = _remembered(context.cursor)
    now: dict[str, dict[str, str]] = {}
    due: list[dg.RunRequest] = []
    for name, intake in _intakes(workbench).items():
        before = kept.get(name, {})
        try:
            now[name] = _look(name, intake, before)
        except WorkbenchError as error:
            # A file that went away in between, or can not be read: the next look, or the snapshot, says more.
            context.log.warning(error.line)
            now[name] = before
        if now[name].get("asked", "") != before.get("asked", ""):
            due.append(dg.RunRequest(run_key=now[name]["asked"], partition_key=name))
    cursor = json.dumps(now, sort_keys=True)
    if not due:
        return dg.SensorResult(skip_reason="no folder holds files that are still to be taken", cursor=cursor)
    return dg.SensorResult(run_requests=due, cursor=cursor)


def _look(name: str, intake: FileIntake, before: dict[str, str]) -> dict[str, str]:
    """How a folder looks (`seen`), the last deletion or restoring (`marked`), and the key of the last run asked for."""
    files = [one for one in intake.folder.listing().files if time.time() - one.modified_ns / 1e9 >= SETTLED_S]
    marked = intake.last_mark()
    seen = digest([[[one.name, one.bytes, str(one.modified_ns)] for one in files], marked])
    asked = before.get("asked", "")
    if seen != before.get("seen"):
        waiting = sorted(content for _, content in intake.waiting(files))
        if waiting or marked != before.get("marked", ""):
            asked = f"{name}:{digest([waiting, marked])}"
    return {"seen": seen, "marked": marked, "asked": asked}


def _intakes(workbench: Workbench) -> dict[str, FileIntake]:
    catalog = workbench.catalog()
    # A Sheet that was defined since the code location was loaded has no partition yet.
    known = set(PARTITIONS.sheet.get_partition_keys())
    found: dict[str, FileIntake] = {}
    for name in sorted(known & set(catalog.names("Sheet"))):
        try:
            sheet = catalog.sheet(name)
            if sheet.spec.intake is not None:
                found[name] = workbench.intake_of(sheet)
        except WorkbenchError:
            continue  # a broken Sheet, or a folder that is not there: its partition fails with its own line
    return found


def _remembered(cursor: str | None) -> dict[str, dict[str, str]]:
    """What the last look left; nothing where somebody wrote something else there."""
    try:
        kept = json.loads(cursor or "{}")
    except ValueError:
        return {}
    return {str(name): one for name, one in kept.items() if isinstance(one, dict)} if isinstance(kept, dict) else {}
