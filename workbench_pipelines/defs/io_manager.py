"""Assets in the lake: what an asset returns becomes its Delta table, what it asks for is read from there.

The asset key is the table's path. A partitioned asset names its partition column in its definition metadata,
``{"partition_column": "training_sheet"}``; with ``{"table_per_partition": True}`` every partition is a table of its
own, for rows whose columns differ. The annotation of an input says what it gets: ``pl.DataFrame``, ``pl.LazyFrame``
(read when collected), or ``dict[str, pl.DataFrame]`` (by partition). An input with
``{"allow_missing_partitions": True}`` in its own metadata takes what is there, an empty frame without columns where
nothing is.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping, Sequence

import dagster as dg
import polars as pl

from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.defs.blocking_checks import latest_materializations, refuse_failed_partitions
from workbench_pipelines.errors import LakeError

PARTITION_COLUMN = "partition_column"
TABLE_PER_PARTITION = "table_per_partition"
ALLOW_MISSING = "allow_missing_partitions"

Frame = pl.DataFrame | pl.LazyFrame
Loaded = Frame | dict[str, pl.DataFrame] | dict[str, pl.LazyFrame]


class LakeIOManager(dg.IOManager):
    """Writes an asset's partitions by replacing them, reads them unless a blocking check speaks against it."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    def handle_output(self, context: dg.OutputContext, obj: Frame | Mapping[str, Frame] | None) -> None:
        if obj is None:
            return
        parts = context.asset_key.path
        if not context.has_asset_partitions:
            whole = _collected(obj, context)
            _describe(context, self.lake.path(*parts), self.lake.replace_table(*parts, frame=whole), whole)
            return
        keys = sorted(context.asset_partition_keys)  # Dagster keeps them in a set: another order in every process
        if not keys:
            raise LakeError(f"{_asset(context)}: the run has no partition; is its range reversed?")
        if context.definition_metadata.get(TABLE_PER_PARTITION):
            self._write_tables(context, obj, keys)
        else:
            self._write_partitions(context, obj, keys)

    def load_input(self, context: dg.InputContext) -> Loaded:
        parts = context.asset_key.path
        keys = sorted(context.asset_partition_keys) if context.has_asset_partitions else None
        there = self._checked_keys(context, keys)
        lazy, by_partition = _wanted(context)
        if there is None:
            whole = self.lake.scan(*parts) if self.lake.exists(*parts) else pl.LazyFrame()
            return whole if lazy else whole.collect()
        if by_partition:
            return {key: _as(self._one(parts, key), lazy) for key in there}  # type: ignore[return-value]
        return _as(self._several(context, there), lazy)

    def _write_partitions(self, context: dg.OutputContext, obj: Frame | Mapping[str, Frame], keys: list[str]) -> None:
        column = context.definition_metadata.get(PARTITION_COLUMN)
        if not isinstance(column, str):
            raise LakeError(f'{_asset(context)} is partitioned: give it metadata={{"{PARTITION_COLUMN}": "<column>"}}')
        rows = _collected(obj, context)
        parts = context.asset_key.path
        version = self.lake.replace_partition(*parts, frame=rows, partition_by=column, keys=keys)
        _describe(context, self.lake.path(*parts), version, rows)
        if len(keys) > 1:
            counts = dict(rows.group_by(pl.col(column).cast(pl.String)).len().iter_rows())
            for key in keys:
                _count(context, key, counts.get(key, 0))

    def _write_tables(self, context: dg.OutputContext, obj: Frame | Mapping[str, Frame], keys: list[str]) -> None:
        given = obj if isinstance(obj, Mapping) else {keys[0]: obj}
        if set(given) != set(keys):
            raise LakeError(
                f"{_asset(context)} has a table per partition: return one frame for each of {', '.join(keys[:5])} "
                f"as a mapping; found {', '.join(sorted(given)[:5]) or 'none'}"
            )
        parts = context.asset_key.path
        frames = {key: _collected(frame, context) for key, frame in given.items()}
        for key, rows in frames.items():
            version = self.lake.replace_table(*parts, key, frame=rows)
            if len(keys) == 1:
                _describe(context, self.lake.path(*parts, key), version, rows)
            else:
                _count(context, key, rows.height)

    def _checked_keys(self, context: dg.InputContext, keys: list[str] | None) -> list[str] | None:
        """The keys to read, all of them written and none with a failed check; None for an unpartitioned asset."""
        written = latest_materializations(context.instance, context.asset_key, keys)
        allow_missing = bool(context.definition_metadata.get(ALLOW_MISSING))
        if keys is None:
            if not allow_missing and not self.lake.exists(*context.asset_key.path):
                raise LakeError(_never_written(context, None))
        else:
            stored = self._stored_keys(context.asset_key.path, keys)
            # A partition without rows has no file: only its materialization tells that it was written.
            if self.lake.exists(*context.asset_key.path):
                stored |= {key for key in written if key is not None}
            missing = [key for key in keys if key not in stored]
            if missing and not allow_missing:
                raise LakeError(_never_written(context, missing[0], len(missing)))
            keys = [key for key in keys if key not in missing]
        refuse_failed_partitions(context, list(written.values()))
        return keys

    def _stored_keys(self, parts: Sequence[str], keys: Sequence[str]) -> set[str]:
        """The keys that have rows in the asset's table, or a table of their own."""
        if self.lake.exists(*parts):
            return self.lake.partitions(*parts)
        return {key for key in keys if self.lake.exists(*parts, key)}

    def _one(self, parts: Sequence[str], key: str) -> pl.LazyFrame:
        if not self.lake.exists(*parts):
            return self.lake.scan(*parts, key)
        return self.lake.scan(*parts, partition={self._column(parts): [key]})

    def _several(self, context: dg.InputContext, keys: Sequence[str]) -> pl.LazyFrame:
        parts = context.asset_key.path
        if len(keys) == 1:
            return self._one(parts, keys[0])
        if self.lake.exists(*parts):
            return self.lake.scan(*parts, partition={self._column(parts): keys})
        if not keys:
            return pl.LazyFrame()
        raise LakeError(
            f"{_asset(context)} has a table per partition and {len(keys)} are asked for: "
            f"annotate the input '{context.name}' as dict[str, pl.DataFrame]"
        )

    def _column(self, parts: Sequence[str]) -> str:
        # InputContext.definition_metadata is the input's own, so the table is asked, not the asset.
        column = self.lake.partition_column(*parts)
        if column is None:
            raise LakeError(f"table {'/'.join(parts)} has no partitions, but its asset does; write the asset anew")
        return column


