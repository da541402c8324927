"""Tokens: what a group of items is known by in the ledger of splits, and which of them belong together.

An item is ``item:<sheet>:<item_ref>``, a value that items share ``by:<column>:sha256:<digest of the value>``: the ledger is read
by many, so it holds no value.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson
import polars as pl

from workbench_pipelines.identity import digest

_DIGEST = "sha256:"


def has_values(pairs: pl.DataFrame, column: str) -> bool:
    """Whether any pair has a value in a column to be grouped by."""
    return values_of(pairs, column)[0].null_count() < pairs.height


def item_token(sheet: str, item_ref: str) -> str:
    """The token of an item."""
    # A Sheet's name holds no colon, so two items never have one token.
    return f"item:{sheet}:{item_ref}"


def group_token(column: str, value: Any) -> str:
    """The token of the items that share a value of a column; a value that came as its digest gives the same token."""
    return f"by:{column}:{_digest_of(value)}"


def with_tokens(pairs: pl.DataFrame, group_by: str | None) -> pl.DataFrame:
    """pair_id, item, by, override: the tokens of each pair, `by` null where it has no value to be grouped by."""
    by = pl.lit(None, pl.String)
    if group_by is not None:
        by = pl.concat_str(pl.lit(f"by:{group_by}:"), values_of(pairs, group_by)[0])
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


def connected(placed: pl.DataFrame, group_by: str | None) -> pl.DataFrame:
    """token, group: every token with the smallest one that it is connected to."""
    if group_by is None:
        return placed.select(pl.col("item").unique().alias("token")).with_columns(pl.col("token").alias("group"))
    smallest = components_of(placed.select("item", "by").unique().iter_rows())
    return pl.DataFrame(
        {"token": list(smallest), "group": list(smallest.values())}, schema={"token": pl.String, "group": pl.String}
    )


def components_of(links: Iterable[tuple[str, str | None]]) -> dict[str, str]:
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


def _digest_of(value: Any) -> str:
    is_digest = isinstance(value, str) and value.startswith(_DIGEST) and len(value) == len(_DIGEST) + 64
    return value if is_digest else _DIGEST + digest(value)


def values_of(pairs: pl.DataFrame, column: str) -> tuple[pl.Series, pl.Series]:
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
