"""The lake: Delta tables under one folder or URI, and the only code that reads or writes them.

A table is named by the parts of its path: ``("label", "labeled_pairs")`` is ``<lake>/label/labeled_pairs``. Every write
runs in `commit_with_retry`, so writers on other partitions never lose rows and a conflict is solved by doing the change
again on the newer table. A table should have one kind of writer: `replace_partition`, `append` and `append_new` on the
same table at the same time are each atomic, but `append_new` sees only the rows that other `append_new` writers add.

Nothing here compacts (see `table_maintenance`): two compactors from stale handles duplicate rows without an error.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

import polars as pl
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, SchemaMismatchError, TableNotFoundError

from workbench_pipelines.clients.lake_types import fit_to_table, id_columns
from workbench_pipelines.errors import LakeError

Frame = pl.DataFrame | pl.LazyFrame
T = TypeVar("T")

MAX_ATTEMPTS = 30  # eight writers that commit at once were done after nine; a minute of waiting is the most
MAX_WAIT_SECONDS = 2.0
_PART = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
_COLUMN = re.compile(r"^[A-Za-z_][A-Za-z0-9_]*$")
# Two appends never conflict in Delta, two commits with one application id do: the slower append_new looks again.
_APPEND_NEW = "workbench.append_new"
_CONFLICTS = (CommitFailedError, SchemaMismatchError, TableNotFoundError)


def commit_with_retry(change: Callable[[], T], table: str) -> T:
    """What `change` returns; it loads the table itself, and runs again when another writer was faster.

    Raises LakeError with one line when it is refused for another reason, or MAX_ATTEMPTS times.
    """
    for attempt in range(MAX_ATTEMPTS):
        try:
            return change()
        except _CONFLICTS as error:
            if attempt == MAX_ATTEMPTS - 1:
                raise LakeError(
                    f"table {table}: gave up after {MAX_ATTEMPTS} conflicting commits: {_cause(error)}"
                ) from error
            time.sleep(random.uniform(0, min(MAX_WAIT_SECONDS, 0.02 * 2**attempt)))  # noqa: S311  # spreads writers out
        except (DeltaError, OSError) as error:
            raise LakeError(f"table {table} can not be written: {_cause(error)}") from error
    raise AssertionError("unreachable")


class Lake:
    """Delta tables under `uri`, a local folder or an s3://, az:// or gs:// address with its storage options."""

    def __init__(self, uri: str, storage_options: Mapping[str, str] | None = None) -> None:
        self.uri = uri.rstrip("/") if "://" in uri else str(Path(uri).expanduser().absolute())
        self.storage_options: dict[str, str] | None = dict(storage_options) if storage_options else None

    def path(self, *parts: str) -> str:
        """Where the table lies; a part is a plain name, so that no table lies outside the lake."""
        for part in parts:
            if not _PART.match(part) or ".." in part:
                raise LakeError(f"'{part}' is no name for a table; use letters, digits, '_', '-' and '.'")
        return "/".join([self.uri, *parts])

    def exists(self, *parts: str) -> bool:
        return DeltaTable.is_deltatable(self.path(*parts), self.storage_options)

    def version(self, *parts: str) -> int:
        """The number of the table's newest commit."""
        return self._table(*parts).version()

    def schema(self, *parts: str) -> pl.Schema:
        return _schema(self._table(*parts))

    def partition_column(self, *parts: str) -> str | None:
        """The column the table is physically partitioned by, None for a table in one piece."""
        return next(iter(self._table(*parts).metadata().partition_columns), None)

    def partitions(self, *parts: str) -> set[str]:
        """The partition keys that have rows."""
        return {value for keys in self._table(*parts).partitions() for value in keys.values()}

    def scan(
        self, *parts: str, partition: Mapping[str, Sequence[str]] | None = None, version: int | None = None
    ) -> pl.LazyFrame:
        """The rows of the named partitions, or all; read when collected. Columns a row's file lacks are null."""
        table = self._table(*parts, version=version)
        rows = pl.scan_delta(table, storage_options=self.storage_options)
        for column, keys in (partition or {}).items():
            rows = rows.filter(pl.col(column).is_in(list(keys)))
        return rows

    def read(
        self, *parts: str, partition: Mapping[str, Sequence[str]] | None = None, version: int | None = None
    ) -> pl.DataFrame:
        """As `scan`, read at once. Raises LakeError where a file is missing or damaged."""
        try:
            return self.scan(*parts, partition=partition, version=version).collect()
        # A truncated parquet file raises PanicException, which is no Exception.
        except (pl.exceptions.PanicException, pl.exceptions.ComputeError, OSError) as error:
            raise LakeError(f"table {_name(parts)} can not be read: {_cause(error)}") from error

    def replace_partition(self, *parts: str, frame: Frame, partition_by: str, keys: Sequence[str]) -> int:
        """Put `frame` in place of the partitions `keys` and leave the others; returns the Delta version.

        An empty frame empties them. Raises LakeError for rows of any other partition, and for no keys at all.
        """
        if not keys:
            raise LakeError(f"table {_name(parts)}: no partition to write; is the range reversed?")
        rows = _rows_of(frame, partition_by, keys, _name(parts))
        listed = ", ".join("'" + key.replace("'", "''") + "'" for key in keys)

        def change() -> int:
            table, fitting = self._prepared(parts, rows, partition_by)
            write_deltalake(
                table, fitting, mode="overwrite", schema_mode="merge", predicate=f"{partition_by} IN ({listed})"
            )
            return self.version(*parts)

        return commit_with_retry(change, _name(parts))

    def replace_table(self, *parts: str, frame: Frame) -> int:
        """Make `frame` the whole table; returns the Delta version.

        Its columns and types become the table's: nothing of the old content is left that could be misread.
        """
        rows = _collected(frame)

        def change() -> int:
            fitting = self._retyped(parts, rows)
            table = self._opened_or_created(parts, fitting, None)
            write_deltalake(table, fitting, mode="overwrite", schema_mode="overwrite")
            return self.version(*parts)

        return commit_with_retry(change, _name(parts))

    def append(self, *parts: str, frame: Frame, partition_by: str | None = None) -> int:
        """Add the rows as they are; returns the Delta version."""
        rows = _collected(frame)

        def change() -> int:
            table, fitting = self._prepared(parts, rows, partition_by)
            write_deltalake(table, fitting, mode="append", schema_mode="merge")
            return self.version(*parts)

        return commit_with_retry(change, _name(parts))

    def append_new(self, *parts: str, frame: Frame, key: Sequence[str] | str, partition_by: str | None = None) -> int:
        """Add the rows whose key is not in the table yet and return how many; a second delivery adds none.

        Of rows with one key the first counts. Safe among any number of append_new writers. Raises LakeError where a key
        is null.
        """
        columns = [key] if isinstance(key, str) else list(key)
        rows = _collected(frame)
        if rows.select(pl.any_horizontal(pl.col(columns).is_null()).any()).item():
            raise LakeError(f"table {_name(parts)}: a row has no {' or '.join(columns)}; its key can not be null")
        rows = rows.unique(columns, keep="first", maintain_order=True)

        def change() -> int:
            table, fitting = self._prepared(parts, rows, partition_by)
            # A predicate on one column first: of the rows that it does not find nothing else is read.
            may_be_known = pl.col(columns[0]).is_in(fitting[columns[0]].unique().implode())
            there = pl.scan_delta(table, storage_options=self.storage_options).select(columns).filter(may_be_known)
            known = there.join(fitting.lazy().select(columns), on=columns, how="semi").collect(engine="streaming")
            fresh = fitting.join(known, on=columns, how="anti", maintain_order="left")
            if fresh.is_empty():
                return 0
            turn = Transaction(_APPEND_NEW, (table.transaction_version(_APPEND_NEW) or 0) + 1)
            write_deltalake(
                table,
                fresh,
                mode="append",
                schema_mode="merge",
                commit_properties=CommitProperties(app_transactions=[turn]),
            )
            return fresh.height

        return commit_with_retry(change, _name(parts))

    def _table(self, *parts: str, version: int | None = None) -> DeltaTable:
        try:
            return DeltaTable(self.path(*parts), version=version, storage_options=self.storage_options)
        except TableNotFoundError as error:
            raise LakeError(
                f"table {_name(parts)} does not exist in {self.uri}; nothing was written to it yet"
            ) from error
        except (DeltaError, OSError) as error:
            raise LakeError(f"table {_name(parts)} can not be opened: {_cause(error)}") from error

    def _prepared(
        self, parts: Sequence[str], rows: pl.DataFrame, partition_by: str | None
    ) -> tuple[DeltaTable, pl.DataFrame]:
        """The newest state of the table, made where absent, and the rows in its columns and types."""
        stored = self.schema(*parts) if self.exists(*parts) else {}
        table = self._opened_or_created(parts, fit_to_table(rows, stored, _name(parts)), partition_by)
        there = table.metadata().partition_columns
        if there != ([partition_by] if partition_by else []):
            raise LakeError(
                f"table {_name(parts)} is partitioned by {there or 'nothing'}, not by {partition_by or 'nothing'}"
            )
        return table, fit_to_table(rows, _schema(table), _name(parts))

    def _retyped(self, parts: Sequence[str], rows: pl.DataFrame) -> pl.DataFrame:
        """The rows in storable types; an all-null column keeps the type it had."""
        stored = self.schema(*parts) if self.exists(*parts) else {}
        known = {name: stored[name] for name, dtype in rows.schema.items() if dtype == pl.Null and name in stored}
        return fit_to_table(rows, known, _name(parts)).select(rows.columns)

    def _opened_or_created(self, parts: Sequence[str], rows: pl.DataFrame, partition_by: str | None) -> DeltaTable:
        """The table, created empty first: of two first writers without a table, one would lose its rows."""
        if self.exists(*parts):
            return self._table(*parts)
        DeltaTable.create(
            self.path(*parts),
            schema=rows.clear().to_arrow().schema,
            mode="ignore",
            partition_by=partition_by,
            configuration={"delta.dataSkippingStatsColumns": ",".join(id_columns(rows.columns, partition_by))},
            storage_options=self.storage_options,
        )
        return self._table(*parts)


