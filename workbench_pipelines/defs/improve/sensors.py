"""What asks for a retrain."""

import json

import dagster as dg

from workbench_pipelines.defs.jobs import COLLECTIONS
from workbench_pipelines.errors import WorkbenchError
from workbench_pipelines.feedback_import import feedback_rows, read_inbox
from workbench_pipelines.retraining import due_retrains
from workbench_pipelines.workbench import Workbench

CHECK_EVERY_S = 30


@dg.sensor(job=COLLECTIONS, minimum_interval_seconds=CHECK_EVERY_S, default_status=dg.DefaultSensorStatus.RUNNING)
def retrain_on_feedback(
    context: dg.SensorEvaluationContext, workbench: dg.ResourceParam[Workbench]
) -> dg.SensorResult | dg.SkipReason:
    """Asks for a Collection's export, model and evaluation once enough new approved corrections reached its pairs.

    The cursor holds the feedback that earlier requests took in; the run key is made of the feedback itself, so that a tick
    that is repeated after a crash asks for nothing twice.
    """
    if not workbench.lake.exists("label", "labeled_pairs"):
        return dg.SkipReason("no pair is labeled yet")
    counted = json.loads(context.cursor) if context.cursor else {}
    members, thresholds = _collections(workbench)
    due = due_retrains(
        feedback_rows(workbench, read_inbox(workbench)),
        workbench.lake.read("label", "labeled_pairs"),
        members=members,
        thresholds=thresholds,
        counted=counted,
    )
    if not due:
        return dg.SkipReason("no Collection has enough new approved corrections")
    requests = [
        dg.RunRequest(
            run_key=one.run_key,
            partition_key=one.collection,
            tags={"workbench/cause": f"{len(one.feedback_ids)} approved corrections"},
        )
        for one in due
    ]
    taken = {one.collection: sorted({*counted.get(one.collection, ()), *one.feedback_ids}) for one in due}
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(counted | taken, sort_keys=True))


def _collections(workbench: Workbench) -> tuple[dict[str, list[str]], dict[str, int]]:
    """The members and thresholds of the Collections that train a model."""
    catalog = workbench.catalog()
    members: dict[str, list[str]] = {}
    thresholds: dict[str, int] = {}
    for name in catalog.collections():
        try:
            spec = catalog.collection(name).spec
        except WorkbenchError:
            continue  # a broken Collection fails with its own line when it is run
        if spec.trainers:
            members[name] = [member.training_sheet for member in spec.members]
            thresholds[name] = spec.retrain.min_corrections
    return members, thresholds
