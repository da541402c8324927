"""Near-duplicates that stand on two sides: all of them, without a sketch.

Two texts that share at least `threshold` of their shingles share one of the rarest of each: of the n shingles of a text any
n - threshold * n + 1 have to hold one that they share, and of the shorter text still fewer (prefix filtering, Chaudhuri et
al. 2006, Xiao et al. 2008). An index of those names every candidate, and the words decide. What `duplicates.near_duplicates`
misses by chance, or leaves out of a large bucket, is found here; what stands on one side is never looked at, which is what
keeps it cheap.

An export asks three times about the same texts: when splits are assigned, when what was written is audited, and when its check
looks again. The last answer is kept by digests of the texts, and counts for every question about some of them on no more sides.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from workbench_pipelines.compared_words import SAYS_SOMETHING
from workbench_pipelines.duplicates import NEAR_DUPLICATES, shingle_hashes, verified
from workbench_pipelines.errors import ExportError

if TYPE_CHECKING:
    import numpy as np

# Pairs that share a rare shingle: 100,000 sentences have some thousand. Texts that are alike in one way here and in another
# there can have all with all; beyond this nothing is claimed: it would take an hour.
MAX_CANDIDATES = 500_000_000
_AT_ONCE = 500_000  # candidates in memory at one time
_TEXT = ["one", "other"]  # two digests of 64 bits each, which a text is known by


@dataclass(frozen=True)
class _Answer:
    """What was found last.

    Attributes:
        asked: one, other (the digests of a text) and sides.
        found: one_a, other_a, one_b, other_b and jaccard of those that crossed.
    """

    threshold: float
    asked: pl.DataFrame
    found: pl.DataFrame


_last: list[_Answer] = []


def crossing_near_duplicates(texts: pl.DataFrame, threshold: float) -> pl.DataFrame:
    """Every pair of texts that share at least so much of their shingles and of which one stands where the other does not.

    Input columns: name (once each), text (once each, or copies are compared with each other too), sides (a number whose bits
    are the sides that the text stands on). A text in which nothing can be seen is like no other.

    Returns:
        Rows of `duplicates.NEAR_DUPLICATES`, sorted.

    Raises:
        ExportError: where more than `MAX_CANDIDATES` would have to be compared.
    """
    import numpy as np

    rows = texts.filter((pl.col("sides") > 0) & pl.col("text").str.contains(SAYS_SOMETHING)).sort("text", "name")
    if rows["sides"].n_unique() < 2 and not (rows["sides"].bitwise_count_ones() > 1).any():
        return NEAR_DUPLICATES.to_frame()
    asked = rows.select(
        "name",
        pl.col("text").hash(seed=1).alias("one"),
        pl.col("text").hash(seed=2).alias("other"),
        pl.col("sides").cast(pl.Int64),
    )
    if (known := _known_answer(asked, threshold)) is not None:
        return known
    sides = rows["sides"].to_numpy().astype(np.int64)
    named = rows.select(pl.col("name").cast(pl.String).alias("a"), "text")
    found: dict[tuple[str, str], float] = {}
    for candidates in _candidates(rows["text"], sides, threshold):
        for one, other, shared in verified(named, candidates, threshold):
            found[min(one, other), max(one, other)] = shared
    lines = [(one, other, shared) for (one, other), shared in sorted(found.items())]
    answer = pl.DataFrame(lines, schema=NEAR_DUPLICATES, orient="row")
    if not asked.select(pl.struct(_TEXT).is_duplicated().any()).item():
        _last[:] = [_Answer(threshold, asked.drop("name"), _by_digests(answer, asked))]
    return answer


def _known_answer(asked: pl.DataFrame, threshold: float) -> pl.DataFrame | None:
    """The answer that the last one holds for these texts; None where it does not tell.

    Input columns: name (as text), one, other, sides.
    """
    last = _last[0] if _last else None
    if last is None or last.threshold != threshold or asked.select(pl.struct(_TEXT).is_duplicated().any()).item():
        return None
    both = asked.join(last.asked, on=_TEXT, how="left", suffix="_then")
    was_looked_at = (pl.col("sides") & ~pl.col("sides_then")) == 0
    if not both.select(was_looked_at.fill_null(False).all()).item():
        return None
    named = asked.select(pl.col("name").cast(pl.String), *_TEXT, "sides")
    found = last.found
    for end in ("a", "b"):
        of_end = named.rename({"name": end, "sides": f"sides_{end}", **{name: f"{name}_{end}" for name in _TEXT}})
        found = found.join(of_end, on=[f"{name}_{end}" for name in _TEXT], how="inner")
    crosses = (pl.col("sides_a") != pl.col("sides_b")) | (pl.col("sides_a").bitwise_count_ones() > 1)
    ordered = found.filter(crosses).select(
        pl.min_horizontal("a", "b").alias("a"), pl.max_horizontal("a", "b").alias("b"), "jaccard"
    )
    return ordered.sort("a", "b")


def _by_digests(answer: pl.DataFrame, asked: pl.DataFrame) -> pl.DataFrame:
    """The answer with the digests of its texts in the place of their names."""
    named = asked.select(pl.col("name").cast(pl.String), *_TEXT)
    for end in ("a", "b"):
        of_end = named.rename({"name": end, **{name: f"{name}_{end}" for name in _TEXT}})
        answer = answer.join(of_end, on=end, how="inner")
    return answer.drop("a", "b")


def _candidates(texts: pl.Series, sides: np.ndarray, threshold: float) -> Iterator[np.ndarray]:
    """Places of texts on two sides that share one of their rarest shingles, two a row, some at a time."""
    import numpy as np

    shingles, whose, sizes, rare_enough = _rarest(texts, threshold)
    starts = np.flatnonzero(np.concatenate([[True], shingles[1:] != shingles[:-1]]))
    counts = np.diff(np.append(starts, len(shingles)))
    # A shingle whose texts all stand on one side makes no pair that crosses.
    lowest = np.minimum.reduceat(sides[whose], starts)
    highest = np.maximum.reduceat(sides[whose], starts)
    mixed = (counts > 1) & ((lowest != highest) | (np.bitwise_count(lowest) > 1))
    end = np.repeat(starts + counts, counts)
    # The shorter text comes first, and what it shares is among the fewer.
    at = np.flatnonzero(np.repeat(mixed, counts) & rare_enough)
    if (end[at] - at - 1).sum() > MAX_CANDIDATES:
        raise ExportError(
            "too many texts are alike to compare them all with each other; give spec.splits.near_duplicates a higher "
            "threshold, bind fewer words that all items have, or set it to false"
        )
    parts: list[np.ndarray] = []
    step = 1
    while len(at := at[at + step < end[at]]):
        for begin in range(0, len(at), _AT_ONCE):
            part = at[begin : begin + _AT_ONCE]
            one, other = whose[part], whose[part + step]
            crosses = (sides[one] != sides[other]) | (np.bitwise_count(sides[one]) > 1)
            small, large = np.minimum(sizes[one], sizes[other]), np.maximum(sizes[one], sizes[other])
            kept = crosses & (small >= threshold * large - 1e-9)
            low, high = np.minimum(one, other)[kept], np.maximum(one, other)[kept]
            parts.append((low << np.int64(32)) | high)
        step += 1
        if sum(map(len, parts)) >= _AT_ONCE:
            yield _places(parts)
            parts = []
    if parts:
        yield _places(parts)


def _places(parts: list[np.ndarray]) -> np.ndarray:
    import numpy as np

    numbers = np.unique(np.concatenate(parts))
    return np.stack([numbers >> np.int64(32), numbers & np.int64(0xFFFFFFFF)], axis=1)


def _rarest(texts: pl.Series, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The rarest shingles of each text that have to hold one it shares, whose each is, and how many each text has.

    They are sorted, and those of one kind by the size of their texts; the last array says which are among those that have to
    hold what a text shares with a longer one.
    """
    import numpy as np

    hashes, ends = shingle_hashes(texts)
    lengths: np.ndarray = np.diff(ends.astype(np.int64))
    whose = np.repeat(np.arange(len(lengths), dtype=np.int64), lengths)
    order = np.lexsort((hashes, whose))
    hashes, whose = hashes[order], whose[order]
    once = np.concatenate([[True], (hashes[1:] != hashes[:-1]) | (whose[1:] != whose[:-1])])
    hashes, whose = hashes[once], whose[once]
    _, numbers, often = np.unique(hashes, return_inverse=True, return_counts=True)
    # The same order for all texts: by how many have the shingle, and by the shingle where that is the same.
    order = np.lexsort((numbers, often[numbers], whose))
    numbers, whose = numbers[order], whose[order]
    sizes = np.bincount(whose, minlength=len(lengths)).astype(np.int64)
    place = np.arange(len(whose)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    wanted = sizes - np.ceil(threshold * sizes - 1e-9).astype(np.int64) + 1
    # Two texts share at least t / (1 + t) of the sum of their sizes, which is twice that of the shorter one or more.
    fewer = sizes - np.ceil(2 * threshold / (1 + threshold) * sizes - 1e-9).astype(np.int64) + 1
    chosen = place < wanted[whose]
    numbers, whose, place = numbers[chosen], whose[chosen], place[chosen]
    order = np.lexsort((sizes[whose], numbers))
    numbers, whose, place = numbers[order], whose[order], place[order]
    return numbers, whose, sizes, place < fewer[whose]
