"""Table maintenance: many small files become few, by one process at a time.

Two compactions of one table from stale handles add the same rows twice, without an error (deltalake 1.6: four rows become
eight), so that each holds an exclusive lock from before it opens the table until it has committed. Appends may go on.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

from workbench_pipelines.clients.lake import Lake, commit_with_retry

# As Delta's own default: a reader or a pinned version of the last week finds its files.
KEEP_HOURS = 168
# What small files are put together to: 8 MiB of answers are some 40,000. Rewriting them takes little memory, which a run at its
# end has not to spare, and a look at 25 files a million answers costs no more than one at two.
FILE_BYTES = 8 * 1024**2


@dataclass(frozen=True)
class Tidied:
    """How many files a table had and has, and how many old ones were deleted."""

    files_before: int
    files_after: int
    deleted: int = 0


class TableMaintenance:
    """Compacts tables of a lake.

    Args:
        lock_folder: where the locks lie; every process that maintains this lake uses the same one.
    """

    def __init__(self, lake: Lake, lock_folder: Path) -> None:
        self.lake = lake
        self.lock_folder = lock_folder

    def files(self, *parts: str) -> int:
        """How many files hold the rows of a table."""
        return len(self._table(*parts).file_uris()) if self.lake.exists(*parts) else 0

    def small_files(self, *parts: str) -> int:
        """How many of them are less than half of what a file is meant to hold."""
        if not self.lake.exists(*parts):
            return 0
        sizes = pl.DataFrame(self._table(*parts).get_add_actions(flatten=True))["size_bytes"]
        return int((sizes < FILE_BYTES // 2).sum())

    def compact(self, *parts: str, wait: bool = True, delete_old: bool = False) -> Tidied | None:
        """Put small files together; None where another process is at it and `wait` is False.

        Args:
            delete_old: also delete files that no version of the last week needs.
        """
        with self.exclusively("-".join(parts), wait=wait) as locked:
            if not locked:
                return None
            before = self.files(*parts)
            commit_with_retry(
                # One after the other: this goes on at the end of runs that have little memory to spare.
                lambda: self._table(*parts).optimize.compact(target_size=FILE_BYTES, max_concurrent_tasks=1),
                "/".join(parts),
            )
            deleted = 0
            if delete_old:
                deleted = len(self._table(*parts).vacuum(KEEP_HOURS, dry_run=False))
            return Tidied(before, self.files(*parts), deleted)

    def _table(self, *parts: str) -> DeltaTable:
        return DeltaTable(self.lake.path(*parts), storage_options=self.lake.storage_options)

    @contextmanager
    def exclusively(self, name: str, *, wait: bool = True) -> Iterator[bool]:
        """The block runs while no other one of this name does; it is told False where one does and `wait` is False."""
        self.lock_folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.lock_folder / f"{name}.lock", os.O_CREAT | os.O_WRONLY, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except OSError:
                yield False
                return
            yield True
        finally:
            os.close(descriptor)
