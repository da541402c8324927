"""Erasure: which rows of a table speak of an item, by its names and by its texts.

A row goes where it is named for the item (or what was derived from it), and where it shows a text that only this item has: the
prompts of other pairs that showed it as an example are among these. Names alone (a pair_id in the lineage of a model) stay:
without them nobody could say which models to train again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from workbench_pipelines.erasure_texts import SoughtText, forms
from workbench_pipelines.identity import digest
from workbench_pipelines.sheets import Snapshot

ERASED = "erased"
REASON_ERASED = "the reason was erased with its item"
"""What stands in `records/usage_constraint_audit` in the place of a reason that spoke of an erased item."""
ERASURES = pl.Schema(
    {
        "sheet": pl.String(),
        "item_digest": pl.String(),
        "reason": pl.String(),
        "by": pl.String(),
        "at": pl.Datetime("us", "UTC"),
        "labels": pl.List(pl.String()),
        "people": pl.List(pl.String()),
    }
)
"""Columns of `records/erasures`: one row an erased item, by the digest of its name; snapshots leave it out. `labels` are the
names of its canonical labels, which are digests as well, and `people` who had decided on it."""

ERASED_EXPORTS = pl.Schema(
    {
        "collection": pl.String(),
        "version": pl.Int64(),
        "superseded_by": pl.Int64(),
        "manifest_sha256": pl.String(),
        "tombstone_sha256": pl.String(),
        "by": pl.String(),
        "at": pl.Datetime("us", "UTC"),
    }
)
"""Columns of `records/erased_exports`: one row an export whose files were taken away, with the digest of what stands in their
place; without a row nothing was taken away by the project."""


def item_digest(item_ref: str) -> str:
    """What an erased item is known by."""
    return digest(["erased", item_ref])


def erased_name(item_ref: str) -> str:
    """What stands where an erased item was named."""
    return f"erased:{item_digest(item_ref)[:16]}"


def erased_days(
    erasures: pl.DataFrame,
    *,
    items: Mapping[str, frozenset[str] | None],
    labels: Collection[str] = (),
    people: Collection[str] = (),
) -> list[dict[str, Any]]:
    """How many erased items are of some items, or had one of some labels, or were decided on by one of some people: day and items.

    Args:
        erasures: rows of `ERASURES`.
        items: item_refs of each Sheet by name; None are all of it.
    """
    of_items = [
        (pl.col("sheet") == sheet) & (pl.lit(True) if refs is None else _is_in("item_digest", map(item_digest, refs)))
        for sheet, refs in items.items()
    ]
    of_lists = [
        pl.col(column).list.eval(pl.element().is_in(sorted(names))).list.any()
        for column, names in (("labels", labels), ("people", people))
        if names
    ]
    if not (of_items or of_lists):
        return []
    # What was erased by an earlier version does not say whose it was.
    erasures = pl.concat([ERASURES.to_frame(), erasures], how="diagonal")
    found = erasures.filter(pl.any_horizontal(*of_items, *of_lists).fill_null(False))
    days = found.group_by(pl.col("at").dt.date().cast(pl.String).alias("day")).len("items").sort("day")
    return days.to_dicts()


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
        {"sheet": sheet, "item_ref": erased_name(ref), "reason": ERASED, "detail": "the item was erased"}
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
        feedback_ids: what people who use a model said of its answers for it.
        texts: what only this item says.
    """

    sheets: frozenset[str]
    item_refs: frozenset[str]
    pair_ids: frozenset[str] = frozenset()
    showing: frozenset[str] = frozenset()
    request_hashes: frozenset[str] = frozenset()
    example_ids: frozenset[str] = frozenset()
    labels: frozenset[str] = frozenset()
    deliveries: frozenset[str] = frozenset()
    feedback_ids: frozenset[str] = frozenset()
    texts: tuple[SoughtText, ...] = field(default=(), repr=False)

    @property
    def wholes(self) -> list[str]:
        return [one.text for one in self.texts]

    @property
    def name(self) -> str:
        """What stands where the item was named; what was derived from it has a longer name than itself."""
        return erased_name(min(self.item_refs, key=lambda ref: (len(ref), ref)))

    @property
    def subjects(self) -> frozenset[str]:
        """What the audit of usage constraints calls its labels."""
        return frozenset(f"label {name}" for name in self.labels)

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
            ("feedback_id", self.feedback_ids),
            ("subject", self.subjects),
        ):
            if schema.get(column) == pl.String() and names:
                found.append(_is_in(column, names))
        if "pair_id" in schema and "messages" in schema:
            found.append(_is_in("pair_id", self.showing))
        found += [shows for name in schema if (shows := self.shown_in(name, schema[name])) is not None]
        return pl.any_horizontal(found).fill_null(False) if found else pl.lit(False)

    def shown_in(self, column: str, dtype: pl.DataType) -> pl.Expr | None:
        """Whether a column shows one of its texts, whole or cut; None for one that holds no text."""
        pieces = sorted({form for one in self.texts for piece in (one.text, *one.pieces) for form in forms(piece)})
        return _shows(pl.col(column), dtype, pieces) if pieces else None


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
