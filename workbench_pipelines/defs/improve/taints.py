"""What asks for a retrain where an export may not be used as it was any more."""

import json

import dagster as dg
import polars as pl

from workbench_pipelines.defs.automation import LOOK_EVERY_S
from workbench_pipelines.defs.jobs import COLLECTIONS
from workbench_pipelines.defs.partitions import PARTITIONS
from workbench_pipelines.export_taints import TAINTS, tainted_exports
from workbench_pipelines.exports import EXPORT_VERSIONS
from workbench_pipelines.identity import digest
from workbench_pipelines.tainting import EXPORT_TAINTS, open_taints, taint_line
from workbench_pipelines.workbench import Workbench

GOVERNED_EXPORT = dg.AssetKey(["train", "governed_export"])
CHECK = "exports_are_not_tainted"


@dg.sensor(job=COLLECTIONS, minimum_interval_seconds=LOOK_EVERY_S, default_status=dg.DefaultSensorStatus.RUNNING)
def retrain_on_taint(context: dg.SensorEvaluationContext, workbench: dg.ResourceParam[Workbench]) -> dg.SensorResult:
    """Asks for a new export, model and evaluation of a Collection whose newest export, or model, is tainted.

    The run key is made of the taints themselves: the same ones ask once, whatever becomes of the cursor. The check
    `exports_are_not_tainted` is told as well, for a Collection that nothing may be exported of any more runs no check.
    """
    last_seen, failed_before = _memory(context.cursor)
    seen = digest([_version(workbench, table) for table in (TAINTS, ("records", "export_versions"))])
    if seen == last_seen:
        return dg.SensorResult(skip_reason="nothing changed since the last look", cursor=context.cursor)
    taints = open_taints(workbench.record("export_taints", EXPORT_TAINTS))
    newest = _newest(workbench)
    in_use = {*newest.items(), *_behind_models(workbench)}
    asked, failed, evaluations = [], [], []
    for name in sorted(set(newest) & set(PARTITIONS.collection.get_partition_keys())):
        states = tainted_exports(workbench, name)
        wanted = [one["version"] for one in states if (name, one["version"]) in in_use]
        if wanted:
            keys = taints.filter((pl.col("collection") == name) & pl.col("version").is_in(wanted))
            content = digest(
                [list(row) for row in keys.select("version", "pair_id", "use", "at").sort("pair_id").rows()]
            )
            said = ", ".join(f"v{version}" for version in wanted)
            asked.append(
                dg.RunRequest(
                    run_key=f"{name}:taint:{content}",
                    partition_key=name,
                    tags={"workbench/cause": f"export {said} is tainted"},
                )
            )
        is_tainted = newest[name] in wanted
        if is_tainted:
            failed.append(name)
        if is_tainted != (name in failed_before):
            lines = "; ".join(taint_line(one) for one in states) or "what was prohibited is permitted again"
            evaluations.append(_evaluation(name, not is_tainted, lines))
    cursor = json.dumps({"seen": seen, "failed": failed}, sort_keys=True)
    if not asked:
        return dg.SensorResult(skip_reason="no export in use is tainted", cursor=cursor, asset_events=evaluations)
    return dg.SensorResult(run_requests=asked, cursor=cursor, asset_events=evaluations)


def _evaluation(collection: str, passed: bool, found: str) -> dg.AssetCheckEvaluation:
    return dg.AssetCheckEvaluation(
        asset_key=GOVERNED_EXPORT,
        check_name=CHECK,
        passed=passed,
        description=found,
        blocking=True,
        partition=collection,
    )


def _memory(cursor: str | None) -> tuple[str | None, list[str]]:
    """What the tables held at the last look, and the Collections whose check failed; nothing where there was no look, or
    somebody wrote something else there."""
    try:
        kept = json.loads(cursor or "{}")
        return kept.get("seen"), [str(name) for name in kept.get("failed", ())]
    except (ValueError, TypeError, AttributeError):
        return None, []


def _version(workbench: Workbench, table: tuple[str, str]) -> int | None:
    return workbench.lake.version(*table) if workbench.lake.exists(*table) else None


def _newest(workbench: Workbench) -> dict[str, int]:
    """The newest published version of each Collection."""
    exports = workbench.record("export_versions", EXPORT_VERSIONS)
    return dict(exports.group_by("collection").agg(pl.col("version").max()).iter_rows())


def _behind_models(workbench: Workbench) -> set[tuple[str, int]]:
    """The exports that the models of today were trained on."""
    if not workbench.lake.exists("train", "trained_model"):
        return set()
    models = workbench.lake.scan("train", "trained_model").select("collection", "export_version")
    return set(models.collect().iter_rows())
