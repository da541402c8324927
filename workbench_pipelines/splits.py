"""Splits: every group of items is put into train, val or test once, and nobody ever moves.

A group is what must stay together: the pairs of one item and of all that is derived from it, and the items that share a
value of `group_by`. It is known by its tokens, ``item:<sheet>:<item_ref>`` and ``by:<column>:sha256:<digest of the value>``
(the ledger is read by many, so it holds no value). The ledger `records/split_assignments` pins each token under a seed,
whichever Collection came first: Collections with one seed agree. A group that touches the tokens of one split joins it; one
that would bridge two splits has its new items quarantined; an untouched one goes where the hash of (seed, its smallest
token) falls.

Items may have been assigned before a Collection groups them, or apart from their group of today. Nobody moves: of the pairs
that share a value only those in one split are used, the ledger's for that value or the one that most of them stand in, and
the others are quarantined.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from workbench_pipelines.alike_items import Alike, Link, figures_of, find_alike, join_alike, set_apart
from workbench_pipelines.catalog import SplitSpec
from workbench_pipelines.errors import ExportError
from workbench_pipelines.identity import unit_interval
from workbench_pipelines.split_tokens import connected, values_of, with_tokens

SPLITS = ("train", "val", "test")
SPLIT_ASSIGNMENTS = pl.Schema(
    {"group": pl.String(), "seed": pl.Int64(), "split": pl.String(), "assigned_by": pl.String()}
)
"""One row a token of a group and seed, written once and never changed; `assigned_by` is the Collection that came first."""

_NO_VALUE = "(none)"
_ALIKE = "near-duplicates of it stand in "
_BOTH = "; nobody moves, so it waits until it is left out or regrouped"


@dataclass(frozen=True)
class Assigned:
    """Where pairs stand.

    Attributes:
        splits: pair_id, group (its smallest token), split (null where it is quarantined), quarantine (why, or null).
        new_ledger_rows: rows of `SPLIT_ASSIGNMENTS` that are not in the ledger yet.
        deviation: as `deviation_of` says it.
        near_duplicates: as `alike_items.figures_of` says it; empty where nobody asked.
        alike: the near-duplicates among the pairs, for whoever assigns the same pairs again.
    """

    splits: pl.DataFrame
    new_ledger_rows: pl.DataFrame
    deviation: Mapping[str, Any]
    near_duplicates: Mapping[str, Any] = field(default_factory=dict)
    alike: Alike | None = None


def assign_splits(
    pairs: pl.DataFrame,
    spec: SplitSpec,
    ledger: pl.DataFrame,
    *,
    assigned_by: str = "",
    alike: Alike | None = None,
) -> Assigned:
    """Give every pair its split, as the ledger has it or as its hash falls; the order of the rows does not matter.

    Write the new ledger rows by their key (group, seed) before anything is published. Where another writer was faster,
    assigning again with the ledger as it then stands gives the splits that count, and no new row.

    Input columns: pair_id, sheet, item_ref, attributes and inputs (JSON texts); `trace`, of which the first of `parent_ids`
    is the item that a derived one stands with, and `override`, the split its membership
    asks for, may be there: an untouched group follows it, and where it can not be followed the pair is quarantined.

    Args:
        alike: what an earlier try said of these very pairs; they are compared where none is given.

    Raises:
        ExportError: when the ledger holds a token in two splits, or more texts are alike than can be compared.
    """
    known = _known(ledger, spec.seed)
    placed = with_tokens(pairs, spec.group_by)
    tokens = connected(placed, spec.group_by).join(known, on="token", how="left")
    own = tokens.select(pl.col("token").alias("item"), "group", pl.col("known").alias("own"))
    asked = placed.join(own, on="item", how="left", maintain_order="left")
    if alike is None and spec.near_threshold is not None:
        alike = find_alike(pairs, spec.near_threshold)
    found = alike
    crossing: frozenset[Link] = frozenset()
    while True:
        groups = _decide(tokens, asked, spec, alike)
        splits = asked.join(groups, on="group", how="left", maintain_order="left").select(
            "pair_id", "item", pl.col("joined").alias("group"), "by", "own", *_placement()
        )
        keeps = _kept_splits(splits, known)
        splits = _whole_groups(splits, keeps)
        # What the sketches missed crosses; once it is linked too, its new items go together.
        if alike is None or (crossing := alike.crossing(splits)) <= alike.links:
            break
        alike = alike.linked(crossing)
    waiting: list[str] = []
    if alike is not None:
        splits, waiting = _without_near_duplicates(splits, crossing, alike)
    new = (
        tokens.filter(pl.col("known").is_null() & ~pl.col("token").is_in(waiting))
        .join(groups.filter(pl.col("split").is_not_null()), on="group", how="inner")
        .select(pl.col("token").alias("group"), "split")
    )
    kept = keeps.filter(pl.col("known").is_null()).select(pl.col("by").alias("group"), pl.col("keeps").alias("split"))
    ledger_rows = pl.concat([new, kept.join(new, on="group", how="anti")]).select(
        "group", pl.lit(spec.seed, pl.Int64).alias("seed"), "split", pl.lit(assigned_by).alias("assigned_by")
    )
    return Assigned(
        splits.select("pair_id", "group", "split", "quarantine"),
        ledger_rows.sort("group"),
        deviation_of(pairs.with_columns(splits["split"]), spec),
        {} if alike is None else figures_of(alike, asked),
        found,
    )


def under_new_names(ledger: pl.DataFrame, renamed: Mapping[str, str]) -> pl.DataFrame:
    """The ledger with the items of renamed Sheets under the names of today as well: nobody moves for a new name.

    Args:
        renamed: by former name of a Sheet, its name of today.
    """
    parts = [ledger]
    for before, now in sorted(renamed.items()):
        prefix = f"item:{before}:"
        old = ledger.filter(pl.col("group").str.starts_with(prefix))
        parts.append(old.with_columns(group=pl.lit(f"item:{now}:") + pl.col("group").str.strip_prefix(prefix)))
    return pl.concat(parts).unique(["group", "seed"], keep="first", maintain_order=True)


def split_by_hash(group: str, spec: SplitSpec) -> str:
    """Where a group falls that the ledger knows nothing of and no membership speaks of; `group` is its smallest token."""
    at, end = unit_interval(spec.seed, group), 0.0
    shares = [(split, getattr(spec, split)) for split in SPLITS if getattr(spec, split) > 0]
    for split, share in shares:
        end += share
        if at < end:
            return split
    return shares[-1][0]  # the shares add up to 1 but for rounding


def deviation_of(rows: pl.DataFrame, spec: SplitSpec) -> dict[str, Any]:
    """How far the splits are from the shares that were asked for, over all and per value of `stratify_by`.

    Nobody is moved for it. A value is shown by its digest where a row with it is restricted.

    Input columns: split; attributes and inputs where `stratify_by` is given; data_classification, if known.
    """
    placed = rows.filter(pl.col("split").is_not_null())
    overall = _deviation(placed["split"], spec)
    found: dict[str, Any] = {"stratify_by": spec.stratify_by, "overall": overall, "strata": {}}
    if spec.stratify_by is None:
        return found
    digests, values = values_of(placed, spec.stratify_by)
    strata = pl.DataFrame({"split": placed["split"], "digest": digests, "value": values})
    hidden = set(strata.filter(pl.col("digest") == pl.col("value"))["digest"])
    if "data_classification" in placed.columns:
        hidden |= set(digests.filter(placed["data_classification"] == "restricted"))
    for key in sorted(set(digests.drop_nulls())):
        stratum = strata.filter(pl.col("digest") == key)
        shown = key if key in hidden else stratum["value"].min()
        found["strata"][str(shown)] = _deviation(stratum["split"], spec)
    if digests.null_count():
        found["strata"][_NO_VALUE] = _deviation(strata.filter(pl.col("digest").is_null())["split"], spec)
    return found


def _deviation(splits: pl.Series, spec: SplitSpec) -> dict[str, Any]:
    counts = {split: int((splits == split).sum()) for split in SPLITS}
    total = max(1, splits.len())
    return {"pairs": splits.len()} | {
        split: round(counts[split] / total - getattr(spec, split), 6) for split in SPLITS if splits.len()
    }


def _known(ledger: pl.DataFrame, seed: int) -> pl.DataFrame:
    """token, known: the splits that count under this seed."""
    rows = (
        ledger.filter(pl.col("seed") == seed)
        .select(pl.col("group").alias("token"), pl.col("split").alias("known"))
        .unique()
    )
    twice = rows.filter(pl.col("token").is_duplicated())
    if not twice.is_empty():
        token = twice["token"].sort()[0]
        raise ExportError(f"split_assignments: '{token}' stands in two splits under seed {seed}; delete the later row")
    return rows


def _decide(tokens: pl.DataFrame, asked: pl.DataFrame, spec: SplitSpec, alike: Alike | None) -> pl.DataFrame:
    """group, joined, split, why: of each group those it goes with, their split, or why its new items have none."""
    stands = tokens.group_by("group").agg(pl.col("known").drop_nulls().unique().sort())
    wants = asked.group_by("group").agg(pl.col("override").drop_nulls().unique().sort())
    groups = stands.join(wants, on="group", how="left").with_columns(
        joined="group", touches=pl.lit([], pl.List(pl.String))
    )
    known, override, touches = pl.col("known"), pl.col("override"), pl.col("touches")
    if alike is not None:
        is_free = known.list.len() == 0
        in_one = pl.when(known.list.len() == 1).then(known.list.first())
        of_group = groups.select("group", in_one.alias("one"), is_free.alias("free"))
        rows = asked.join(of_group, on="group", how="left").select(
            "pair_id", "group", "free", pl.coalesce("own", "one").alias("stands")
        )
        joined = join_alike(rows, alike)
        groups = (
            groups.drop("joined", "touches")
            .join(joined, on="group", how="left")
            .with_columns(pl.coalesce("joined", "group").alias("joined"), touches.fill_null([]))
        )
        together = groups.group_by("joined").agg(override.explode().drop_nulls().unique().sort())
        groups = groups.drop("override").join(together, on="joined", how="left")
    stood = pl.when(known.list.len() > 0).then(known).otherwise(touches)
    groups = groups.with_columns(stood.alias("stood"))
    stood, undecided = pl.col("stood"), pl.col("stood").list.len() == 0
    free = groups.filter(undecided & (override.list.len() == 0)).select("group", "joined").sort("group")
    fallen = pl.Series("hashed", [split_by_hash(group, spec) for group in free["group"]], dtype=pl.String)
    # Of near-copies whose hashes fall apart train has all: who showed one of them as an example before they were
    # assigned (`example_splits.held_out`) went by its own hash, and a copy in train is no leak.
    in_train = pl.col("hashed").filter(pl.col("hashed") == SPLITS[0]).first()
    hashed = (
        free.with_columns(fallen)
        .group_by("joined", maintain_order=True)
        .agg(pl.coalesce(in_train, pl.col("hashed").first()).alias("hashed"))
    )
    split = (
        pl.when(stood.list.len() == 1)
        .then(stood.list.first())
        .when(undecided & (override.list.len() == 1))
        .then(override.list.first())
        .otherwise(pl.col("hashed"))
    )
    bridges = pl.when(known.list.len() > 1).then(pl.lit("its group would bridge ")).otherwise(pl.lit(_ALIKE))
    why = (
        pl.when(stood.list.len() > 1)
        .then(bridges + stood.list.join(" and ") + pl.lit(_BOTH))
        .when(undecided & (override.list.len() > 1))
        .then(pl.lit("members of the Collection ask for ") + override.list.join(" and ") + pl.lit(" for its group"))
    )
    return groups.join(hashed, on="joined", how="left").select(
        "group", "joined", split.alias("split"), why.alias("why")
    )


def _without_near_duplicates(
    splits: pl.DataFrame, crossing: frozenset[Link], alike: Alike
) -> tuple[pl.DataFrame, list[str]]:
    """The pairs without those whose near-duplicates are used in another split, and the new items that wait for it."""
    found = splits.join(set_apart(splits, crossing, alike), on="pair_id", how="left", maintain_order="left")
    apart = pl.col("instead").is_not_null()
    why = pl.format("it stands in {} and a near-duplicate of it is used in {}; nobody moves", "split", "instead")
    found = found.with_columns(
        pl.when(~apart).then("split").alias("split"),
        pl.when(apart).then(why).otherwise("quarantine").alias("quarantine"),
    )
    used = found.filter(pl.col("split").is_not_null())["item"]
    waiting = found.filter(apart & pl.col("own").is_null() & ~pl.col("item").is_in(used.implode()))
    return found.drop("instead"), waiting["item"].unique().to_list()


def _placement() -> list[pl.Expr]:
    """split and quarantine of a pair: what its own item has in the ledger comes first, then its group's split."""
    stands = pl.coalesce("own", "split")
    refused = stands.is_not_null() & pl.col("override").is_not_null() & (stands != pl.col("override"))
    asks = pl.lit("its membership asks for ") + pl.col("override") + pl.lit(", its item stands in ") + stands
    reason = pl.when(refused).then(asks + pl.lit("; nobody moves")).when(stands.is_null()).then(pl.col("why"))
    return [pl.when(~refused).then(stands).alias("split"), reason.alias("quarantine")]


