"""Review files on disk: JSONL, CSV and XLSX, written whole or not at all, and read back as people left them.

A text that does not fit into a cell goes on in columns of its own, `<column> (continued 2)` and so on, also in CSV: a
spreadsheet program would cut it off when it opens the file. CSV is UTF-8 with a byte order mark and neutralised cells
(`spreadsheet_text`); it is read with commas, semicolons or tabs. XLSX cells are text, those that are only shown are
protected, and the columns with a list have drop-downs.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import logging
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from workbench_pipelines.errors import ArgumentError, LakeError
from workbench_pipelines.spreadsheet_text import CELL_LIMIT, neutralised, pieces, restored

FORMATS = ("jsonl", "csv", "xlsx")
WORKSHEET = "review"
_CONTINUED = re.compile(r"(.*) \(continued ([2-9]|[1-9][0-9]+)\)", re.DOTALL)
# Neutralised, a text is longer: half of it could be signs.
_CSV_LIMIT = CELL_LIMIT // 2
_XLSX_ROWS = 1_048_575
# What the writer of XLSX escapes and its reader leaves so.
_NONCHARACTERS = {"_xFFFE_": "\ufffe", "_xFFFF_": "\uffff"}
TOLD = (
    "approve: the proposed answer is right. edit (or label): write what is right into the answer columns; an empty one stays "
    "as proposed, (none) leaves it out. reject, flag: say why under reason. skip or empty: nothing is said."
)
"""What a spreadsheet program shows beside the decisions; it shows 255 characters."""
_WIDTHS = {"item_ref": 20.0, "need": 14.0, "prompt": 60.0, "proposed_answer": 40.0, "decision": 12.0}

Rows = Sequence[Mapping[str, str]]


def format_of(path: Path, asked: str | None = None) -> str:
    """The format of a file: the one that is asked for, else what its name ends in.

    Raises:
        ArgumentError: for another one.
    """
    found = asked or path.suffix.lower().removeprefix(".")
    if found not in FORMATS:
        raise ArgumentError(f"{path.name}: files are {', '.join(FORMATS)}; name it like review.xlsx, or give --format")
    return found


def write_review_file(
    path: Path,
    kind: str,
    columns: Sequence[str],
    rows: Rows,
    *,
    fills: Sequence[str],
    choices: Mapping[str, Sequence[str]],
) -> None:
    """Writes a file whole or not at all.

    Args:
        kind: one of `FORMATS`.
        fills: the columns that people fill.
        choices: what can be chosen, by column.

    Raises:
        ArgumentError: for a folder that there is not, or more rows than a worksheet holds.
        LakeError: for a file that can not be written.
    """
    if not path.parent.is_dir():
        raise ArgumentError(f"{path.name}: there is no folder {path.parent.name} to write it to")
    beside = path.with_name(f".writing-{os.getpid()}-{path.name}")
    try:
        with beside.open("wb") as out:
            if kind == "jsonl":
                _write_jsonl(out, rows, fills)
            elif kind == "csv":
                _write_csv(out, columns, rows)
            else:
                _write_xlsx(out, columns, rows, fills, choices)
            out.flush()
            os.fsync(out.fileno())
        beside.replace(path)
    except OSError as error:
        raise LakeError(f"{path.name} can not be written: {error.strerror or type(error).__name__}") from None
    finally:
        beside.unlink(missing_ok=True)


def read_review_file(path: Path, kind: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
    """The rows of a file, each with the place that a refusal names; a row that is no row is its reason as text.

    Raises:
        ArgumentError: for a file that is none of this kind, or without a column `decision`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArgumentError(f"{path.name} can not be read: {error.strerror or type(error).__name__}") from None
    if kind == "xlsx":
        return _table(path.name, _xlsx_rows(path), lambda cell: cell)
    text = _decoded(path.name, content)
    if kind == "jsonl":
        return _lines(path.name, text)
    return _table(path.name, _csv_rows(path.name, text), restored)


# Writing


