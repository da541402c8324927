"""Digests of many rows at once: what `identity.digest` says of each, with the JSON written by columns."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import polars as pl


def row_digests(frame: pl.DataFrame, kind: str, columns: Sequence[str]) -> pl.Series:
    """`identity.digest([kind, *values])` of every row; the columns hold text, a null is JSON's null."""
    parts = (part for column in columns for part in (pl.lit(","), _json_text(pl.col(column))))
    text = pl.concat_str(pl.lit("["), _json_text(pl.lit(kind)), *parts, pl.lit("]"))
    texts = frame.select(text.cast(pl.Binary)).to_series()
    return pl.Series([hashlib.sha256(one).hexdigest() for one in texts.to_list()], dtype=pl.String)


def _json_text(text: pl.Expr) -> pl.Expr:
    """A text as JSON, escaped as RFC 8785 asks; null as null."""
    value = text.cast(pl.String).alias("v")
    return pl.struct(value).struct.json_encode().str.strip_prefix('{"v":').str.strip_suffix("}")
