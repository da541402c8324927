"""Items that say nearly the same: which new ones go together, where they have to stand, and what may not stand together.

A text that an old item holds pulls: a new item that holds it, or one nearly like it, goes where the old one stands. It does
not join: two new items that are like the same old one are not therefore alike. Texts of new items alone join whoever holds
them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import polars as pl

from workbench_pipelines.crossing_duplicates import crossing_near_duplicates
from workbench_pipelines.duplicates import near_duplicates
from workbench_pipelines.split_texts import compared_texts
from workbench_pipelines.split_tokens import components_of

Link = tuple[int, int]
Standing = tuple[int, str, bool]
"""A text, a split in which items hold it, and whether they are old ones."""

# A test set that stays as it was is worth more than the few rows that train loses.
_YIELDS = {"test": 0, "val": 1, "train": 2}
SIDE_OF_SPLIT = {name: 1 << place for name, place in _YIELDS.items()}
"""The bit by which `crossing_duplicates` knows a split."""


@dataclass(frozen=True)
class Alike:
    """Texts of pairs, and which of them are near-duplicates.

    Attributes:
        of_pair: pair_id, text (its number; null for a pair that has none).
        texts: name (the number as text), text: each text once.
        threshold: the share of shingles from which on two texts are near-duplicates.
        links: pairs of numbers, the lower one first.
    """

    of_pair: pl.DataFrame
    texts: pl.DataFrame
    threshold: float
    links: frozenset[Link]

    def linked(self, links: Iterable[Link]) -> Alike:
        """The same with more links."""
        return replace(self, links=self.links.union(links))

    def neighbours(self) -> dict[int, list[int]]:
        """By text, those that are nearly like it."""
        found: dict[int, list[int]] = {}
        for one, other in self.links:
            found.setdefault(one, []).append(other)
            found.setdefault(other, []).append(one)
        return found

    def crossing(self, splits: pl.DataFrame) -> frozenset[Link]:
        """Every two texts that are near-duplicates and stand in different splits, found by no sketch.

        Input columns: pair_id, split.
        """
        side = pl.col("split").replace_strict(SIDE_OF_SPLIT, return_dtype=pl.Int64)
        placed = splits.select("pair_id", "split").drop_nulls().join(self.of_pair.drop_nulls(), on="pair_id")
        sides = placed.group_by("text").agg(side.unique().sum().alias("sides"))
        named = sides.select(pl.col("text").cast(pl.String).alias("name"), "sides").join(self.texts, on="name")
        found = crossing_near_duplicates(named, self.threshold)
        pairs = found.select(pl.col("a").cast(pl.Int64), pl.col("b").cast(pl.Int64))
        return frozenset((min(one, other), max(one, other)) for one, other in pairs.iter_rows())


def find_alike(pairs: pl.DataFrame, threshold: float) -> Alike:
    """The texts of pairs and the near-duplicates that sketches find among them, each verified by its words.

    Input columns: pair_id, inputs.
    """
    said = pl.DataFrame({"pair_id": pairs["pair_id"], "said": compared_texts(pairs)})
    texts = said.select(pl.col("said").drop_nulls().unique().sort()).with_row_index("text")
    texts = texts.select(pl.col("text").cast(pl.Int64), "said")
    named = texts.select(pl.col("text").cast(pl.String).alias("name"), pl.col("said").alias("text"))
    found = near_duplicates(named.rename({"name": "pair_id"}), threshold)
    links = found.select(pl.col("a").cast(pl.Int64), pl.col("b").cast(pl.Int64)).iter_rows()
    return Alike(
        said.join(texts, on="said", how="left", maintain_order="left").select("pair_id", "text"),
        named,
        threshold,
        frozenset((min(one, other), max(one, other)) for one, other in links),
    )


def figures_of(alike: Alike, rows: pl.DataFrame) -> dict[str, int | float]:
    """How many pairs say nearly what another item says, and how many the largest group holds that they make.

    Input columns: pair_id, group.
    """
    held = rows.join(alike.of_pair, on="pair_id").drop_nulls("text").with_columns(pl.col("text").cast(pl.String))
    links: list[tuple[str, str | None]] = list(held.select("text", "group").unique().iter_rows())
    links += [(str(one), str(other)) for one, other in alike.links]
    root = held["text"].replace_strict(components_of(links), return_dtype=pl.String)
    groups = held.with_columns(root=root).group_by("root").agg(pl.len(), pl.col("group").n_unique().alias("groups"))
    joined = groups.filter(pl.col("groups") > 1)["len"].to_list()
    return {"threshold": alike.threshold, "pairs": sum(joined), "largest_group": max(joined, default=0)}


def join_alike(rows: pl.DataFrame, alike: Alike) -> pl.DataFrame:
    """Which groups of new items go together as near-duplicates, and in which splits what they are like stands already.

    A group that is like items in two splits joins nobody, so that those who are like it alone can.

    Input columns: pair_id, group, stands (the split in which its item stands; null for one that is nowhere yet), free
    (whether its group is nowhere yet).

    Returns:
        group, joined (the smallest of the groups that go together), touches (the splits, sorted): a row a free group.
    """
    held = rows.join(alike.of_pair, on="pair_id", how="left").select("group", "text", "stands", "free").unique()
    stands: dict[int, set[str]] = {}
    for text, split in held.select("text", "stands").drop_nulls().iter_rows():
        stands.setdefault(text, set()).add(split)
    of_group: dict[str, list[int]] = {}
    for group, text in held.filter("free").select("group", "text").iter_rows():
        texts = of_group.setdefault(group, [])
        if text is not None:
            texts.append(text)
    near = alike.neighbours()
    touches = {group: _touched(texts, near, stands) for group, texts in of_group.items()}
    holder: dict[int, str] = {}
    joins: list[tuple[str, str | None]] = [(group, None) for group in of_group]
    for group, texts in of_group.items():
        if len(touches[group]) < 2:
            joins += [(group, holder.setdefault(text, group)) for text in texts if text not in stands]
    joins += [(holder[one], holder[other]) for one, other in alike.links if one in holder and other in holder]
    joined = components_of(joins)
    together: dict[str, set[str]] = {}
    for group, root in joined.items():
        together.setdefault(root, set()).update(touches[group])
    found = [(group, root, sorted(together[root])) for group, root in joined.items()]
    schema = {"group": pl.String(), "joined": pl.String(), "touches": pl.List(pl.String())}
    return pl.DataFrame(found, schema=schema, orient="row")


def set_apart(splits: pl.DataFrame, crossing: Iterable[Link], alike: Alike) -> pl.DataFrame:
    """Which pairs can not be used since a near-duplicate of theirs is used in another split.

    A new item gives way to an old one. Of old ones, that were assigned before anyone looked for near-duplicates or apart from
    each other, those in test are used, then those in val: it is the same ones whatever is added.

    Input columns: pair_id, split, own (the split of its item in the ledger, or null).

    Returns:
        pair_id, instead: the split in which its near-duplicate is used.
    """
    near: dict[int, set[int]] = {}
    for one, other in crossing:
        near.setdefault(one, set()).add(other)
        near.setdefault(other, set()).add(one)
    placed = splits.filter(pl.col("split").is_not_null()).join(alike.of_pair.drop_nulls(), on="pair_id")
    stands: dict[int, set[tuple[str, bool]]] = {}
    is_old = pl.col("own").is_not_null()
    for text, split, old in placed.select("text", "split", is_old).unique().iter_rows():
        stands.setdefault(text, set()).add((split, old))
    concerned = [(text, *one) for text, found in stands.items() if text in near or len(found) > 1 for one in found]
    lost: dict[Standing, str] = {}

    def used_elsewhere(text: int, split: str) -> list[Standing]:
        """What is alike, stands in another split and has not given way."""
        around = ((other, *one) for other in (text, *near.get(text, ())) for one in stands.get(other, ()))
        return [one for one in around if one[1] != split and one not in lost]

    for text, split, old in sorted((one for one in concerned if one[2]), key=lambda one: _YIELDS[one[1]]):
        ahead = [
            where for _, where, is_old in used_elsewhere(text, split) if is_old and _YIELDS[where] < _YIELDS[split]
        ]
        if ahead:
            lost[text, split, old] = min(ahead, key=_YIELDS.__getitem__)
    # Of two new ones neither was there before: both wait.
    waiting = {
        (text, split, old): [where for _, where, _ in used_elsewhere(text, split)]
        for text, split, old in concerned
        if not old
    }
    lost |= {one: min(found, key=_YIELDS.__getitem__) for one, found in waiting.items() if found}
    rows = [(text, split, old, instead) for (text, split, old), instead in sorted(lost.items())]
    schema = {"text": pl.Int64(), "split": pl.String(), "is_old": pl.Boolean(), "instead": pl.String()}
    found = pl.DataFrame(rows, schema=schema, orient="row")
    apart = placed.with_columns(is_old.alias("is_old")).join(found, on=["text", "split", "is_old"])
    return apart.select("pair_id", "instead")


def _touched(texts: Iterable[int], near: Mapping[int, list[int]], stands: Mapping[int, set[str]]) -> set[str]:
    """The splits in which these texts, or near-duplicates of them, stand."""
    found: set[str] = set()
    for text in texts:
        for one in (text, *near.get(text, ())):
            found |= stands.get(one, set())
    return found
