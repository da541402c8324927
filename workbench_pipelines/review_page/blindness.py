"""Who sees what of the answers that several people give on their own: nobody those of others, until there is a label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from workbench_pipelines.access import Roles
from workbench_pipelines.consensus import ADJUDICATOR, own_answers, waiting_note
from workbench_pipelines.labels import labeling_decisions, stale_labels


@dataclass(frozen=True)
class Sight:
    """What one person may see of one label: `blind` hides what others said, `adjudicates` says that they decide between them."""

    blind: bool = False
    adjudicates: bool = False
    waiting: str | None = None


def sight_of(label: Mapping[str, Any] | None, in_panel: bool, person: str, roles: Roles) -> Sight:
    """What a person may see of a label.

    Args:
        label: the row of `label/canonical_labels`, where anything was said.
        in_panel: whether several people answer for it on their own.
    """
    if not in_panel:
        return Sight()
    if label is None:
        return Sight(blind=True)
    # An item that changed is answered anew, by people who answer on their own.
    third = roles.may(person, "approve") and person not in (label["annotators"] or ()) and not label["stale"]
    if label["awaits"] is None:
        return Sight(adjudicates=third and label["active"])
    note = pl.DataFrame([{name: label[name] for name in ("annotators", "awaits")}]).select(waiting_note()).item()
    decides = third and label["awaits"] == ADJUDICATOR
    return Sight(blind=not decides, adjudicates=decides, waiting=note)


def answers_by_person(decisions: pl.DataFrame, snapshot: pl.DataFrame) -> dict[str, str]:
    """What each annotator says of one item now, by name.

    Args:
        decisions: rows of `label/decisions` of one item and label type.
        snapshot: the row of the item.
    """
    said = labeling_decisions(decisions)
    own = own_answers(said.with_columns(stale_labels(said, snapshot))).sort("by")
    return dict(own.select("by", "label_data").iter_rows())
