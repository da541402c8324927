"""Near-duplicates: `near_duplicates` beside datasketch's MinHash LSH, on the same texts, in the same run.

    python benchmarks/near_duplicates.py [--texts 100000] [--rounds 3]

The texts are sentences of words with Zipf's frequencies, as text has them; every fifth is a copy of an earlier one in which
some words were replaced, so that pairs share from nearly nothing to everything. What is true is worked out for the texts of
each family of copies, all with all, by their shingles of three words; texts of different families share next to nothing.

datasketch gets the same shingles, 128 permutations and its own choice of bands for a threshold of 0.7; what it returns is what
shares a bucket, which is how it is mostly used. `datasketch, verified` compares what it returns by the words as ours does. A
drop is a text that the result calls a copy of an earlier one; a false one has no earlier text that it shares 0.7 with.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from side_by_side import Side, compare, print_table

THRESHOLD = 0.7
VOCABULARY = 30_000
Pairs = set[tuple[str, str]]


def write_texts(file: Path, count: int) -> None:
    """The texts, a name, a family and a text a line."""
    chosen = random.Random(11)
    words = [f"word{number}" for number in range(VOCABULARY)]
    weights = [1 / rank for rank in range(1, VOCABULARY + 1)]
    texts: list[tuple[int, list[str]]] = []
    with file.open("w", encoding="utf-8") as out:
        for number in range(count):
            if number % 5 == 4:
                family, text = chosen.choice(texts)
                text = list(text)
                for _ in range(chosen.choice((0, 1, 1, 2, 2, 3, 4, 6))):
                    text[chosen.randrange(len(text))] = chosen.choices(words, weights)[0]
            else:
                family, text = number, chosen.choices(words, weights, k=chosen.randint(15, 60))
            texts.append((family, text))
            out.write(json.dumps([f"{number:08d}", family, " ".join(text)]) + "\n")


def read_texts(file: Path) -> list[tuple[str, int, str]]:
    with file.open(encoding="utf-8") as lines:
        return [tuple(json.loads(line)) for line in lines]


def true_pairs(texts: list[tuple[str, int, str]]) -> Pairs:
    """The pairs of one family that share so much."""
    from workbench_pipelines.duplicates import jaccard, shingles_of

    families: dict[int, list[tuple[str, Any]]] = {}
    for name, family, text in texts:
        families.setdefault(family, []).append((name, text))
    found: Pairs = set()
    for members in families.values():
        known = [(name, shingles_of(text)) for name, text in members]
        for place, (name, one) in enumerate(known):
            found |= {(name, other) for other, two in known[place + 1 :] if jaccard(one, two) >= THRESHOLD}
    return found


def ours(texts: list[tuple[str, int, str]]) -> Pairs:
    import polars as pl

    from workbench_pipelines.duplicates import near_duplicates

    frame = pl.DataFrame(texts, schema=["pair_id", "family", "text"], orient="row")
    return set(near_duplicates(frame, THRESHOLD).select("a", "b").iter_rows())


def datasketch(texts: list[tuple[str, int, str]], *, verified: bool) -> Pairs:
    from datasketch import MinHash, MinHashLSH

    from workbench_pipelines.duplicates import jaccard, shingles_of

    index = MinHashLSH(threshold=THRESHOLD, num_perm=128)
    kept, found = {}, set()
    for name, _, text in texts:
        shingles = shingles_of(text)
        sketch = MinHash(num_perm=128)
        sketch.update_batch([" ".join(one).encode() for one in shingles])
        for other in index.query(sketch):
            if not verified or jaccard(shingles, kept[other]) >= THRESHOLD:
                found.add((other, name))
        index.insert(name, sketch)
        if verified:
            kept[name] = shingles
    return found


def witness(file: Path, found: Pairs) -> str:
    """Recall of the true pairs' clusters, and the drops that are false."""
    texts = read_texts(file)
    truth = true_pairs(texts)
    family = {name: of for name, of, _ in texts}
    together = _joined(found)
    recalled = sum(1 for one, other in truth if together.get(one, one) == together.get(other, other))
    dropped = {other for _, other in found}
    false = dropped - {other for _, other in truth}
    strays = sum(1 for one, other in found if family[one] != family[other])
    return (
        f"recall {recalled / len(truth):.4f} of {len(truth)}, {len(dropped)} dropped, {len(false)} falsely "
        f"({len(false) / len(texts):.3%} of all texts), {strays} pairs across families"
    )


def _joined(pairs: Pairs) -> dict[str, str]:
    import polars as pl

    from workbench_pipelines.duplicates import components

    return components(pl.DataFrame(sorted(pairs), schema=["a", "b"], orient="row"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "texts.jsonl"
        write_texts(file, given.texts)
        prepare, seen = partial(read_texts, file), partial(witness, file)
        sides = [
            Side("datasketch", partial(datasketch, verified=False), prepare, seen),
            Side("datasketch, verified", partial(datasketch, verified=True), prepare, seen),
            Side("ours (rensa, verified)", ours, prepare, seen),
        ]
        figures = compare(sides, given.rounds)
        title = f"near-duplicates of {given.texts:,} texts, Jaccard of word triples from {THRESHOLD}"
        print_table(title, figures, {"ours (rensa, verified)": 0.1})


if __name__ == "__main__":
    main()
