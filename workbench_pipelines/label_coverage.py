"""Coverage of labelsets: how much of a Sheet experts have labeled for each task, as a whole and by stratum."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from workbench_pipelines.catalog import Catalog
from workbench_pipelines.errors import WorkbenchError
from workbench_pipelines.labels import in_full

LABELSET_COVERAGE = pl.Schema(
    {
        "sheet": pl.String(),
        "label_type": pl.String(),
        "stratum_column": pl.String(),
        "stratum": pl.String(),
        "items": pl.Int64(),
        "live": pl.Int64(),
        "stale": pl.Int64(),
        "waiting": pl.Int64(),
        "share": pl.Float64(),
    }
)
"""Columns of `label/labelset_coverage`; the row without a stratum column is the whole Sheet. `waiting` labels wait for
another person, `share` is that of items with a live label."""


def tasks_of_sheet(catalog: Catalog, sheet: str) -> list[str]:
    """The label types that TrainingSheets of a Sheet ask for."""
    found = set()
    for training_sheet in catalog.training_sheets():
        if training_sheet.spec.sheet != sheet:
            continue
        try:
            found.add(catalog.template_for(training_sheet).spec.label_type)
        except WorkbenchError:
            continue  # a broken TrainingSheet asks for nothing
    return sorted(found)


def strata_of_sheet(catalog: Catalog, sheet: str) -> list[str]:
    """The columns that Collections stratify pairs of a Sheet by."""
    return sorted(
        {
            column
            for training_sheet in catalog.training_sheets()
            if training_sheet.spec.sheet == sheet
            for column in strata_of_training_sheet(catalog, training_sheet.name)
        }
    )


def strata_of_training_sheet(catalog: Catalog, name: str) -> list[str]:
    """The columns that the Collections of a TrainingSheet stratify by."""
    found = set()
    for collection in catalog.collections_of(name):
        try:
            column = catalog.collection(collection).spec.splits.stratify_by
        except WorkbenchError:
            continue  # a broken Collection fails with its own line
        found |= {column} if column else set()
    return sorted(found)


def labelset_coverage(
    sheet: str, snapshot: pl.DataFrame, labels: pl.DataFrame, *, tasks: Sequence[str], strata: Sequence[str]
) -> pl.DataFrame:
    """What is labeled of each task and stratum; rows of `LABELSET_COVERAGE`, sorted.

    Args:
        snapshot: the Sheet's items.
        labels: rows of `label/canonical_labels` of the Sheet.
        tasks: the label types that are asked for; those of labels come in beside them.
        strata: columns of the Sheet to look at one by one; one that it does not have is left out.
    """
    live = pl.col("active") & ~pl.col("stale")
    of_item = in_full(labels).select(
        "item_ref",
        "label_type",
        live.alias("live"),
        (pl.col("active") & pl.col("stale")).alias("stale"),
        (pl.col("proposed_by").is_not_null() | pl.col("awaits").is_not_null()).alias("waiting"),
    )
    wanted = sorted({*tasks, *labels["label_type"]})
    known = [column for column in strata if column in snapshot.columns]
    rows = [LABELSET_COVERAGE.to_frame()]
    for task in wanted:
        said = of_item.filter(pl.col("label_type") == task).drop("label_type")
        for column in (None, *known):
            stratum = pl.lit(None, pl.String) if column is None else pl.col(column).cast(pl.String)
            items = snapshot.select("item_ref", stratum.alias("stratum")).join(said, on="item_ref", how="left")
            counted = items.group_by("stratum").agg(
                pl.len().alias("items"), *(pl.col(name).sum() for name in ("live", "stale", "waiting"))
            )
            counted = counted.with_columns(
                pl.lit(sheet).alias("sheet"),
                pl.lit(task).alias("label_type"),
                pl.lit(column, pl.String).alias("stratum_column"),
                (pl.col("live") / pl.col("items")).alias("share"),
            )
            rows.append(counted.select([pl.col(name).cast(dtype) for name, dtype in LABELSET_COVERAGE.items()]))
    return pl.concat(rows).sort("label_type", "stratum_column", "stratum", nulls_last=False)