def _kept_splits(splits: pl.DataFrame, known: pl.DataFrame) -> pl.DataFrame:
    """by, known, keeps: of each shared value what the ledger says, and the one split whose pairs are used."""
    order = pl.col("split").replace_strict({name: place for place, name in enumerate(SPLITS)}, return_dtype=pl.Int8)
    placed = (
        splits.filter(pl.col("by").is_not_null() & pl.col("split").is_not_null())
        .group_by("by", "split")
        .len()
        .sort("len", order, descending=[True, False])
        .group_by("by", maintain_order=True)
        .agg(pl.col("split").first().alias("most"))
    )
    found = placed.join(known.rename({"token": "by"}), on="by", how="left", maintain_order="left")
    return found.select("by", "known", pl.coalesce("known", "most").alias("keeps"))


def _whole_groups(splits: pl.DataFrame, keeps: pl.DataFrame) -> pl.DataFrame:
    """The placed pairs; those that stand apart from the split of their shared value are quarantined."""
    found = splits.join(keeps, on="by", how="left", maintain_order="left")
    apart = (pl.col("split") != pl.col("keeps")).fill_null(False)
    why = (
        pl.lit("it stands in ")
        + pl.col("split")
        + pl.lit(" and its group is used in ")
        + pl.col("keeps")
        + pl.lit("; nobody moves")
    )
    return found.select(
        "pair_id",
        "item",
        "group",
        "own",
        pl.when(apart).then(None).otherwise("split").alias("split"),
        pl.when(apart).then(why).otherwise("quarantine").alias("quarantine"),
    )
