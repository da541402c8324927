"""The guard of the monitor room."""

import dagster as dg
import polars as pl

from workbench_pipelines.defs.checking import one_line_check


@dg.asset_check(asset=["monitor", "feedback"])
@one_line_check
def every_correction_speaks_of_a_known_pair(feedback: pl.DataFrame) -> dg.AssetCheckResult:
    """Every correction could be tied to the pair it speaks of."""
    lost = feedback.filter(pl.col("status") == "unmatched").height
    found = f"{feedback.height} rows, {lost} corrections without a pair"
    return dg.AssetCheckResult(passed=lost == 0, severity=dg.AssetCheckSeverity.WARN, description=found)
