"""Joins: keys as text, and the rows of secondary sources beside those of the primary table.

A key is a name, not a number: ``007`` and ``7`` are two keys. Keys are compared as text, whatever type each file gives
them. A column of a source that the row already has is called ``<source>_<column>``; key columns stand once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import polars as pl

from workbench_pipelines.catalog import SecondarySource
from workbench_pipelines.errors import DefinitionError, SourceError, nearest

MAX_EXACT = 2**53  # a double past this may already have lost the digits of the key it stands for


def as_text(frame: pl.DataFrame, columns: Iterable[str], where: str) -> pl.DataFrame:
    """The frame with these columns as text: 7 and 7.0 become ``7``, dates become ISO 8601, texts stay as they are.

    Raises:
        SourceError: for a key of fractions, lists, structs or bytes, naming the column and never a value.
    """
    texts: list[pl.Series] = []
    for name in dict.fromkeys(columns):
        series = frame[name]
        if series.dtype.is_float():
            series = _whole(series, where)
        elif series.dtype.is_nested() or series.dtype in (pl.Binary, pl.Object, pl.Duration):
            raise SourceError(f"{where}: the key column '{name}' is {series.dtype}, which can not be a key")
        texts.append(series.cast(pl.String))
    return frame.with_columns(texts)


def _whole(series: pl.Series, where: str) -> pl.Series:
    # pandas writes an integer column with gaps as doubles; those are whole numbers still.
    wrong = (~(series.is_finite() & (series == series.floor()) & (series.abs() < MAX_EXACT))).sum()
    if wrong:
        raise SourceError(
            f"{where}: the key column '{series.name}' holds {wrong} numbers that are not whole; "
            "a key has to be text or integer"
        )
    return series.cast(pl.Int64)


def names_in_row(taken: Iterable[str], source: SecondarySource, columns: Iterable[str], where: str) -> dict[str, str]:
    """What the columns of a source are called in the joined row; its key columns are not among them.

    Raises:
        DefinitionError: when a join key is missing on either side.
        SourceError: when a column clashes even under the name of its source.
    """
    columns, taken = list(columns), list(taken)
    for key in source.join_keys:
        for side, known in (("the rows so far", taken), (source.path, columns)):
            if key not in known:
                raise DefinitionError(f"{where}: join_keys: {side} has no column '{key}'{nearest(key, known)}")
    others = [name for name in columns if name not in source.join_keys]
    # The columns of a volume are called after it already.
    renamed = source.type == "table"
    names = {name: f"{source.name}_{name}" if renamed and name in taken else name for name in others}
    clashes = sorted({new for new in names.values() if new in taken or list(names.values()).count(new) > 1})
    if clashes:
        raise SourceError(f"{where}: {source.path}: the column '{clashes[0]}' stands in the row already; rename it")
    return names


def join_source(
    rows: pl.DataFrame, source: SecondarySource, frame: pl.DataFrame, names: Mapping[str, str], where: str
) -> pl.DataFrame:
    """The rows with the columns of a source beside them, in the same order; keys on both sides are text already.

    Raises:
        SourceError: when a row finds several rows of the source and the source does not say `allow_fan_out`.
    """
    keys = list(source.join_keys)
    # What is brought by a column of the frame that has no name in the row (a flag) keeps its own.
    right = frame.rename({old: new for old, new in names.items() if old != new})
    if not source.allow_fan_out:
        _refuse_fan_out(rows, right, keys, source, where)
    return rows.join(right, on=keys, how=source.how, maintain_order="left_right")


def _refuse_fan_out(
    rows: pl.DataFrame, right: pl.DataFrame, keys: Sequence[str], source: SecondarySource, where: str
) -> None:
    repeated = right.group_by(keys).len().filter(pl.col("len") > 1)
    count = rows.join(repeated, on=list(keys), how="semi").height
    if count:
        raise SourceError(
            f"{where}: {source.path}: {count} rows find more than one row by {', '.join(keys)}; "
            "make the keys unique there, or set allow_fan_out: true and let item_ref tell the rows apart"
        )