def _write_jsonl(out: Any, rows: Rows, fills: Sequence[str]) -> None:
    for row in rows:
        said = {name: None if name in fills else text for name, text in row.items()}
        out.write(json.dumps(said, ensure_ascii=False).encode() + b"\n")


def _write_csv(out: Any, columns: Sequence[str], rows: Rows) -> None:
    text = io.TextIOWrapper(out, encoding="utf-8-sig", newline="", write_through=True)
    names, cells = _cut(columns, rows, _CSV_LIMIT)
    writer = csv.writer(text)
    writer.writerow([neutralised(name) for name in names])
    for row in cells:
        writer.writerow([neutralised(cell) for cell in row])
    text.flush()
    text.detach()


def _write_xlsx(
    out: Any, columns: Sequence[str], rows: Rows, fills: Sequence[str], choices: Mapping[str, Sequence[str]]
) -> None:
    import xlsxwriter

    if len(rows) > _XLSX_ROWS:
        raise ArgumentError(f"{len(rows)} rows are more than a worksheet holds; give --limit, or write CSV or JSONL")
    names, cells = _cut(columns, rows, CELL_LIMIT)
    plain = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    book = xlsxwriter.Workbook(out, plain)
    sheet = book.add_worksheet(WORKSHEET)
    # Marked as text, a cell stays text when somebody edits it.
    text = {"num_format": "@", "quote_prefix": True, "text_wrap": True, "valign": "top"}
    shown = book.add_format({**text, "font_color": "#444444", "bg_color": "#F3F3F3"})
    filled = book.add_format({**text, "quote_prefix": False, "locked": False})
    head = book.add_format({"bold": True, "num_format": "@", "valign": "top"})
    for place, name in enumerate(names):
        sheet.write_string(0, place, name, head)
        is_open = name in fills
        sheet.set_column(place, place, _width(name), filled if is_open else None, _hidden(name, names, fills))
        for number, row in enumerate(cells, start=1):
            if row[place]:
                sheet.write_string(number, place, row[place], filled if is_open else shown)
            else:
                sheet.write_blank(number, place, None, filled if is_open else shown)
    listed = book.add_worksheet("choices")
    listed.hide()
    for place, (name, options) in enumerate(choices.items()):
        for number, option in enumerate(options):
            listed.write_string(number, place, option)
        if name in names and rows and options:
            column = xlsxwriter.utility.xl_col_to_name(place, True)
            source = f"=choices!{column}$1:{column}${len(options)}"
            where = names.index(name)
            rule = {"validate": "list", "source": source, "error_message": "Choose from the list."}
            told = {"input_title": "Your decision", "input_message": TOLD} if name == "decision" else {}
            sheet.data_validation(1, where, len(rows), where, rule | told)
    sheet.freeze_panes(1, 1)
    sheet.ignore_errors({"number_stored_as_text": f"A1:{xlsxwriter.utility.xl_rowcol_to_cell(len(rows), len(names))}"})
    may = ("sort", "autofilter", "format_columns", "format_rows", "delete_rows", "insert_columns")
    sheet.protect("", dict.fromkeys(may, True))
    book.close()


def _cut(columns: Sequence[str], rows: Rows, limit: int) -> tuple[list[str], list[list[str]]]:
    """The columns with those that long texts go on in, and the cells of each row."""
    longest = {name: max((len(row.get(name, "")) for row in rows), default=0) for name in columns}
    parts = {
        name: max(len(pieces(row.get(name, ""), limit)) for row in rows) if longest[name] * 2 > limit else 1
        for name in columns
    }
    names = [one for name in columns for one in (name, *(f"{name} (continued {n})" for n in range(2, parts[name] + 1)))]
    cells = []
    for row in rows:
        line: list[str] = []
        for name in columns:
            cut = pieces(row.get(name, ""), limit) if parts[name] > 1 else [row.get(name, "")]
            line += cut + [""] * (parts[name] - len(cut))
        cells.append(line)
    return names, cells


