"""The store of what was taken out of files: each content is looked into once by each version of a reader.

An SQLite file of this project alone. Nothing is lost with it: what it held is read out of the files again.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from workbench_pipelines.errors import LakeError
from workbench_pipelines.volumes import Extracted

_TABLES = """
CREATE TABLE IF NOT EXISTS extractions (
    sha256 TEXT, reader TEXT, content TEXT, reason TEXT, detail TEXT, check_sum TEXT, PRIMARY KEY (sha256, reader)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS digests (path TEXT PRIMARY KEY, stamp TEXT, sha256 TEXT) WITHOUT ROWID;
"""
# Several runs may write at once, each for a moment.
_BUSY_S = 30.0


class ExtractionStore:
    """What was taken out of files, by their SHA-256 and the reader that did it, and the digest of each file as it lay.

    It is open inside its `with` block, in one thread.

    Raises LakeError, from the block and every method, where the file can not be opened or is damaged.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._store: sqlite3.Connection | None = None

    def __enter__(self) -> Self:
        with self._explained():
            if not self.file.exists():
                self.file.parent.mkdir(parents=True, exist_ok=True)
                # It holds what the files hold: its owner's alone.
                os.close(os.open(self.file, os.O_CREAT | os.O_RDWR, 0o600))
            self._store = sqlite3.connect(self.file, timeout=_BUSY_S, isolation_level=None)
            for setting in ("journal_mode = WAL", "synchronous = NORMAL", "secure_delete = ON"):
                self._store.execute(f"PRAGMA {setting}")
            self._store.executescript(_TABLES)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        store, self._store = self._store, None
        if store is not None:
            store.close()

    def find(self, sha256: str, reader: str) -> Extracted | None:
        """What this reader took out of this content; None where it has not looked yet."""
        asked = "SELECT content, reason, detail, check_sum FROM extractions WHERE sha256 = ? AND reader = ?"
        row = self._row(asked, sha256, reader)
        if row is None or row[3] != _check_sum(*row[:3]):
            return None  # a row that was damaged is as good as none
        return Extracted(*row[:3])

    def keep(self, sha256: str, reader: str, found: Extracted) -> None:
        """Remember what a reader took out of a content, or why it took nothing."""
        check_sum = _check_sum(*found)
        self._row("INSERT OR REPLACE INTO extractions VALUES (?, ?, ?, ?, ?, ?)", sha256, reader, *found, check_sum)

    def digest(self, path: str, stamp: str) -> str | None:
        """The SHA-256 of a file that lay there with this size and these times; None where it was another one."""
        row = self._row("SELECT sha256 FROM digests WHERE path = ? AND stamp = ?", path, stamp)
        return None if row is None else row[0]

    def keep_digest(self, path: str, stamp: str, sha256: str) -> None:
        """Remember the SHA-256 of a file as it lies."""
        self._row("INSERT OR REPLACE INTO digests VALUES (?, ?, ?)", path, stamp, sha256)

    def forget(self, digests: Collection[str]) -> None:
        """Erase all that is kept of these contents, from the pages of the file as well."""
        for sha256 in digests:
            self._row("DELETE FROM extractions WHERE sha256 = ?", sha256)
            self._row("DELETE FROM digests WHERE sha256 = ?", sha256)
        self._row("PRAGMA wal_checkpoint(TRUNCATE)")

    def _row(self, statement: str, *values: str | None) -> Any:
        """The first row that a statement brings, if any."""
        assert self._store is not None, "a store is open inside its `with` block"
        with self._explained():
            return self._store.execute(statement, values).fetchone()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        name = f"the store of extracted files {self.file.name}"
        try:
            yield
        except sqlite3.OperationalError as error:
            raise LakeError(f"{name} can not be used: {error}") from None
        except sqlite3.DatabaseError:
            raise LakeError(f"{name} is damaged; remove it, and the files are read again") from None
        except OSError as error:
            raise LakeError(f"{name} can not be opened: {error.strerror}") from None


def _check_sum(content: str | None, reason: str | None, detail: str | None) -> str:
    return hashlib.sha256(repr((content, reason, detail)).encode()).hexdigest()
