"""The ledger of splits as it stands: what was assigned under the former name of a Sheet counts under its name of today."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress

import polars as pl

from workbench_pipelines.catalog import Catalog
from workbench_pipelines.errors import WorkbenchError
from workbench_pipelines.splits import SPLIT_ASSIGNMENTS, under_new_names
from workbench_pipelines.workbench import Workbench

LEDGER = ("records", "split_assignments")


def split_ledger(
    workbench: Workbench, catalog: Catalog, *, version: int | None = None, renamed: Mapping[str, str] | None = None
) -> pl.DataFrame:
    """Rows of `records/split_assignments`, as they stand or as they stood at a commit.

    Args:
        renamed: as `renamed_sheets` said it then; as it says it now, where none is given.
    """
    if version is None:
        rows = workbench.record("split_assignments", SPLIT_ASSIGNMENTS)
    else:
        rows = workbench.lake.read(*LEDGER, version=version)
    return under_new_names(rows, renamed_sheets(catalog) if renamed is None else renamed)


def renamed_sheets(catalog: Catalog) -> dict[str, str]:
    """By former name of a Sheet, its name of today."""
    found: dict[str, str] = {}
    for name in catalog.names("Sheet"):
        with suppress(WorkbenchError):  # a broken Sheet says so where it is made
            found |= dict.fromkeys(catalog.sheet(name).metadata.formerly, name)
    return found