def _width(name: str) -> float:
    return _WIDTHS.get(name, 40.0 if name.startswith("input.") else 20.0)


def _hidden(name: str, names: Sequence[str], fills: Sequence[str]) -> dict[str, Any]:
    """What rows are known by stands after the cells that people fill, and is nothing to look at."""
    last = max((names.index(one) for one in fills if one in names), default=len(names))
    return {"hidden": 1} if names.index(name) > last else {}


# Reading


def _lines(name: str, text: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield f"{name} line {number}", f"is no JSON ({getattr(error, 'msg', 'unreadable')})"
            continue
        yield f"{name} line {number}", value if isinstance(value, dict) else "is no JSON object"


def _table(
    file: str, rows: Iterator[Sequence[str | None]], read: Callable[[str], str]
) -> Iterator[tuple[str, dict[str, Any] | str]]:
    header = [read(cell or "").strip() for cell in next(rows, [])]
    if "decision" not in header:
        raise ArgumentError(f"{file}: there is no column decision in its first row; is it a file of `review export`?")
    twice = next((name for name in header if name and header.count(name) > 1), None)
    if twice:
        raise ArgumentError(f"{file}: column {twice} stands there twice; rename one of them")
    return _named(file, header, rows, read)


def _named(
    file: str, header: Sequence[str], rows: Iterator[Sequence[str | None]], read: Callable[[str], str]
) -> Iterator[tuple[str, dict[str, Any] | str]]:
    for number, cells in enumerate(rows, start=2):
        if not any(cells):
            continue
        where = f"{file} row {number}"
        if any(cells[len(header) :]):
            yield where, "has more cells than the header; is a quote missing?"
            continue
        row = {name: read(cell or "") for name, cell in zip(header, cells, strict=False) if name}
        yield (
            where,
            _joined(row) if len(cells) >= len(header) else "has fewer cells than the header; is a quote missing?",
        )


def _joined(row: Mapping[str, str]) -> dict[str, Any]:
    """A row with the texts that went on in further columns put together."""
    found = dict(row)
    for name in row:
        further = _CONTINUED.fullmatch(name)
        if further and further[1] in found:
            # They stand in their order, whatever was put between them.
            parts = [row.get(f"{further[1]} (continued {n})", "") for n in range(2, int(further[2]) + 1)]
            found[further[1]] = row[further[1]] + "".join(parts)
    return found


def _csv_rows(name: str, text: str) -> Iterator[list[str]]:
    csv.field_size_limit(2**31 - 1)
    first = next(csv.reader(io.StringIO(text, newline=""), strict=False), [])
    separator = next(
        (
            one
            for one in (",", ";", "\t")
            if "decision" in next(csv.reader(io.StringIO(text, newline=""), delimiter=one), [])
        ),
        None,
    )
    if separator is None:
        raise ArgumentError(f"{name}: there is no column decision in its first row ({len(first)} columns)")
    return csv.reader(io.StringIO(text, newline=""), delimiter=separator)


def _xlsx_rows(path: Path) -> Iterator[tuple[str | None, ...]]:
    import fastexcel

    logging.getLogger("fastexcel").setLevel(logging.ERROR)
    try:
        book = fastexcel.read_excel(str(path))
        sheet = WORKSHEET if WORKSHEET in book.sheet_names else book.sheet_names[0]
        frame = book.load_sheet(sheet, header_row=None, dtypes="string").to_polars()
    except (fastexcel.FastExcelError, OSError, ValueError, IndexError):
        raise ArgumentError(f"{path.name} can not be read as XLSX; is it whole?") from None
    return (tuple(None if cell is None else _whole(cell) for cell in row) for row in frame.iter_rows())


def _whole(cell: str) -> str:
    for written, meant in _NONCHARACTERS.items():
        cell = cell.replace(written, meant)
    return cell


def _decoded(name: str, content: bytes) -> str:
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{name} is no UTF-8 (byte {error.start + 1}); save it as CSV UTF-8, or use XLSX") from None
