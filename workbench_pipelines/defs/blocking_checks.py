"""Whether an asset's partitions may be read: what the newest blocking check said of their newest content.

Dagster keeps a step from running only inside the run in which the check failed. A later run reads the partition all the
same, so the IO manager asks here first. A check evaluation names its partition only where the check itself is
partitioned; in every other case its run does: by its partition, by its range of partitions (a single-run backfill), or
by having written the partition. A check that was planned in the run that wrote the partition and never came to an end
counts as failed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster import DagsterEventType, DagsterInvariantViolationError

from workbench_pipelines.errors import LakeError

_PAGE = 200
# The tags Dagster gives to a run of one partition, and to a run over a range of them.
_PARTITION = "dagster/partition"
_RANGE_START, _RANGE_END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


@dataclass(frozen=True)
class Materialization:
    """The newest time a partition (None: an unpartitioned asset) was written."""

    partition: str | None
    run_id: str
    storage_id: int
    timestamp: float


@dataclass(frozen=True)
class Verdict:
    """One execution of a check; `passed` is None where it was planned and never came to an end."""

    check: str
    run_id: str
    partition: str | None
    passed: bool | None
    timestamp: float
    target: int | None


def latest_materializations(
    instance: dg.DagsterInstance, asset: dg.AssetKey, keys: Sequence[str] | None
) -> dict[str | None, Materialization]:
    """The newest materialization of every key that has one; of the asset itself where `keys` is None."""
    if keys is None:
        found = instance.fetch_materializations(asset, limit=1).records
    else:
        newest = instance.event_log_storage.get_latest_storage_id_by_partition(
            asset, DagsterEventType.ASSET_MATERIALIZATION, set(keys)
        )
        ids = sorted(newest.values())
        found = [
            record
            for start in range(0, len(ids), _PAGE)
            for record in instance.fetch_materializations(
                dg.AssetRecordsFilter(asset_key=asset, storage_ids=ids[start : start + _PAGE]), limit=_PAGE
            ).records
        ]
    return {
        record.partition_key: Materialization(record.partition_key, record.run_id, record.storage_id, record.timestamp)
        for record in found
    }


def refuse_failed_partitions(context: dg.InputContext, written: Sequence[Materialization]) -> None:
    """Raise LakeError naming check, asset and partition where the newest blocking check of `written` did not pass."""
    checks = _blocking_checks(context)
    if not checks or not written:
        return
    written = sorted(written, key=lambda one: one.partition or "")
    runs = _Runs(context)
    since = min(runs.created(one.run_id, one.timestamp) for one in written)
    for check in checks:
        verdicts = list(_verdicts(context.instance, check, since))
        runs.load({verdict.run_id for verdict in verdicts})
        by_partition: dict[str | None, list[Verdict]] = {}
        for verdict in verdicts:
            by_partition.setdefault(verdict.partition or runs.partition(verdict.run_id), []).append(verdict)
        of_many = by_partition.get(None, [])
        for one in written:
            candidates = verdicts if one.partition is None else [*by_partition.get(one.partition, []), *of_many]
            about = [verdict for verdict in candidates if _is_about(verdict, one, runs)]
            ended = [verdict for verdict in about if verdict.passed is not None]
            last = max(ended or about, key=lambda verdict: verdict.timestamp, default=None)
            if last is not None and not last.passed:
                raise LakeError(_refusal(last, context.asset_key.to_user_string(), one.partition))


class _Runs:
    """The runs behind the verdicts: when they began, which partitions they were about, whether they go on."""

    def __init__(self, context: dg.InputContext) -> None:
        self._context = context
        self._records: dict[str, dg.RunRecord] = {}

    def load(self, run_ids: set[str]) -> None:
        wanted = sorted(run_ids - self._records.keys())
        for start in range(0, len(wanted), _PAGE):
            for record in self._context.instance.get_run_records(dg.RunsFilter(run_ids=wanted[start : start + _PAGE])):
                self._records[record.dagster_run.run_id] = record

    def created(self, run_id: str, otherwise: float) -> float:
        self.load({run_id})
        record = self._records.get(run_id)
        return min(record.create_timestamp.timestamp(), otherwise) if record else otherwise

    def ended(self, run_id: str) -> bool:
        return run_id not in self._records or self._records[run_id].dagster_run.is_finished

    def partition(self, run_id: str) -> str | None:
        """The one partition of the run; None where it has none, or several."""
        return self._tags(run_id).get(_PARTITION)

    def _tags(self, run_id: str) -> Mapping[str, str]:
        return self._records[run_id].dagster_run.tags if run_id in self._records else {}

    def covers(self, run_id: str, partition: str | None) -> bool:
        """Whether the run was about `partition`; a run without partitions was about all of them."""
        tags = self._tags(run_id)
        if partition is None:
            return True
        if _PARTITION in tags:
            return tags[_PARTITION] == partition
        if _RANGE_START not in tags:
            return True
        keys = self._context.asset_partitions_def.get_partition_keys(dynamic_partitions_store=self._context.instance)
        if not {tags[_RANGE_START], tags[_RANGE_END], partition} <= set(keys):
            return False
        return keys.index(tags[_RANGE_START]) <= keys.index(partition) <= keys.index(tags[_RANGE_END])


def _is_about(verdict: Verdict, written: Materialization, runs: _Runs) -> bool:
    """Whether the check looked at this content: same run, or a later look at this partition."""
    if verdict.partition not in (None, written.partition):
        return False
    if verdict.run_id == written.run_id:
        return verdict.passed is not None or runs.ended(verdict.run_id)
    if verdict.passed is None:
        return False
    if verdict.target == written.storage_id:
        return True
    if verdict.timestamp < written.timestamp or not runs.covers(verdict.run_id, written.partition):
        return False
    # A check that began before the partition was written again speaks of the older content.
    return verdict.target is None or verdict.target > written.storage_id


def _blocking_checks(context: dg.InputContext) -> list[dg.AssetCheckKey]:
    try:
        step = context.step_context
    except DagsterInvariantViolationError:  # an asset loaded outside a run, to look at it
        return []
    graph = step.job_def.asset_layer.asset_graph.source_asset_graph
    keys = [key for key in graph.asset_check_keys if key.asset_key == context.asset_key]
    return sorted((key for key in keys if graph.get_check_spec(key).blocking), key=lambda key: key.name)


def _verdicts(instance: dg.DagsterInstance, check: dg.AssetCheckKey, since: float) -> Iterator[Verdict]:
    """What the check said in runs planned at or after `since`, newest first."""
    cursor: int | None = None
    while True:
        page = instance.event_log_storage.get_asset_check_execution_history(check, limit=_PAGE, cursor=cursor)
        for record in page:
            if record.create_timestamp < since - 1:  # a database may keep whole seconds only
                return
            event = record.event.dagster_event if record.event else None
            if record.event is None or event is None:
                continue
            if event.event_type != DagsterEventType.ASSET_CHECK_EVALUATION:
                yield Verdict(check.name, record.run_id, record.partition, None, record.event.timestamp, None)
                continue
            said = event.asset_check_evaluation_data
            target = said.target_materialization_data.storage_id if said.target_materialization_data else None
            passed = said.passed or said.severity != dg.AssetCheckSeverity.ERROR
            yield Verdict(check.name, record.run_id, said.partition, passed, record.event.timestamp, target)
        if len(page) < _PAGE:
            return
        cursor = page[-1].id


def _refusal(verdict: Verdict, asset: str, partition: str | None) -> str:
    where = asset if partition is None else f"{asset} [{partition}]"
    again = f'dg launch --assets "{asset}"' + ("" if partition is None else f' --partition "{partition}"')
    if verdict.passed is None:
        return f"{where} is not read: its blocking check {verdict.check} never came to an end; run `{again}`"
    return f"{where} is not read: its blocking check {verdict.check} failed; mend the rows it names, then run `{again}`"
