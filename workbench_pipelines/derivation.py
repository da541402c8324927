"""Derived items: what a TrainingSheet asks of an item in more than one form, each form an item of its own.

A derived item is called `<parent>#<n>`; it shows its parent's columns, carries its parent's tags and usage statements, and
names its parents, the outermost first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from workbench_pipelines.catalog import TrainingSheet
from workbench_pipelines.catalog.documents import TrainingSheetSpec
from workbench_pipelines.identity import canonical_text
from workbench_pipelines.variants import VARIANT, chosen_variants, parameter_names, variants_of

Step = dict[str, str]
"""`name` and `params` (JSON) of what was done to an item."""
MARK = "#"
_KEY = ["sheet", "item_ref", "label_type"]


@dataclass(frozen=True)
class Derived:
    """An item as it is asked.

    Attributes:
        item: its snapshot row; of a derived one with its own item_ref, and the columns that differ from its parent's.
        variables: what its template sees beside the bound columns.
        variant: the name of its variant, empty where it has none.
        parent_ids: the items it was derived from, the outermost first.
        steps: how, in the order in which it was done.
    """

    item: Mapping[str, Any]
    variables: Mapping[str, Any]
    variant: str = ""
    parent_ids: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()

    @property
    def item_ref(self) -> str:
        return str(self.item["item_ref"])


class Derivation:
    """How a TrainingSheet makes the items it asks out of those of its Sheet."""

    def __init__(self, spec: TrainingSheetSpec) -> None:
        self._variants = spec.variants
        self._known = variants_of(spec.variants) if spec.variants else ()

    @property
    def variables(self) -> list[str]:
        """The variables that a template sees beside the columns."""
        return [VARIANT, *parameter_names(self._variants)] if self._variants else []

    def of(self, item: Mapping[str, Any]) -> Iterator[Derived]:
        """The items that one of the Sheet's is asked as: itself, where nothing is derived."""
        yield from self._varied(Derived(item, {}), every=False)

    def every(self, item: Mapping[str, Any]) -> Iterator[Derived]:
        """All that can be derived from an item, whichever of them is asked."""
        yield from self._varied(Derived(item, {}), every=True)

    def _varied(self, parent: Derived, *, every: bool) -> Iterator[Derived]:
        if self._variants is None:
            yield parent
            return
        chosen = self._known if every else chosen_variants(self._known, self._variants, parent.item_ref)
        for one in chosen:
            step = {"name": "variant", "params": canonical_text({"variant": one.name, **one.parameters})}
            yield Derived(
                item={**parent.item, "item_ref": f"{parent.item_ref}{MARK}{one.number}"},
                variables={**parent.variables, **one.parameters, VARIANT: one.name},
                variant=one.name,
                parent_ids=(*parent.parent_ids, parent.item_ref),
                steps=(*parent.steps, step),
            )


def derived_variables(training_sheet: TrainingSheet) -> list[str]:
    """The variables that the template of a TrainingSheet sees beside the columns."""
    return Derivation(training_sheet.spec).variables


def derived_row(
    item_ref: str, training_sheets: Iterable[TrainingSheet], row_of: Callable[[str], Mapping[str, Any] | None]
) -> Mapping[str, Any] | None:
    """What a derived item shows: the snapshot row of its parent with what is its own; None where none is called so.

    Args:
        training_sheets: those of the Sheet that may derive it.
        row_of: the snapshot row of an item of the Sheet.
    """
    places = [place for place, character in enumerate(item_ref) if character == MARK]
    parents = [row for place in places if (row := row_of(item_ref[:place])) is not None]
    for training_sheet in training_sheets:
        if not training_sheet.spec.derives:
            continue
        for parent in parents:
            for one in Derivation(training_sheet.spec).every(parent):
                if one.item_ref == item_ref:
                    return one.item
    return None


def with_derived(
    snapshot: pl.DataFrame, item_refs: Iterable[str], training_sheets: Sequence[TrainingSheet]
) -> pl.DataFrame:
    """A snapshot with the rows of those derived items that are named and that it can derive.

    Input columns: item_ref and the rest of `data/sheet_snapshot`.
    """
    if not any(one.spec.derives for one in training_sheets):
        return snapshot
    known = set(snapshot["item_ref"])
    named = sorted({ref for ref in item_refs if MARK in ref and ref not in known})
    if not named:
        return snapshot
    # Only rows that may be a parent become Python objects.
    above = {ref[:place] for ref in named for place, character in enumerate(ref) if character == MARK}
    parents = snapshot.filter(pl.col("item_ref").is_in(sorted(above)))
    rows = {row["item_ref"]: row for row in parents.iter_rows(named=True)}
    found = [row for ref in named if (row := derived_row(ref, training_sheets, rows.get)) is not None]
    return pl.concat([snapshot, pl.DataFrame(found, schema=snapshot.schema)]) if found else snapshot


def root_of(item_ref: str, parent_ids: Sequence[str] | None) -> str:
    """The item of the Sheet that an item is, or was derived from."""
    return parent_ids[0] if parent_ids else item_ref


def cover_derived(labels: pl.DataFrame, rendered: pl.DataFrame) -> pl.DataFrame:
    """The labels, and for each derived item without one of its own that of its nearest parent, under the item's name.

    Input columns: those of `label/canonical_labels`; sheet, item_ref, label_type and parent_ids of prompts.
    """
    if "parent_ids" not in rendered.columns:
        return labels
    active = labels.filter("active")
    derived = (
        rendered.lazy()
        .filter(pl.col("parent_ids").list.len() > 0)
        .select(*_KEY, "parent_ids", pl.int_ranges(pl.col("parent_ids").list.len()).alias("depth"))
        .collect()
        .join(active.select(_KEY), on=_KEY, how="anti")
    )
    if derived.is_empty():
        return labels
    covering = (
        derived.explode("parent_ids", "depth")
        .rename({"item_ref": "derived", "parent_ids": "item_ref"})
        .join(active, on=_KEY, how="inner")
        .sort("derived", "depth")
        .group_by("sheet", "derived", "label_type", maintain_order=True)
        .last()
        .with_columns(pl.col("derived").alias("item_ref"))
    )
    return pl.concat([labels, covering.select(labels.columns)])
