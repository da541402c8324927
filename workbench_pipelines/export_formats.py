"""The files of an export: what its Parquet files hold, which formats a Collection may ask for, and how rows are streamed."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from workbench_pipelines.formats import FILE_FORMATS
from workbench_pipelines.formats.conversation import CHUNK_ROWS
from workbench_pipelines.pairs import MESSAGE

PARQUET_ROWS = pl.Schema(
    {
        "pair_id": pl.String(),
        "pair_hash": pl.String(),
        "training_sheet": pl.String(),
        "item_ref": pl.String(),
        "label_type": pl.String(),
        "canonical_label_id": pl.String(),
        "messages": pl.List(MESSAGE),
        "response": pl.String(),
        "inputs": pl.String(),
        "split": pl.String(),
        "weight": pl.Float64(),
    }
)
"""Columns of `{train,val,test}.parquet`: all that pair_hash and Merkle root are made of, and never attributes."""

FORMATS = (*FILE_FORMATS, "parquet", "hf")
"""What a Collection may ask for; Parquet is always written: trainers read it, and the Merkle root is proved from it."""


def parquet_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of a split as its Parquet file holds them, in one chunk: the bytes depend on the values alone.

    Input columns: those of `PARQUET_ROWS`.
    """
    return rows.select([pl.col(name).cast(dtype) for name, dtype in PARQUET_ROWS.items()]).sort("pair_id").rechunk()


def batches_of(rows: pl.DataFrame, preferences: pl.DataFrame | None = None) -> Iterator[pl.DataFrame]:
    """Rows some thousand at a time, each with the answer that was rejected for its own, if any.

    Args:
        preferences: rows of `formats.preferences.PREFERENCES`.
    """
    for batch in rows.iter_slices(CHUNK_ROWS):
        if preferences is None or preferences.is_empty():
            yield batch.with_columns(pl.lit(None, pl.String).alias("rejected"))
        else:
            rejected = preferences.select("pair_id", "rejected")
            yield batch.join(rejected, on="pair_id", how="left", maintain_order="left")
