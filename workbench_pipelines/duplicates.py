"""Duplicates: texts that say the same, word for word or nearly so.

Near-duplicates are found by MinHash (`rensa`) and then compared word by word: a pair that is named here shares what it is said
to share, exactly, whatever the sketches said. What is shared are runs of three words (`compared_words`), as for few-shot
examples and splits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import polars as pl

from workbench_pipelines.compared_words import SAYS_SOMETHING, words_in, words_of

if TYPE_CHECKING:
    import numpy as np

# Of the word shingles of two texts together, the share that both have from which on they say the same: one of twenty words
# may differ (15 of 21 shingles), and of a sentence of eight none. Below it, forms that were filled in otherwise are alike.
NEAR_DUPLICATE = 0.7
SHINGLE = 3  # words: single words make any two filled-in forms alike, five miss a text with every fifth word changed
# 32 bands of 4: of pairs that share 0.7 of their shingles one in 6,000 is never looked at, of those that share 0.3 one in four
# is looked at in vain (1 - (1 - s^4)^32).
BANDS, ROWS = 32, 4
SEED = 42  # any; sketches of two runs have to be the same
# Texts of one bucket that are compared all with all. In a larger one, each is compared with the few that come after it in the
# order of their content: texts that are the same but for a number would else be a million times a million pairs.
BUCKET, NEIGHBOURS = 64, 8
_TEXTS = 20_000  # whose words are in memory at one time
_PAIRS = 100_000  # that are compared at one time

NEAR_DUPLICATES = pl.Schema({"a": pl.String(), "b": pl.String(), "jaccard": pl.Float64()})
"""A pair of texts a row, by their names, `a` before `b`; 1.0 where they have the same shingles."""

Shingles = frozenset[tuple[str, ...]]


def shingles_of(text: str) -> Shingles:
    """The runs of three words of a text, or all its words if fewer; empty for one in which nothing can be seen."""
    return _shingles(words_of(text))


def _shingles(words: list[str]) -> Shingles:
    return frozenset(tuple(words[at : at + SHINGLE]) for at in range(max(1, len(words) - SHINGLE + 1)) if words)


def jaccard(one: Shingles, other: Shingles) -> float:
    """The share of all shingles of two texts that both have; 0 where neither has any."""
    together = len(one | other)
    return len(one & other) / together if together else 0.0


def near_duplicates(texts: pl.DataFrame, threshold: float = NEAR_DUPLICATE) -> pl.DataFrame:
    """The pairs of texts that share at least so much of their shingles, whatever the order of the rows.

    Enough of them to join what belongs together: of texts that are the same word for word each stands beside the one with the
    lowest name alone, and of more than `BUCKET` texts that are all alike each beside a few of the others.

    Input columns: pair_id, text; each name once. A null text, or one in which nothing can be seen, is like no other.

    Returns:
        Rows of `NEAR_DUPLICATES`, sorted.
    """
    named = texts.select(pl.col("pair_id", "text").cast(pl.String)).drop_nulls("text")
    first = named.group_by("text").agg(pl.col("pair_id").min().alias("a"))
    # In the order of their content: what a bucket compares must not hang on names or rows.
    first = first.filter(pl.col("text").str.contains(SAYS_SOMETHING)).sort("text")
    same = (
        named.join(first, on="text", how="inner")
        .filter(pl.col("pair_id") != pl.col("a"))
        .select("a", pl.col("pair_id").alias("b"), pl.lit(1.0).alias("jaccard"))
    )
    candidates = _candidates(first["text"])
    found = list(verified(first, candidates, threshold)) if len(candidates) else []
    near = pl.DataFrame(found, schema=NEAR_DUPLICATES, orient="row")
    lower, upper = pl.min_horizontal("a", "b"), pl.max_horizontal("a", "b")
    pairs = pl.concat([same, near]).select(lower.alias("a"), upper.alias("b"), "jaccard")
    return pairs.select([pl.col(name).cast(dtype) for name, dtype in NEAR_DUPLICATES.items()]).sort("a", "b")


def components(pairs: pl.DataFrame) -> dict[str, str]:
    """By name, the lowest name of what it is joined to by any way; who stands in no pair is in none.

    Input columns: a, b.
    """
    above: dict[str, str] = {}

    def root(name: str) -> str:
        while (higher := above.setdefault(name, name)) != name:
            above[name] = name = above[higher]  # halves the way each time it is gone
        return name

    for one, other in pairs.select("a", "b").iter_rows():
        low, high = sorted((root(one), root(other)))
        above[high] = low
    return {name: root(name) for name in list(above)}


def exact_copies(texts: pl.DataFrame) -> dict[str, str]:
    """By name, the lowest name of a text that is the same character for character, where that is another one.

    Input columns: pair_id, text.
    """
    lowest = pl.col("pair_id").min().over("text").alias("lowest")
    copies = texts.select("pair_id", "text").drop_nulls("text").select("pair_id", lowest)
    return dict(copies.filter(pl.col("pair_id") != pl.col("lowest")).iter_rows())


def _candidates(texts: pl.Series) -> np.ndarray:
    """Places of texts that may be near-duplicates, two a row, the lower one first; each pair once."""
    import numpy as np

    banded = [_bands(texts[start : start + _TEXTS]) for start in range(0, texts.len(), _TEXTS)]
    if not banded:
        return np.empty((0, 2), np.int64)
    bands = np.concatenate(banded)
    found = np.empty(0, np.uint64)
    for band in range(BANDS):
        # Sorted runs: what bands have in common falls together before the next one comes.
        found = np.sort(np.concatenate([found, _shared(bands[:, band])]), kind="stable")
        found = found[np.concatenate([[True], found[1:] != found[:-1]])] if len(found) else found
    return np.stack([found >> np.uint64(32), found & np.uint64(0xFFFFFFFF)], axis=1).astype(np.int64)


def _bands(texts: pl.Series) -> np.ndarray:
    """The hash of each band of each text's sketch: 128 bytes a text, since a shared hash is only a hint."""
    import numpy as np
    from rensa import RMinHash

    hashes, ends = shingle_hashes(texts)
    sketches = RMinHash.digest_matrix_from_flat_token_hashes(hashes, ends, BANDS * ROWS, SEED)
    rows = np.array(sketches.to_rows(), dtype=np.uint64).reshape(-1, BANDS, ROWS)
    mixed = np.zeros(rows.shape[:2], dtype=np.uint64)
    for place in range(ROWS):
        mixed = _mixed(mixed, rows[:, :, place])
    return (mixed >> np.uint64(32)).astype(np.uint32)


