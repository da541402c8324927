"""What asks for a retrain."""

from collections.abc import Iterable

import dagster as dg
from dagster import DagsterEventType

from workbench_pipelines.defs.automation import LOOK_EVERY_S
from workbench_pipelines.defs.jobs import COLLECTIONS
from workbench_pipelines.defs.partitions import PARTITIONS
from workbench_pipelines.errors import WorkbenchError
from workbench_pipelines.feedback_import import feedback_rows, read_inbox
from workbench_pipelines.identity import digest
from workbench_pipelines.retraining import End, Memory, due_retrains
from workbench_pipelines.workbench import Workbench

TRAINED_MODEL = dg.AssetKey(["train", "trained_model"])
RUN_KEY_TAG = "dagster/run_key"
# What a look depends on: while none of them changed, there is nothing to find.
WATCHED = (
    ("monitor", "feedback_inbox"),
    ("label", "decisions"),
    ("label", "canonical_labels"),
    ("label", "labeled_pairs"),
)
PAIR_COLUMNS = ("training_sheet", "sheet", "item_ref", "label_type", "labeling_mode", "status", "response")


@dg.sensor(job=COLLECTIONS, minimum_interval_seconds=LOOK_EVERY_S, default_status=dg.DefaultSensorStatus.RUNNING)
def retrain_on_feedback(context: dg.SensorEvaluationContext, workbench: dg.ResourceParam[Workbench]) -> dg.SensorResult:
    """Asks for a Collection's export, model and evaluation once enough new approved corrections reached its pairs.

    The cursor remembers which corrections are behind a model and which retrain was asked for; the run key is made of the
    corrections themselves, so that a tick that is repeated, or a cursor that was lost, asks for nothing twice. Corrections
    of a retrain that made no model go in with the next one.
    """
    memory = Memory.parse(context.cursor)
    ends = {one.run_key: _end_of(context.instance, one.run_key) for one in memory.asked.values()}
    memory = memory.settled(ends)
    members, thresholds = _collections(workbench)
    seen = digest([_versions(workbench), members, thresholds, {key: end.value for key, end in ends.items()}])
    if seen == memory.seen:
        return dg.SensorResult(skip_reason="nothing changed since the last look", cursor=memory.text)
    due = []
    if all(workbench.lake.exists(*table) for table in WATCHED):
        due = due_retrains(
            feedback_rows(workbench, read_inbox(workbench)),
            workbench.lake.scan("label", "labeled_pairs").select(PAIR_COLUMNS).collect(),
            workbench.decisions(),
            members=members,
            thresholds=thresholds,
            memory=memory,
            ends=ends,
        )
    memory = Memory(memory.taken, memory.asked, seen).asking(due)
    if not due:
        return dg.SensorResult(
            skip_reason="no Collection has enough new approved corrections in its pairs", cursor=memory.text
        )
    requests = [
        dg.RunRequest(
            run_key=one.run_key,
            partition_key=one.collection,
            tags={"workbench/cause": f"{len(one.feedback_ids)} approved corrections"},
        )
        for one in due
    ]
    return dg.SensorResult(run_requests=requests, cursor=memory.text)


def _end_of(instance: dg.DagsterInstance, run_key: str) -> End:
    """How the runs that were started for a retrain ended, retries after a crash among them."""
    runs = instance.get_runs(dg.RunsFilter(tags={RUN_KEY_TAG: run_key}))
    if any(not run.is_finished for run in runs):
        return End.RUNNING
    return End.TRAINED if any(_trained(instance, run.run_id) for run in runs) else End.FAILED


def _trained(instance: dg.DagsterInstance, run_id: str) -> bool:
    """Whether a run made its model; one that the baseline beat is a model too."""
    made: Iterable[dg.EventLogRecord] = instance.get_records_for_run(
        run_id, of_type=DagsterEventType.ASSET_MATERIALIZATION
    ).records
    return any(record.asset_key == TRAINED_MODEL for record in made)


def _versions(workbench: Workbench) -> list[int | None]:
    lake = workbench.lake
    return [lake.version(*table) if lake.exists(*table) else None for table in WATCHED]


def _collections(workbench: Workbench) -> tuple[dict[str, list[str]], dict[str, int]]:
    """The members and thresholds of the Collections that train a model."""
    catalog = workbench.catalog()
    members: dict[str, list[str]] = {}
    thresholds: dict[str, int] = {}
    # A Collection that was defined since the code location was loaded has no partition yet.
    for name in sorted(set(catalog.collections()) & set(PARTITIONS.collection.get_partition_keys())):
        try:
            spec = catalog.collection(name).spec
        except WorkbenchError:
            continue  # a broken Collection fails with its own line when it is run
        if spec.trainers:
            members[name] = [member.training_sheet for member in spec.members]
            thresholds[name] = spec.retrain.min_corrections
    return members, thresholds
