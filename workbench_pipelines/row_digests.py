"""Digests of many rows at once: what `identity.digest` says of them, with the JSON written by columns."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import polars as pl

# Rows whose JSON is in memory at one time.
_PART = 122_880


def row_digests(frame: pl.DataFrame, kind: str, columns: Sequence[str]) -> pl.Series:
    """`identity.digest([kind, *values])` of every row; the columns hold text or lists of text, or nothing."""
    rows = frame.select(pl.lit(kind).alias("kind of digest"), *columns)
    return pl.Series([hashlib.sha256(row).hexdigest() for row in _json_rows(rows)], dtype=pl.String)


def table_digest(frame: pl.DataFrame) -> str:
    """`identity.digest` of the list of all rows; the columns hold text or lists of text, or nothing."""
    content = hashlib.sha256(b"[")
    for number, row in enumerate(_json_rows(frame)):
        content.update(b"," + row if number else row)
    content.update(b"]")
    return content.hexdigest()


def _json_rows(frame: pl.DataFrame) -> Iterator[bytes]:
    """Every row as a JSON array, written as RFC 8785 asks."""
    values = [
        # polars writes text the way RFC 8785 does; it writes numbers otherwise.
        pl.struct(pl.col(name).alias("v")).struct.json_encode().str.strip_prefix('{"v":').str.strip_suffix("}")
        for name in frame.columns
    ]
    row = pl.concat_str(pl.lit("["), pl.concat_str(values, separator=","), pl.lit("]")).cast(pl.Binary)
    for part in frame.iter_slices(_PART):
        yield from part.select(row).to_series().to_list()
