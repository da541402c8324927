"""Reading the lines of JSONL files as rows of a Sheet.

A row is taken strictly: it is one JSON object in UTF-8, every declared field is there in its type and within its bounds, and
no other field is, unless the Sheet keeps them. A row that is not is refused with its file and line, and the others are
taken. No reason repeats a value.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import orjson
import polars as pl

from workbench_pipelines.catalog import IntakeSpec
from workbench_pipelines.catalog.intake_specs import PLACE_COLUMNS
from workbench_pipelines.errors import nearest
from workbench_pipelines.fields import FieldSpec, read_date, read_datetime
from workbench_pipelines.identity import canonical_json, canonical_text
from workbench_pipelines.intake import Refused, row_columns

_INT64 = 2**63


class _Bad(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


class RowReader:
    """Reads lines of JSONL files as rows of a Sheet.

    Args:
        content_of: the fields that an item is named by the content of.
    """

    def __init__(self, spec: IntakeSpec, content_of: Sequence[str]) -> None:
        self._columns = list(row_columns(spec))
        self._schema = row_columns(spec)
        self._keeps = spec.other_fields == "keep"
        self._known = frozenset(field.name for field in spec.fields)
        # Most values are texts that have nothing else to meet: they are looked at no further.
        self._fields = [(field.name, _plain_type(field), _reader_of(field)) for field in spec.fields]
        self._content = sorted(content_of)
        texts = {field.name for field in spec.fields if field.type == "string"}
        # orjson agrees with RFC 8785 on texts under plain names.
        self._plain = texts.issuperset(content_of) and all(name.isascii() for name in content_of)

    def read(
        self, lines: Sequence[bytes], first: int, source_file: str, source_hash: str
    ) -> tuple[pl.DataFrame, list[Refused], int]:
        """The rows of some lines of a file, those refused, and how many there are; `first` is the number of the first line.

        Blank lines are no rows.
        """
        # Column by column: a list a row would stay, and the more of them stay the more time it takes to look after them.
        columns: list[list[Any]] = [[] for _ in range(len(self._columns) - len(PLACE_COLUMNS))]
        adds = [column.append for column in columns]
        at: list[int] = []
        refused: list[Refused] = []
        blank = 0
        for number, line in enumerate(lines, start=first):
            try:
                values = self._values(line)
            except _Bad as bad:
                if line.strip():
                    refused.append(Refused(number, bad.reason, bad.detail))
                else:
                    blank += 1
                continue
            at.append(number)
            for add, value in zip(adds, values):  # noqa: B905  # `strict` costs a tenth of the row
                add(value)
        named = zip(self._columns, columns, strict=False)
        frame = pl.DataFrame([pl.Series(name, values, dtype=self._schema[name]) for name, values in named])
        place = (pl.lit(source_file).alias("source_file"), pl.lit(source_hash).alias("source_hash"))
        frame = frame.with_columns(*place, pl.Series("source_line", at, dtype=pl.Int64))
        return frame, refused, len(lines) - blank

    def _values(self, line: bytes) -> list[Any]:
        """The name of the item and its fields in order.

        Raises:
            _Bad: with the reason.
        """
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise _unreadable(line, error.colno) from None
        if type(row) is not dict:
            raise _Bad("not_an_object", "the line is JSON but no object; every line is one row: {...}")
        # As many colons as keys: none stands twice. Where a text holds some, as many `":`, and no other way to write one.
        if line.count(b":") != len(row) and (
            line.count(b'":') != len(row) or b" :" in line or b"\t:" in line or b"\r:" in line
        ):
            _refuse_twice(line)
        values: list[Any] = [None]
        found = 0
        for name, plain, read in self._fields:
            value = row.get(name)
            if type(value) is plain:
                found += 1
                values.append(value)
                continue
            if name in row:
                found += 1
            values.append(read(value))
        if self._keeps:
            rest = {name: value for name, value in row.items() if name not in self._known}
            values.append(canonical_text(rest) if rest else None)
        elif found < len(row):
            raise self._unknown(row)
        if self._plain:
            content = orjson.dumps({name: row.get(name) for name in self._content})
        else:
            by_name = dict(zip(self._columns[1:], values[1:], strict=False))
            content = canonical_json({name: by_name[name] for name in self._content})
        values[0] = hashlib.sha256(content).hexdigest()
        return values

    def _unknown(self, row: Mapping[str, Any]) -> _Bad:
        name = min(name for name in row if name not in self._known)
        # A name that is no plain word may be a value that slipped into its place.
        shown = f"'{name}'{nearest(name, self._known)}" if name.isidentifier() and len(name) <= 40 else "without a name"
        return _Bad(
            "unknown_field", f"a field {shown}; declare it in intake.fields, or say `intake: {{other_fields: keep}}`"
        )


def _is_bounded(field: FieldSpec) -> bool:
    return any(one is not None for one in (field.enum, field.max_length, field.minimum, field.maximum))


def _plain_type(field: FieldSpec) -> type | None:
    """The type of which every value is one of the field; None where there is none."""
    plain = not _is_bounded(field)
    if field.type == "string":
        return str if plain and not field.required else None
    return bool if field.type == "boolean" and plain else None


def _reader_of(field: FieldSpec) -> Callable[[Any], Any]:
    """What a value of a field becomes as a column; raises _Bad. What most rows hold is seen at a glance."""
    read = _careful_reader_of(field)
    if field.type == "string" and field.required and not _is_bounded(field):
        return lambda value: value if type(value) is str and value and not value.isspace() else read(value)
    if field.type == "integer" and field.enum is None:
        low = -_INT64 if field.minimum is None else max(-_INT64, field.minimum)
        high = _INT64 - 1 if field.maximum is None else min(_INT64 - 1, field.maximum)
        return lambda value: value if type(value) is int and low <= value <= high else read(value)
    return read


def _careful_reader_of(field: FieldSpec) -> Callable[[Any], Any]:
    name, required, kind = field.name, field.required, field.type
    bounded = _is_bounded(field)
    convert: Callable[[Any, str], Any] = {
        "string": _text,
        "integer": _integer,
        "float": _number,
        "number": _number,
        "boolean": _boolean,
        "date": _date,
        "datetime": _datetime,
    }[kind]

    def read(value: Any) -> Any:
        if value is None:
            if required:
                raise _Bad("missing_field", f"'{name}' is missing or null, and it is required")
            return None
        found = convert(value, name)
        if required and kind == "string" and (not found or found.isspace()):
            raise _Bad("empty_value", f"'{name}' is empty, and it is required")
        if bounded:
            _within_bounds(found, field)
        return found

    return read


def _text(value: Any, name: str) -> str:
    if type(value) is not str:
        raise _misfit(value, name, "a text")
    return value


def _integer(value: Any, name: str) -> int:
    if type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not int:
        raise _misfit(value, name, "a whole number")
    if not -_INT64 <= value < _INT64:
        raise _Bad("out_of_range", f"'{name}' is a number of more than 64 bits")
    return value


def _number(value: Any, name: str) -> float:
    if type(value) not in (int, float):
        raise _misfit(value, name, "a number")
    if not math.isfinite(value):
        raise _Bad("out_of_range", f"'{name}' is past the range of a double")
    return float(value)


def _boolean(value: Any, name: str) -> bool:
    if type(value) is not bool:
        raise _misfit(value, name, "true or false")
    return value


def _date(value: Any, name: str) -> dt.date:
    try:
        return read_date(value)
    except (ValueError, TypeError):
        raise _Bad("wrong_type", f"'{name}' is no ISO 8601 date") from None


def _datetime(value: Any, name: str) -> dt.datetime:
    try:
        found = read_datetime(value)
    except (ValueError, TypeError):
        raise _Bad("wrong_type", f"'{name}' is no ISO 8601 datetime") from None
    return found.replace(tzinfo=dt.UTC) if found.tzinfo is None else found


_JSON_NAMES = {str: "a text", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object"}


def _misfit(value: Any, name: str, wanted: str) -> _Bad:
    found = "a number with a fraction" if type(value) is float and "whole" in wanted else _JSON_NAMES[type(value)]
    return _Bad("wrong_type", f"'{name}' is {found}, not {wanted}")


def _within_bounds(value: Any, field: FieldSpec) -> None:
    if field.enum is not None and value not in field.enum:
        raise _Bad("out_of_range", f"'{field.name}' is none of the allowed values")
    if field.max_length is not None and isinstance(value, str) and len(value) > field.max_length:
        raise _Bad("out_of_range", f"'{field.name}' is longer than {field.max_length} characters")
    low, high = field.minimum, field.maximum
    if isinstance(value, (int, float)) and ((low is not None and value < low) or (high is not None and value > high)):
        if low is None or high is None:
            wanted = f"at least {low:g}" if low is not None else f"at most {high:g}"
        else:
            wanted = f"from {low:g} to {high:g}"
        raise _Bad("out_of_range", f"'{field.name}' is not {wanted}")


def _unreadable(line: bytes, column: int) -> _Bad:
    try:
        line.decode()
    except UnicodeDecodeError as error:
        return _Bad("not_utf8", f"byte {error.start + 1} of the line, 0x{line[error.start]:02X}, is not UTF-8")
    if not line.endswith(b"\n"):
        return _Bad("cut_short", f"the last line is no JSON from column {column} on; it was cut short")
    return _Bad("not_json", f"the line is no JSON from column {column} on")


def _refuse_twice(line: bytes) -> None:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise _Bad("key_twice", "a field stands twice in the row")
        return found

    try:
        json.loads(line, object_pairs_hook=once)
    except RecursionError:
        raise _Bad("not_json", "the row is nested too deeply") from None
