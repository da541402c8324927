"""Taking files once: the files of a Sheet's folder become items, and a content that was taken is never taken again.

`records/source_files` says which contents were taken, `records/source_refusals` which of their rows were not, and why;
`records/items/<sheet>` holds the items, `records/item_marks` who deleted and restored them. Refusals are written first, then
items, then the file: an intake that is killed takes its last files again, and adds nothing twice.

A file that disappears deletes nothing, and one that is renamed is the same. A file that changed is a new one: of its rows
those that are there already are known, the others are new items, and what it no longer holds stays until it is deleted.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from workbench_pipelines.catalog import IntakeSpec, Sheet
from workbench_pipelines.catalog.intake_specs import OTHER_FIELDS
from workbench_pipelines.clients.content_hashes import ContentHashes
from workbench_pipelines.clients.item_table import GENERATION_ROWS, ItemTable
from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.clients.source_folder import ListedFile, SourceFolder
from workbench_pipelines.clients.table_maintenance import TableMaintenance
from workbench_pipelines.errors import ArgumentError, SourceError
from workbench_pipelines.intake import (
    ITEM_MARKS,
    SOURCE_FILES,
    SOURCE_REFUSALS,
    Refused,
    Settled,
    item_columns,
    refusal_rows,
    row_columns,
    settle,
    taken_columns,
)
from workbench_pipelines.row_reader import RowReader

FILES = ("records", "source_files")
REFUSALS = ("records", "source_refusals")
MARKS = ("records", "item_marks")
# A commit adds a file to a ledger; from so many on, opening them is what a look takes.
MANY_FILES = 32
_EMPTY = Refused(0, "empty_file", "the file holds no row")


@dataclass(frozen=True)
class Taken:
    """What an intake came to: files and rows that were new, items made of them, items that changed, rows refused."""

    files: int = 0
    rows: int = 0
    items: int = 0
    changed: int = 0
    refused: int = 0

    def plus(self, other: Taken) -> Taken:
        return Taken(
            self.files + other.files,
            self.rows + other.rows,
            self.items + other.items,
            self.changed + other.changed,
            self.refused + other.refused,
        )


@dataclass
class _Unit:
    """What is committed together: rows of some files, what was refused of them, and the files that end in it."""

    rows: list[pl.DataFrame] = field(default_factory=list)
    refusals: list[pl.DataFrame] = field(default_factory=list)
    files: list[dict[str, object]] = field(default_factory=list)
    height: int = 0


class FileIntake:
    """The files of a Sheet's folder and the items they became.

    Args:
        state_folder: where the locks and the known hashes lie; every process that writes to this lake uses the same one.
    """

    def __init__(self, sheet: Sheet, folder: SourceFolder, lake: Lake, state_folder: Path) -> None:
        assert sheet.spec.intake is not None, "only a Sheet with an `intake` takes files"
        self.sheet = sheet.name
        self.spec: IntakeSpec = sheet.spec.intake
        self.content_of = sheet.spec.content_columns
        self.folder = folder
        texts = (*self.content_of, OTHER_FIELDS)
        self.items = ItemTable(lake, sheet.name, taken_columns(self.spec), texts)
        self._lake = lake
        self._maintenance = TableMaintenance(lake, state_folder / "locks")
        self._hashes = state_folder / f"{sheet.name}.hashes.json"

    def waiting(self, files: Sequence[ListedFile] | None = None) -> list[tuple[ListedFile, str]]:
        """The files (of the folder, or of these) whose content was not taken, each with its hash, by name; of files with one
        content the first."""
        known = set(self.taken_files()["source_hash"])
        hashes = ContentHashes(self._hashes)
        found: list[tuple[ListedFile, str]] = []
        for file in self.folder.listing().files if files is None else files:
            content = self.folder.content_hash(file, hashes)
            if content not in known:
                known.add(content)
                found.append((file, content))
        hashes.keep()
        return found

    def take(
        self, *, by: str, now: dt.datetime, on_progress: Callable[[int, int], None] = lambda done, total: None
    ) -> Taken:
        """Takes every file whose content was not taken; `on_progress` is told how many of how many files are read.

        Raises:
            SourceError: for a file that can not be read, and for a bad row where the Sheet says `bad_rows: stop`; nothing is
                taken then.
        """
        with self._alone():
            waiting = self.waiting()
            if self.spec.bad_rows == "stop":
                self._refuse_bad_rows(waiting)
            done = Taken()
            # While one thread writes what was read, this one reads on; a unit in the making and one in writing are in memory.
            with ThreadPoolExecutor(1, thread_name_prefix="intake") as writer:
                last: Future[Taken] | None = None
                for unit in self._units(waiting, by, now, on_progress):
                    done = done.plus(last.result()) if last is not None else done
                    last = writer.submit(self._commit, unit, by, now)
                done = done.plus(last.result()) if last is not None else done
            if done.files:
                self.items.tidy()
                self._tidy_ledgers()
            return done

    def rows(self) -> pl.DataFrame:
        """The items that are taken and not deleted, by name: item_ref and the columns of their rows."""
        live = self.items.scan().filter(pl.col("deleted_at").is_null())
        return live.select("item_ref", *item_columns(self.spec)).collect(engine="streaming").sort("item_ref")

    def rows_with_waiting(self) -> pl.DataFrame:
        """The same as it would be with the files that wait; nothing is written."""
        waiting = self.waiting()
        if not waiting:
            return self.rows()
        parts = [frame for file, content in waiting for frame, _, _ in self._read(file, content)]
        new = pl.concat(parts)
        there = self.items.of(new["item_ref"])
        settled = settle(self.sheet, new, there)
        deleted = there.filter(pl.col("deleted_at").is_not_null())["item_ref"]
        changed = settled.changed.filter(~pl.col("item_ref").is_in(deleted.implode()))
        now = self.rows().join(changed, on="item_ref", how="anti")
        more = [rows.select(now.columns) for rows in (changed, settled.fresh)]
        return pl.concat([now, *more]).sort("item_ref")

    def taken_files(self) -> pl.DataFrame:
        """Rows of `SOURCE_FILES`, in the order in which they were taken."""
        return self._records(FILES, SOURCE_FILES).sort("taken_at", "source_file")

    def last_mark(self) -> str:
        """When items were last deleted or restored; empty where they never were."""
        last = self._records(MARKS, ITEM_MARKS)["at"].max()
        return last.isoformat() if isinstance(last, dt.datetime) else ""

    def refusals(self) -> pl.DataFrame:
        """Rows of `SOURCE_REFUSALS` by file and line, and those of files in the folder that are not read at all.

        Of a file that changed since those of its last content: what was cut short may be whole by now.
        """
        last = self.taken_files().unique("source_file", keep="last", maintain_order=True)
        own = self._records(REFUSALS, SOURCE_REFUSALS).join(last, on=["source_file", "source_hash"], how="semi")
        left = [
            {"sheet": self.sheet, "source_file": one.name, "reason": one.reason, "detail": one.detail}
            for one in self.folder.listing().left
        ]
        rows = pl.concat([own, pl.DataFrame(left, schema=SOURCE_REFUSALS)])
        return rows.sort("source_file", "source_hash", "source_line")

    def mark(self, item_refs: Sequence[str], action: str, *, reason: str, by: str, now: dt.datetime) -> int:
        """Deletes items softly, or restores them; how many were not so already.

        Args:
            action: `delete` or `restore`.

        Raises:
            ArgumentError: for an item that was never taken; nothing is marked then.
        """
        names = pl.Series("item_ref", sorted(set(item_refs)), dtype=pl.String)
        with self._alone():
            there = self.items.of(names)
            unknown = sorted(set(names) - set(there["item_ref"]))
            if unknown:
                raise ArgumentError(f"Sheet {self.sheet} has no item '{unknown[0]}'; `workbench items find` lists them")
            gone = pl.col("deleted_at").is_not_null()
            concerned = there.filter(~gone if action == "delete" else gone)["item_ref"].sort()
            if concerned.is_empty():
                return 0
            at, who, why = (now, by, reason) if action == "delete" else (None, None, None)
            audit = {"deleted_at": at, "deleted_by": who, "delete_reason": why, "updated_at": now, "updated_by": by}
            said = {"sheet": self.sheet, "action": action, "reason": reason, "by": by, "at": now}
            marks = concerned.to_frame().with_columns(pl.lit(value).alias(name) for name, value in said.items())
            # What is said of an item is kept before it holds, so that nothing is deleted by nobody.
            self._lake.append(*MARKS, frame=marks.select(list(ITEM_MARKS)), partition_by="sheet")
            self.items.mark(concerned.to_list(), audit)
            return concerned.len()

    def items_of_file(self, name: str) -> list[str]:
        """The items that stand in a file, by its path below the folder.

        Raises:
            ArgumentError: where no such file was taken.
        """
        files = self.taken_files()
        if name not in set(files["source_file"]):
            raise ArgumentError(f"Sheet {self.sheet} took no file '{name}'; its path is the one below the folder")
        rows = self.items.scan().filter(pl.col("source_file") == name).select("item_ref").collect()
        return rows["item_ref"].to_list()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._maintenance.exclusively(f"items-{self.sheet}"):
            yield

    def _read(self, file: ListedFile, content: str) -> Iterator[tuple[pl.DataFrame, list[Refused], int]]:
        reader = RowReader(self.spec, self.content_of)
        yield row_columns(self.spec).to_frame(), [], 0
        for first, lines in self.folder.lines(file):
            yield reader.read(lines, first, file.name, content)

    def _refuse_bad_rows(self, waiting: Sequence[tuple[ListedFile, str]]) -> None:
        for file, content in waiting:
            for _, refused, _ in self._read(file, content):
                if refused:
                    more = f", and {len(refused) - 1} more" if len(refused) > 1 else ""
                    raise SourceError(
                        f"{self.folder.place}: {file.name}: line {refused[0].line}: {refused[0].detail}{more}; mend the file, or "
                        "say `intake: {bad_rows: refuse}`"
                    )

    def _units(
        self,
        waiting: Sequence[tuple[ListedFile, str]],
        by: str,
        now: dt.datetime,
        on_progress: Callable[[int, int], None],
    ) -> Iterator[_Unit]:
        unit = _Unit()
        for number, (file, content) in enumerate(waiting, start=1):
            rows = bad = 0
            for frame, refused, count in self._read(file, content):
                if unit.height and unit.height + frame.height > GENERATION_ROWS:
                    yield unit
                    unit = _Unit()
                rows, bad = rows + count, bad + len(refused)
                unit.height += frame.height
                unit.rows.append(frame)
                if refused:
                    unit.refusals.append(refusal_rows(self.sheet, file.name, content, refused))
            if not rows:
                unit.refusals.append(refusal_rows(self.sheet, file.name, content, [_EMPTY]))
            named = {"sheet": self.sheet, "source_file": file.name, "source_hash": content, "bytes": file.bytes}
            unit.files.append({**named, "rows": rows, "bad_rows": bad, "taken_by": by, "taken_at": now})
            on_progress(number, len(waiting))
        if unit.files or unit.height:
            yield unit

    def _commit(self, unit: _Unit, by: str, now: dt.datetime) -> Taken:
        def keep_refusals(settled: Settled) -> None:
            refusals = pl.concat([*unit.refusals, settled.refusals])
            if refusals.height:
                key = ["source_hash", "source_line", "sheet"]
                self._lake.append_new(*REFUSALS, frame=refusals, key=key, partition_by="sheet")

        # Once an item is another row, nothing tells any more that it was not always so.
        settled = self.items.take(pl.concat(unit.rows), by=by, now=now, before=keep_refusals)
        if unit.files:
            files = pl.DataFrame(unit.files, schema=SOURCE_FILES)
            self._lake.append(*FILES, frame=files, partition_by="sheet")
        rows = sum(int(str(one["rows"])) for one in unit.files)
        refused = sum(one.height for one in (*unit.refusals, settled.refusals))
        return Taken(len(unit.files), rows, settled.fresh.height, settled.changed.height, refused)

    def _tidy_ledgers(self) -> None:
        for table in (FILES, REFUSALS):
            if self._maintenance.small_files(*table) > MANY_FILES:
                self._maintenance.compact(*table, wait=False)

    def _records(self, table: Sequence[str], schema: pl.Schema) -> pl.DataFrame:
        if not self._lake.exists(*table):
            return schema.to_frame()
        return self._lake.read(*table, partition={"sheet": [self.sheet]}).select(list(schema))
