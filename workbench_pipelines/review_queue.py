"""The review queue: the pairs that need a person, those first whose answer teaches or mends most.

Flagged ones first, then labels that went stale, proposals that wait for a second person, items whose annotators disagree
or are not all heard yet, answers that another source contradicts, answers nobody is sure of, and then the rest in the order
that covers the strata evenly.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

import polars as pl

from workbench_pipelines.consensus import ADJUDICATOR, ANNOTATOR, waiting_note
from workbench_pipelines.identity import response_hash
from workbench_pipelines.labels import KEY, in_full
from workbench_pipelines.uncertainty import answered_class

REVIEW_QUEUE = pl.Schema(
    {
        "training_sheet": pl.String(),
        "pair_id": pl.String(),
        "sheet": pl.String(),
        "item_ref": pl.String(),
        "label_type": pl.String(),
        "response": pl.String(),
        "response_hash": pl.String(),
        "rank": pl.Int64(),
        "need": pl.String(),
        "detail": pl.String(),
        "uncertainty": pl.Float64(),
        "stratum": pl.String(),
        "waits_for": pl.String(),
        "data_classification": pl.String(),
    }
)
"""Columns of `label/review_queue`, by rank; `response` is the answer to look at: a draft, or what somebody proposed."""

NEEDS = (
    "flagged", "stale", "second_person", "adjudication", "another_annotator", "disagreement", "quality", "uncertain",
    "coverage",
)  # fmt: skip

SURE = 0.5  # a margin that a classifier of a few hundred labels is mostly right with
LOW_CONFIDENCE = 0.5  # of a model in its own answer
_WAIT = ["unlabeled", "flagged"]  # states of pairs that wait for a person


def review_queue(
    pairs: pl.DataFrame,
    labels: pl.DataFrame,
    predicted: pl.DataFrame,
    *,
    target: str,
    quality: pl.DataFrame | None = None,
    strata: Sequence[str] = (),
    waits_for: str = "a reviewer",
    changes: Mapping[str, str] | None = None,
) -> pl.DataFrame:
    """The pairs of a TrainingSheet that need a person, in the order of need.

    Args:
        pairs: rows of `label/labeled_pairs`.
        labels: rows of `label/canonical_labels` of its Sheet.
        predicted: what a classifier says of the pairs that wait; rows of `uncertainty.PREDICTED`.
        target: the output field that it predicts.
        quality: rows of `label/pair_quality`; what was found in another answer than the one that stands counts for nothing.
        strata: the attributes that the answers should cover evenly.
        waits_for: who answers.
        changes: what changed of the items whose label is stale, by item.

    Returns:
        Rows of `REVIEW_QUEUE`.
    """
    if not pairs["status"].is_in(_WAIT).any():
        return REVIEW_QUEUE.to_frame()
    known = _known(_waiting(pairs, strata), labels, predicted, quality, target)
    ordered = (
        known.with_columns(_need().alias("need"))
        .with_columns(
            _detail(changes or {}).alias("detail"),
            pl.when(pl.col("need") == "second_person").then("proposal").otherwise("response").alias("response"),
            _answerer(waits_for).alias("waits_for"),
            pl.col("need").replace_strict({name: place for place, name in enumerate(NEEDS)}).alias("urgency"),
        )
        .with_columns(_turn().alias("turn"))
        .sort("urgency", "turn", "uncertainty", "pair_id", descending=[False, False, True, False], nulls_last=True)
        .with_columns(pl.int_range(1, pl.len() + 1).alias("rank"))
    )
    ordered = ordered.with_columns(_hashed(ordered["response"]).alias("response_hash"))
    return ordered.select([pl.col(name).cast(dtype) for name, dtype in REVIEW_QUEUE.items()])


def _waiting(pairs: pl.DataFrame, strata: Sequence[str]) -> pl.DataFrame:
    """The pairs that wait, each with its stratum, how many of that are labeled, and whether a twin is answered otherwise."""
    placed = pairs.with_columns(_strata(pairs["attributes"], strata).alias("stratum"), _twins(pairs).alias("twin"))
    labeled = placed.select("status", "stratum").filter(pl.col("status") == "labeled")
    covered = labeled.group_by("stratum").agg(pl.len().alias("covered"))
    waiting = placed.filter(pl.col("status").is_in(_WAIT))
    return waiting.join(covered, on="stratum", how="left", nulls_equal=True, maintain_order="left")


def _known(
    waiting: pl.DataFrame, labels: pl.DataFrame, predicted: pl.DataFrame, quality: pl.DataFrame | None, target: str
) -> pl.DataFrame:
    """The pairs that wait with what people, a classifier and the looks at its quality say of each answer."""
    known = (
        waiting.with_columns(_classes(waiting["response"], target).alias("answered"))
        .join(_said(labels), on=KEY, how="left", maintain_order="left")
        .join(predicted, on="pair_id", how="left", maintain_order="left")
        .join(_found(quality), on="pair_id", how="left", maintain_order="left")
    )
    looked_at = _hashed(known["response"]) == pl.col("looked_at")
    return known.with_columns(pl.when(looked_at).then("found").alias("found"))


def _said(labels: pl.DataFrame) -> pl.DataFrame:
    """What people said of each item, as a label, as a proposal or on their own."""
    return (
        in_full(labels)
        .filter(pl.col("active") | pl.col("proposed_by").is_not_null() | pl.col("awaits").is_not_null())
        .select(
            *KEY,
            "annotators",
            "awaits",
            pl.col("label_data").alias("proposal"),
            "proposed_by",
            pl.col("stale").alias("label_stale"),
            pl.col("last_modified_by").alias("label_by"),
        )
    )


def _found(quality: pl.DataFrame | None) -> pl.DataFrame:
    """What was found in the answer of each pair, and in which answer."""
    schema = {
        "pair_id": pl.String(),
        "looked_at": pl.String(),
        "found": pl.List(pl.String()),
        "found_score": pl.Float64(),
    }
    if quality is None or "pair_id" not in quality.columns:
        return pl.DataFrame(schema=schema)
    return quality.select(
        "pair_id",
        pl.col("response_hash").alias("looked_at"),
        pl.col("needs").alias("found"),
        pl.col("quality_score").alias("found_score"),
    )


def _strata(attributes: pl.Series, columns: Sequence[str]) -> pl.Series:
    """The stratum of each pair: its values of the columns, or nothing where no column is asked for."""
    found: dict[str, str | None] = {}
    for text in attributes.drop_nulls().unique() if columns else ():
        held = json.loads(text)
        found[text] = " · ".join(str(held.get(column)) for column in columns)
    return attributes.replace_strict(found, default=None, return_dtype=pl.String)


def _hashed(responses: pl.Series) -> pl.Expr:
    """The hash of each `response`, of which these are all there are."""
    hashes = {text: response_hash(text) for text in responses.drop_nulls().unique()}
    return pl.col("response").replace_strict(hashes, default=None, return_dtype=pl.String)


def _classes(responses: pl.Series, target: str) -> pl.Series:
    found = {text: answered_class(text, target) for text in responses.drop_nulls().unique()}
    return responses.replace_strict(found, default=None, return_dtype=pl.String)


def _twins(pairs: pl.DataFrame) -> pl.Series:
    """Whether a pair that is asked the same as another one is answered otherwise."""
    answers = pl.col("response").drop_nulls().n_unique().over("inputs")
    return pairs.select(pl.col("response").is_not_null() & pl.col("inputs").is_not_null() & (answers > 1)).to_series()


def _contradicted() -> pl.Expr:
    return (pl.col("answered") != pl.col("predicted")).fill_null(False)


def _need() -> pl.Expr:
    """Why a person is needed: the first of `NEEDS` that holds."""
    stale = pl.col("label_stale").fill_null(False)
    needs = {
        "flagged": pl.col("status") == "flagged",
        "stale": stale,
        "second_person": pl.col("proposed_by").is_not_null() & ~stale,
        "adjudication": (pl.col("awaits") == ADJUDICATOR).fill_null(False),
        "another_annotator": (pl.col("awaits") == ANNOTATOR).fill_null(False),
        "disagreement": pl.col("twin") | (_contradicted() & (pl.col("uncertainty") <= 1 - SURE)),
        "quality": pl.col("found").list.len().fill_null(0) > 0,
        "uncertain": (pl.col("uncertainty") > 1 - SURE) | (pl.col("ai_confidence") < LOW_CONFIDENCE),
    }
    return pl.coalesce(*(pl.when(holds).then(pl.lit(name)) for name, holds in needs.items()), pl.lit("coverage"))


def _answerer(anybody: str) -> pl.Expr:
    """Who answers: `anybody`, but for those who did already."""
    heard = pl.col("annotators").list
    return (
        pl.when(pl.col("need") == "second_person")
        .then(pl.format("somebody other than {}", "proposed_by"))
        .when(pl.col("need") == "adjudication")
        .then(pl.format("an approver other than {}", heard.join(", ")))
        .when((pl.col("need") == "another_annotator") & (heard.len() > 0))
        .then(pl.format("somebody other than {}", heard.join(", ")))
        .otherwise(pl.lit(anybody))
    )


def _detail(changes: Mapping[str, str]) -> pl.Expr:
    """Why a person is needed; never a value of the item."""
    changed = pl.col("item_ref").replace_strict(dict(changes), default="what it saw", return_dtype=pl.String)
    said = {
        "flagged": pl.col("review_notes"),
        "stale": pl.format("the label of {} is stale: {} changed", "label_by", changed),
        "second_person": pl.format("proposed by {}, waits for a second person", "proposed_by"),
        "adjudication": waiting_note(),
        "another_annotator": waiting_note(),
        "disagreement": pl.when("twin")
        .then(pl.lit("a pair with the same inputs has another answer"))
        .otherwise(pl.lit("a model of the labeled pairs says something else")),
        "quality": pl.format("found: {}", pl.col("found").list.join(", ")),
        "uncertain": pl.when(pl.col("uncertainty") > 1 - SURE)
        .then(pl.lit("a model of the labeled pairs can not tell"))
        .otherwise(pl.lit("the model was not sure of its answer")),
        "coverage": pl.when(pl.col("stratum").is_not_null()).then(
            pl.format("{} labeled in its stratum", pl.col("covered").fill_null(0))
        ),
    }
    return pl.coalesce(*(pl.when(pl.col("need") == name).then(text) for name, text in said.items()))


def _turn() -> pl.Expr:
    """Within one need, what comes first: where a model is surer that an answer is wrong, or less sure what is right; of the
    rest, the strata in turn, those with the fewest labels first."""
    within = pl.struct(pl.col("uncertainty").fill_null(0) * -1, "pair_id").rank("ordinal").over("need", "stratum")
    by_need = {
        "disagreement": pl.col("uncertainty").fill_null(1),
        "quality": pl.col("found_score").fill_null(0),
        "uncertain": 1 - pl.col("uncertainty").fill_null(1 - SURE),
        "coverage": (pl.col("covered").fill_null(0) + within).cast(pl.Float64),
    }
    return pl.coalesce(*(pl.when(pl.col("need") == name).then(turn) for name, turn in by_need.items()), pl.lit(0.0))