def _schema(table: DeltaTable) -> pl.Schema:
    return pl.scan_delta(table).collect_schema()


def _name(parts: Sequence[str]) -> str:
    return "/".join(parts)


def _collected(frame: Frame) -> pl.DataFrame:
    return frame.collect(engine="streaming") if isinstance(frame, pl.LazyFrame) else frame


def _rows_of(frame: Frame, partition_by: str, keys: Sequence[str], table: str) -> pl.DataFrame:
    """The collected rows, all of them of the partitions `keys`."""
    if not _COLUMN.match(partition_by) or "" in keys:
        raise LakeError(f"table {table}: '{partition_by}' with keys {list(keys)} can not partition it")
    rows = _collected(frame)
    if partition_by not in rows.columns:
        raise LakeError(f"table {table}: the rows have no column '{partition_by}', by which the table is partitioned")
    rows = rows.with_columns(pl.col(partition_by).cast(pl.String))
    found = rows.get_column(partition_by).unique()
    strays = sorted(str(value) for value in found.to_list() if value not in set(keys))
    if strays:
        raise LakeError(
            f"table {table}: rows of {partition_by} {', '.join(strays[:5])} do not belong to {', '.join(keys[:5])}; "
            "a run writes its own partitions only"
        )
    if rows.width == 1:
        raise LakeError(
            f"table {table}: the rows have no column but '{partition_by}', and a file can not be without one"
        )
    return rows


def _cause(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
