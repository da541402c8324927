"""What tells people of the versions of Collections."""

import json

import dagster as dg

from workbench_pipelines.collection_releases import TABLE, subscriptions, tell_subscribers
from workbench_pipelines.defs.automation import LOOK_EVERY_S
from workbench_pipelines.workbench import Workbench


@dg.sensor(minimum_interval_seconds=LOOK_EVERY_S, default_status=dg.DefaultSensorStatus.RUNNING)
def notify_subscribers(context: dg.SensorEvaluationContext, workbench: dg.ResourceParam[Workbench]) -> dg.SensorResult:
    """Tells the subscribers of a Collection, in `records/alerts`, that a version was released, deprecated or retired.

    The cursor remembers the statuses as they were last seen, and who subscribes. Nobody is told of one thing twice, whatever
    becomes of it.
    """
    catalog = workbench.catalog()
    version = workbench.lake.version(*TABLE) if workbench.lake.exists(*TABLE) else None
    seen = json.dumps([version, subscriptions(catalog), workbench.lake.path(*TABLE)], sort_keys=True)
    if seen == context.cursor:
        return dg.SensorResult(skip_reason="no version of a Collection has another status", cursor=seen)
    told = tell_subscribers(workbench, catalog)
    return dg.SensorResult(skip_reason=f"{told} subscribers told", cursor=seen)
