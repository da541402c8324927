"""What takes reviews into the ledger."""

import json

import dagster as dg
import polars as pl

from workbench_pipelines.defs.automation import LOOK_EVERY_S
from workbench_pipelines.defs.partitions import PARTITIONS
from workbench_pipelines.review_inbox import INBOX, ledger_versions, take_deliveries
from workbench_pipelines.workbench import Workbench

DECISIONS = dg.AssetKey(["label", "decisions"])


@dg.sensor(minimum_interval_seconds=LOOK_EVERY_S, default_status=dg.DefaultSensorStatus.RUNNING)
def take_reviews(context: dg.SensorEvaluationContext, workbench: dg.ResourceParam[Workbench]) -> dg.SensorResult:
    """Takes what review back ends left in the inbox into `label/decisions`, and says which Sheets have news.

    The cursor remembers the inbox as it was last seen. What another process has taken in meanwhile is announced all the same:
    the same content under the same version moves nothing.
    """
    lake = workbench.lake
    seen = json.dumps([lake.version(*INBOX), str(lake.path(*INBOX))]) if lake.exists(*INBOX) else ""
    if seen == (context.cursor or ""):
        return dg.SensorResult(skip_reason="nothing new in the inbox of reviews", cursor=seen)
    taken = take_deliveries(workbench)
    for refusal in taken.refusals:
        context.log.warning(refusal.line)
    reviewed = workbench.decisions().filter(pl.col("source") == "review")
    # A Sheet that was defined since the code location was loaded has no partition yet.
    known = set(PARTITIONS.sheet.get_partition_keys())
    versions = ledger_versions(workbench, sorted(known & set(reviewed["sheet"])))
    events = [
        dg.AssetMaterialization(
            asset_key=DECISIONS,
            partition=name,
            tags={"dagster/data_version": version},
            metadata={"source": "review", "decisions": taken.decisions},
        )
        for name, version in versions.items()
    ]
    return dg.SensorResult(asset_events=events, cursor=seen)
