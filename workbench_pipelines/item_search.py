"""Looking for items: which of a Sheet's taken items are shown, and what of them.

A column that is restricted shows nothing and can not be looked for: whoever may ask for a value is told who has it.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import polars as pl

from workbench_pipelines.catalog.intake_specs import AUDIT_COLUMNS, PLACE_COLUMNS
from workbench_pipelines.errors import ArgumentError, nearest
from workbench_pipelines.restrictions import MASK, Restrictions, mask_of

DEFAULT_LIMIT = 100
# What is said of an item, and not what it holds; the reason of a deletion is a person's own words.
_SAID_OF_IT = frozenset({*PLACE_COLUMNS, *AUDIT_COLUMNS}) - {"delete_reason"}


@dataclass(frozen=True)
class ItemSearch:
    """What is looked for: items for which all of it holds; nothing looks for every item.

    Attributes:
        priority: the lowest and the highest `training_priority`.
        deleted: whether deleted items are looked for, in place of those that are not.
    """

    item_ref: str | None = None
    session_id: str | None = None
    data_source: str | None = None
    priority: tuple[int, int] | None = None
    deleted: bool = False

    @property
    def columns(self) -> list[str]:
        """The columns of the items' own that are looked at."""
        asked = {
            "session_id": self.session_id,
            "data_source": self.data_source,
            "training_priority": self.priority,
        }
        return [name for name, value in asked.items() if value is not None]

    @property
    def condition(self) -> pl.Expr:
        gone = pl.col("deleted_at").is_not_null()
        found = gone if self.deleted else ~gone
        if self.item_ref is not None:
            found &= pl.col("item_ref") == self.item_ref
        if self.session_id is not None:
            found &= pl.col("session_id") == self.session_id
        if self.data_source is not None:
            found &= pl.col("data_source") == self.data_source
        if self.priority is not None:
            found &= pl.col("training_priority").is_between(*self.priority)
        return found


def parse_priority(text: str) -> tuple[int, int]:
    """``900`` or ``900-1000``.

    Raises:
        ArgumentError: for anything else.
    """
    low, dash, high = text.partition("-")
    if not (low.isdecimal() and (high.isdecimal() or not dash)):
        raise ArgumentError(f"'{text}' is no priority; write it like 900 or 900-1000")
    return int(low), int(high) if dash else int(low)


def hidden_columns(sheet: str, columns: Collection[str], restrictions: Restrictions) -> frozenset[str]:
    """The columns of a Sheet's taken items that are not shown."""
    return mask_of("items", columns, restrictions, sheet).columns - _SAID_OF_IT


def check_search(search: ItemSearch, sheet: str, known: Collection[str], hidden: Collection[str]) -> None:
    """Refuses to look for what the Sheet does not have or does not show.

    Raises:
        ArgumentError: naming the column.
    """
    for name in search.columns:
        if name not in known:
            raise ArgumentError(f"Sheet {sheet}: the items have no column '{name}'{nearest(name, known)}")
        if name in hidden:
            raise ArgumentError(f"Sheet {sheet}: the column '{name}' is restricted, and nobody can look for its values")


def shown_items(rows: pl.DataFrame, hidden: Collection[str]) -> pl.DataFrame:
    """The rows with `•••` in place of a restricted text and nothing in place of any other restricted value."""
    masked = [
        pl.when(pl.col(name).is_not_null()).then(pl.lit(MASK)).alias(name)
        if dtype == pl.String
        else pl.lit(None, dtype=dtype).alias(name)
        for name, dtype in rows.schema.items()
        if name in hidden
    ]
    return rows.with_columns(masked)
