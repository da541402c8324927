"""When a Collection is worth training again: enough new corrections of people reached its pairs.

A correction is *taken in* once a retrain that was asked for on its account made a model. Until then it stays due: a retrain
that failed is not asked for again by itself, but what it was about goes in with the next correction.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

import polars as pl

from workbench_pipelines.feedback import new_approved

_KEY = ["sheet", "item_ref", "label_type"]


class End(Enum):
    """How a retrain that was asked for ended."""

    RUNNING = "running"
    TRAINED = "trained"
    FAILED = "failed"


@dataclass(frozen=True)
class Retrain:
    """A retrain that is due: the corrections behind it, and the key that keeps it from being asked for twice."""

    collection: str
    feedback_ids: tuple[str, ...]
    run_key: str


@dataclass(frozen=True)
class Memory:
    """What a sensor keeps between two looks.

    Attributes:
        taken: by Collection, the corrections that are behind its models.
        asked: by Collection, the retrain that was asked for last and made no model so far.
        seen: what the tables held at the last look.
    """

    taken: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    asked: Mapping[str, Retrain] = field(default_factory=dict)
    seen: str | None = None

    @staticmethod
    def parse(text: str | None) -> Memory:
        """The memory that `text` keeps; an empty one where there is none or somebody wrote something else there."""
        try:
            kept = json.loads(text or "{}")
            asked = {name: Retrain(name, tuple(one["ids"]), one["key"]) for name, one in kept.get("asked", {}).items()}
            taken = {name: tuple(ids) for name, ids in kept.get("taken", {}).items()}
            return Memory(taken, asked, kept.get("seen"))
        except (ValueError, TypeError, KeyError, AttributeError):
            return Memory()

    @property
    def text(self) -> str:
        asked = {name: {"ids": one.feedback_ids, "key": one.run_key} for name, one in self.asked.items()}
        return json.dumps({"taken": dict(self.taken), "asked": asked, "seen": self.seen}, sort_keys=True)

    def settled(self, ends: Mapping[str, End]) -> Memory:
        """The memory after looking how retrains ended, by run key: the corrections of a trained one are taken in."""
        taken, asked = dict(self.taken), dict(self.asked)
        for name, one in self.asked.items():
            if ends.get(one.run_key) is End.TRAINED:
                taken[name] = tuple(sorted({*taken.get(name, ()), *one.feedback_ids}))
                del asked[name]
        return replace(self, taken=taken, asked=asked)

    def asking(self, retrains: Iterable[Retrain]) -> Memory:
        """The memory once these retrains are asked for."""
        return replace(self, asked={**self.asked, **{one.collection: one for one in retrains}})


def due_retrains(
    feedback: pl.DataFrame,
    pairs: pl.DataFrame,
    decisions: pl.DataFrame,
    *,
    members: Mapping[str, Sequence[str]],
    thresholds: Mapping[str, int],
    memory: Memory,
    ends: Mapping[str, End],
) -> list[Retrain]:
    """The Collections that enough approved corrections reached since their last retrain for that reason.

    Args:
        feedback: rows of `feedback.FEEDBACK`.
        pairs: rows of `label/labeled_pairs`.
        decisions: rows of `label/decisions`.
        members: the TrainingSheets of each Collection.
        thresholds: how many new corrections each Collection waits for.
        memory: what earlier looks found; ends: how the retrains it asked for ended, by run key.
    """
    reached = reached_pairs(feedback, pairs, decisions)
    due = []
    for collection in sorted(members):
        asked = memory.asked.get(collection)
        if asked and ends.get(asked.run_key) is End.RUNNING:
            continue
        ids = reached.filter(pl.col("training_sheet").is_in(list(members[collection])))["feedback_id"]
        found = new_approved(ids, memory.taken.get(collection, ()), thresholds[collection])
        if found is None or (asked and set(found[0]) <= set(asked.feedback_ids)):
            continue
        due.append(Retrain(collection, tuple(found[0]), f"{collection}:{found[1]}"))
    return due


def reached_pairs(feedback: pl.DataFrame, pairs: pl.DataFrame, decisions: pl.DataFrame) -> pl.DataFrame:
    """The pairs that an approved correction reached: they say what the decision behind it says.

    Labels and pairs are made anew one after the other; a pair that still holds an older label is not reached yet.

    Returns:
        feedback_id, training_sheet.
    """
    said = decisions.select("decision_id", response=pl.coalesce("label_data", "proposed_response")).unique(
        "decision_id"
    )
    approved = feedback.filter(pl.col("status") == "approved").select("feedback_id", "decision_id", *_KEY)
    labeled = pairs.filter((pl.col("labeling_mode") == "canonical") & (pl.col("status") == "labeled"))
    return (
        labeled.select(*_KEY, "training_sheet", "response")
        .join(approved.join(said, on="decision_id", how="inner"), on=[*_KEY, "response"], how="inner")
        .select("feedback_id", "training_sheet")
        .unique()
    )
