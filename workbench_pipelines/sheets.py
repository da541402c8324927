"""Sheets: from the tables a Sheet names to the rows of its snapshot.

A snapshot row is one item: ``item_ref`` (its key as text; a JSON array for a composite key), ``item_hash`` (what all
its source columns hold), the source columns under their own names, ``row_tags`` (tags of the table and of the row rules
that hold) and ``usage_statements`` (JSON; what each source states of its uses).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import polars as pl

from workbench_pipelines.catalog import Sheet, TagPolicy
from workbench_pipelines.errors import FilterError, SourceError
from workbench_pipelines.filters import compile_filter
from workbench_pipelines.identity import item_hash, item_ref_of
from workbench_pipelines.joins import as_text, join_source
from workbench_pipelines.row_usage import (
    Policies,
    Rule,
    flagged,
    row_rules,
    source_rules,
    standing_statements,
    with_usage,
)
from workbench_pipelines.samples import sample_items
from workbench_pipelines.sheet_columns import (
    JoinedColumns,
    joined_columns,
    key_names,
    sheet_problems,
    table_sources,
)

_ROW = "__row"
_SHOWN_ROWS = 3  # enough to find the trouble, few enough for one line


def take_snapshot(
    sheet: Sheet,
    primary: pl.DataFrame,
    secondaries: Mapping[str, pl.DataFrame],
    *,
    policies: Mapping[str, TagPolicy],
    vocabulary: Sequence[str],
    where: str,
) -> pl.DataFrame:
    """One row per item of a Sheet: joined, filtered, named, sampled, with what is stated of its uses.

    `secondaries` holds the table of each secondary source by its name; `where` names the Sheet and its file. Rows keep
    the order of the primary table.

    Output columns: item_ref, item_hash, the source columns, row_tags, usage_statements.

    Raises:
        DefinitionError, FilterError: the Sheet names a column, tag, use or condition that does not hold.
        SourceError: the data is not what the Sheet says: no key or the same key twice, a join that fans out.
    """
    known = Policies(policies, vocabulary)
    schemas = {name: dict(frame.schema) for name, frame in secondaries.items()}
    for problem in sheet_problems(sheet, dict(primary.schema), schemas, known, where):
        raise problem
    joined = joined_columns(sheet, dict(primary.schema), schemas, where)
    rows, rules = _joined(sheet, primary, secondaries, joined, known, where)
    rows = _kept(rows, sheet.spec.filter_condition, joined, f"{where}: spec.filter_condition")
    rows = _named(rows, sheet, where)
    rows = sample_items(rows, sheet.spec.sample, f"{where}: spec")
    own = row_rules(sheet, known, where)
    columns = list(joined.schema)
    hashes = pl.Series("item_hash", list(_hashes(rows.select(columns), where)), dtype=pl.String)
    rows = flagged(rows, joined.schema, own).with_columns(hashes)
    standing = list(standing_statements(sheet, joined.origins, known, where))
    rows = with_usage(rows, standing, sheet.spec.source_tags, [*rules, *own])
    others = [name for name in columns if name != "item_ref"]
    return rows.select("item_ref", "item_hash", *others, "row_tags", "usage_statements")


def _joined(
    sheet: Sheet,
    primary: pl.DataFrame,
    secondaries: Mapping[str, pl.DataFrame],
    joined: JoinedColumns,
    policies: Policies,
    where: str,
) -> tuple[pl.DataFrame, list[Rule]]:
    """The primary rows with their number and the columns and rule flags of every source; and those rules."""
    keys = key_names(sheet)
    rows = as_text(primary, [k for k in keys if k in primary.columns], f"{where}: {sheet.spec.primary_table}")
    rows = rows.with_row_index(_ROW, offset=1)
    rules: list[Rule] = []
    for source in table_sources(sheet, where):
        table = secondaries[source.name]
        table = as_text(table, [k for k in keys if k in table.columns], f"{where}: {source.path}")
        own = source_rules(source.usage, source.name, joined.origins[source.name], policies, where)
        table = flagged(table, dict(table.schema), own)
        place = f"{where}: spec.secondary_sources.{source.name}"
        rows = join_source(rows, source, table, joined.names[source.name], place)
        rules += own
    return rows, rules


def _kept(rows: pl.DataFrame, condition: str | None, joined: JoinedColumns, where: str) -> pl.DataFrame:
    if condition is None:
        return rows
    try:
        return rows.filter(compile_filter(condition, joined.schema, where))
    except pl.exceptions.PolarsError:
        # Their text may quote a value of the row.
        raise FilterError(f"{where}: the filter can not be applied to the rows") from None


def _named(rows: pl.DataFrame, sheet: Sheet, where: str) -> pl.DataFrame:
    """The rows with their `item_ref`.

    Raises:
        SourceError: when a row has no key, or two rows have the same.
    """
    place = f"{where}: {sheet.spec.primary_table}"
    keys = sheet.spec.key_columns
    for name in keys:
        empty = rows.filter(pl.col(name).is_null() | (pl.col(name).str.strip_chars() == ""))
        if empty.height:
            raise SourceError(
                f"{place}: {empty.height} {_rows(empty.height)} no value in the key column '{name}' "
                f"({_numbers(empty)}); item_ref has to name every row"
            )
    refs = rows[keys[0]] if len(keys) == 1 else pl.Series([item_ref_of(key) for key in rows.select(keys).iter_rows()])
    rows = rows.with_columns(refs.cast(pl.String).alias("item_ref"))
    repeated = rows.filter(pl.col("item_ref").is_duplicated())
    if repeated.height:
        shown = (
            ""
            if _is_restricted(sheet)
            else f": {', '.join(repeated['item_ref'].unique(maintain_order=True)[:_SHOWN_ROWS])}"
        )
        fan_out = any(source.allow_fan_out for source in sheet.spec.secondary_sources)
        hint = "; name a column of the joined source in item_ref as well" if fan_out else ""
        raise SourceError(
            f"{place}: {repeated.height} rows share their {', '.join(keys)} with another "
            f"({_numbers(repeated)}){shown}; item_ref has to be unique{hint}"
        )
    return rows


def _is_restricted(sheet: Sheet) -> bool:
    """Whether a key is no matter for an error line: its table or column is tagged, or the Sheet is restricted."""
    spec = sheet.spec
    tagged = any(spec.columns[name].tags for name in spec.key_columns if name in spec.columns)
    return tagged or bool(spec.source_tags) or spec.usage.data_classification == "restricted"


def _rows(count: int) -> str:
    return "row has" if count == 1 else "rows have"


def _numbers(rows: pl.DataFrame) -> str:
    """``rows 3, 7, 9 and 4 more``, counted from 1 without the header."""
    shown = ", ".join(str(number) for number in rows[_ROW][:_SHOWN_ROWS])
    more = f" and {rows.height - _SHOWN_ROWS} more" if rows.height > _SHOWN_ROWS else ""
    return f"row{'s' if rows.height > 1 else ''} {shown}{more}"


def _hashes(rows: pl.DataFrame, where: str) -> Iterator[str]:
    try:
        for row in rows.iter_rows(named=True):
            yield item_hash(row)
    except TypeError as error:
        raise SourceError(f"{where}: a column can not be hashed: {error}") from None
