"""Typed answers: the raw answers of a TrainingSheet beside a column of its own type for each output field.

The raw answer stays what counts (`generated_pairs.response`); this is the same answer for queries and plots.
"""

from __future__ import annotations

import datetime as dt
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from workbench_pipelines.decisions import UTC_TIME
from workbench_pipelines.fields import FieldSpec, read_date, read_datetime
from workbench_pipelines.identity import canonical_text

ANSWER_KEYS = pl.Schema(dict.fromkeys(("training_sheet", "sheet", "pair_id", "item_ref", "response_hash"), pl.String()))
"""What stands beside the answer's own columns, and says whose it is."""

_PLAIN: Mapping[str, pl.DataType] = {
    "integer": pl.Int64(),  # an integer past 2^53 is text in an answer, and breaks the schema
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
}
_TIMES: Mapping[str, pl.DataType] = {"date": pl.Date(), "date-time": UTC_TIME}
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")  # what a Delta table can call a column
_INTEGERS_END = 2**63


def typed_answers(pairs: pl.DataFrame, fields: Sequence[FieldSpec]) -> pl.DataFrame:
    """One row an answer, with each output field as a column; a prompt without an answer has no row.

    Texts, numbers and booleans are what they are, a date is a day and a datetime a time in UTC (one that says no zone is
    taken for UTC). A list of declared members is a list, an object with declared members a struct of these; lists and
    objects without, and what may be of any type, are JSON text. A field that is left out is null.

    Input columns: those of `ANSWER_KEYS`, and response.

    Output columns: `ANSWER_KEYS` and one a field, named for it; a field with the name of a key is `answer_<name>`.
    """
    answers = pairs.select(*ANSWER_KEYS, "response").drop_nulls("response")
    schemas = {_column(field.name): field.json_schema() for field in fields}
    types = {name: column_type(schema) for name, schema in schemas.items()}
    # Classes are few and rows are many: each answer is read once.
    different = answers["response"].unique(maintain_order=True)
    read = [json.loads(text) for text in different]
    columns = [
        pl.Series(_column(field.name), [column_value(one.get(field.name), schema) for one in read], dtype=types[name])
        for field, (name, schema) in zip(fields, schemas.items(), strict=True)
    ]
    found = pl.DataFrame([different.alias("response"), *columns])
    return answers.join(found, on="response", how="left", maintain_order="left").drop("response")


def column_type(schema: Mapping[str, Any]) -> pl.DataType:
    """The polars type of the values that a JSON Schema describes; text where it takes JSON to write them down."""
    kind = schema.get("type")
    if kind == "string":
        return _TIMES.get(schema.get("format", ""), pl.String())
    if kind == "array" and _is_declared(schema.get("items")):
        return pl.List(column_type(schema["items"]))
    if kind == "object" and _is_declared(schema):
        return pl.Struct({name: column_type(member) for name, member in schema["properties"].items()})
    return _PLAIN.get(kind, pl.String()) if isinstance(kind, str) else pl.String()


def _column(field: str) -> str:
    return f"answer_{field}" if field in ANSWER_KEYS else field


def _is_declared(schema: Any) -> bool:
    """Whether a schema says of which type a value is, in words that a column has."""
    kind = schema.get("type") if isinstance(schema, Mapping) else None
    if kind == "object":
        members = schema.get("properties")
        return isinstance(members, Mapping) and bool(members) and all(map(_NAME.fullmatch, members))
    return kind == "string" or kind in _PLAIN or (kind == "array" and _is_declared(schema.get("items")))


def column_value(value: Any, schema: Mapping[str, Any]) -> Any:
    """A JSON value as its column holds it."""
    dtype = column_type(schema)
    if value is None:
        return None
    if isinstance(dtype, pl.List):
        return [column_value(one, schema["items"]) for one in value]
    if isinstance(dtype, pl.Struct):
        return {name: column_value(value.get(name), member) for name, member in schema["properties"].items()}
    if dtype == pl.Date():
        return read_date(value)
    if dtype == UTC_TIME:
        found = read_datetime(value)
        return found if found.tzinfo else found.replace(tzinfo=dt.UTC)
    if dtype == pl.String() and schema.get("type") != "string":
        return canonical_text(value)
    if dtype == pl.Int64():
        # JSON Schema takes 5.0 and 1e300 for integers; what no column of integers can hold is only in `response`.
        return int(value) if abs(value) < _INTEGERS_END else None
    return float(value) if dtype == pl.Float64() else value
