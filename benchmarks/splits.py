"""Splits under growth: rows and near-copies are added ten times, and nobody moves.

    python benchmarks/splits.py [--pairs 10000] [--rounds 10] [--copies 100]

The items are texts of words with Zipf's frequencies. Each round adds a tenth as many rows as there were at first; among them are
near-copies of old items in which a few words were replaced, so that each shares at least 0.7 of its runs of three words with the
item it copies. After each round the ledger is written, as an export does it. At the end every used pair is compared with every
used pair of another split: by an index of rare runs, and, for the near-copies, with all texts there are.

Beside it: what two calls of `df.sample(n=50)` without a seed have in common, which is how a training and a validation set are
drawn in a published Dagster example of fine-tuning.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import sys
import time
from typing import Any

import polars as pl

THRESHOLD = 0.7
VOCABULARY = 30_000
_TO_MIB = 2**20 if sys.platform == "darwin" else 1024  # ru_maxrss is in KiB on Linux


def made_text(chosen: random.Random, words: list[str], weights: list[float]) -> list[str]:
    return chosen.choices(words, weights, k=chosen.randint(15, 60))


def near_copy(chosen: random.Random, text: list[str], words: list[str]) -> list[str]:
    """A text with words replaced, as many as it bears."""
    from workbench_pipelines.duplicates import jaccard, shingles_of

    found, before = list(text), shingles_of(" ".join(text))
    for _ in range(chosen.randint(0, 3)):
        tried = list(found)
        tried[chosen.randrange(len(tried))] = chosen.choice(words)
        if jaccard(before, shingles_of(" ".join(tried))) >= THRESHOLD:
            found = tried
    return found


def frame_of(texts: dict[str, list[str]]) -> pl.DataFrame:
    inputs = [json.dumps({"note": " ".join(text)}) for text in texts.values()]
    return pl.DataFrame({"pair_id": list(texts), "item_ref": list(texts), "inputs": inputs}).with_columns(
        sheet=pl.lit("s"), attributes=pl.lit("{}")
    )


def grow(count: int, rounds: int, copies: int) -> None:
    from workbench_pipelines.catalog import SplitSpec
    from workbench_pipelines.split_leaks import crossing_pairs
    from workbench_pipelines.splits import SPLIT_ASSIGNMENTS, assign_splits

    chosen, spec = random.Random(5), SplitSpec(seed=13)
    words = [f"word{number}" for number in range(VOCABULARY)]
    weights = [1 / rank for rank in range(1, VOCABULARY + 1)]
    texts = {f"old-{at}": made_text(chosen, words, weights) for at in range(count)}
    ledger, stood, planted = SPLIT_ASSIGNMENTS.to_frame(), {}, {}
    moved = lost = 0
    took = []
    for step in range(rounds + 1):
        if step:
            before = list(texts)
            due = copies * step // rounds - copies * (step - 1) // rounds
            for at in range(due):
                of = chosen.choice(before)
                planted[f"copy-{step}-{at}"] = of
                texts[f"copy-{step}-{at}"] = near_copy(chosen, texts[of], words)
            for at in range(count // 10 - due):
                texts[f"new-{step}-{at}"] = made_text(chosen, words, weights)
        pairs = frame_of(texts)
        start = time.perf_counter()
        assigned = assign_splits(pairs, spec, ledger)
        took.append(time.perf_counter() - start)
        ledger = pl.concat([ledger, assigned.new_ledger_rows])
        now = dict(assigned.splits.select("pair_id", "split").iter_rows())
        moved += sum(1 for name, split in stood.items() if now[name] not in (split, None))
        lost += sum(1 for name in stood if now[name] is None)
        stood |= {name: split for name, split in now.items() if split is not None}
    used = pairs.join(assigned.splits, on="pair_id").filter(pl.col("split").is_not_null())
    start = time.perf_counter()
    crossing, _ = crossing_pairs(used, THRESHOLD)
    looked = time.perf_counter() - start
    together = sum(1 for copy, of in planted.items() if now[copy] is not None and now[copy] == now[of])
    waiting = sum(1 for copy in planted if now[copy] is None)
    fell = assign_splits(pairs, SplitSpec(seed=13, near_duplicates=False), SPLIT_ASSIGNMENTS.to_frame()).splits
    apart = dict(fell.select("pair_id", "split").iter_rows())
    leaked = sum(1 for copy, of in planted.items() if apart[copy] != apart[of])
    print(f"{count:,} pairs, {rounds} times 10 % more, {len(planted)} near-copies among them: {len(texts):,} pairs")
    print(f"  old items that changed split: {moved}; that were left out: {lost}")
    print(f"  near-copies that stand with the item they copy: {together} of {len(planted)}; quarantined: {waiting}")
    print(
        f"  pairs with a Jaccard of {THRESHOLD} or more across splits: {crossing}; without the rule: {leaked} near-copies"
    )
    print(f"  one assignment: {min(took):.1f} to {max(took):.1f} s; the exact look: {looked:.1f} s; ", end="")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / _TO_MIB:,.0f} MiB")


def sample_twice(frame: int, size: int, times: int) -> None:
    """What two unseeded samples of one frame have in common."""
    rows: Any = pl.DataFrame({"row": range(frame)})
    shared = [len(set(rows.sample(size)["row"]) & set(rows.sample(size)["row"])) for _ in range(times)]
    mean, leaking = sum(shared) / times, sum(1 for one in shared if one)
    print(
        f"two unseeded df.sample({size}) of {frame} rows, {times} times: {mean:.1f} rows of the validation set are in"
    )
    print(f"  the training set on average, at most {max(shared)}; {leaking} of {times} times at least one is")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--copies", type=int, default=100)
    given = parser.parse_args()
    grow(given.pairs, given.rounds, given.copies)
    for frame in (100, 200, 1_000):
        sample_twice(frame, 50, 200)


if __name__ == "__main__":
    main()
