"""Which examples a TrainingSheet must not show: those that stand outside train in a Collection that takes its pairs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from workbench_pipelines.catalog import Catalog, Collection
from workbench_pipelines.errors import DefinitionError, WorkbenchError
from workbench_pipelines.split_tokens import item_token
from workbench_pipelines.splits import split_by_hash

TRAIN = "train"


@dataclass(frozen=True)
class Taker:
    """A Collection that takes pairs of a TrainingSheet, and the splits that its memberships ask for, by Sheet."""

    collection: Collection
    overrides: Mapping[str, frozenset[str]]

    @property
    def holds_members_out(self) -> bool:
        """Whether a membership asks for another split than train, of whichever Sheet."""
        return any(splits - {TRAIN} for splits in self.overrides.values())


def takers_of(catalog: Catalog, training_sheet: str) -> list[Taker]:
    """The Collections that take pairs of a TrainingSheet; a broken one fails with its own line and counts for nothing."""
    found = []
    for name in catalog.collections_of(training_sheet):
        try:
            found.append(taker_of(catalog, catalog.collection(name)))
        except WorkbenchError:
            continue
    return found


def taker_of(catalog: Catalog, collection: Collection) -> Taker:
    """A Collection with the splits that its memberships ask for, by Sheet."""
    sheets = {training_sheet.name: training_sheet.spec.sheet for training_sheet in catalog.training_sheets()}
    overrides: dict[str, set[str]] = {}
    for member in collection.spec.members:
        if member.split is not None and member.training_sheet in sheets:
            overrides.setdefault(sheets[member.training_sheet], set()).add(member.split)
    return Taker(collection, {sheet: frozenset(splits) for sheet, splits in overrides.items()})


def grouping_columns(catalog: Catalog) -> list[str]:
    """The columns that any Collection groups its splits by."""
    wanted: set[str] = set()
    for name in catalog.names("Collection"):
        try:
            column = catalog.collection(name).spec.splits.group_by
        except WorkbenchError:
            continue
        wanted |= {column} if column else set()
    return sorted(wanted)


def held_out(examples: pl.DataFrame, takers: Sequence[Taker], ledger: pl.DataFrame) -> list[str | None]:
    """For each example the Collection in which it stands outside train, or could; None where it stands in train in all.

    The ledger decides, then what the memberships ask for, then the hash of its group. In doubt it counts as outside.

    Input columns: sheet, item_ref, group_tokens, grouped_by.

    Args:
        ledger: rows of `records/split_assignments`.

    Raises:
        DefinitionError: where the store was made before a Collection came to group by a column.
    """
    known: dict[tuple[int, str], set[str]] = {}
    for token, seed, split in ledger.select("group", "seed", "split").iter_rows():
        known.setdefault((seed, token), set()).add(split)
    rows = examples.select("sheet", "item_ref", "group_tokens", "grouped_by").iter_rows()
    return [next(_outside(row, takers, known), None) for row in rows]


def _outside(
    row: tuple[str, str, list[str] | None, list[str] | None],
    takers: Sequence[Taker],
    known: Mapping[tuple[int, str], set[str]],
) -> Iterator[str]:
    sheet, item_ref, tokens, grouped_by = row
    for taker in takers:
        spec = taker.collection.spec.splits
        if spec.group_by is not None and spec.group_by not in (grouped_by or ()):
            raise DefinitionError(
                f"Collection {taker.collection.name} groups by '{spec.group_by}', and its example store was made before "
                "that; materialize label/example_store again"
            )
        shared = [one for one in tokens or () if spec.group_by and one.startswith(f"by:{spec.group_by}:")]
        own = [item_token(sheet, item_ref), *shared]
        stands = {split for token in own for split in known.get((spec.seed, token), ())}
        asked = taker.overrides.get(sheet, frozenset())
        if stands:
            outside = bool((stands | asked) - {TRAIN})
        elif asked - {TRAIN} or (shared and taker.holds_members_out):
            outside = True  # an untouched group follows what any of its members ask for, and not all are known here
        else:
            outside = not asked and split_by_hash(min(own), spec) != TRAIN
        if outside:
            yield taker.collection.name
