"""Which pairs of a TrainingSheet a Collection takes: those whose items meet the condition of its membership.

A condition sees what a pair knows of its item (`attributes`). What is tagged stands there as its digest, and nothing is chosen by
it: who is in a Collection would tell what the column holds.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import polars as pl

from workbench_pipelines.catalog import Collection, Member
from workbench_pipelines.errors import ExportError
from workbench_pipelines.filters import columns_in, compile_filter

_DIGEST = r"^sha256:[0-9a-f]{64}$"


def filter_columns(collection: Collection, training_sheet: str) -> set[str]:
    """The columns by which a Collection chooses among the pairs of a TrainingSheet.

    Raises:
        FilterError: for a condition that is none.
    """
    members = [one for one in collection.spec.members if one.training_sheet == training_sheet and one.filter]
    return {name for one in members for name in columns_in(one.filter or "", f"Collection {collection.name}")}


def chosen_pairs(collection: Collection, pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs that a Collection takes, in the order in which they came.

    Input columns: training_sheet, item_ref, attributes (JSON texts).

    Raises:
        FilterError: for a condition that does not fit the columns.
        ExportError: for a condition over a column that no pair has, or one that is tagged.
    """
    rows = pairs.with_row_index("_place")
    left_out = [_left_out(collection.name, member, rows) for member in collection.spec.members if member.filter]
    if not left_out:
        return pairs
    return rows.filter(~pl.col("_place").is_in(pl.concat(left_out).implode())).drop("_place")


def _left_out(collection: str, member: Member, rows: pl.DataFrame) -> pl.Series:
    """The places of the pairs of a membership that do not meet its condition."""
    own = rows.filter(pl.col("training_sheet") == member.training_sheet)
    where = f"Collection {collection}: spec.members: filter of {member.training_sheet}"
    names = columns_in(member.filter or "", where)
    told = zip(own["item_ref"], own["attributes"], strict=True)
    known = [{"item_ref": ref, **(orjson.loads(text) if text else {})} for ref, text in told]
    columns = list(_columns(names, known, where)) if own.height else []
    items = pl.DataFrame([own["_place"], *columns])
    if not own.height:
        return items["_place"]
    met = compile_filter(member.filter or "", {one.name: one.dtype for one in columns}, where)
    return items.filter(~met.fill_null(False))["_place"]


def _columns(names: list[str], known: list[dict[str, Any]], where: str) -> Iterator[pl.Series]:
    for name in names:
        if not any(name in one for one in known):
            raise ExportError(
                f"{where}: no pair knows a column '{name}'; run the TrainingSheet again where its Sheet has one"
            )
        values = [one.get(name) for one in known]
        column = pl.Series(name, values, strict=False)
        if column.dtype == pl.Null:
            column = column.cast(pl.String)
        if column.dtype == pl.String and column.str.contains(_DIGEST).any():
            raise ExportError(
                f"{where}: the column '{name}' is tagged; who is in a Collection would tell what it holds"
            )
        yield column
