"""The files of a published export, read again."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from workbench_pipelines.clients.export_tombstone import superseded_line
from workbench_pipelines.collection_diff import Version
from workbench_pipelines.errors import ExportError
from workbench_pipelines.splits import SPLITS


def read_published(collection: str, number: int, path: str) -> Version:
    """The pairs and exclusions of a published version.

    Raises:
        ExportError: where its files are gone or can not be read.
    """
    folder = Path(path)
    if (superseded := superseded_line(folder)) is not None:
        raise ExportError(f"Collection {collection} v{number}: {superseded}")
    try:
        rows = pl.concat([pl.read_parquet(folder / f"{split}.parquet") for split in SPLITS])
        return Version(number, rows, pl.read_parquet(folder / "exclusions.parquet"))
    except (OSError, pl.exceptions.PolarsError):
        raise ExportError(
            f"Collection {collection} v{number}: its files are gone or can not be read; they lay in {folder}"
        ) from None
