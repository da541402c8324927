"""The guard of the monitor room."""

import dagster as dg
import polars as pl

from workbench_pipelines.defs.checking import one_line_check
from workbench_pipelines.workbench import Workbench


@dg.asset_check(asset=["monitor", "feedback"])
@one_line_check
def every_correction_speaks_of_a_known_pair(workbench: dg.ResourceParam[Workbench]) -> dg.AssetCheckResult:
    """Every correction, of whichever day, could be tied to the pair it speaks of."""
    # Read here: as an input it would be all days since the first, most of which brought nothing.
    feedback = workbench.lake.scan("monitor", "feedback").select("status").collect()
    lost = feedback.filter(pl.col("status") == "unmatched").height
    found = f"{feedback.height} rows, {lost} corrections without a pair"
    return dg.AssetCheckResult(passed=lost == 0, severity=dg.AssetCheckSeverity.WARN, description=found)