def shingle_hashes(texts: pl.Series) -> tuple[np.ndarray, np.ndarray]:
    """The hashes of all shingles of texts that have words, one text after the other, and where each begins and ends."""
    import numpy as np

    words = words_in(texts)
    counts = words.list.len().to_numpy().astype(np.int64)
    ends = np.cumsum(counts)
    hashed = words.explode().hash(seed=SEED).to_numpy()
    shingles = np.maximum(counts - SHINGLE + 1, 1)
    last = np.cumsum(shingles)
    # Where each shingle begins among all words, and where its text ends: one of a short text has less than three words.
    begins = np.arange(last[-1]) - np.repeat(last - shingles, shingles) + np.repeat(ends - counts, shingles)
    stops = np.repeat(ends, shingles)
    found = np.zeros(len(begins), dtype=np.uint64)
    for place in range(SHINGLE):
        at = begins + place
        word = np.where(at < stops, hashed[np.minimum(at, len(hashed) - 1)], np.uint64(0))
        found = _mixed(found, word)
    return found, np.concatenate([[0], last]).astype(np.uint64)


def _mixed(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Two hashes as one; which came first counts."""
    import numpy as np

    mixed = (one ^ other) * np.uint64(0x9E3779B97F4A7C15)  # the golden ratio in 64 bits, as splitmix64 has it
    return np.asarray((mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9))


def _shared(band: np.ndarray) -> np.ndarray:
    """The places that share a bucket of a band, two in one number, the lower one in its upper half."""
    import numpy as np

    order = np.argsort(band, kind="stable")  # within a bucket in the order of content
    sorted_band = band[order]
    starts = np.flatnonzero(np.concatenate([[True], sorted_band[1:] != sorted_band[:-1]]))
    sizes = np.diff(np.append(starts, len(band)))
    end = np.repeat(starts + sizes, sizes)
    reach = np.repeat(np.where(sizes > BUCKET, NEIGHBOURS, BUCKET), sizes)
    at = np.arange(len(band))
    found = []
    for step in range(1, BUCKET):
        at = at[(at + step < end[at]) & (step <= reach[at])]
        if not len(at):
            break
        low, high = order[at].astype(np.uint64), order[at + step].astype(np.uint64)
        found.append((low << np.uint64(32)) | high)
    return np.concatenate(found) if found else np.empty(0, np.uint64)


def verified(first: pl.DataFrame, candidates: np.ndarray, threshold: float) -> Iterator[tuple[str, str, float]]:
    """The candidates that do share so much, by their shingles word for word."""
    names, texts = first["a"], first["text"]
    for start in range(0, len(candidates), _PAIRS):
        part = candidates[start : start + _PAIRS]
        likely = part[_likely(texts, part, threshold)]
        places = sorted(set(likely.ravel().tolist()))
        words = words_in(texts.gather(places)).to_list()
        known = dict(zip(places, map(_shingles, words), strict=True))
        for one, other in likely.tolist():
            shared = jaccard(known[one], known[other])
            if shared >= threshold:
                yield names[one], names[other], shared


def _likely(texts: pl.Series, pairs: np.ndarray, threshold: float) -> np.ndarray:
    """Which pairs share so much by the hashes of their shingles, of which 32 bits are compared: all that do, and hardly more."""
    import numpy as np

    places, numbers = np.unique(pairs, return_inverse=True)
    numbers = numbers.reshape(pairs.shape)
    hashes, ends = shingle_hashes(texts.gather(places.tolist()))
    ends = ends.astype(np.int64)
    whose = np.repeat(np.arange(len(places), dtype=np.uint64), np.diff(ends))
    owned = np.unique((whose << np.uint64(32)) | (hashes >> np.uint64(32)))
    starts = np.searchsorted(owned, np.arange(len(places) + 1, dtype=np.uint64) << np.uint64(32))
    counts = np.diff(starts)
    one, other = numbers[:, 0], numbers[:, 1]
    # Lengths alone rule most of the rest out.
    small, large = np.minimum(counts[one], counts[other]), np.maximum(counts[one], counts[other])
    may = np.flatnonzero(small >= threshold * large - 1e-9)
    if not len(may):
        return np.zeros(len(pairs), dtype=bool)
    one, other = one[may], other[may]
    size = counts[one]
    begin = np.cumsum(size) - size
    at = np.arange(size.sum()) - np.repeat(begin, size) + np.repeat(starts[one], size)
    wanted = (np.repeat(other, size).astype(np.uint64) << np.uint64(32)) | (owned[at] & np.uint64(0xFFFFFFFF))
    there = np.minimum(np.searchsorted(owned, wanted), len(owned) - 1)
    both = np.add.reduceat(owned[there] == wanted, begin)
    found = np.zeros(len(pairs), dtype=bool)
    # A little below, so that two hashes that fell together within a text lose no pair; the words decide.
    found[may] = both >= (threshold - 0.01) * (counts[one] + counts[other] - both)
    return found


def texts_of(values: Iterable[object]) -> str:
    """What values of JSON say, one after the other, without marks and names."""
    said: list[str] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)
        elif value is not None:
            said.append(value if isinstance(value, str) else str(value))

    for value in values:
        walk(value)
    return "\n".join(said)
