"""Erasing an item from every table of a lake: its rows, the old files that hold them, and what the logs say of their values.

A table is rewritten without the rows as a further commit, so that its versions go on; in audits only the reasons go. Then every
file of an older version that holds one is deleted (other old files stay: what was never touched can still be read as it was),
the statistics of commits that name a value are taken out of the log, and old checkpoints go. Each step looks at what is there
and not at what was done before: an erasure that was killed is finished by doing it again. Only lakes in a folder of this
machine can be erased from.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import orjson
import polars as pl
from deltalake import DeltaTable, write_deltalake

from workbench_pipelines.clients.lake import Lake, commit_with_retry
from workbench_pipelines.clients.table_maintenance import TableMaintenance
from workbench_pipelines.erasure import REASON_ERASED, Erasing
from workbench_pipelines.errors import LakeError

LOG = "_delta_log"
# Tables whose rows do not say of which Sheet they are: each is one Sheet's own.
_OF_ONE_SHEET = (("data", "sheet_snapshot"), ("data", "sheet_snapshot_refusals"), ("records", "items"))
AUDITS = (("records", "usage_constraint_audit"), ("records", "collection_versions"), ("records", "erasures"))
"""The tables whose rows stay without their reason: who changed, approved or erased what is asked after the item is gone."""
_UNREADABLE = (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)


@dataclass(frozen=True)
class TableErased:
    """What went of a table: rows as it stands, files of older versions, and commits whose statistics named a value."""

    table: str
    rows: int
    old_files: int
    log_entries: int


class LakeErasure:
    """Erases from all Delta tables of one lake.

    Args:
        maintenance: whose locks keep compaction away meanwhile.

    Raises:
        LakeError: for a lake that is no folder of this machine.
    """

    def __init__(self, lake: Lake, maintenance: TableMaintenance) -> None:
        scheme, separator, _ = lake.uri.partition("://")
        if separator and scheme != "file":
            raise LakeError(f"items are erased from lakes in a folder of this machine only, not from {scheme}://")
        self._lake = lake
        self._maintenance = maintenance
        self._root = Path(unquote(urlsplit(lake.uri).path) if separator else lake.uri)

    def tables(self) -> list[tuple[str, ...]]:
        """Every Delta table, by the parts of its path."""
        return sorted(path.parent.relative_to(self._root).parts for path in self._root.rglob(LOG) if path.is_dir())

    def found(self, erasing: Erasing) -> list[TableErased]:
        """What `erase` would take away; nothing is written."""
        listed = []
        for parts in self.tables():
            rows = self._rows_of(parts, erasing)
            old = sum(1 for _ in self._old_files(parts, erasing))
            if rows or old:
                listed.append(TableErased("/".join(parts), rows, old, 0))
        return listed

    def erase(self, erasing: Erasing) -> list[TableErased]:
        """Takes everything away, table by table.

        Raises:
            LakeError: for a table that can not be read or written; what was done until then stays done.
        """
        listed = []
        for parts in self.tables():
            with self._maintenance.exclusively("-".join(parts)):
                rows = self._rows_of(parts, erasing)
                if rows:
                    self._rewrite(parts, erasing)
                old = list(self._old_files(parts, erasing))
                commits = list(self._naming_commits(parts, erasing))
                if rows or old or commits:
                    # Old files and commits last: while one is there, whoever does this again knows that it is not done.
                    self._drop_checkpoints(parts)
                    for path, content, _ in commits:
                        _replace(path, content)
                    for path in old:
                        path.unlink(missing_ok=True)
                    entries = sum(count for _, _, count in commits)
                    listed.append(TableErased("/".join(parts), rows, len(old), entries))
        return listed

    def _condition(self, parts: tuple[str, ...], erasing: Erasing, schema: Any) -> pl.Expr:
        condition = erasing.rows_of(dict(schema), sheet_of(parts))
        if parts in AUDITS:
            says = pl.col("reason").is_not_null() & (pl.col("reason") != REASON_ERASED)
            condition = (condition & says) | _names_it(erasing, schema)
        return condition

    def _rows_of(self, parts: tuple[str, ...], erasing: Erasing) -> int:
        rows = self._lake.scan(*parts)
        try:
            condition = self._condition(parts, erasing, rows.collect_schema())
            return int(rows.filter(condition).select(pl.len()).collect().item())
        except _UNREADABLE:
            raise LakeError(f"table {'/'.join(parts)} can not be read; a file of it is gone or damaged") from None

    def _rewrite(self, parts: tuple[str, ...], erasing: Erasing) -> None:
        def change() -> None:
            table = DeltaTable(self._lake.path(*parts))
            rows = pl.scan_delta(table)
            schema = rows.collect_schema()
            condition = self._condition(parts, erasing, schema)
            kept = (
                rows.with_columns(_blanked(condition, erasing, schema)) if parts in AUDITS else rows.filter(~condition)
            )
            # Not by a delete predicate: the log keeps the text of those.
            write_deltalake(table, kept.collect(), mode="overwrite")

        commit_with_retry(change, "/".join(parts))

    def _old_files(self, parts: tuple[str, ...], erasing: Erasing) -> Iterator[Path]:
        """The files that no longer hold rows of the table and hold some of the item, or can not be read at all."""
        root = self._root.joinpath(*parts)
        current = {Path(unquote(urlsplit(uri).path)) for uri in DeltaTable(self._lake.path(*parts)).file_uris()}
        for path in sorted(root.rglob("*.parquet")):
            if path in current or LOG in path.relative_to(root).parts:
                continue
            try:
                rows = pl.read_parquet(path, hive_partitioning=False, glob=False)
                for part in path.relative_to(root).parts[:-1]:
                    column, equals, value = part.partition("=")
                    if equals:
                        rows = rows.with_columns(pl.lit(unquote(value), pl.String).alias(column))
                holds = rows.select(self._condition(parts, erasing, rows.schema).any()).item() if rows.height else False
            except _UNREADABLE:
                holds = True
            if holds:
                yield path

    def _naming_commits(self, parts: tuple[str, ...], erasing: Erasing) -> Iterator[tuple[Path, bytes, int]]:
        """The commits whose least and largest values name the item or a text of it, what they should hold, and how many do."""
        is_its_own = sheet_of(parts) in (None, *erasing.sheets)
        names = {*erasing.wholes, *(erasing.item_refs if is_its_own else ())}
        for path in sorted((self._root.joinpath(*parts) / LOG).glob("*.json")):
            lines, touched = [], 0
            for line in path.read_bytes().split(b"\n"):
                entry = orjson.loads(line) if line.strip() else {}
                stats = (entry.get("add") or {}).get("stats")
                if stats and _names_any(stats, names):
                    entry["add"]["stats"] = orjson.dumps({"numRecords": orjson.loads(stats).get("numRecords")}).decode()
                    line, touched = orjson.dumps(entry), touched + 1
                lines.append(line)
            if touched:
                yield path, b"\n".join(lines), touched

    def _drop_checkpoints(self, parts: tuple[str, ...]) -> None:
        """Puts a checkpoint of the table as it stands in the place of those that were there."""
        log = self._root.joinpath(*parts) / LOG
        before = list(log.glob("*.checkpoint*.parquet"))
        if not before:
            return
        table = DeltaTable(self._lake.path(*parts))
        table.create_checkpoint()
        for path in before:
            if int(path.name.partition(".")[0]) < table.version():
                path.unlink(missing_ok=True)


def sheet_of(parts: tuple[str, ...]) -> str | None:
    """The Sheet whose items alone a table holds."""
    return parts[2] if parts[:2] in _OF_ONE_SHEET and len(parts) > 2 else None


def _blanked(of_item: pl.Expr, erasing: Erasing, schema: Any) -> list[pl.Expr]:
    """An audit without reasons that speak of the item, and under another name where its subject shows a text of it.

    A label is called by a digest there, as an erased item is, and keeps its name.
    """
    says = of_item & pl.col("reason").is_not_null()
    reason = pl.when(says).then(pl.lit(REASON_ERASED)).otherwise(pl.col("reason")).alias("reason")
    if "subject" not in schema:
        return [reason]
    named = pl.when(_names_it(erasing, schema)).then(pl.lit(erasing.name)).otherwise(pl.col("subject"))
    return [reason, named.alias("subject")]


def _names_it(erasing: Erasing, schema: Any) -> pl.Expr:
    shown = erasing.shown_in("subject", pl.String()) if "subject" in schema else None
    return pl.lit(False) if shown is None else shown


def _replace(path: Path, content: bytes) -> None:
    beside = path.with_suffix(".rewriting")
    beside.write_bytes(content)
    os.replace(beside, path)


def _names_any(stats: str, names: set[str]) -> bool:
    said = orjson.loads(stats)
    values = [*(said.get("minValues") or {}).values(), *(said.get("maxValues") or {}).values()]
    # Statistics of long texts are cut.
    return any(
        isinstance(value, str)
        and any(value == name or (len(value) > 30 and name.startswith(value[:30])) for name in names)
        for value in values
    )
