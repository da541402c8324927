"""The names under which classes are shown: a class is an answer, and in figures and charts everybody reads it."""

from __future__ import annotations

from collections.abc import Iterable

import polars as pl

from workbench_pipelines.catalog import Catalog, Collection
from workbench_pipelines.evaluation import OTHER
from workbench_pipelines.restrictions import restrictions_of
from workbench_pipelines.training import class_name


def shown_classes(
    catalog: Catalog, collection: Collection, rows: pl.DataFrame, target: str, classes: Iterable[str]
) -> dict[str, str]:
    """Each class with the name it is shown by: its own where every Sheet is open, or where a template names it anyway.

    The others are counted: `(class 1)`, `(class 2)`, in the order of their names.

    Input columns: sheet.
    """
    names = sorted(set(classes))
    if set(rows["sheet"]) <= set(restrictions_of(catalog).open_sheets):
        return {name: name for name in names}
    fields = (
        field
        for member in collection.spec.members
        for field in catalog.template_for(catalog.training_sheet(member.training_sheet)).spec.output_schema
        if field.name == target
    )
    told = {OTHER, *(class_name(value)[0] for field in fields for value in field.enum or ())}
    hidden = [name for name in names if name not in told]
    return {name: name for name in names} | {name: f"(class {n})" for n, name in enumerate(hidden, start=1)}
