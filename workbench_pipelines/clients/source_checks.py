"""What a text file has to hold to be read whole: valid characters, equal lines, one JSON object a line.

The fast readers pass over some of this: a CSV line that is cut short becomes nulls, a header in another encoding
becomes odd names, half a surrogate pair becomes a null character. So a file is looked through before it is read.
"""

from __future__ import annotations

import codecs
import csv
import sys
from collections.abc import Iterable
from pathlib import Path

import orjson

from workbench_pipelines.catalog import ReadOptions
from workbench_pipelines.errors import DefinitionError, SourceError


def encoding_of(options: ReadOptions, where: str) -> str:
    """The codec a file is read with; a byte order mark is no part of the text.

    Raises:
        DefinitionError: for an encoding nobody knows.
    """
    try:
        name = codecs.lookup(options.encoding).name
    except LookupError:
        raise DefinitionError(f"{where}: read.encoding: unknown encoding '{options.encoding}'") from None
    return "utf-8-sig" if name == "utf-8" else name


def check_names(names: Iterable[str | None], where: str) -> None:
    """Column names that every step can use.

    Raises:
        SourceError: for a column without a name, a name that stands twice, and one that polars reads as a pattern.
    """
    seen: set[str] = set()
    for number, name in enumerate(names, start=1):
        if name is None or not name.strip():
            raise SourceError(f"{where}: column {number} has no name; give it one in the header")
        if name in seen:
            raise SourceError(f"{where}: the column '{name}' stands twice; rename one of them")
        if name == "*" or (name.startswith("^") and name.endswith("$")):
            raise SourceError(f"{where}: the column name '{name}' would be read as a pattern; rename it")
        seen.add(name)


def check_csv(path: Path, options: ReadOptions, where: str) -> tuple[list[str], bool]:
    """The header of a CSV file, and whether it has blank lines.

    Raises:
        DefinitionError: for an encoding or separator that does not exist.
        SourceError: for a byte that is no text, a line of another length than the header, and an open quote, each with
            its line.
    """
    if len(options.separator) != 1:
        raise DefinitionError(f"{where}: read.separator: one character, not '{options.separator}'")
    encoding = encoding_of(options, where)
    # Fields of documents pass the 128 KiB that the module allows by itself.
    csv.field_size_limit(sys.maxsize)
    blank = False
    with path.open(encoding=encoding, newline="") as lines:
        reader = csv.reader(lines, delimiter=options.separator, strict=True)
        try:
            header = next(reader, [])
            if not header:
                raise SourceError(f"{where}: the file is empty; its first line has to name the columns")
            check_names(header, where)
            for row in reader:
                if len(row) == len(header):
                    continue
                if row:
                    raise SourceError(
                        f"{where}: line {reader.line_num} has {len(row)} fields, the header has {len(header)}"
                    )
                blank = True
        except UnicodeError:
            raise bad_byte(path, encoding, where) from None
        except csv.Error:
            raise SourceError(f"{where}: line {reader.line_num}: a quote is not closed, or text follows it") from None
    return header, blank


def check_ndjson(path: Path, where: str) -> None:
    """One JSON object a line, and nothing else.

    Raises:
        SourceError: for a line that is cut short, no JSON, no object, or no UTF-8, with its number.
    """
    found = False
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            text = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if not text.strip():
                continue
            found = True
            try:
                value = orjson.loads(text)
            except orjson.JSONDecodeError as error:
                raise _bad_line(path, line, number, error.colno, where) from None
            if not isinstance(value, dict):
                raise SourceError(f"{where}: line {number} is JSON but no object; every line is one row: {{...}}")
    if not found:
        raise SourceError(f"{where}: the file is empty")


def _bad_line(path: Path, line: bytes, number: int, column: int, where: str) -> SourceError:
    try:
        line.decode()
    except UnicodeError:
        return bad_byte(path, "utf-8", where)
    if not line.endswith(b"\n"):
        return SourceError(
            f"{where}: line {number}, the last one, is not JSON from column {column} on; is it cut short?"
        )
    return SourceError(f"{where}: line {number} is not JSON from column {column} on")


def bad_byte(path: Path, encoding: str, where: str) -> SourceError:
    """The error for the first byte of a file that is no text in an encoding, with its offset and line."""
    data = path.read_bytes()
    name = encoding.removesuffix("-sig")
    try:
        data.decode(name)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        return SourceError(
            f"{where}: byte 0x{data[error.start]:02X} at offset {error.start} (line {line}) is not {name}; "
            "save the file as UTF-8, or name its encoding in read.encoding"
        )
    return SourceError(f"{where}: the file is not {name}; name its encoding in read.encoding")
