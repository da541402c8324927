"""How sure a classifier of the labeled pairs is of those that wait: what active learning asks people first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from workbench_pipelines.features import Embed, TrainingError
from workbench_pipelines.identity import unit_interval
from workbench_pipelines.training import class_name, train_classifier

# Below that a margin says more of the few rows than of the item.
MIN_LABELED = 10
# Fitting takes seconds then, and more rows move a margin little.
MAX_LABELED = 5_000
MAX_WAITING = 20_000

PREDICTED = pl.Schema({"pair_id": pl.String(), "predicted": pl.String(), "uncertainty": pl.Float64()})
"""What the classifier would say of a pair, and 1 minus the margin between its first and its second choice."""


def predict_waiting(
    labeled: pl.DataFrame, waiting: pl.DataFrame, *, target: str, embed: Embed, seed: int = 0
) -> pl.DataFrame:
    """What a classifier of the labeled pairs says of those that wait.

    The same pairs in any order give the same figures. Pairs that the classifier can not read are left out; there is no row at
    all while too few are labeled, or all of them alike.

    Input columns: pair_id, inputs, and response of the labeled ones.

    Returns:
        Rows of `PREDICTED`, sorted by pair.
    """
    labeled, waiting = _some(labeled, MAX_LABELED), _some(waiting, MAX_WAITING)
    if labeled.height < MIN_LABELED or waiting.is_empty():
        return PREDICTED.to_frame()
    rows = labeled.with_columns(pl.lit("train").alias("split"), pl.lit(1.0).alias("weight"))
    try:
        trained = train_classifier(rows, target=target, seed=seed, embed=embed)
    except TrainingError:
        return PREDICTED.to_frame()
    names, inputs = [], []
    for pair_id, text in waiting.select("pair_id", "inputs").iter_rows():
        bound = json.loads(text or "{}")
        if all(column.name in bound for column in trained.columns):
            names.append(pair_id)
            inputs.append(bound)
    try:
        predicted, probabilities = trained.predict(inputs)
    except TrainingError:
        return PREDICTED.to_frame()
    margins = [_margin(list(row)) for row in probabilities]
    return pl.DataFrame(
        {"pair_id": names, "predicted": predicted, "uncertainty": [round(1 - margin, 6) for margin in margins]},
        schema=PREDICTED,
    ).sort("pair_id")


def answered_class(response: str | None, target: str) -> str | None:
    """The class that an answer names; None where it names none."""
    try:
        value: Any = json.loads(response or "")
    except ValueError:
        return None
    name, reason = class_name(value.get(target)) if isinstance(value, dict) else ("", "no object")
    return None if reason else name


def _margin(probabilities: Sequence[float]) -> float:
    first, second = sorted(probabilities, reverse=True)[:2]
    return float(first - second)


def _some(pairs: pl.DataFrame, most: int) -> pl.DataFrame:
    """At most so many pairs: those whose names hash lowest, so that a new one moves at most one other out."""
    pairs = pairs.sort("pair_id")
    if pairs.height <= most:
        return pairs
    order = pl.Series("order", [unit_interval("uncertainty", name) for name in pairs["pair_id"]])
    return pairs.with_columns(order).sort("order").head(most).drop("order").sort("pair_id")
