"""Claims: which process asks which request, so that two runs never pay for one.

A claim belongs to an owner, an open file that its process holds a lock on: the kernel frees the lock of a process that ends,
however it ends, and its claims are free then. Claims lie beside the logs, in a SQLite file that any number of processes of
one machine share; runs on several machines answer through one of them.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import sqlite3
import threading
from collections.abc import Collection, Iterable
from pathlib import Path

from workbench_pipelines.errors import LakeError

_FILE = "claims.db"
# A writer holds the file for milliseconds; a minute means that something is wrong.
_PATIENCE_S = 60.0


class Claims:
    """The claims in a folder, and those of this process among them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._owner: _Owner | None = None
        self._db: sqlite3.Connection | None = None

    def take(self, hashes: Collection[str]) -> set[str]:
        """Those of these requests that are this process's to ask now; the others are being asked by another one."""
        if not hashes:
            return set()
        with self._lock:
            db, owner = self._opened()
            taken = self._insert(db, owner.name, hashes)
            left = set(hashes) - taken
            if left and self._free_ended(db, left):
                taken |= self._insert(db, owner.name, left)
            return taken

    def release(self, hashes: Iterable[str]) -> None:
        """Give back claims: the answers are kept, or there are none."""
        with self._lock:
            if self._db is None or self._owner is None or self._owner.pid != os.getpid():
                return
            with self._db:
                self._db.executemany(
                    "DELETE FROM claims WHERE request_hash = ? AND owner = ?",
                    [(one, self._owner.name) for one in hashes],
                )

    def close(self) -> None:
        """Give back every claim of this process."""
        with self._lock:
            if self._db is not None and self._owner is not None and self._owner.pid == os.getpid():
                with self._db:
                    self._db.execute("DELETE FROM claims WHERE owner = ?", (self._owner.name,))
                self._owner.close()
                self._db.close()
            self._db = self._owner = None

    def _opened(self) -> tuple[sqlite3.Connection, _Owner]:
        # A forked child has its parent's files open, and no business with them.
        if self._owner is None or self._db is None or self._owner.pid != os.getpid():
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                self._owner = _Owner(self.folder)
                self._db = sqlite3.connect(self.folder / _FILE, timeout=_PATIENCE_S, check_same_thread=False)
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=OFF")  # a claim outlives no process, so no power cut either
                self._db.execute(
                    "CREATE TABLE IF NOT EXISTS claims (request_hash TEXT PRIMARY KEY, owner TEXT NOT NULL) WITHOUT ROWID"
                )
            except (OSError, sqlite3.Error) as error:
                raise LakeError(f"the claims in {self.folder.name} can not be opened: {error}") from error
        return self._db, self._owner

    @staticmethod
    def _insert(db: sqlite3.Connection, owner: str, hashes: Collection[str]) -> set[str]:
        with db:
            db.execute("BEGIN IMMEDIATE")
            db.executemany("INSERT OR IGNORE INTO claims VALUES (?, ?)", [(one, owner) for one in hashes])
            return {one for one in hashes if _owner_of(db, one) == owner}

    def _free_ended(self, db: sqlite3.Connection, hashes: Collection[str]) -> bool:
        """Takes the claims on these requests from processes that ended; whether there were any."""
        owners = {_owner_of(db, one) for one in hashes} - {None}
        ended = [owner for owner in owners if owner and _Owner.has_ended(self.folder / owner)]
        with db:
            for owner in ended:
                db.execute("DELETE FROM claims WHERE owner = ?", (owner,))
                (self.folder / owner).unlink(missing_ok=True)
        return bool(ended) or None in {_owner_of(db, one) for one in hashes}


def _owner_of(db: sqlite3.Connection, request_hash: str) -> str | None:
    row = db.execute("SELECT owner FROM claims WHERE request_hash = ?", (request_hash,)).fetchone()
    return None if row is None else str(row[0])


class _Owner:
    """The file that says that this process lives."""

    def __init__(self, folder: Path) -> None:
        self.pid = os.getpid()
        self.name = f"{self.pid}-{secrets.token_hex(4)}.owner"
        self._file = folder / self.name
        # Locked before it has its name: nobody ever sees the file of a living process unlocked.
        hidden = folder / f".{self.name}"
        self._descriptor = os.open(hidden, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        hidden.rename(self._file)

    @staticmethod
    def has_ended(file: Path) -> bool:
        try:
            descriptor = os.open(file, os.O_RDONLY)
        except FileNotFoundError:
            return True
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            os.close(descriptor)
        return True

    def close(self) -> None:
        self._file.unlink(missing_ok=True)
        os.close(self._descriptor)
