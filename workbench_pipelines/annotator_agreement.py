"""How far the annotators of a Sheet agree on each task: all of them, and each two of them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import polars as pl

from workbench_pipelines.agreement import (
    Measured,
    Values,
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    mean_agreement,
    raw_agreement,
)  # fmt: skip
from workbench_pipelines.consensus import Panels, own_answers
from workbench_pipelines.labels import labeling_decisions, stale_labels
from workbench_pipelines.likeness import likeness, measure_of, number_of

ANNOTATOR_AGREEMENT = pl.Schema(
    {
        "sheet": pl.String(),
        "label_type": pl.String(),
        "measure": pl.String(),
        "annotator_a": pl.String(),
        "annotator_b": pl.String(),
        "n": pl.Int64(),
        "value": pl.Float64(),
        "low": pl.Float64(),
        "high": pl.Float64(),
        "undefined": pl.String(),
    }
)
"""Columns of `label/agreement`: one row a task and measure, without annotators for all of them together. `n` are items, `low` and
`high` the 95 % interval of a bootstrap of them, `undefined` why there is no value.

Measures: `raw` (share of equal answers), `cohen`, `fleiss`, `alpha_nominal`, `alpha_interval` (of numbers), `iou` (boxes and
polygons), `f1` (texts and lists), `mixed` (answers of several kinds of fields).
"""

# What Krippendorff (2004) takes for the least from which tentative conclusions may be drawn.
LEAST_ALPHA = 0.667


def annotator_agreement(
    sheet: str, decisions: pl.DataFrame, snapshot: pl.DataFrame | None, panels: Panels
) -> pl.DataFrame:
    """How far the people agree who answered for the same items on their own; rows of `ANNOTATOR_AGREEMENT`.

    Args:
        decisions: rows of `label/decisions` of the Sheet.
        snapshot: its items now: what was said of an item as it was before is not held against what is said of it now.
        panels: which labels take several people; an answer to any other was given in view of those before it.
    """
    said = labeling_decisions(decisions)
    said = said.filter(panels.only(said))
    own = own_answers(said.with_columns(stale_labels(said, snapshot)))
    rows: list[tuple[Any, ...]] = []
    for (label_type,), of_task in own.sort("label_type", "item_ref", "by").group_by("label_type", maintain_order=True):
        items = [
            dict(zip(names, answers, strict=True))
            for names, answers in of_task.group_by("item_ref", maintain_order=True)
            .agg("by", "label_data")
            .select("by", "label_data")
            .iter_rows()
        ]
        schema = panels.schemas.get(str(label_type), {})
        rows += [(sheet, label_type, *row) for row in _of_task(items, schema)]
    return pl.DataFrame(rows, schema=ANNOTATOR_AGREEMENT, orient="row")


def _of_task(items: Sequence[Mapping[str, str]], schema: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    rows = [_row(one, None, None) for one in _measures([list(item.values()) for item in items], schema)]
    for one, other in combinations(sorted({name for item in items for name in item}), 2):
        both = [[item[one], item[other]] for item in items if one in item and other in item]
        if both:
            rows += [_row(found, one, other) for found in _measures(both, schema, two=True)]
    return rows


def _measures(items: Sequence[Sequence[str]], schema: Mapping[str, Any], two: bool = False) -> list[Measured]:
    """What fits a task: kappas and alpha where answers are categories, alpha where they are numbers, and how far answers
    overlap where they can."""
    way = measure_of(schema)
    raw = raw_agreement(items)
    if way != "equal":
        return [raw, mean_agreement([_overlap(values, schema) for values in items if len(values) > 1], way)]
    numbers = [[number_of(json.loads(value), schema) for value in values] for values in items]
    if items and all(number is not None for values in numbers for number in values):
        return [raw, krippendorff_alpha(numbers, "interval")]
    nominal = krippendorff_alpha(items)
    return [raw, cohen_kappa([(a, b) for a, b in items]), nominal] if two else [raw, fleiss_kappa(items), nominal]


def _overlap(values: Values, schema: Mapping[str, Any]) -> float:
    """The mean likeness of each two answers of an item."""
    read = [json.loads(value) for value in values]
    shares = [likeness(one, other, schema) for one, other in combinations(read, 2)]
    return sum(shares) / len(shares)


def _row(found: Measured, one: str | None, other: str | None) -> tuple[Any, ...]:
    return (found.measure, one, other, found.n, found.value, found.low, found.high, found.undefined)


def too_low(rows: pl.DataFrame, agreement: float) -> list[str]:
    """The tasks on which people agree less than it takes, each with its figure: alpha below `LEAST_ALPHA`, or a mean overlap
    below what the Sheet asks of an item.

    Args:
        rows: rows of `ANNOTATOR_AGREEMENT`.
    """
    whole = rows.filter(pl.col("annotator_a").is_null() & pl.col("value").is_not_null())
    is_alpha = pl.col("measure").str.starts_with("alpha")
    least = pl.when(is_alpha).then(LEAST_ALPHA).when(pl.col("measure").is_in(["iou", "f1", "mixed"])).then(agreement)
    low = whole.with_columns(least.alias("least")).filter(pl.col("value") < pl.col("least"))
    return [
        f"{label_type}: {measure} {value:.3f} of {n} items"
        for label_type, measure, value, n in low.select("label_type", "measure", "value", "n").iter_rows()
    ]
