"""Which pairs a published export holds, read from its Parquet files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import polars as pl

from workbench_pipelines.splits import SPLITS

_COLUMNS = ("pair_id", "training_sheet", "split")
_TEXTS = ("item_ref", "messages", "response", "inputs")


def exported_pairs(folder: str, training_sheets: Sequence[str], *, with_texts: bool = False) -> pl.DataFrame | None:
    """The pairs of some TrainingSheets in an export: pair_id, training_sheet and split; with item_ref, messages, response and
    inputs where texts are asked for.

    Returns:
        None where a file is gone or can not be read; `workbench verify` says what is wrong with it.
    """
    files = [Path(folder) / f"{split}.parquet" for split in SPLITS]
    if not all(file.is_file() for file in files):
        return None
    try:
        rows = pl.concat([pl.scan_parquet(file).select(*_COLUMNS, *(_TEXTS if with_texts else ())) for file in files])
        return rows.filter(pl.col("training_sheet").is_in(list(training_sheets))).collect()
    # polars' panic is no Exception.
    except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None
