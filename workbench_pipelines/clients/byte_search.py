"""Whether a text is anywhere in a folder: in plain bytes, in the values of Parquet files, in SQLite databases, behind compression.

What is looked for are pieces of the texts, as they stand and as JSON writes them, once and within another JSON text. A text that
was cut (a sample, a chunk, a preview) is found by a piece it kept (`erasure_texts`).
"""

from __future__ import annotations

import gzip
import mmap
import sqlite3
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import orjson

from workbench_pipelines.erasure_texts import ELLIPSIS, MIN_TEXT, SoughtText, sought

_AT_ONCE = 50
"""So many pieces are asked for in one statement; SQLite takes some hundred conditions."""
_ELLIPSES = (ELLIPSIS.encode(), b"u2026")
"""An ellipsis as it stands, and the end of how JSON writes it, however deep."""
_SQLITE_MAGIC, _PARQUET_MAGIC = b"SQLite format 3\x00", b"PAR1"


@dataclass(frozen=True)
class Hit:
    """A file that holds a piece of a text, the text by its place among those that were looked for, and where in the file."""

    path: Path
    text: int
    inside: str


def find_texts(roots: Iterable[Path], texts: Sequence[str | SoughtText]) -> list[Hit]:
    """The files under some folders (or files) that hold a piece of a text, each text once a file, in the order of paths.

    Files that can not be looked into count as a hit of their own (`text` -1): what they hold is not known.
    """
    needles = [(at, needle) for at, text in enumerate(texts) for needle in forms_of(text)]
    plain = [(at, needle) for at, needle in needles if not needle.endswith(_ELLIPSES)]
    found: list[Hit] = []
    for path in sorted({file for root in roots for file in _files(root)}):
        known: set[int] = set()
        try:
            for inside, content in _contents(path, needles):
                is_cut = any(one in content for one in _ELLIPSES)
                for at, needle in needles if is_cut else plain:
                    if at not in known and needle in content:
                        known.add(at)
                        found.append(Hit(path, at, inside))
        except FileNotFoundError:
            continue  # gone while it was looked for
        except (OSError, ValueError, sqlite3.Error, zlib.error, EOFError, zipfile.BadZipFile):
            found.append(Hit(path, -1, "can not be looked into"))
    return found


def asked_for(needles: Iterable[bytes]) -> list[bytes]:
    """What to ask a database for, so that each cell with one of some needles is among the answers: of the many that end with an
    ellipsis, the ellipsis."""
    return sorted({next((end for end in _ELLIPSES if one.endswith(end)), one) for one in needles})


def forms_of(text: str | SoughtText) -> set[bytes]:
    """The pieces of a text as a file may hold them; none for a text that is too short."""
    whole = text if isinstance(text, SoughtText) else sought(text)
    return {form for piece in whole.pieces for form in whole_forms_of(piece)}


def whole_forms_of(text: str | SoughtText) -> set[bytes]:
    """A whole text as a file may hold it; none for a text that is too short."""
    whole = text.text if isinstance(text, SoughtText) else text
    return _written(whole) if len(whole.strip()) >= MIN_TEXT else set()


def _written(piece: str) -> set[bytes]:
    import json

    once = {orjson.dumps(piece)[1:-1].decode(), json.dumps(piece)[1:-1]}
    twice = {json.dumps(one, ensure_ascii=ascii_only)[1:-1] for one in once for ascii_only in (True, False)}
    # What a Markdown table of a sample does to a text.
    cell = piece.replace("|", "\\|").replace("\n", " ")
    # And to one within a list: Python writes those.
    listed = [one.replace("|", "\\|") for one in (repr(piece)[1:-1], repr(f"{piece}'\"")[1:-4])]
    cells = [form for one in (cell, *listed) for form in (one, json.dumps(one)[1:-1])]
    return {one.encode("utf-8", "surrogatepass") for one in (piece, *once, *twice, *cells)}


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
    elif root.is_dir():
        yield from (path for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def _contents(path: Path, needles: Sequence[tuple[int, bytes]]) -> Iterator[tuple[str, bytes | _Searched]]:
    """What a file holds: its bytes, and what only shows once it is unpacked; each with a word of where that is."""
    if path.stat().st_size == 0:
        return
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
        yield "bytes", _Searched(whole)
        if whole[:4] == _PARQUET_MAGIC:
            yield from (("values", part) for part in _parquet_values(path))
        elif whole[:16] == _SQLITE_MAGIC:
            yield from (("rows", part) for part in _sqlite_rows(path, needles))
        elif whole[:2] == b"\x1f\x8b":
            yield "unpacked", gzip.decompress(whole[:])
        elif whole[:4] == b"PK\x03\x04":
            with zipfile.ZipFile(path) as packed:
                yield from (("unpacked", packed.read(name)) for name in packed.namelist())


class _Searched:
    """`in` for bytes of a mapped file: `mmap` itself asks for single bytes only."""

    def __init__(self, whole: mmap.mmap) -> None:
        self._whole = whole

    def __contains__(self, needle: bytes) -> bool:
        return self._whole.find(needle) >= 0


def _parquet_values(path: Path) -> Iterator[bytes]:
    """The values of a Parquet file, decompressed, as they lie in memory: texts of a column stand one after the other."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                for column in file.read_row_group(group, use_threads=False).columns:
                    for chunk in column.chunks:
                        yield from _buffers(chunk)
    except pa.ArrowException as error:
        raise ValueError("no Parquet file that can be read") from error


def _buffers(chunk: object) -> Iterator[bytes]:
    for buffer in chunk.buffers():  # type: ignore[attr-defined]
        if buffer is not None:
            yield buffer.to_pybytes()


def _sqlite_rows(path: Path, needles: Sequence[tuple[int, bytes]]) -> Iterator[bytes]:
    """The cells that hold a needle: a long one lies on several pages, and the bytes of the file do not show it in one piece."""
    asked = asked_for(needle for _, needle in needles)
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        tables = [row[0] for row in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for table in tables:
            columns = [row[1] for row in database.execute(f'PRAGMA table_info("{table}")')]
            for column in columns:
                for first in range(0, len(asked), _AT_ONCE):
                    some = asked[first : first + _AT_ONCE]
                    held = " OR ".join([f'instr(CAST("{column}" AS BLOB), ?)'] * len(some))
                    # One pass over the rows: nearly all of them hold none.
                    for (cell,) in database.execute(
                        f'SELECT CAST("{column}" AS BLOB) FROM "{table}" WHERE {held}', some
                    ):
                        yield cell
