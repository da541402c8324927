"""What looks after the batches that providers work on."""

import json

import dagster as dg

from workbench_pipelines import batch_collecting
from workbench_pipelines.clients.batch_ledger import BatchLedger
from workbench_pipelines.defs.jobs import ONLY_COLLECTS_TAG, TRAINING_SHEETS
from workbench_pipelines.defs.partitions import PARTITIONS
from workbench_pipelines.identity import digest
from workbench_pipelines.workbench import Workbench

# A batch takes minutes to a day.
LOOK_EVERY_S = 60
# A tick has a minute, of which a full batch takes its part; the next tick goes on.
COLLECTED_A_LOOK = 1


@dg.sensor(job=TRAINING_SHEETS, minimum_interval_seconds=LOOK_EVERY_S, default_status=dg.DefaultSensorStatus.RUNNING)
def collect_batches(context: dg.SensorEvaluationContext, workbench: dg.ResourceParam[Workbench]) -> dg.SensorResult:
    """Collects batches that have ended, and asks for the TrainingSheets whose questions are all answered then.

    Such a run finds the answers in the store. It hands in what is asked once more and what expired, and asks nothing
    again that was answered or refused. The cursor remembers which runs were asked for; the run key is made of the
    batches themselves, so that a tick that is repeated, or a cursor that was lost, asks for nothing twice.
    """
    for looked in batch_collecting.collect_batches(workbench, at_most=COLLECTED_A_LOOK):
        context.log.info(looked.line)
    asked = _asked_for(context.cursor)
    due = {name: key for name, key in _run_keys(workbench).items() if asked.get(name) != key}
    cursor = json.dumps({**asked, **due}, sort_keys=True)
    if not due:
        return dg.SensorResult(
            skip_reason="no TrainingSheet has all its batches back since the last look", cursor=cursor
        )
    requests = [
        dg.RunRequest(run_key=key, partition_key=name, tags={ONLY_COLLECTS_TAG: "true"}) for name, key in due.items()
    ]
    return dg.SensorResult(run_requests=requests, cursor=cursor)


def _run_keys(workbench: Workbench) -> dict[str, str]:
    """A run for each TrainingSheet that has batches back and waits for none, by which they are.

    One that was never taken brought nothing: the run that handed it in has failed, and a person goes on from there.
    """
    # A TrainingSheet that was defined since the code location was loaded has no partition yet.
    known = set(PARTITIONS.training_sheet.get_partition_keys())
    keys = {}
    for name, batches in BatchLedger(workbench.lake).concerned().items():
        back = [batch.submission_id for batch in batches if batch.answers is not None]
        if back and name in known and not any(batch.is_open for batch in batches):
            keys[name] = f"{name}:{digest(back)}"
    return keys


def _asked_for(cursor: str | None) -> dict[str, str]:
    """The run key that was asked for last, by TrainingSheet; none where somebody wrote something else there."""
    try:
        kept = json.loads(cursor or "{}")
    except ValueError:
        return {}
    return {str(name): str(key) for name, key in kept.items()} if isinstance(kept, dict) else {}
