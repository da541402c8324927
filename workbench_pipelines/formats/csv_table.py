"""CSV as RFC 4180 has it, every cell quoted: what identifies a pair, and its messages, inputs and answer as JSON.

A cell that a spreadsheet would take for a formula begins with an apostrophe, of which reading takes one away.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import IO, Any

import orjson
import polars as pl

from workbench_pipelines.errors import ExportError
from workbench_pipelines.formats.conversation import CHUNK_ROWS, Images
from workbench_pipelines.formats.lines import one_line_each

TEXTS = ("pair_id", "training_sheet", "item_ref", "label_type", "split")
COLUMNS = (*TEXTS, "weight", "messages", "inputs", "response")
MAX_CELL = 2**31 - 1  # a prompt may be long; the csv module's own limit is 128 KiB
_FORMULA = r"^('*[=+\-@\t\r])"
_SAFE = re.compile(r"^'('*[=+\-@\t\r])")


def write_csv(batches: Iterable[pl.DataFrame], images: Images) -> Iterator[bytes]:
    """The table of these rows: the head, then some thousand at a time; images stay as they are named in the pair.

    Input columns: those of `COLUMNS`.
    """
    yield (",".join(f'"{name}"' for name in COLUMNS) + "\n").encode()
    for batch in batches:
        for chunk in batch.select(COLUMNS).iter_slices(CHUNK_ROWS):
            messages = one_line_each(b"\n".join(map(orjson.dumps, chunk["messages"].to_list()))).decode().split("\n")
            safe = [pl.col(name).str.replace(_FORMULA, "'${1}") for name in (*TEXTS, "inputs", "response")]
            table = chunk.with_columns(pl.Series("messages", messages, pl.String), *safe)
            yield table.select(COLUMNS).write_csv(include_header=False, quote_style="always").encode()


def read_csv(file: IO[bytes]) -> Iterator[Mapping[str, Any]]:
    """The rows of a CSV file, one mapping of `COLUMNS` each.

    Raises:
        ExportError: for a table of other columns.
    """
    csv.field_size_limit(MAX_CELL)
    # A text wrapper closes its file when it goes, and this file is the caller's.
    text = io.TextIOWrapper(file, encoding="utf-8", newline="")
    try:
        table = csv.reader(text, strict=True)
        if tuple(next(table, ())) != COLUMNS:
            raise ExportError(f"the columns are not {', '.join(COLUMNS)}")
        for number, cells in enumerate(table, start=2):
            try:
                row: dict[str, Any] = dict(zip(COLUMNS, cells, strict=True))
                plain = {name: _SAFE.sub(r"\1", row[name]) for name in (*TEXTS, "inputs", "response")}
                found = {"weight": float(row["weight"]), "messages": orjson.loads(row["messages"])}
            except ValueError:
                raise ExportError(f"row {number} is no row of this table") from None
            yield row | plain | found
    except csv.Error as error:
        raise ExportError(f"this is no CSV: {error}") from None
    finally:
        text.detach()
