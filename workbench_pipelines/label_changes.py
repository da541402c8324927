"""What changed of items since an expert saw them: the columns a stale label looked at, as they were and as they are.

A label keeps the hash of what was seen and not the values. They are found in the earlier versions of the snapshot, as long
as the lake keeps those.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from workbench_pipelines.errors import LakeError
from workbench_pipelines.identity import seen_hash
from workbench_pipelines.workbench import Workbench

SNAPSHOT = ("data", "sheet_snapshot")
# A daily snapshot of a month; each look reads the seen columns once.
MAX_VERSIONS = 30
# Beyond that nobody reads what changed item by item.
MAX_LABELS = 2_000

Change = Mapping[str, tuple[Any, Any]]


def changes_of(workbench: Workbench, sheet: str, labels: pl.DataFrame) -> dict[tuple[str, str], Change]:
    """What changed of the items of stale labels, by item and label type: the columns with the value then and now.

    A label is left out where no version of the snapshot holds what its expert saw.

    Args:
        labels: rows of `label/canonical_labels`; those that are not stale are skipped.
    """
    table = (*SNAPSHOT, sheet)
    looked_for = labels.filter(pl.col("stale") & pl.col("seen_hash").is_not_null()).head(MAX_LABELS)
    if looked_for.is_empty() or not workbench.lake.exists(*table):
        return {}
    newest = workbench.lake.version(*table)
    open_labels = {(row["item_ref"], row["label_type"]): row for row in looked_for.iter_rows(named=True)}
    now = _items(workbench, table, newest, looked_for)
    found: dict[tuple[str, str], Change] = {}
    for version in range(newest, max(-1, newest - MAX_VERSIONS), -1):
        if not open_labels:
            break
        try:
            then = _items(workbench, table, version, looked_for)
        except LakeError:
            break  # the lake keeps its past only so long
        for key, label in list(open_labels.items()):
            was, is_now = then.get(key[0]), now.get(key[0], {})
            columns = label["seen_columns"] or []
            if was is not None and seen_hash(was, columns) == label["seen_hash"]:
                found[key] = {
                    column: (was.get(column), is_now.get(column))
                    for column in sorted(columns)
                    if was.get(column) != is_now.get(column)
                }
                del open_labels[key]
    return found


def _items(
    workbench: Workbench, table: tuple[str, ...], version: int, labels: pl.DataFrame
) -> dict[str, dict[str, Any]]:
    """The seen columns of the labeled items in a version of the snapshot, by item."""
    wanted = {column for columns in labels["seen_columns"].drop_nulls() for column in columns}
    rows = workbench.lake.scan(*table, version=version)
    known = [column for column in rows.collect_schema() if column in wanted and column != "item_ref"]
    try:
        kept = rows.filter(pl.col("item_ref").is_in(labels["item_ref"].implode())).select("item_ref", *known).collect()
    except (pl.exceptions.PanicException, pl.exceptions.ComputeError, OSError) as error:
        raise LakeError(f"table {'/'.join(table)}: version {version} can not be read") from error
    return {row["item_ref"]: row for row in kept.iter_rows(named=True)}
