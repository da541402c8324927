"""Versions of TrainingSheets: `records/training_sheets` keeps what each one held, and the state it reached."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any

import polars as pl

from workbench_pipelines.lineage import TRAINING_SHEETS


def next_training_sheet_row(
    history: pl.DataFrame, name: str, *, content_hash: str, counts: Mapping[str, int], now: dt.datetime, **given: Any
) -> dict[str, Any]:
    """The row of a TrainingSheet after its pairs were made: the same version while its content is the same.

    Args:
        history: rows of `TRAINING_SHEETS` of this TrainingSheet.
        content_hash: `pairs.pairs_digest` of its pairs.
        counts: `pairs.status_counts` and the number of pairs as `pairs`.
        now: when the version came to be; a repeated one keeps its own time.
        given: template, template_version, model, cost_usd.
    """
    last = history.sort("version").tail(1).to_dicts()
    status = "approved" if counts["pairs"] and counts["labeled"] == counts["pairs"] else "review"
    row = {
        "training_sheet": name,
        "version": 1,
        "status": status,
        "content_hash": content_hash,
        "updated_at": now,
        **counts,
        **given,
    }
    if not last:
        return row
    if last[0]["content_hash"] == content_hash:
        kept = "trained" if last[0]["status"] == "trained" else status
        return row | {"version": last[0]["version"], "updated_at": last[0]["updated_at"], "status": kept}
    return row | {"version": last[0]["version"] + 1}


def with_state(history: pl.DataFrame, row: Mapping[str, Any]) -> pl.DataFrame:
    """The history with this version's row put in or replaced."""
    kept = history.filter(pl.col("version") != row["version"])
    new = pl.DataFrame([{name: row.get(name) for name in TRAINING_SHEETS}], schema=TRAINING_SHEETS)
    return pl.concat([kept.select(list(TRAINING_SHEETS)).cast(TRAINING_SHEETS), new]).sort("version")
