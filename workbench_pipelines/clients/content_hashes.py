"""The hashes of files that were looked into before, so that a folder of many is not read through at every look.

A file is the one that was hashed while its size, its inode and the times of its last change are the same; the time of the
inode is set by every write, and nobody can set it back. It is no record: whoever deletes it has the files hashed anew.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from pathlib import Path

import orjson

# A write within one tick of the clock after the hash would not show.
_SETTLED_NS = 2 * 10**9


class ContentHashes:
    """Hashes by path, kept in one file."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._known = _read(file)
        self._changed = False

    def of(self, name: str, path: Path, hash_file: Callable[[], str]) -> str:
        """The hash of a file; `hash_file` is asked where it is not known."""
        stat = path.stat()
        seen = [stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino]
        known = self._known.get(name)
        if isinstance(known, list) and known[:-1] == seen:
            return str(known[-1])
        found = hash_file()
        self._known.pop(name, None)
        if time.time_ns() - stat.st_ctime_ns > _SETTLED_NS:
            self._known[name] = [*seen, found]
        self._changed = True
        return found

    def keep(self) -> None:
        """Writes down what is new, in one step."""
        if not self._changed:
            return
        self._file.parent.mkdir(parents=True, exist_ok=True)
        half = self._file.with_name(f".{self._file.name}.{secrets.token_hex(4)}")
        half.write_bytes(orjson.dumps(self._known))
        os.replace(half, self._file)
        self._changed = False


def _read(file: Path) -> dict[str, object]:
    try:
        found = orjson.loads(file.read_bytes())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
