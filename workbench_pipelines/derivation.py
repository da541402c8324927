"""Derived items: what a TrainingSheet makes of an item before it asks, each an item of its own.

A derived item is called `<parent>#<n>`; it shows its parent's columns (a chunk its piece of one), carries its parent's tags and
usage statements, and names its parents, the outermost first. First a text is cut into chunks, then each chunk is asked in its
variants, then come the steps, which ask models (`steps.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

from workbench_pipelines.catalog import TrainingSheet
from workbench_pipelines.catalog.training_sheet_specs import TrainingSheetSpec
from workbench_pipelines.chunks import HEADING, cut
from workbench_pipelines.domains import DOMAIN
from workbench_pipelines.identity import canonical_text
from workbench_pipelines.variants import VARIANT, chosen_variants, number_of, parameter_names, variants_of

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
        attributes: of the variables those that say nothing of the item, for grouping and strata.
    """

    item: Mapping[str, Any]
    variables: Mapping[str, Any]
    variant: str = ""
    parent_ids: tuple[str, ...] = ()
    steps: tuple[Step, ...] = ()
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def item_ref(self) -> str:
        return str(self.item["item_ref"])

    def child(self, number: int, step: str, params: Mapping[str, Any], **changes: Any) -> Derived:
        """The item `<this>#<number>` that a step makes of this one."""
        item = changes.pop("item", self.item)
        return replace(
            self,
            item={**item, "item_ref": f"{self.item_ref}{MARK}{number}"},
            parent_ids=(*self.parent_ids, self.item_ref),
            steps=(*self.steps, {"name": step, "params": canonical_text(params)}),
            **changes,
        )


class Derivation:
    """What a TrainingSheet makes of the items of its Sheet before any model is asked: chunks and variants."""

    def __init__(self, spec: TrainingSheetSpec) -> None:
        self._chunks = spec.chunks
        self._variants = spec.variants
        self._known = variants_of(spec.variants) if spec.variants else ()

    def of(self, item: Mapping[str, Any]) -> Iterator[Derived]:
        """The items that one of the Sheet's is asked as: itself, where nothing is derived; none of an empty text."""
        for piece in self._cut(Derived(item, {})):
            yield from self._varied(piece, every=False)

    def every(self, item: Mapping[str, Any]) -> Iterator[Derived]:
        """All that can be derived from an item, whichever of them is asked."""
        for piece in self._cut(Derived(item, {})):
            yield from self._varied(piece, every=True)

    def _cut(self, parent: Derived) -> Iterator[Derived]:
        spec = self._chunks
        if spec is None:
            yield parent
            return
        seen: Counter[str] = Counter()
        for chunk in cut(str(parent.item[spec.column] or ""), spec):
            said = canonical_text([chunk.headings, chunk.text])
            seen[said] += 1
            # Named for what it says: a paragraph more leaves the other chunks, and what people said of them, as they are.
            number = number_of(["chunk", said, seen[said]])
            params = {
                "column": spec.column,
                "start": chunk.start,
                "end": chunk.end,
                # Numbers, not titles: a trace is shown where the text may not be.
                "section": chunk.section,
                **spec.model_dump(mode="json", include={"size", "overlap", "unit", "layout"}),
            }
            item = {**parent.item, spec.column: chunk.text}
            yield parent.child(number, "chunk", params, item=item, variables={HEADING: chunk.heading})

    def _varied(self, parent: Derived, *, every: bool) -> Iterator[Derived]:
        if self._variants is None:
            yield parent
            return
        chosen = self._known if every else chosen_variants(self._known, self._variants, parent.item_ref)
        for one in chosen:
            shown = {**one.parameters, VARIANT: one.name}
            yield parent.child(
                one.number,
                "variant",
                {"variant": one.name, **one.parameters},
                variables={**parent.variables, **shown},
                attributes={**parent.attributes, **shown},
                variant=one.name,
            )


def derived_variables(training_sheet: TrainingSheet) -> list[str]:
    """The variables that templates of a TrainingSheet see beside the columns, none of which has their name."""
    spec = training_sheet.spec
    found = [DOMAIN] if spec.domain else []
    found += [HEADING] if spec.chunks else []
    found += [VARIANT, *parameter_names(spec.variants)] if spec.variants else []
    return list(dict.fromkeys([*found, *(name for step in spec.steps for name in step.choose)]))


def made_variables(training_sheet: TrainingSheet) -> list[str]:
    """The variables that steps make; before, a column of the same name stands for them, as a question that is made harder."""
    return list(dict.fromkeys(name for step in training_sheet.spec.steps for name in step.makes))


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
                if training_sheet.spec.steps and item_ref.startswith(f"{one.item_ref}{MARK}"):
                    # What models made bears a number that comes from what it says; it shows what its parent shows.
                    return {**one.item, "item_ref": item_ref}
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
