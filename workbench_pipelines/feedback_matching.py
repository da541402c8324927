"""Which item a piece of feedback speaks of: the pair that shows what the model was given."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any

import polars as pl

from workbench_pipelines.feedback import FEEDBACK
from workbench_pipelines.identity import canonical_text

PAIR_COLUMNS = ("sheet", "item_ref", "label_type", "training_sheet", "pair_id")


def match_feedback(
    feedback: pl.DataFrame, labeled_pairs: pl.DataFrame, sheets_of_model: Mapping[str, Collection[str]] | None = None
) -> pl.DataFrame:
    """Each feedback with the pair it speaks of: rows of `FEEDBACK`, recorded, pending, or unmatched with the reason.

    A pair is found by `sheet` and `item_ref` inside a JSON input, else by inputs of equal content (5 is 5.0), else by a
    question that is the input, its examples left aside. A model named by the feedback prefers pairs of TrainingSheets it
    learned from.

    Args:
        feedback: rows of `feedback.FEEDBACK_INBOX`.
        labeled_pairs: training_sheet, pair_id, sheet, item_ref, label_type, inputs, messages.
        sheets_of_model: the TrainingSheets of each model, by name.
    """
    finder = _Finder(labeled_pairs)
    rows = []
    for row in feedback.iter_rows(named=True):
        preferred = (sheets_of_model or {}).get(row["model_name"] or "", ())
        pair, reason = finder.find(row["input"], preferred)
        none = dict.fromkeys(PAIR_COLUMNS)
        if row["correction"] is None:
            rows.append(row | (pair or none) | {"status": "recorded"})
        elif pair is None:
            rows.append(row | none | {"status": "unmatched", "reason": reason})
        else:
            rows.append(row | pair | {"status": "pending"})
    return pl.DataFrame([{name: row.get(name) for name in FEEDBACK} for row in rows], schema=FEEDBACK)


class _Finder:
    """The pairs by item, by content of their inputs and by their question."""

    def __init__(self, labeled_pairs: pl.DataFrame) -> None:
        self._by_item: dict[tuple[str, str], list[dict[str, str]]] = defaultdict(list)
        self._by_inputs: dict[str, list[dict[str, str]]] = defaultdict(list)
        self._by_prompt: dict[str, list[dict[str, str]]] = defaultdict(list)
        for row in labeled_pairs.sort("training_sheet", "pair_id").iter_rows(named=True):
            pair = {name: row[name] for name in PAIR_COLUMNS}
            self._by_item[row["sheet"], row["item_ref"]].append(pair)
            if row["inputs"] is not None:
                self._by_inputs[content_key(json.loads(row["inputs"]))].append(pair)
            # The turns before the last one are examples, and speak of other items.
            for message in [one for one in row["messages"] or () if one["role"] == "user"][-1:]:
                prompt = (message["content"] or "").strip()
                self._by_prompt[prompt].append(pair)

    def find(self, given: str | None, preferred: Collection[str]) -> tuple[dict[str, str] | None, str | None]:
        """The pair an input belongs to, or why there is none."""
        if given is None:
            return None, "the feedback has no input"
        try:
            value = json.loads(given)
        except ValueError:
            value = None
        if isinstance(value, dict) and {"sheet", "item_ref"} <= value.keys():
            found = self._by_item.get((str(value["sheet"]), str(value["item_ref"])), [])
            found = [pair for pair in found if pair["label_type"] == value.get("label_type", pair["label_type"])]
            none = f"no pair of item {value['item_ref']} of sheet {value['sheet']}"
        else:
            found = self._by_inputs.get(content_key(value), []) if isinstance(value, dict) else []
            found = found or self._by_prompt.get(given.strip(), [])
            none = "no pair has this input"
        return _chosen(found, preferred, none)


def _chosen(
    found: list[dict[str, str]], preferred: Collection[str], none: str
) -> tuple[dict[str, str] | None, str | None]:
    """The one pair meant; of several of one item the first, of several items none, for the correction is about one."""
    candidates = [pair for pair in found if pair["training_sheet"] in preferred] or found
    if not candidates:
        return None, none
    items = {(pair["sheet"], pair["item_ref"], pair["label_type"]) for pair in candidates}
    if len(items) > 1:
        return (
            None,
            f"{len(items)} items or label types have this input; name `sheet`, `item_ref` and `label_type` in it",
        )
    return candidates[0], None


def content_key(value: Any) -> str:
    """Canonical JSON in which a whole number is written one way, however it was given: 5, 5.0 or 5e0."""
    return canonical_text(_whole(value))


def _whole(value: Any) -> Any:
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    if isinstance(value, dict):
        return {key: _whole(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return value
