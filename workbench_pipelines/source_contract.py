"""What a source promises, as an Open Data Contract Standard v3 file says it, and where the source breaks it.

A Sheet names the file (`spec.contract`); each table of the Sheet is held against the schema object of its name before a
prompt is rendered, so that a column that went, came, was renamed or changed its type is named before a call is paid.

Standard: https://bitol-io.github.io/open-data-contract-standard/ (fields `schema`, `properties`, `logicalType`,
`logicalTypeOptions`, `required`, `unique`, `primaryKey`). Fields that are not named here are other readers' business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import polars as pl
import yaml

from workbench_pipelines.errors import DefinitionError, nearest

CONTRACT_ENDING = ".odcs.yaml"
"""How the name of a contract ends; such a file in `sheets/` is no definition."""
API_VERSION = "v3.1.0"

LOGICAL_TYPES = ("string", "date", "timestamp", "time", "number", "integer", "object", "array", "boolean")
# A CSV or NDJSON file has no times, so that they stand there as text.
_TIMES = {"date": pl.Date(), "timestamp": pl.Datetime("us", "UTC"), "time": pl.Time()}
_OPTIONS = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "minLength", "maxLength", "pattern")
_SHOWN_ROWS = 3

Schema = Mapping[str, pl.DataType]


@dataclass(frozen=True)
class PromisedColumn:
    """One property of a table.

    Attributes:
        logical_type: one of `LOGICAL_TYPES`; None promises no type.
        options: of `logicalTypeOptions` those that are held to.
        tags: what the owner of the source marked it with.
    """

    name: str
    logical_type: str | None = None
    required: bool = False
    unique: bool = False
    options: Mapping[str, Any] | None = None
    tags: tuple[str, ...] = ()


@dataclass(frozen=True)
class PromisedTable:
    """One schema object; `may_grow` where it says that columns may be added unannounced."""

    name: str
    columns: tuple[PromisedColumn, ...]
    may_grow: bool = False


@dataclass(frozen=True)
class SourceContract:
    """A contract with the tables that it speaks of, by name."""

    file: str
    version: str
    tables: Mapping[str, PromisedTable]

    def table(self, *names: str) -> PromisedTable | None:
        """What it promises of a table that goes by one of these names; None where it says nothing of it."""
        return next((self.tables[name] for name in names if name in self.tables), None)


def parse_contract(text: str, file: str) -> SourceContract:
    """A contract from its YAML.

    Raises:
        DefinitionError: for what is no contract of version 3, and for a promise that can not be held to.
    """
    try:
        said = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        raise DefinitionError(f"{file}: {f'line {mark.line + 1}: ' if mark else ''}not readable as YAML") from None
    if not isinstance(said, dict) or said.get("kind") != "DataContract":
        raise DefinitionError(f"{file}: no data contract; its `kind` is DataContract")
    if not str(said.get("apiVersion", "")).startswith("v3."):
        raise DefinitionError(f"{file}: apiVersion: {said.get('apiVersion')!r} is not read; write {API_VERSION}")
    tables = [_table(one, f"{file}: schema[{place}]") for place, one in enumerate(_list(said, "schema", file))]
    if not tables:
        raise DefinitionError(f"{file}: schema: the contract promises no table")
    return SourceContract(file, str(said.get("version", "")), {one.name: one for one in tables})


def schema_problems(
    promised: PromisedTable, columns: Schema, where: str, *, text_columns: Sequence[str] = ()
) -> str | None:
    """How the columns of a table are not what was promised, in one line; None where they are.

    Args:
        text_columns: those that are read as text whatever they hold: the keys.
    """
    known = {one.name: one for one in promised.columns}
    missing = [name for name in known if name not in columns]
    new = [name for name in columns if name not in known]
    found = []
    for name in missing:
        column = known[name]
        alike = [other for other in new if _is_of(column.logical_type, columns[other])]
        renamed = get_close_matches(name, alike, n=1) or (alike if len(missing) == len(alike) == 1 else [])
        found.append(f"'{name}' is missing{f' (renamed to {renamed[0]!r}?)' if renamed else ''}")
    if not promised.may_grow:
        found += [f"'{name}' is new" for name in new]
    for name, dtype in columns.items():
        if name in known and name not in text_columns and not _is_of(known[name].logical_type, dtype):
            found.append(f"'{name}' is {_said(dtype)} and was promised as {known[name].logical_type}")
    if not found:
        return None
    what = ", ".join(found)
    return f"{where}: not what the contract promises of {promised.name}: {what}; mend the source, or agree on a new contract"


def row_problems(promised: PromisedTable, rows: pl.DataFrame, where: str) -> Iterator[str]:
    """Each promise of a column that rows break, with how many and the first of them, and never a value.

    Raises:
        DefinitionError: for a `pattern` that is no regular expression, and a bound that the column can not be compared with.
    """
    for column in promised.columns:
        if column.name not in rows.columns:
            continue
        for promise, broken in _promises(column, rows.schema[column.name]):
            try:
                found = rows.select(broken.fill_null(False).alias("broken"))["broken"]
            except pl.exceptions.PolarsError:
                raise DefinitionError(
                    f"{where}: the contract's {promise} of {column.name} can not be held against {_said(rows.schema[column.name])}"
                ) from None
            if found.any():
                numbers = [str(row + 1) for row in found.arg_true().head(_SHOWN_ROWS)]
                more = ", ..." if found.sum() > _SHOWN_ROWS else ""
                which = ", ".join(numbers) + more
                yield f"{where}: column '{column.name}': {found.sum()} rows break the contract's {promise} (row {which})"


def unstated_tags(promised: PromisedTable, stated: Mapping[str, Sequence[str]], known: Sequence[str]) -> list[str]:
    """Tags with a policy that the contract puts on a column and the Sheet does not, as `column: tag`.

    Args:
        stated: the tags of each column, as the Sheet says them, with those of the whole table.
        known: the tags that a policy speaks of.
    """
    return [
        f"{column.name}: {tag}"
        for column in promised.columns
        for tag in column.tags
        if tag in known and tag not in stated.get(column.name, ())
    ]


def contract_text(
    name: str, tables: Mapping[str, Schema], keys: Sequence[str], tags: Mapping[str, Sequence[str]]
) -> str:
    """A contract that promises what tables hold now, to be agreed on and changed by hand.

    Args:
        name: of the Sheet.
        keys: the key columns of the first table.
        tags: those that the Sheet states of columns.
    """
    objects = []
    for place, (table, columns) in enumerate(tables.items()):
        properties = []
        for column, dtype in columns.items():
            is_key = place == 0 and column in keys
            said: dict[str, Any] = {"name": column, "logicalType": "string" if is_key else _said(dtype)}
            if is_key:
                said |= {"required": True} | ({"primaryKey": True, "unique": True} if len(keys) == 1 else {})
            if tags.get(column):
                said["tags"] = list(tags[column])
            properties.append(said)
        objects.append({"name": table, "logicalType": "object", "properties": properties})
    document = {
        "apiVersion": API_VERSION,
        "kind": "DataContract",
        "id": f"{name}-source",
        "name": name,
        "version": "1.0.0",
        "status": "active",
        "schema": objects,
    }
    return yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=120)


def _table(said: Any, where: str) -> PromisedTable:
    if not isinstance(said, dict) or not isinstance(said.get("name"), str):
        raise DefinitionError(f"{where}: a table has a `name`")
    columns = tuple(
        _column(one, f"{where}.properties[{place}]") for place, one in enumerate(_list(said, "properties", where))
    )
    custom = {
        one.get("property"): one.get("value") for one in _list(said, "customProperties", where) if isinstance(one, dict)
    }
    return PromisedTable(said["name"], columns, custom.get("additionalColumns") == "allowed")


def _column(said: Any, where: str) -> PromisedColumn:
    if not isinstance(said, dict) or not isinstance(said.get("name"), str):
        raise DefinitionError(f"{where}: a column has a `name`")
    logical = said.get("logicalType")
    if logical is not None and logical not in LOGICAL_TYPES:
        raise DefinitionError(f"{where}: logicalType '{logical}' is unknown{nearest(str(logical), LOGICAL_TYPES)}")
    options = said.get("logicalTypeOptions") or {}
    if not isinstance(options, dict):
        raise DefinitionError(f"{where}: logicalTypeOptions is a mapping")
    is_key = bool(said.get("primaryKey"))
    return PromisedColumn(
        said["name"],
        logical,
        required=bool(said.get("required")) or is_key,
        unique=bool(said.get("unique")),
        options={name: value for name, value in options.items() if name in _OPTIONS},
        tags=tuple(str(tag) for tag in _list(said, "tags", where)),
    )


def _list(said: Mapping[str, Any], field: str, where: str) -> list[Any]:
    value = said.get(field) or []
    if not isinstance(value, list):
        raise DefinitionError(f"{where}: {field} is a list")
    return value


def _promises(column: PromisedColumn, dtype: pl.DataType) -> Iterator[tuple[str, pl.Expr]]:
    """Each promise of a column by its name, and what is true of a row that breaks it."""
    value = pl.col(column.name)
    if column.required:
        yield "`required`", value.is_null()
    if column.unique:
        yield "`unique`", value.is_not_null() & value.is_duplicated()
    times = _TIMES.get(column.logical_type or "")
    if times is not None and dtype == pl.String:
        read = {pl.Date: value.str.to_date(strict=False), pl.Time: value.str.to_time(strict=False)}.get(
            type(times), value.str.to_datetime(strict=False, time_zone="UTC")
        )
        yield f"`logicalType: {column.logical_type}`", value.is_not_null() & read.is_null()
    for name, bound in (column.options or {}).items():
        broken = {
            "minimum": lambda bound=bound: value < bound,
            "maximum": lambda bound=bound: value > bound,
            "exclusiveMinimum": lambda bound=bound: value <= bound,
            "exclusiveMaximum": lambda bound=bound: value >= bound,
            "minLength": lambda bound=bound: value.str.len_chars() < bound,
            "maxLength": lambda bound=bound: value.str.len_chars() > bound,
            "pattern": lambda bound=bound: ~value.str.contains(bound),
        }[name]
        yield f"`{name}`", broken()


def _said(dtype: pl.DataType) -> str:
    """The logical type of a column."""
    if dtype.is_integer():
        return "integer"
    if dtype.is_numeric():
        return "number"
    if dtype == pl.Boolean:
        return "boolean"
    if dtype == pl.Date:
        return "date"
    if isinstance(dtype, pl.Datetime):
        return "timestamp"
    if dtype == pl.Time:
        return "time"
    if isinstance(dtype, pl.List | pl.Array):
        return "array"
    return "object" if isinstance(dtype, pl.Struct) else "string"


def _is_of(logical: str | None, dtype: pl.DataType) -> bool:
    """Whether a column of this type can hold what was promised; a column that is empty can."""
    if logical is None or dtype == pl.Null:
        return True
    found = _said(dtype)
    # A column of fractions in which today all are whole is still one.
    return found == logical or (found, logical) == ("integer", "number") or (found == "string" and logical in _TIMES)
