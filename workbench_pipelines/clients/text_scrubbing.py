"""Taking a text out of SQLite databases and plain files that are not ours to rewrite row by row: events, logs, traces.

Every piece of the text is found as `byte_search` finds it, followed as far as it goes in both directions, and replaced by dots;
what stands around it stays, JSON stays JSON. A database is then rewritten, so that its free pages hold nothing of it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from workbench_pipelines.clients.byte_search import asked_for, forms_of, whole_forms_of
from workbench_pipelines.erasure_texts import SoughtText
from workbench_pipelines.errors import LakeError

DOTS = "•••".encode()
_BUSY_S = 30.0


def scrubbed(content: bytes, texts: Sequence[str | SoughtText]) -> bytes:
    """The content without any piece of the texts."""
    for text in texts:
        wholes = sorted(whole_forms_of(text), key=len, reverse=True)
        for whole in wholes:
            content = content.replace(whole, DOTS)
        for piece in sorted(forms_of(text), key=len, reverse=True):
            at = content.find(piece)
            while at >= 0:
                start, end = _extent(content, at, piece, wholes)
                content = content[:start] + DOTS + content[end:]
                at = content.find(piece, start + len(DOTS))
    return content


def scrub_file(path: Path, texts: Sequence[str | SoughtText]) -> None:
    """Rewrites a file of text without the texts; any other file stays as it is, for whoever searches to name it."""
    before = path.read_bytes()
    try:
        before.decode()
    except UnicodeDecodeError:
        return
    after = scrubbed(before, texts)
    if after != before:
        beside = path.with_name(f".{path.name}.scrubbing")
        beside.write_bytes(after)
        os.chmod(beside, path.stat().st_mode)
        os.replace(beside, path)


def scrub_database(path: Path, texts: Sequence[str | SoughtText]) -> None:
    """Rewrites a SQLite database without the texts, in every column of every table.

    Raises:
        LakeError: where it can not be used; one that others use for long is tried for half a minute.
    """
    try:
        with closing(sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)) as database:
            database.execute("PRAGMA secure_delete = ON")
            database.execute("BEGIN IMMEDIATE")
            for table, column in _columns(database):
                _scrub_column(database, table, column, texts)
            database.execute("COMMIT")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            database.execute("VACUUM")
            database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    except sqlite3.Error as error:
        raise LakeError(
            f"the database {path.name} can not be rewritten: {error}; end what uses it and erase again"
        ) from None


def _columns(database: sqlite3.Connection) -> list[tuple[str, str]]:
    tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    return [(table, row[1]) for table in tables for row in database.execute(f'PRAGMA table_info("{table}")')]


def _scrub_column(database: sqlite3.Connection, table: str, column: str, texts: Sequence[str | SoughtText]) -> None:
    for piece in asked_for(form for text in texts for form in forms_of(text)):
        asked = f'SELECT DISTINCT "{column}" FROM "{table}" WHERE instr(CAST("{column}" AS BLOB), ?)'
        for (value,) in database.execute(asked, (piece,)).fetchall():
            before = value if isinstance(value, bytes) else str(value).encode()
            kept = scrubbed(before, texts)
            if kept == before:
                continue  # an ellipsis of somebody else
            new = kept if isinstance(value, bytes) else kept.decode(errors="replace")
            change = f'UPDATE "{table}" SET "{column}" = ? WHERE "{column}" = ?'
            database.execute(change, (new, value))


def _extent(content: bytes, at: int, piece: bytes, wholes: Sequence[bytes]) -> tuple[int, int]:
    """How far a piece that was found goes on being the text it is of."""
    start, end = at, at + len(piece)
    for whole in wholes:
        place = whole.find(piece)
        if place < 0:
            continue
        before, after, behind = 0, 0, at + len(piece)
        while before < min(place, at) and whole[place - before - 1] == content[at - before - 1]:
            before += 1
        rest = whole[place + len(piece) :]
        while after < min(len(rest), len(content) - behind) and rest[after] == content[behind + after]:
            after += 1
        start, end = min(start, at - before), max(end, at + len(piece) + after)
    return start, end
