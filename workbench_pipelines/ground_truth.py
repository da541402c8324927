"""Evaluation ground truth: items that a Collection measures with, and that no Collection may train on.

Splits keep items apart under one seed. Collections with different seeds know nothing of each other: what one measures with
another could learn from. So a Collection may say that its items are ground truth, and the gates of all others hold them
back from train.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from workbench_pipelines.split_tokens import item_token

GROUND_TRUTH = pl.Schema({"sheet": pl.String(), "item_ref": pl.String(), "collection": pl.String()})
"""Columns of `records/ground_truth`: one row an item that is ground truth, with the Collection that says so; without an `item_ref`
it is all of its Sheet. The whole table is what counted at a commit: exports name the one that they were made with. It is
partitioned by Sheet, so that who erases an item of one leaves what was exported of others as it is."""


@dataclass(frozen=True)
class GroundTruth:
    """The items that are ground truth.

    Attributes:
        items: by `splits.item_token`, the Collection that says so.
        sheets: the same by Sheet, where it is not known yet which of its items they are: then all are.
    """

    items: Mapping[str, str] = field(default_factory=dict)
    sheets: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of_rows(cls, rows: pl.DataFrame) -> GroundTruth:
        """What rows of `GROUND_TRUTH` say."""
        said = list(rows.select("sheet", "item_ref", "collection").iter_rows())
        return cls(
            {item_token(sheet, ref): by for sheet, ref, by in said if ref is not None},
            {sheet: by for sheet, ref, by in said if ref is None},
        )

    def said_by(self, sheet: str, item_ref: str) -> str | None:
        """The Collection that an item of a Sheet, or what is derived from it, is ground truth of; None where it is of none."""
        name = item_ref
        while name:
            if found := self.items.get(item_token(sheet, name)):
                return found
            name = name.rpartition("#")[0]
        return self.sheets.get(sheet)


def held_back(placed: pl.DataFrame, ground_truth: GroundTruth) -> pl.DataFrame:
    """The pairs with their split, those of ground truth in train with the reason why they may not stand there (`quarantine`).

    Input columns: sheet, item_ref, split, quarantine; and trace, of which the first of `parent_ids` is the Sheet's own item.
    """
    if not (ground_truth.items or ground_truth.sheets):
        return placed
    said = pl.Series("said", _said_by(placed, ground_truth), pl.String)
    why = pl.format("its item is ground truth of Collection {}, and is not trained on by any", said)
    in_train = (pl.col("split") == "train").fill_null(False) & said.is_not_null()
    return placed.with_columns(
        pl.when(in_train).then(pl.coalesce("quarantine", why)).otherwise("quarantine").alias("quarantine")
    )


def trained_on(rows: pl.DataFrame, ground_truth: GroundTruth) -> pl.DataFrame:
    """The rows of the train split whose item is ground truth, with the Collection that says so (`said`).

    Input columns: sheet, item_ref, split, and trace where there is one.
    """
    said = pl.Series("said", _said_by(rows, ground_truth), pl.String)
    return rows.with_columns(said).filter((pl.col("split") == "train") & pl.col("said").is_not_null())


def _said_by(rows: pl.DataFrame, ground_truth: GroundTruth) -> list[str | None]:
    root = pl.col("item_ref")
    if "trace" in rows.columns:
        root = pl.coalesce(pl.col("trace").struct.field("parent_ids").list.first(), root)
    return [ground_truth.said_by(*of) for of in rows.select("sheet", root.alias("root")).iter_rows()]
