"""Alerts: what people are told of, one row a person, in `records/alerts`."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable

import polars as pl

from workbench_pipelines.identity import digest

ALERTS = pl.Schema(
    {
        "alert_id": pl.String(),
        "kind": pl.String(),
        "subject": pl.String(),
        "person": pl.String(),
        "message": pl.String(),
        "at": pl.Datetime("us", "UTC"),
    }
)
"""One row a person and thing to be told; `at` is when it happened. What is told twice has one `alert_id`."""


def alert_rows(kind: str, subject: str, people: Iterable[str], *, message: str, at: dt.datetime) -> pl.DataFrame:
    """Rows of `ALERTS`."""
    rows = [
        (digest(["alert", kind, subject, person, at.isoformat()]), kind, subject, person, message, at)
        for person in sorted(set(people))
    ]
    return pl.DataFrame(rows, schema=ALERTS, orient="row")
