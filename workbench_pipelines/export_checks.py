"""What must hold of an export: asked of its files before it is published, and of its rows by the blocking checks after it.

Each is a fact that holds or does not, with a line that counts and quotes no value. The names are those of the checks.
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from workbench_pipelines.gates import USE_OF_SPLIT
from workbench_pipelines.ground_truth import GroundTruth, trained_on
from workbench_pipelines.split_leaks import crossing_pairs


class Finding(NamedTuple):
    """Whether it holds, and what was counted."""

    holds: bool
    said: str


def every_training_pair_permits_training(rows: pl.DataFrame, pairs: pl.DataFrame) -> Finding:
    """Every pair of a split permits the use of that split.

    Args:
        rows: pair_id, split of the export.
        pairs: pair_id, allowed_uses, prohibited_uses of `label/labeled_pairs`.
    """
    uses = pairs.select("pair_id", "allowed_uses", "prohibited_uses")
    joined = rows.select("pair_id", "split").join(uses, on="pair_id", how="left")
    need = pl.col("split").replace_strict(USE_OF_SPLIT, return_dtype=pl.String)
    permitted = need.is_in(pl.col("allowed_uses")) & ~need.is_in(pl.col("prohibited_uses"))
    wrong = joined.filter(~permitted.fill_null(False)).height
    return Finding(wrong == 0, f"{joined.height} pairs, {wrong} without permission for their split")


def every_exported_pair_is_approved(rows: pl.DataFrame, pairs: pl.DataFrame) -> Finding:
    """Every pair counts as labeled, with the very content that was approved.

    Args:
        rows: pair_id, pair_hash of the export.
        pairs: pair_id, pair_hash, status of `label/labeled_pairs`.
    """
    approved = pairs.filter(pl.col("status") == "labeled").select("pair_id", "pair_hash")
    strays = rows.join(approved, on=["pair_id", "pair_hash"], how="anti").height
    return Finding(strays == 0, f"{rows.height} pairs, {strays} not approved as they are")


def no_ground_truth_is_trained_on(rows: pl.DataFrame, pairs: pl.DataFrame, ground_truth: GroundTruth) -> Finding:
    """No item of ground truth stands in the train split.

    Args:
        rows: pair_id, sheet, item_ref, split of the export.
        pairs: pair_id, trace of `label/labeled_pairs`.
    """
    found = trained_on(rows.join(pairs.select("pair_id", "trace"), on="pair_id", how="left"), ground_truth)
    of = ", ".join(sorted(set(found["said"])))
    said = f"{rows.height} pairs, {found.height} of ground truth in train{f': {of}' if of else ''}"
    return Finding(found.is_empty(), said)


def no_item_appears_in_two_splits(rows: pl.DataFrame, pairs: pl.DataFrame) -> Finding:
    """No item stands in two splits, nor does what is derived from it.

    Args:
        rows: pair_id, sheet, item_ref, split of the export.
        pairs: pair_id, trace of `label/labeled_pairs`.
    """
    root = pl.coalesce(pl.col("trace").struct.field("parent_ids").list.first(), "item_ref")
    of_items = rows.join(pairs.select("pair_id", "trace"), on="pair_id", how="left").with_columns(root.alias("root"))
    torn = of_items.group_by("sheet", "root").agg(pl.col("split").n_unique()).filter(pl.col("split") > 1)
    return Finding(torn.is_empty(), f"{rows.height} pairs, {torn.height} items in two splits")


def no_near_duplicate_crosses_splits(rows: pl.DataFrame, threshold: float | None) -> Finding:
    """No two pairs that say nearly the same stand in two splits.

    Args:
        rows: split, inputs of the export.
        threshold: from which on two pairs are near-duplicates; None where the Collection does not ask.

    Raises:
        ExportError: where more would have to be compared than can be.
    """
    if threshold is None:
        return Finding(True, "the Collection says that near-duplicates may stand in two splits")
    pairs, worst = crossing_pairs(rows, threshold)
    said = f"{rows.height} pairs, {pairs} near-duplicates across splits"
    return Finding(
        pairs == 0, said if not pairs else f"{said}, which share up to {worst:.2f}; export the Collection again"
    )
