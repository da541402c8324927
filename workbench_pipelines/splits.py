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

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl

from workbench_pipelines.catalog import SplitSpec
from workbench_pipelines.errors import ExportError
from workbench_pipelines.identity import digest, unit_interval

SPLITS = ("train", "val", "test")
SPLIT_ASSIGNMENTS = pl.Schema(
    {"group": pl.String(), "seed": pl.Int64(), "split": pl.String(), "assigned_by": pl.String()}
)
"""One row a token of a group and seed, written once and never changed; `assigned_by` is the Collection that came first."""

_DIGEST = "sha256:"
_NO_VALUE = "(none)"
_BOTH = "; nobody moves, so it waits until it is left out or regrouped"


@dataclass(frozen=True)
class Assigned:
    """Where pairs stand.

    Attributes:
        splits: pair_id, group (its smallest token), split (null where it is quarantined), quarantine (why, or null).
        new_ledger_rows: rows of `SPLIT_ASSIGNMENTS` that are not in the ledger yet.
        deviation: as `deviation_of` says it.
    """

    splits: pl.DataFrame
    new_ledger_rows: pl.DataFrame
    deviation: Mapping[str, Any]


def assign_splits(pairs: pl.DataFrame, spec: SplitSpec, ledger: pl.DataFrame, *, assigned_by: str = "") -> Assigned:
    """Give every pair its split, as the ledger has it or as its hash falls; the order of the rows does not matter.

    Write the new ledger rows by their key (group, seed) before anything is published. Where another writer was faster,
    assigning again with the ledger as it then stands gives the splits that count, and no new row.

    Input columns: pair_id, sheet, item_ref, attributes and inputs (JSON texts); `trace`, of which the first of `parent_ids`
    is the item that a derived one stands with, and `override`, the split its membership
    asks for, may be there: an untouched group follows it, and where it can not be followed the pair is quarantined.

    Raises:
        ExportError: when the ledger holds a token in two splits.
    """
    known = _known(ledger, spec.seed)
    placed = _with_tokens(pairs, spec.group_by)
    tokens = _tokens(placed, spec.group_by).join(known, on="token", how="left")
    group_of = tokens.select(pl.col("token").alias("item"), "group")
    asked = placed.join(group_of, on="item", how="left", maintain_order="left")
    groups = _decide(tokens, asked, spec)
    splits = (
        asked.join(known.rename({"token": "item", "known": "own"}), on="item", how="left", maintain_order="left")
        .join(groups, on="group", how="left", maintain_order="left")
        .select("pair_id", "group", "by", *_placement())
    )
    keeps = _kept_splits(splits, known)
    new = (
        tokens.filter(pl.col("known").is_null())
        .join(groups.filter(pl.col("split").is_not_null()), on="group", how="inner")
        .select(
            pl.col("token").alias("group"),
            pl.lit(spec.seed, pl.Int64).alias("seed"),
            "split",
            pl.lit(assigned_by).alias("assigned_by"),
        )
    )
    kept = keeps.filter(pl.col("known").is_null()).select(pl.col("by").alias("group"), pl.col("keeps").alias("split"))
    pinned = kept.join(new, on="group", how="anti").select(
        "group", pl.lit(spec.seed, pl.Int64).alias("seed"), "split", pl.lit(assigned_by).alias("assigned_by")
    )
    splits = _whole_groups(splits, keeps)
    return Assigned(
        splits, pl.concat([new, pinned]).sort("group"), deviation_of(pairs.with_columns(splits["split"]), spec)
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


def has_values(pairs: pl.DataFrame, column: str) -> bool:
    """Whether any pair has a value in a column to be grouped by."""
    return _values(pairs, column)[0].null_count() < pairs.height


def item_token(sheet: str, item_ref: str) -> str:
    """The token of an item."""
    # A Sheet's name holds no colon, so two items never have one token.
    return f"item:{sheet}:{item_ref}"


def group_token(column: str, value: Any) -> str:
    """The token of the items that share a value of a column; a value that came as its digest gives the same token."""
    return f"by:{column}:{_digest_of(value)}"


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
    digests, values = _values(placed, spec.stratify_by)
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


def _with_tokens(pairs: pl.DataFrame, group_by: str | None) -> pl.DataFrame:
    """pair_id, item, by, override: the tokens of each pair, `by` null where it has no value to be grouped by."""
    by = pl.lit(None, pl.String)
    if group_by is not None:
        by = pl.concat_str(pl.lit(f"by:{group_by}:"), _values(pairs, group_by)[0])
    override = pl.col("override") if "override" in pairs.columns else pl.lit(None)
    root = pl.col("item_ref")
    if "trace" in pairs.columns:
        # What is derived of an item stands where the item stands.
        root = pl.coalesce(pl.col("trace").struct.field("parent_ids").list.first(), root)
    return pairs.select(
        "pair_id",
        # A Sheet's name holds no colon, so two items never have one token.
        pl.concat_str(pl.lit("item:"), "sheet", pl.lit(":"), root).alias("item"),
        by.alias("by"),
        override.cast(pl.String).alias("override"),
    )


def _tokens(placed: pl.DataFrame, group_by: str | None) -> pl.DataFrame:
    """token, group: every token with the smallest one that it is connected to."""
    if group_by is None:
        return placed.select(pl.col("item").unique().alias("token")).with_columns(pl.col("token").alias("group"))
    smallest = _components(placed.select("item", "by").unique().iter_rows())
    return pl.DataFrame(
        {"token": list(smallest), "group": list(smallest.values())}, schema={"token": pl.String, "group": pl.String}
    )


def _components(links: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """By token, the smallest token of its component (union-find whose roots are the smallest)."""
    above: dict[str, str] = {}

    def root(token: str) -> str:
        while above[token] != token:
            above[token] = token = above[above[token]]
        return token

    for item, by in links:
        above.setdefault(item, item)
        if by is not None:
            above.setdefault(by, by)
            one, other = root(item), root(by)
            above[max(one, other)] = min(one, other)
    return {token: root(token) for token in above}


def _decide(tokens: pl.DataFrame, asked: pl.DataFrame, spec: SplitSpec) -> pl.DataFrame:
    """group, split, why: the split of each group, or why its new items have none."""
    stands = tokens.group_by("group").agg(pl.col("known").drop_nulls().unique().sort())
    wants = asked.group_by("group").agg(pl.col("override").drop_nulls().unique().sort())
    groups = stands.join(wants, on="group", how="left")
    free = groups.filter((pl.col("known").list.len() == 0) & (pl.col("override").list.len() == 0))["group"]
    hashed = pl.DataFrame(
        {"group": free, "hashed": [split_by_hash(group, spec) for group in free]},
        schema={"group": pl.String, "hashed": pl.String},
    )
    known, override = pl.col("known"), pl.col("override")
    undecided = known.list.len() == 0
    split = (
        pl.when(known.list.len() == 1)
        .then(known.list.first())
        .when(undecided & (override.list.len() == 1))
        .then(override.list.first())
        .otherwise(pl.col("hashed"))
    )
    why = (
        pl.when(known.list.len() > 1)
        .then(pl.lit("its group would bridge ") + known.list.join(" and ") + pl.lit(_BOTH))
        .when(undecided & (override.list.len() > 1))
        .then(pl.lit("members of the Collection ask for ") + override.list.join(" and ") + pl.lit(" for its group"))
    )
    return groups.join(hashed, on="group", how="left").select("group", split.alias("split"), why.alias("why"))


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
        "group",
        pl.when(apart).then(None).otherwise("split").alias("split"),
        pl.when(apart).then(why).otherwise("quarantine").alias("quarantine"),
    )


def _digest_of(value: Any) -> str:
    is_digest = isinstance(value, str) and value.startswith(_DIGEST) and len(value) == len(_DIGEST) + 64
    return value if is_digest else _DIGEST + digest(value)


def _values(pairs: pl.DataFrame, column: str) -> tuple[pl.Series, pl.Series]:
    """Of each pair the digest of its value in a column, and the value as text; null where it has none.

    The value is that of `attributes`, else of `inputs`. A tagged one comes as its digest, and gives the same token as
    before it was tagged.
    """
    digests: list[str | None] = []
    values: list[str | None] = []
    for attributes, inputs in pairs.select("attributes", "inputs").iter_rows():
        found = orjson.loads(attributes) if attributes else {}
        # What is only bound to the prompt was not asked whether it may be shown: it is known by its digest alone.
        from_inputs = column not in found
        value = (orjson.loads(inputs) if inputs else {}).get(column) if from_inputs else found[column]
        if value is None:
            digests.append(None)
            values.append(None)
            continue
        name = _digest_of(value)
        digests.append(name)
        values.append(name if from_inputs else value if isinstance(value, str) else orjson.dumps(value).decode())
    return pl.Series(digests, dtype=pl.String), pl.Series(values, dtype=pl.String)