def _wanted(context: dg.InputContext) -> tuple[bool, bool]:
    """Whether the input is annotated as lazy, and whether as a mapping by partition."""
    annotation = context.dagster_type.typing_type
    by_partition = typing.get_origin(annotation) is dict
    return pl.LazyFrame in (annotation, *typing.get_args(annotation)), by_partition


def _as(rows: pl.LazyFrame, lazy: bool) -> Frame:
    return rows if lazy else rows.collect()


def _collected(obj: object, context: dg.OutputContext) -> pl.DataFrame:
    if isinstance(obj, pl.LazyFrame):
        return obj.collect(engine="streaming")
    if isinstance(obj, pl.DataFrame):
        return obj
    raise LakeError(f"{_asset(context)} returned a {type(obj).__name__}; the lake stores polars frames")


def _describe(context: dg.OutputContext, path: str, version: int, rows: pl.DataFrame) -> None:
    """What the UI shows of the write: where, how many rows, which columns, which Delta version."""
    columns = [dg.TableColumn(name, str(dtype)) for name, dtype in rows.schema.items()]
    context.add_output_metadata(
        {
            "dagster/row_count": rows.height,
            "dagster/column_schema": dg.TableSchema(columns=columns),
            "dagster/uri": path,
            "delta_version": version,
        }
    )


def _count(context: dg.OutputContext, key: str, rows: int) -> None:
    context.step_context.add_asset_metadata({"dagster/row_count": rows}, context.asset_key, key)


def _asset(context: dg.OutputContext | dg.InputContext) -> str:
    return context.asset_key.to_user_string()


def _never_written(context: dg.InputContext, key: str | None, count: int = 1) -> str:
    asset = _asset(context)
    if key is None:
        return f'{asset} was never written; run `dg launch --assets "{asset}"` first'
    others = f" (and {count - 1} more)" if count > 1 else ""
    return f'{asset} [{key}]{others} was never written; run `dg launch --assets "{asset}" --partition "{key}"` first'
