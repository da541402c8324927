"""A Sheet's sources against the data contract that it names: what is not as promised, before a row goes on."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import PurePosixPath

import polars as pl

from workbench_pipelines.catalog import Sheet
from workbench_pipelines.errors import DefinitionError, SourceError, WorkbenchError
from workbench_pipelines.sheet_columns import key_names
from workbench_pipelines.source_contract import (
    PromisedTable,
    Schema,
    SourceContract,
    contract_text,
    row_problems,
    schema_problems,
    unstated_tags,
)


def contract_problems(
    contract: SourceContract, sheet: Sheet, columns: Mapping[str, Schema], tags: Collection[str], where: str
) -> Iterator[WorkbenchError]:
    """What is not as promised and shows in the columns alone.

    Args:
        columns: those of each table by source name, the primary one under ''.
        tags: the tags that a policy speaks of.
    """
    keys = key_names(sheet)
    for source, promised in _promised(contract, sheet, columns, where):
        place = _place(sheet, source, where)
        line = schema_problems(promised, columns[source], place, text_columns=keys)
        if line is not None:
            yield SourceError(line)
        stated = {
            name: (*sheet.spec.source_tags, *(sheet.spec.columns[name].tags if name in sheet.spec.columns else ()))
            for name in columns[source]
        }
        for unstated in unstated_tags(promised, stated, sorted(tags)):
            column, _, tag = unstated.partition(": ")
            yield DefinitionError(
                f"{where}: spec.columns: the contract says that '{column}' is {tag}, and the Sheet does not; "
                f"write `{column}: {{tags: [{tag}]}}`"
            )


def refuse_broken_contract(
    contract: SourceContract, sheet: Sheet, tables: Mapping[str, pl.DataFrame], tags: Collection[str], where: str
) -> None:
    """Holds the tables of a Sheet to its contract, columns first and then rows.

    Raises:
        SourceError: for columns that are missing, new, renamed or of another type, and for rows that break a promise.
        DefinitionError: for a contract that does not fit the Sheet.
    """
    # An empty column has no type of its own: what stands in a file as nothing is read as text.
    columns = {
        source: {
            name: pl.Null() if rows.height and rows[name].null_count() == rows.height else dtype
            for name, dtype in rows.schema.items()
        }
        for source, rows in tables.items()
    }
    for problem in contract_problems(contract, sheet, columns, tags, where):
        raise problem
    broken = [
        line
        for source, promised in _promised(contract, sheet, columns, where)
        for line in row_problems(promised, tables[source], _place(sheet, source, where))
    ]
    if broken:
        raise SourceError("; also ".join(broken))


def contract_of_now(sheet: Sheet, columns: Mapping[str, Schema]) -> str:
    """A contract (YAML) that promises what the sources of a Sheet hold now."""
    tables = {source or sheet.name: schema for source, schema in columns.items()}
    stated = {name: column.tags for name, column in sheet.spec.columns.items()}
    return contract_text(sheet.name, tables, sheet.spec.key_columns, stated)


def _promised(
    contract: SourceContract, sheet: Sheet, columns: Mapping[str, Schema], where: str
) -> Iterator[tuple[str, PromisedTable]]:
    """The tables of a Sheet that the contract speaks of; of a joined one it may say nothing."""
    for source in columns:
        names = (source,) if source else (sheet.name, PurePosixPath(sheet.spec.primary_table).stem)
        promised = contract.table(*names)
        if promised is not None:
            yield source, promised
        elif not source:
            named = " or ".join(dict.fromkeys(names))
            raise DefinitionError(
                f"{where}: spec.contract: {contract.file} promises {', '.join(contract.tables)}, and no table {named}"
            )


def _place(sheet: Sheet, source: str, where: str) -> str:
    if not source:
        return f"{where}: {sheet.spec.primary_table}"
    return f"{where}: {next(one.path for one in sheet.spec.secondary_sources if one.name == source)}"
