"""Every problem of a project, in the order in which a person would mend them."""

from __future__ import annotations

from collections.abc import Callable, Collection as Names, Iterator, Mapping

import polars as pl

from workbench_pipelines.catalog import Catalog, Problem, Sheet
from workbench_pipelines.catalog.collection_specs import EXPORT_FORMATS
from workbench_pipelines.errors import WorkbenchError
from workbench_pipelines.promotions import check_promotion
from workbench_pipelines.publishing import Lock, lock_problems
from workbench_pipelines.validation.collections import collection_problems, example_store_problems
from workbench_pipelines.validation.surroundings import Surroundings, problem
from workbench_pipelines.validation.templates import label_type_problems, template_problems
from workbench_pipelines.validation.training_sheets import sheet_column_problems, training_sheet_problems
from workbench_pipelines.validation.usage import usage_problems


def check_project(
    catalog: Catalog,
    *,
    columns_of: Callable[[Sheet], Mapping[str, pl.DataType]],
    lock: Lock | None = None,
    known_formats: Names[str] = EXPORT_FORMATS,
    sheet_problems: Callable[[Sheet], list[str]] | None = None,
    check_rule: Callable[[str], None] = check_promotion,
) -> list[Problem]:
    """Every problem of the definitions: of single documents, of references among them, and against their sources.

    Args:
        columns_of: the columns that a Sheet's sources hold together; where it raises, its line is told once and the
            checks that need columns are left out.
        lock: the hashes of published template versions.
        known_formats: the export formats that can be written.
        sheet_problems: lines for what is wrong between a Sheet and the columns of its sources.
        check_rule: raises where a `promote_if` is no rule.
    """
    world = Surroundings(catalog, columns_of, known_formats)
    found = [
        *catalog.problems,
        *usage_problems(world),
        *label_type_problems(world),
        *template_problems(world),
        *sheet_column_problems(world),
        *(_between_sheets_and_sources(world, sheet_problems) if sheet_problems else ()),
        *training_sheet_problems(world),
        *collection_problems(world, check_rule),
        *example_store_problems(world),
        *lock_problems(catalog, lock or {}),
    ]
    # Two checks may find one fault; a line is told once.
    return list({one.line: one for one in found}.values())


def _between_sheets_and_sources(world: Surroundings, sheet_problems: Callable[[Sheet], list[str]]) -> Iterator[Problem]:
    for file, sheet in world.documents(Sheet):
        if isinstance(world.columns(sheet), WorkbenchError):
            continue
        try:
            lines: list[str | WorkbenchError] = [*sheet_problems(sheet)]
        except WorkbenchError as error:
            lines = [error]
        for line in lines:
            yield problem(file, sheet, line)
