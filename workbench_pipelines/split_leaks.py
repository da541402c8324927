"""What crosses the splits of an export as it was made: looked for anew in its rows, whatever assigned them."""

from __future__ import annotations

import polars as pl

from workbench_pipelines.alike_items import SIDE_OF_SPLIT
from workbench_pipelines.crossing_duplicates import crossing_near_duplicates
from workbench_pipelines.split_texts import compared_texts


def crossing_pairs(export: pl.DataFrame, threshold: float) -> tuple[int, float]:
    """How many texts are near-duplicates of one in another split, two by two, and the most that any two share.

    A text that stands in two splits counts as one.

    Input columns: split, inputs.

    Raises:
        ExportError: where more would have to be compared than can be.
    """
    side = pl.col("split").replace_strict(SIDE_OF_SPLIT, return_dtype=pl.Int64)
    said = export.select(side.alias("sides"), compared_texts(export).alias("text")).drop_nulls()
    texts = said.group_by("text").agg(pl.col("sides").unique().sum()).sort("text").with_row_index("name")
    torn = texts.filter(pl.col("sides").bitwise_count_ones() > 1).height
    crossing = crossing_near_duplicates(texts.with_columns(pl.col("name").cast(pl.String)), threshold)
    shares = [1.0] * min(torn, 1) + crossing["jaccard"].to_list()
    return torn + crossing.height, max(shares, default=0.0)
