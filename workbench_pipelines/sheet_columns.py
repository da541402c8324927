"""The columns of a Sheet: what its joined row looks like, and what is wrong with it before a row is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import polars as pl

from workbench_pipelines.catalog import ColumnSpec, SecondarySource, Sheet, TagPolicy
from workbench_pipelines.errors import DefinitionError, SourceError, WorkbenchError, nearest
from workbench_pipelines.filters import compile_filter
from workbench_pipelines.joins import names_in_row
from workbench_pipelines.row_usage import Policies, row_rules, source_rules, standing_statements
from workbench_pipelines.usage import CLASSIFICATIONS
from workbench_pipelines.volumes import volume_columns

# `item_ref` is reserved too, unless it is the one key column itself.
RESERVED = ("item_hash", "row_tags", "usage_statements")
# What separates the columns of text files that are not separated by commas.
SEPARATORS = (";", "\t", "|")

Schema = Mapping[str, pl.DataType]


@dataclass(frozen=True)
class JoinedColumns:
    """The columns of a joined row with their types; `names` maps those of each source to their names in the row."""

    schema: dict[str, pl.DataType]
    names: dict[str, dict[str, str]]

    @property
    def origins(self) -> dict[str, tuple[str, ...]]:
        """The columns that came from each joined source."""
        return {source: tuple(names.values()) for source, names in self.names.items()}


def joined_sources(sheet: Sheet, where: str) -> list[SecondarySource]:
    """The tables and volumes that are joined to the primary table, in order.

    Raises:
        DefinitionError: for two sources of one name.
    """
    sources = list(sheet.spec.secondary_sources)
    names = [source.name for source in sources]
    for source in sources:
        if names.count(source.name) > 1:
            raise DefinitionError(f"{where}: spec.secondary_sources: the name '{source.name}' stands twice")
    return sources


def key_names(sheet: Sheet) -> tuple[str, ...]:
    """The columns that are text wherever they stand: the key of an item and the keys of the joins."""
    joins = (key for source in sheet.spec.secondary_sources for key in source.join_keys)
    return tuple(dict.fromkeys((*sheet.spec.key_columns, *joins)))


def joined_columns(sheet: Sheet, primary: Schema, secondaries: Mapping[str, Schema], where: str) -> JoinedColumns:
    """The columns of the joined row of these tables and the Sheet's volumes, keys as text.

    Raises:
        DefinitionError, SourceError: for join keys that are missing and for names that clash.
    """
    keys = key_names(sheet)
    schema = {name: pl.String() if name in keys else dtype for name, dtype in primary.items()}
    names: dict[str, dict[str, str]] = {}
    for source in joined_sources(sheet, where):
        columns = secondaries[source.name] if source.type == "table" else volume_columns(source)
        place = f"{where}: spec.secondary_sources.{source.name}"
        names[source.name] = names_in_row(schema, source, columns, place)
        schema |= {new: pl.String() if old in keys else columns[old] for old, new in names[source.name].items()}
    return JoinedColumns(schema, names)


def check_sheet_columns(
    sheet: Sheet,
    primary_columns: Schema,
    secondary_columns: Mapping[str, Schema],
    policies: Mapping[str, TagPolicy],
    vocabulary: Sequence[str],
    where: str,
) -> list[str]:
    """Everything that would stop a snapshot and shows without reading a row, one line each; `where` names the Sheet."""
    known = Policies(policies, vocabulary)
    return [problem.line for problem in sheet_problems(sheet, primary_columns, secondary_columns, known, where)]


def sheet_problems(
    sheet: Sheet, primary: Schema, secondaries: Mapping[str, Schema], policies: Policies, where: str
) -> Iterator[WorkbenchError]:
    """What is wrong with a Sheet over tables of these columns; what rests on a broken join is left out."""
    try:
        joined = joined_columns(sheet, primary, secondaries, where)
    except WorkbenchError as error:
        yield error
        return
    yield from _name_problems(sheet, joined.schema, where)
    for name in sheet.spec.content_columns:
        if name not in primary:
            yield DefinitionError(
                f"{where}: spec.item_ref.content_of: the primary table has no column '{name}'{nearest(name, primary)}"
            )
    yield from _key_problems(sheet, policies, where)
    for check in _checks(sheet, secondaries, joined, policies, where):
        try:
            check()
        except WorkbenchError as error:
            yield error


def _key_problems(sheet: Sheet, policies: Policies, where: str) -> Iterator[WorkbenchError]:
    """Key columns that may not be seen everywhere: `item_ref` stands in every table, ledger and export."""
    for column in sheet.spec.key_columns:
        for tag in sheet.spec.columns.get(column, ColumnSpec()).tags:
            policy = policies.tags.get(tag)
            if policy is None or policy.prohibited_uses or policy.data_classification == CLASSIFICATIONS[-1]:
                yield DefinitionError(
                    f"{where}: spec.item_ref: the key column '{column}' carries the tag {tag}, and a key stands in every "
                    "table and export; name a key that may be seen, such as a number or a digest"
                )


def _name_problems(sheet: Sheet, schema: Schema, where: str) -> Iterator[WorkbenchError]:
    spec = sheet.spec
    for name in schema:
        if name in RESERVED or (name == "item_ref" and spec.key_columns != (name,)):
            yield SourceError(f"{where}: the column '{name}' has a name the snapshot needs itself; rename it")
    named = [("spec.item_ref", name) for name in spec.key_columns] + [("spec.columns", name) for name in spec.columns]
    if spec.sample is not None and spec.sample.by is not None:
        named.append(("spec.sample.by", spec.sample.by))
    for field, name in named:
        if name not in schema:
            yield DefinitionError(
                f"{where}: {field}: unknown column '{name}'{_one_column(schema) or nearest(name, schema)}"
            )


def _one_column(schema: Schema) -> str | None:
    """What to do about a text file whose columns are one, since another character separates them."""
    found = next((one for one in SEPARATORS if len(schema) == 1 and one in next(iter(schema))), None)
    return (
        None if found is None else f"; the only column is '{next(iter(schema))}': set `read: {{separator: {found!r}}}`"
    )


def _checks(
    sheet: Sheet, secondaries: Mapping[str, Schema], joined: JoinedColumns, policies: Policies, where: str
) -> Iterator[Callable[[], object]]:
    spec = sheet.spec
    if spec.filter_condition is not None:
        yield partial(compile_filter, spec.filter_condition, joined.schema, f"{where}: spec.filter_condition")
    yield lambda: list(standing_statements(sheet, joined.origins, policies, where))
    yield lambda: row_rules(sheet, policies, where)
    for number, rule in enumerate(spec.usage.rows):
        yield partial(compile_filter, rule.when, joined.schema, f"{where}: spec.usage.rows[{number}].when")
    for source in spec.secondary_sources:
        place = f"{where}: spec.secondary_sources.{source.name}.usage"
        keys = key_names(sheet)
        own = secondaries[source.name] if source.type == "table" else volume_columns(source)
        columns = {n: pl.String() if n in keys else dtype for n, dtype in own.items()}
        yield partial(source_rules, source.usage, source.name, (), policies, where)
        for number, rule in enumerate(source.usage.rows if source.usage else ()):
            yield partial(compile_filter, rule.when, columns, f"{place}.rows[{number}].when")
