"""Pairs that a label approved before anybody looked at them, one row each, for whoever has to answer for them later."""

from __future__ import annotations

import datetime as dt

import polars as pl

from workbench_pipelines.decisions import LABELING_ACTIONS, UTC_TIME, undone_decisions
from workbench_pipelines.identity import response_hash

AUTO_APPROVALS = pl.Schema(
    {
        "training_sheet": pl.String(),
        "pair_id": pl.String(),
        "canonical_label_id": pl.String(),
        "version": pl.Int64(),
        "response_hash": pl.String(),
        "at": UTC_TIME,
    }
)
"""Columns of `records/auto_approvals`; `at` is when it was first seen, and part of no hash and no key."""

KEY = ["pair_id", "canonical_label_id", "version", "response_hash"]


def auto_approvals(pairs: pl.DataFrame, labels: pl.DataFrame, decisions: pl.DataFrame, at: dt.datetime) -> pl.DataFrame:
    """The pairs that stand approved by a label whose people never had this very pair before them.

    Args:
        pairs: rows of `label/labeled_pairs` of one TrainingSheet.
        labels: rows of `label/canonical_labels` of its Sheet.
        decisions: rows of `label/decisions`.

    Returns:
        Rows of `AUTO_APPROVALS`.
    """
    by_hand = decisions.filter(
        pl.col("action").is_in(LABELING_ACTIONS) & pl.col("pair_id").is_not_null() & ~undone_decisions(decisions)
    )
    approved = (
        pairs.filter((pl.col("status") == "labeled") & (pl.col("labeling_mode") == "canonical"))
        .join(by_hand.select("pair_id").unique(), on="pair_id", how="anti", maintain_order="left")
        .select("training_sheet", "pair_id", "canonical_label_id", "response")
        .join(labels.select("canonical_label_id", "version"), on="canonical_label_id", maintain_order="left")
    )
    hashes = {text: response_hash(text) for text in approved["response"].unique()}
    return approved.with_columns(
        pl.col("response").replace_strict(hashes, return_dtype=pl.String).alias("response_hash"),
        pl.lit(at, UTC_TIME).alias("at"),
    ).select(list(AUTO_APPROVALS))
