"""Toxicity: how likely a text insults, threatens or swears, by its words alone.

A linear model over words (TF-IDF of 15,442 words, a weight each) that was trained on 200,000 texts people had labeled. It knows
English, and no meaning: a threat in plain words passes, and a technical text in strong ones is flagged. So a flag asks for a
person and rejects nothing, and the threshold is set where technical texts hardly reach it (docs/quality.md has the figures).
"""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

# At 0.9, 2 of 84 technical sentences with strong words are flagged, at 0.5 14 of them, for 37 and 47 of 60 toxic ones: whoever
# looks at flags for nothing soon looks at none.
TOXIC = 0.9
MAX_CHARACTERS = 5_000  # of one text; an insult in a longer one is thinned out anyway
_WORD = r"\b\w\w+\b"
_ROWS = 50_000  # texts whose words are in memory at one time


@dataclass(frozen=True)
class ToxicWords:
    """The words that count: `frame` has word, idf and weight; `bias` is that of a text without any of them."""

    frame: pl.DataFrame
    bias: float


def toxicity_of(texts: pl.Series, words: ToxicWords) -> pl.Series:
    """How likely each text is toxic, in [0, 1]; null for a null text."""
    parts = [_scores(texts[start : start + _ROWS], words) for start in range(0, texts.len(), _ROWS)]
    return pl.concat(parts) if parts else pl.Series(dtype=pl.Float64)


def _scores(texts: pl.Series, words: ToxicWords) -> pl.Series:
    rows = pl.DataFrame({"text": texts}).with_row_index("row")
    found = (
        rows.lazy()
        .select(
            "row", pl.col("text").str.slice(0, MAX_CHARACTERS).str.to_lowercase().str.extract_all(_WORD).alias("word")
        )
        .explode("word")
        .group_by("row", "word")
        .agg(pl.len().alias("count"))
        .join(words.frame.lazy(), on="word", how="inner")
        .with_columns((pl.col("count") * pl.col("idf")).alias("share"))
        .group_by("row")
        .agg(
            ((pl.col("share") * pl.col("weight")).sum() / (pl.col("share") ** 2).sum().sqrt()).alias("margin"),
        )
    )
    scored = rows.lazy().join(found, on="row", how="left", maintain_order="left")
    margin = pl.col("margin").fill_null(0.0) + words.bias
    likely = 1 / (1 + (-margin).exp())
    return (
        scored.select(pl.when(pl.col("text").is_not_null()).then(likely.round(6)).alias("toxicity"))
        .collect()
        .to_series()
    )
