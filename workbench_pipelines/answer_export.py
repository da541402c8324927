"""Kept answers as rows to hand on: each with who asked for it, and none of a restricted Sheet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import polars as pl


class Handed(NamedTuple):
    """The answers that may be shown, and how many are not."""

    rows: pl.DataFrame
    withheld: int


def answers_to_hand_on(requests: pl.DataFrame, uses: pl.DataFrame, open_sheets: Sequence[str]) -> Handed:
    """The answers of which every item that asked lies in a Sheet without anything restricted.

    Input columns: those of `requests.REQUESTS` and `requests.REQUEST_USES`.
    Output columns: those of `REQUESTS`, and `items`: training_sheet, sheet, item_ref, pair_id of who asked.
    """
    asked = uses.group_by("request_hash").agg(
        pl.struct("training_sheet", "sheet", "item_ref", "pair_id").sort_by("pair_id").alias("items"),
        pl.col("sheet").is_in(list(open_sheets)).all().alias("is_open"),
    )
    known = requests.join(asked, on="request_hash", how="left").sort("answered_at", "answer_id")
    # An answer that nobody is known to have asked for may be of any Sheet.
    shown = known.filter(pl.col("is_open").fill_null(False)).drop("is_open")
    return Handed(shown, known.height - shown.height)


def answer_statistics(requests: pl.DataFrame) -> pl.DataFrame:
    """What is kept, by model: answers, requests, tokens, and what they cost; null as soon as one price is unknown.

    Output columns: model, answers, requests, prompt_tokens, completion_tokens, cost_usd, unpriced, price_lists, first, last.
    """
    return (
        requests.group_by("model")
        .agg(
            answers=pl.len(),
            requests=pl.col("request_hash").n_unique(),
            prompt_tokens=pl.col("prompt_tokens").sum(),
            completion_tokens=pl.col("completion_tokens").sum(),
            cost_usd=pl.when(pl.col("cost_usd").null_count() == 0).then(pl.col("cost_usd").sum()),
            unpriced=pl.col("cost_usd").null_count(),
            price_lists=pl.col("price_list").drop_nulls().unique().sort().str.join(", "),
            first=pl.col("answered_at").min(),
            last=pl.col("answered_at").max(),
        )
        .sort("model")
    )
