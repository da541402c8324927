"""Lengths: how many tokens the pairs of an export have, by split.

Counted are the texts of all messages and the answer, without what a chat template puts around them and without images. Of
a large split the pairs with the lowest pair_ids are counted, which is a sample: a pair_id is a hash.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from workbench_pipelines.splits import SPLITS

# A thousand pairs of 1 KB take about 0.1 s to count, and tell a median to a few percent.
MAX_COUNTED = 2_000


@dataclass(frozen=True)
class SplitLengths:
    """The tokens of the pairs of a split that were counted, in ascending order, and how many pairs it has."""

    pairs: int
    tokens: tuple[int, ...]

    @property
    def total(self) -> int:
        """The tokens of all pairs; an estimate where not all were counted."""
        return round(sum(self.tokens) * self.pairs / len(self.tokens)) if self.tokens else 0

    @property
    def is_estimate(self) -> bool:
        return len(self.tokens) < self.pairs

    @property
    def median(self) -> float:
        return statistics.median(self.tokens) if self.tokens else 0.0

    @property
    def p95(self) -> int:
        return self.tokens[min(len(self.tokens) - 1, len(self.tokens) * 95 // 100)] if self.tokens else 0


Lengths = Mapping[str, SplitLengths]
"""By split."""


def measure_lengths(rows: pl.DataFrame, count: Callable[[Sequence[str]], list[int]]) -> Lengths:
    """The lengths of an export's rows.

    Input columns: pair_id, split, messages, response.

    Args:
        count: gives the number of tokens of each text.
    """
    found = {}
    contents = pl.col("messages").list.eval(pl.element().struct.field("content").fill_null("")).list.join("\n")
    for split in SPLITS:
        of_split = rows.filter(pl.col("split") == split)
        counted = of_split.select("pair_id", contents, "response").bottom_k(MAX_COUNTED, by="pair_id")
        prompts, answers = count(counted["messages"].to_list()), count(counted["response"].to_list())
        tokens = tuple(sorted(map(sum, zip(prompts, answers, strict=True))))
        found[split] = SplitLengths(of_split.height, tokens)
    return found


def histogram(lengths: Lengths) -> list[tuple[int, int, dict[str, int]]]:
    """Pairs that were counted by length: (more than, at most, number by split), each bin twice as wide as the last."""
    longest = max((one.tokens[-1] for one in lengths.values() if one.tokens), default=0)
    bins: list[tuple[int, int, dict[str, int]]] = []
    low, high = 0, 16
    while low < longest:
        counts = {split: sum(low < one <= high for one in lengths[split].tokens) for split in lengths}
        bins.append((low, high, counts))
        low, high = high, high * 2
    while bins and not any(bins[0][2].values()):
        bins.pop(0)
    return bins
