"""Label files: the rows of JSONL, CSV and spreadsheets as label rows, each with the place where it stands."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any


def read_label_file(name: str, text: str) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    """The rows of a JSONL or CSV label file with where each stands; a row that can not be read is its reason as text."""
    if name.lower().endswith(".csv"):
        for number, row in enumerate(csv.DictReader(io.StringIO(text, newline="")), start=2):
            yield f"{name} row {number}", _cells(row)
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except ValueError as error:
            yield f"{name} line {number}", f"is no JSON ({getattr(error, 'msg', 'unreadable')})"
            continue
        yield f"{name} line {number}", value if isinstance(value, dict) else "is no JSON object"


def table_label_rows(name: str, rows: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, Mapping[str, Any] | str]]:
    """The rows of a spreadsheet, with the cells that hold JSON or lists read."""
    for number, row in enumerate(rows, start=2):
        yield f"{name} row {number}", _cells(row)


def _cells(row: Mapping[str, Any]) -> Mapping[str, Any] | str:
    """A spreadsheet row as a label row: empty cells are absent, `label_data` is JSON, lists are JSON or `a;b`."""
    cells: dict[str, Any] = {}
    for column, value in row.items():
        if column is None:
            return "has more cells than the header"
        if value is None or (isinstance(value, str) and not value.strip()):
            continue
        if column == "label_data" and isinstance(value, str):
            try:
                cells[column] = json.loads(value)
            except ValueError:
                return 'label_data is no JSON; write it like {"field": "value"}'
        elif column in ("allowed_uses", "prohibited_uses", "seen_columns") and isinstance(value, str):
            try:
                cells[column] = json.loads(value) if value.lstrip().startswith("[") else value.split(";")
            except ValueError:
                return f"{column} is no JSON list"
        else:
            cells[column] = value
    return cells
