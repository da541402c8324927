"""When a Collection is worth training again: enough new corrections of people reached its pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from workbench_pipelines.feedback import new_approved

_KEY = ["sheet", "item_ref", "label_type"]


@dataclass(frozen=True)
class Retrain:
    """A retrain that is due: the corrections behind it, and the key that keeps it from being asked for twice."""

    collection: str
    feedback_ids: tuple[str, ...]
    run_key: str


def due_retrains(
    feedback: pl.DataFrame,
    pairs: pl.DataFrame,
    *,
    members: Mapping[str, Sequence[str]],
    thresholds: Mapping[str, int],
    counted: Mapping[str, Sequence[str]],
) -> list[Retrain]:
    """The Collections that enough approved corrections reached since their last retrain for that reason.

    Args:
        feedback: rows of `feedback.FEEDBACK`.
        pairs: rows of `label/labeled_pairs`; a correction counts once its label stands in a pair.
        members: the TrainingSheets of each Collection.
        thresholds: how many new corrections each Collection waits for.
        counted: by Collection, the feedback that earlier retrains took in.
    """
    approved = feedback.filter(pl.col("status") == "approved").select("feedback_id", *_KEY)
    labeled = pairs.filter((pl.col("labeling_mode") == "canonical") & (pl.col("status") == "labeled"))
    reached = labeled.select(*_KEY, "training_sheet").join(approved, on=_KEY, how="inner")
    due = []
    for collection in sorted(members):
        ids = reached.filter(pl.col("training_sheet").is_in(list(members[collection])))["feedback_id"]
        found = new_approved(ids, counted.get(collection, ()), thresholds[collection])
        if found is not None:
            due.append(Retrain(collection, tuple(found[0]), f"{collection}:{found[1]}"))
    return due
