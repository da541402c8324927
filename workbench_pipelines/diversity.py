"""Diversity: how much rows differ from each other, and how evenly they lie over their strata.

Texts are sampled by the lowest hashes of (seed, pair), so that the figures of equal rows are equal, ten new rows move them
little, and a million rows cost no more than ten thousand. Figures of samples of one size can be compared.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

from workbench_pipelines.row_digests import row_digests

if TYPE_CHECKING:
    import numpy as np

DIVERSITY = pl.Schema(
    {
        "training_sheet": pl.String(),
        "of": pl.String(),
        "metric": pl.String(),
        "stratum": pl.String(),
        "value": pl.Float64(),
        "rows": pl.Int64(),
        "sampled": pl.Int64(),
    }
)
"""Columns of `generate/diversity`: a figure a row, of the `answers`, of the `inputs`, or of an attribute by name, there with the
stratum that `share` speaks of; `sampled` of the `rows` were looked at."""

SEED = 0
NGRAM_TEXTS = 2_000  # distinct n-grams of more texts grow slowly; two thousand take a fifth of a second
BLEU_TEXTS = 40  # each against all others: half a second for long texts, and a standard error of some 0.02
EMBEDDED_TEXTS = 500  # 40,000 short texts a second
MAX_CHARACTERS = 1_000  # of one text
MAX_STRATA = 20  # an attribute of more values is no stratum
_WORD = re.compile(r"\w+|[^\w\s]")

Embed = Callable[[list[str]], "np.ndarray"]


def diversity_of(
    training_sheet: str, rows: pl.DataFrame, embed: Embed, *, texts: bool = True, show_values: bool = True
) -> pl.DataFrame:
    """The figures of a TrainingSheet's rows; rows of `DIVERSITY`.

    Args:
        rows: pair_id, response, inputs and attributes (JSON) of the pairs that have an answer.
        embed: texts to vectors, a row each.
        texts: whether texts are compared; answers that are one of a few known ones say nothing.
        show_values: whether strata may be named by their values; else by their places.
    """
    found: list[tuple[Any, ...]] = []
    if texts:
        ranked = _ranked(rows)
        for of, column in (("answers", "response"), ("inputs", "inputs")):
            said = [text for text in map(_text_of, ranked[column].drop_nulls()) if text]
            found += [
                (of, metric, None, value, rows.height, sampled) for metric, value, sampled in _figures(said, embed)
            ]
    found += _coverage(rows["attributes"], show_values)
    frame = pl.DataFrame(found, schema=list(DIVERSITY)[1:], orient="row") if found else DIVERSITY.to_frame()
    return frame.with_columns(pl.lit(training_sheet).alias("training_sheet")).select(
        [pl.col(name).cast(dtype) for name, dtype in DIVERSITY.items()]
    )


def distinct(texts: Sequence[str], n: int) -> float | None:
    """The share of n-grams of words that are different ones: 1 where none comes twice; None where there is none."""
    grams = [gram for text in texts for gram in zip(*(_words(text)[start:] for start in range(n)), strict=False)]
    return len(set(grams)) / len(grams) if grams else None


def self_bleu(texts: Sequence[str]) -> float | None:
    """How well a text is foretold by all the others, on average: 1 where all say the same (BLEU-4, sacrebleu); None for one."""
    if len(texts) < 2:
        return None
    from sacrebleu.metrics import BLEU

    bleu = BLEU(effective_order=True)
    shown = [" ".join(_words(text)) for text in texts]
    scores = [
        bleu.sentence_score(text, shown[:place] + shown[place + 1 :]).score / 100 for place, text in enumerate(shown)
    ]
    return sum(scores) / len(scores)


def spread(vectors: np.ndarray) -> float | None:
    """The mean cosine distance between two texts: 0 where all mean the same; None for less than two."""
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=1)
    unit = vectors[lengths > 0] / lengths[lengths > 0][:, None]
    count = len(unit)
    if count < 2:
        return None
    # The sum over all pairs is the square of the sum, less the pairs of a text with itself.
    together = float((unit.sum(axis=0, dtype=np.float64) ** 2).sum())
    return 1 - (together - count) / (count * (count - 1))


def evenness(counts: Iterable[int]) -> float:
    """How evenly rows lie over strata: 1 where all have as many, 0 where one has all (entropy over its maximum)."""
    filled = [count for count in counts if count]
    total = sum(filled)
    if len(filled) < 2:
        return 0.0
    return -sum(count / total * math.log(count / total) for count in filled) / math.log(len(filled))


def diversity_table(figures: pl.DataFrame) -> str:
    """The figures as a Markdown table."""
    lines = ["| of | metric | stratum | value | sampled of rows |", "|---|---|---|---|---|"]
    for row in figures.iter_rows(named=True):
        stratum = (row["stratum"] or "").replace("|", "\\|").replace("\n", " ")
        of, metric = row["of"].replace("|", "\\|"), row["metric"]
        lines.append(f"| {of} | {metric} | {stratum} | {row['value']:.3f} | {row['sampled']} of {row['rows']} |")
    return "\n".join(lines)


def _figures(texts: list[str], embed: Embed) -> list[tuple[str, float, int]]:
    """Metric, value and how many texts it was taken from."""
    some = texts[:NGRAM_TEXTS]
    found = [(f"distinct_{n}", distinct(some, n), len(some)) for n in (1, 2, 3)]
    found.append(("self_bleu", self_bleu(texts[:BLEU_TEXTS]), min(len(texts), BLEU_TEXTS)))
    embedded = texts[:EMBEDDED_TEXTS]
    found.append(("embedding_spread", spread(embed(embedded)) if embedded else None, len(embedded)))
    return [(metric, value, sampled) for metric, value, sampled in found if value is not None]


def _coverage(attributes: pl.Series, show_values: bool) -> list[tuple[Any, ...]]:
    """The share of each stratum of every attribute that has a few values, and how even they are."""
    counts: dict[str, Counter[str]] = {}
    for text in attributes.drop_nulls():
        for name, value in json.loads(text).items():
            # One value too many is kept, so that it shows that the attribute is no stratum.
            if len(found := counts.setdefault(name, Counter())) <= MAX_STRATA:
                found[value if isinstance(value, str) else json.dumps(value)] += 1
    rows = attributes.len()
    found_rows: list[tuple[Any, ...]] = []
    for name, of in sorted(counts.items()):
        if not 2 <= len(of) <= MAX_STRATA:
            continue
        found_rows.append((name, "evenness", None, evenness(of.values()), rows, rows))
        for place, (value, count) in enumerate(sorted(of.items(), key=lambda one: (-one[1], one[0])), 1):
            found_rows.append((name, "share", value if show_values else f"#{place}", count / rows, rows, rows))
    return found_rows


def _ranked(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with the lowest hashes, as many as any figure looks at."""
    names = rows.select(pl.lit(str(SEED)).alias("seed"), "pair_id")
    order = row_digests(names, "diversity", ["seed", "pair_id"])
    most = max(NGRAM_TEXTS, BLEU_TEXTS, EMBEDDED_TEXTS)
    return rows.with_columns(order.alias("rank")).sort("rank").head(most)


def _text_of(content: str) -> str:
    """What is said in a JSON text, without its marks and names."""
    said: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, str):
            said.append(value)
        elif isinstance(value, dict):
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(json.loads(content))
    return "\n".join(said)[:MAX_CHARACTERS]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
