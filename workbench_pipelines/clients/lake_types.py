"""Column types as the lake stores them, and how a frame is fitted to a table without losing a digit.

Delta knows fewer types than polars, and merges a float into an int column without a word (1.9 becomes 1). So every
frame is brought to storable types and compared with its table before it is written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import polars as pl
from polars.datatypes import DataTypeClass

from workbench_pipelines.errors import LakeError

# Delta has no unsigned integers: the next wider signed one holds every value (the cast refuses a UInt64 past 2^63-1).
_SIGNED: Mapping[type[pl.DataType], pl.DataType] = {
    pl.UInt8: pl.Int16(),
    pl.UInt16: pl.Int32(),
    pl.UInt32: pl.Int64(),
    pl.UInt64: pl.Int64(),
}
_WIDTH: Mapping[type[pl.DataType], int] = {pl.Int8: 1, pl.Int16: 2, pl.Int32: 4, pl.Int64: 8}
_PLAIN = (
    pl.String,
    pl.Boolean,
    pl.Int8,
    pl.Int16,
    pl.Int32,
    pl.Int64,
    pl.Float32,
    pl.Float64,
    pl.Date,
    pl.Binary,
    pl.Decimal,
)

# Only names, hashes and partition keys may enter the statistics of _delta_log: text there would outlive its erasure.
_ID_SUFFIXES = ("_id", "_ref", "_hash")
_ID_NAMES = frozenset({"sheet", "training_sheet", "collection", "template", "store", "day"})


def storable_type(dtype: pl.DataType, stored: pl.DataType | None = None) -> pl.DataType | None:
    """The type `dtype` is stored as, where a column of type `stored` may be there already; None where Delta has none.

    Nulls without a type take the stored type, or text. Struct fields keep the stored order, new ones come last.
    """
    if isinstance(dtype, pl.Null):
        return stored if stored is not None else pl.String()
    if isinstance(dtype, pl.Categorical | pl.Enum):
        return pl.String()
    if isinstance(dtype, pl.Datetime):
        return pl.Datetime("us", "UTC" if dtype.time_zone else None)
    if isinstance(dtype, pl.List | pl.Array):
        inner = storable_type(_instance(dtype.inner), _instance(stored.inner) if isinstance(stored, pl.List) else None)
        return None if inner is None else pl.List(inner)
    if isinstance(dtype, pl.Struct):
        return _storable_struct(dtype, stored)
    fitting = _SIGNED.get(type(dtype), dtype)
    if not isinstance(fitting, _PLAIN):
        return None
    return stored if stored is not None and _holds(stored, fitting) else fitting


def fit_to_table(frame: pl.DataFrame, stored: Mapping[str, pl.DataType], table: str) -> pl.DataFrame:
    """`frame` in the columns and types of `table`; columns it lacks are null, columns the table lacks come last.

    Raises LakeError naming table, column, old and new type for a retyped column and for a type that can not be stored.
    """
    target: dict[str, pl.DataType] = dict(stored)
    for name, dtype in frame.schema.items():
        fitting = storable_type(dtype, stored.get(name))
        if fitting is None:
            raise LakeError(
                f"table {table}: column '{name}' has type {dtype}, which a Delta table can not hold; cast it first"
            )
        if name in stored and not _only_grown(stored[name], fitting):
            raise LakeError(
                f"table {table}: column '{name}' is {stored[name]} and would become {dtype}; "
                "cast it, or write it under a new name"
            )
        target[name] = fitting
    try:
        return frame.select(
            pl.col(name).cast(dtype) if name in frame.schema else pl.lit(None, dtype=dtype).alias(name)
            for name, dtype in target.items()
        )
    except pl.exceptions.InvalidOperationError as error:
        # The text goes on with the values that do not fit.
        column = re.search(r"in column '([^']*)' for \d+ out of", str(error))
        named = f"column '{column[1]}'" if column and column[1] in target else "a column"
        raise LakeError(f"table {table}: {named} holds a value that its type there can not hold") from None


def id_columns(names: list[str], partition_by: str | None) -> list[str]:
    """The columns whose smallest and largest values may stand in the transaction log."""
    return [name for name in names if name == partition_by or name in _ID_NAMES or name.endswith(_ID_SUFFIXES)]


def _storable_struct(dtype: pl.Struct, stored: pl.DataType | None) -> pl.DataType | None:
    known = {field.name: _instance(field.dtype) for field in stored.fields} if isinstance(stored, pl.Struct) else {}
    fields: dict[str, pl.DataType] = dict(known)
    for field in dtype.fields:
        fitting = storable_type(_instance(field.dtype), known.get(field.name))
        if fitting is None:
            return None
        fields[field.name] = fitting
    return pl.Struct(fields) if fields else None


def _only_grown(old: pl.DataType, new: pl.DataType) -> bool:
    """Whether `new` is `old` with nothing but struct fields added."""
    if isinstance(old, pl.List) and isinstance(new, pl.List):
        return _only_grown(_instance(old.inner), _instance(new.inner))
    if isinstance(old, pl.Struct) and isinstance(new, pl.Struct):
        now = {field.name: _instance(field.dtype) for field in new.fields}
        return all(f.name in now and _only_grown(_instance(f.dtype), now[f.name]) for f in old.fields)
    return old == new


def _holds(wide: pl.DataType, narrow: pl.DataType) -> bool:
    """Whether every value of `narrow` is one of `wide`, digit by digit."""
    if isinstance(wide, pl.Float64) and isinstance(narrow, pl.Float32):
        return True
    return _WIDTH.get(type(narrow), 99) <= _WIDTH.get(type(wide), 0)


def _instance(dtype: pl.DataType | DataTypeClass) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()
