"""Erasure: which rows of a table speak of an item, by its names and by its texts.

A row goes where it is named for the item (or what was derived from it), and where it shows a text that only this item has: the
prompts of other pairs that showed it as an example are among these. Names alone (a pair_id in the lineage of a model) stay:
without them nobody could say which models to train again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import orjson
import polars as pl

from workbench_pipelines.identity import digest
from workbench_pipelines.sheets import Snapshot

MIN_TEXT = 6
"""A shorter text stands anywhere by chance: rows are not found by it."""

ERASED = "erased"
ERASURES = pl.Schema(
    {
        "sheet": pl.String(),
        "item_digest": pl.String(),
        "reason": pl.String(),
        "by": pl.String(),
        "at": pl.Datetime("us", "UTC"),
    }
)
"""Columns of `records/erasures`: one row an erased item, by the digest of its name; snapshots leave it out."""


def item_digest(item_ref: str) -> str:
    """What an erased item is known by."""
    return digest(["erased", item_ref])


def without_erased(snapshot: Snapshot, sheet: str, digests: Collection[str]) -> Snapshot:
    """The snapshot without the items of these digests; their refusals name the digest, and never the item."""
    if not digests:
        return snapshot
    refs = snapshot.frame["item_ref"]
    of = {ref: item_digest(ref) for ref in refs}
    gone = sorted(ref for ref, one in of.items() if one in digests)
    if not gone:
        return snapshot
    rows = [
        {"sheet": sheet, "item_ref": f"erased:{of[ref][:16]}", "reason": ERASED, "detail": "the item was erased"}
        for ref in gone
    ]
    refused = snapshot.refusals.filter(~pl.col("item_ref").is_in(gone).fill_null(False))
    return replace(
        snapshot,
        frame=snapshot.frame.filter(~pl.col("item_ref").is_in(gone)),
        refusals=pl.concat([refused, pl.DataFrame(rows, schema=snapshot.refusals.schema)]),
    )


@dataclass(frozen=True)
class Erasing:
    """What is erased.

    Attributes:
        sheets: its Sheet, with the names that this had before.
        item_refs: the item and what was derived from it.
        pair_ids: of its own pairs, in any version of them.
        showing: pairs of other items whose prompts show it; what holds their prompts goes, what people said of them stays.
        request_hashes: what was asked about it.
        example_ids: the examples that were made of it.
        labels: its canonical labels.
        deliveries: what was delivered about it by reviews.
        texts: the values that only this item has.
    """

    sheets: frozenset[str]
    item_refs: frozenset[str]
    pair_ids: frozenset[str] = frozenset()
    showing: frozenset[str] = frozenset()
    request_hashes: frozenset[str] = frozenset()
    example_ids: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    deliveries: frozenset[str] = frozenset()
    texts: tuple[str, ...] = field(default=(), repr=False)

    def is_about(self, identity: Mapping[str, Any]) -> bool:
        """Whether a review speaks of the item, by what it is known by: pair_id, or sheet and item_ref."""
        of_item = identity.get("sheet") in self.sheets and identity.get("item_ref") in self.item_refs
        return of_item or identity.get("pair_id") in self.pair_ids

    def rows_of(self, schema: Mapping[str, pl.DataType], table_of: str | None = None) -> pl.Expr:
        """Whether a row speaks of the item.

        Args:
            schema: columns of the table.
            table_of: the Sheet whose items the table holds, where its rows do not name it.
        """
        found = []
        if "item_ref" in schema and ("sheet" in schema or table_of in self.sheets):
            of_sheet = _is_in("sheet", self.sheets) if "sheet" in schema else pl.lit(True)
            found.append(of_sheet & _is_in("item_ref", self.item_refs))
        for column, names in (
            ("pair_id", self.pair_ids),
            ("request_hash", self.request_hashes),
            ("example_id", self.example_ids),
            ("canonical_label_id", self.labels),
            ("delivery_id", self.deliveries),
        ):
            if schema.get(column) == pl.String() and names:
                found.append(_is_in(column, names))
        if "pair_id" in schema and "messages" in schema:
            found.append(_is_in("pair_id", self.showing))
        pieces = sorted({form for text in self.texts if len(text.strip()) >= MIN_TEXT for form in _forms(text)})
        if pieces:
            found += [
                shows for name, dtype in schema.items() if (shows := _shows(pl.col(name), dtype, pieces)) is not None
            ]
        return pl.any_horizontal(found).fill_null(False) if found else pl.lit(False)


def own_texts(rows: pl.DataFrame, item_ref: str) -> list[str]:
    """The values of an item that no other row of its snapshot holds, within a longer one neither; the longest first.

    Input columns: item_ref, and those of the snapshot; only texts count.
    """
    own, others = rows.filter(pl.col("item_ref") == item_ref), rows.filter(pl.col("item_ref") != item_ref)
    texts = {
        value
        for name, dtype in rows.schema.items()
        if dtype == pl.String() and name != "item_ref"
        for value in own[name].drop_nulls().to_list()
        if len(value.strip()) >= MIN_TEXT
    }
    columns = [name for name, dtype in rows.schema.items() if dtype == pl.String()]
    unique = [
        text
        for text in texts
        if not any(others[name].str.contains(text, literal=True).any() for name in columns if others.height)
    ]
    return sorted(unique, key=lambda text: (-len(text), text))


def _forms(text: str) -> Iterable[str]:
    """A text as it stands, as JSON writes it, and as a JSON text within another one does."""
    once = orjson.dumps(text)[1:-1].decode()
    return {text, once, orjson.dumps(once)[1:-1].decode()}


def _shows(value: pl.Expr, dtype: pl.DataType, pieces: list[str]) -> pl.Expr | None:
    """Whether a value holds one of some texts, however deep; None for what holds no text."""
    if dtype == pl.String():
        return value.str.contains_any(pieces).fill_null(False)
    if isinstance(dtype, pl.List):
        inner = _shows(pl.element(), _dtype(dtype.inner), pieces)
        return None if inner is None else value.list.eval(inner).list.any().fill_null(False)
    if isinstance(dtype, pl.Struct):
        of_fields = [_shows(value.struct.field(one.name), _dtype(one.dtype), pieces) for one in dtype.fields]
        held = [one for one in of_fields if one is not None]
        return pl.any_horizontal(held).fill_null(False) if held else None
    return None


def _dtype(dtype: Any) -> pl.DataType:
    """A type of a column, of which polars also takes the class."""
    return dtype() if isinstance(dtype, type) else dtype


def _is_in(column: str, names: Iterable[str]) -> pl.Expr:
    return pl.col(column).is_in(pl.Series(sorted(names), dtype=pl.String).implode()).fill_null(False)
