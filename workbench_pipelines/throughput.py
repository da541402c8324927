"""How fast people work: decisions per hour of activity, and how long one takes.

The time that a decision took is the time since its author's decision before it. After a break there is no telling: what came
more than ten minutes after the one before it counts as a decision and not as time.
"""

from __future__ import annotations

import datetime as dt

import polars as pl

from workbench_pipelines.annotation_tasks import DONE_BY
from workbench_pipelines.decisions import REVIEWED, undone_decisions

BREAK = dt.timedelta(minutes=10)  # a long document takes some minutes, and who is gone for longer has left the desk

THROUGHPUT = pl.Schema(
    {
        "person": pl.String(),
        "decisions": pl.Int64(),
        "timed": pl.Int64(),
        "active_hours": pl.Float64(),
        "per_hour": pl.Float64(),
        "median_seconds": pl.Float64(),
    }
)
"""Columns of a throughput: all decisions of a person, those whose time is known, the hours these took, how many of them that is
an hour, and the median of their seconds. Where no time is known, the last two are null."""


def throughput_of(decisions: pl.DataFrame) -> pl.DataFrame:
    """The throughput of everybody who decided in reviews, by name; rows of `THROUGHPUT`. What was taken back counts no more."""
    known = (
        decisions.filter(
            (pl.col("source") == REVIEWED) & pl.col("action").is_in(DONE_BY) & ~undone_decisions(decisions)
        )
        .unique("decision_id", keep="any")
        .sort("by", "at", "decision_id")
        .with_columns((pl.col("at") - pl.col("at").shift().over("by")).alias("took"))
    )
    timed = pl.col("took").filter(pl.col("took") <= BREAK)
    hours = timed.sum().dt.total_microseconds() / 3_600_000_000
    return (
        known.group_by("by")
        .agg(
            pl.len().alias("decisions"),
            timed.count().alias("timed"),
            hours.alias("active_hours"),
            (timed.median().dt.total_microseconds() / 1_000_000).alias("median_seconds"),
        )
        .with_columns(
            pl.when(pl.col("active_hours") > 0).then(pl.col("timed") / pl.col("active_hours")).alias("per_hour")
        )
        .rename({"by": "person"})
        .sort("person")
        .select([pl.col(name).cast(dtype) for name, dtype in THROUGHPUT.items()])
    )
