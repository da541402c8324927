"""What of an item is open to one person: its columns, and the answers of those who saw nothing that is kept from them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from workbench_pipelines.restrictions import OPEN_CLASSIFICATIONS


@dataclass(frozen=True)
class Eyes:
    """What one person may see of a Sheet: every column, or those that are open; `hidden` is None where none is known to be."""

    sees_restricted: bool
    hidden: frozenset[str] | None

    def may_see(self, *columns: str) -> bool:
        return self.sees_restricted or (self.hidden is not None and self.hidden.isdisjoint(columns))


@dataclass(frozen=True)
class ShownColumns:
    """The columns of an item before one person: `first` those that its task is decided by, `more` the others, and `masked` the
    names of those that are kept from them."""

    first: list[tuple[str, Any]]
    more: list[tuple[str, Any]]
    masked: list[str]

    @property
    def every(self) -> list[tuple[str, Any]]:
        return [*self.first, *self.more]

    @property
    def answers_may_show(self) -> bool:
        """Whether enough of the item is seen to be shown what others said of it."""
        return bool(self.first) or not self.masked


def shown_columns(
    values: Mapping[str, Any], decisive: Collection[str], eyes: Eyes, open_columns: Collection[str], closed: bool
) -> ShownColumns:
    """The columns of an item before one person.

    Args:
        decisive: those that the task is decided by.
        open_columns: those that are known to be open.
        closed: whether nothing is shown.
    """
    seen = {
        column: value
        for column, value in values.items()
        if not closed and (column in open_columns or eyes.may_see(column))
    }
    return ShownColumns(
        first=[(column, value) for column, value in seen.items() if column in decisive],
        more=[(column, value) for column, value in seen.items() if column not in decisive],
        masked=[column for column in values if column not in seen],
    )


@dataclass(frozen=True)
class Reader:
    """Which answers one person may read: an answer tells of what its author saw, and a label may be closed itself.

    Attributes:
        masked: the columns that are kept from them.
        decisive: what an author saw who does not say it.
    """

    sees_restricted: bool
    masked: frozenset[str]
    decisive: frozenset[str]

    def may_read(self, said: Mapping[str, Any]) -> bool:
        """Whether the author of an answer saw nothing that is kept from this person."""
        seen = self.decisive if said["seen_columns"] is None else said["seen_columns"]
        return self.sees_restricted or self.masked.isdisjoint(seen)

    def may_read_label(self, label: Mapping[str, Any] | None) -> bool:
        """The same of a label, which may be closed itself; where there is none, there is nothing to keep back."""
        if label is None or self.sees_restricted:
            return True
        classified = label["data_classification"]
        return (classified is None or classified in OPEN_CLASSIFICATIONS) and self.may_read(label)
