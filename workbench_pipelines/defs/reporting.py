"""How an asset reports: what it made, what it refused, and a failure as the one line a person reads."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import dagster as dg
import polars as pl

from workbench_pipelines.errors import WorkbenchError
from workbench_pipelines.identity import digest
from workbench_pipelines.restrictions import MASK, OPEN_CLASSIFICATIONS, Mask
from workbench_pipelines.workbench import Workbench

P = ParamSpec("P")
R = TypeVar("R")

# Enough rows to recognise a table by, few enough to read in the UI.
SAMPLE_ROWS = 5
_CELL = 80


def one_line_failures(body: Callable[P, R]) -> Callable[P, R]:
    """Turns an error into a Dagster failure whose description is one line, without cause and traceback text.

    The exit code travels in the failure's metadata, so that the command line returns it.
    """

    @functools.wraps(body)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return body(*args, **kwargs)
        except WorkbenchError as error:
            # A failed check or a bad row is not tried again: the same input fails the same way.
            raise dg.Failure(
                error.line, metadata={"exit_code": error.exit_code, "error": type(error).__name__}, allow_retries=False
            ) from None
        except (dg.Failure, dg.RetryRequested, dg.DagsterError):
            raise
        except Exception as error:
            # The text of a foreign error can quote a value of a row, and events are kept: where it arose is enough.
            places = [
                f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)
            ]
            raise dg.Failure(
                f"unexpected {type(error).__name__} at {Path(places[-1]).name}; the run's metadata shows the way there",
                metadata={"exit_code": 1, "error": type(error).__name__, "traceback": "\n".join(places)},
                allow_retries=False,
            ) from None

    return guarded


def report(
    frame: pl.DataFrame,
    content: Any,
    *,
    refused: int = 0,
    mask: Mask,
    metadata: Mapping[str, Any] | None = None,
) -> dg.MaterializeResult:
    """The result of an asset: its rows, a data version from its content, and a sample with restricted columns masked.

    Args:
        frame: the rows; the IO manager writes them and adds row count, schema and Delta version.
        content: what the data version is made of; equal content moves nothing downstream.
        refused: how many rows went to the refusals table.
        mask: what of the rows is not shown.
    """
    return dg.MaterializeResult(
        value=frame,
        data_version=dg.DataVersion(content if isinstance(content, str) else digest(content)),
        metadata={
            "refused": refused,
            "sample": dg.MetadataValue.md(sample_table(frame, mask)),
            **(metadata or {}),
        },
    )


def keep_refusals(workbench: Workbench, asset: dg.AssetKey, column: str, key: str, refusals: pl.DataFrame) -> None:
    """Replaces the refusals of a partition in `<asset>_refusals`; none clears what stood there."""
    room, name = asset.path
    table = (room, f"{name}_refusals")
    if refusals.is_empty() and not workbench.lake.exists(*table):
        return
    workbench.lake.replace_partition(*table, frame=refusals, partition_by=column, keys=[key])


def sample_table(frame: pl.DataFrame, mask: Mask) -> str:
    """The first rows as a Markdown table, restricted columns masked."""
    if frame.is_empty():
        return "(no rows)"
    columns = frame.columns
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for row in frame.head(SAMPLE_ROWS).iter_rows(named=True):
        hidden = mask.columns if _is_masked(row, mask) else frozenset()
        lines.append("| " + " | ".join(MASK if c in hidden else _cell(row[c]) for c in columns) + " |")
    return "\n".join(lines)


def _is_masked(row: Mapping[str, Any], mask: Mask) -> bool:
    if mask.all_rows:
        return True
    for name in mask.classifications if mask.classified else ():
        stated = row.get(name)
        if stated not in OPEN_CLASSIFICATIONS and (stated is not None or mask.or_unstated):
            return True
    if row.get("item_ref") in mask.items.get(row.get("sheet") or "", ()):
        return True
    return mask.sheets is not None and row.get("sheet") not in mask.sheets


def _cell(value: Any) -> str:
    text = "" if value is None else str(value)
    shown = text if len(text) <= _CELL else text[: _CELL - 1] + "…"
    return shown.replace("|", "\\|").replace("\n", " ")
