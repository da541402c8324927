"""Bindings: which column of a Sheet each variable of a template shows, and which variables find none."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from difflib import get_close_matches

from workbench_pipelines.catalog import PromptTemplate, TrainingSheet
from workbench_pipelines.derivation import derived_variables, made_variables
from workbench_pipelines.errors import nearest


def bindings_of(training_sheet: TrainingSheet, template: PromptTemplate, variables: Iterable[str]) -> dict[str, str]:
    """The column each template variable takes: the one that `bindings` names, else the one of its own name."""
    named = training_sheet.spec.bindings
    asked = set(variables) - set(derived_variables(training_sheet))
    return {variable: named.get(variable, variable) for variable in sorted(asked)}


def binding_problems(
    training_sheet: TrainingSheet, template: PromptTemplate, variables: Iterable[str], columns: Collection[str]
) -> Iterator[str]:
    """The variables that find no column; each line begins with the field that is to be mended."""
    spec = training_sheet.spec
    optional = {field.name for field in template.spec.input_schema if not field.required}
    for variable, column in bindings_of(training_sheet, template, variables).items():
        if column in columns or (variable not in spec.bindings and variable in made_variables(training_sheet)):
            continue
        if variable in spec.bindings:
            yield f"spec.bindings.{variable}: {_no_column(spec.sheet, column, columns)}"
        elif variable not in optional:
            close = get_close_matches(variable, columns, n=1, cutoff=0.6)
            hint = f"spec.bindings: {{{variable}: {close[0]}}}" if close else "spec.bindings"
            title = f"template '{template.name}' {template.spec.version}"
            missing = f"Sheet '{spec.sheet}' has no column '{variable}'"
            yield f"spec.template: no column binds variable '{variable}' of {title}: {missing}; bind it with {hint}"


def column_problems(training_sheet: TrainingSheet, columns: Collection[str]) -> Iterator[str]:
    """The response column, the column that is cut and the stratum of the sample, where the Sheet has no such ones."""
    spec = training_sheet.spec
    stratum = spec.items.sample.by if spec.items.sample else None
    cut = spec.chunks.column if spec.chunks else None
    for field, column in (("column", spec.column), ("chunks.column", cut), ("items.sample.by", stratum)):
        if column is not None and column not in columns:
            yield f"spec.{field}: {_no_column(spec.sheet, column, columns)}"


def _no_column(sheet: str, column: str, columns: Collection[str]) -> str:
    return f"Sheet '{sheet}' has no column '{column}'{nearest(column, columns)}"


def seen_columns_of(training_sheet: TrainingSheet, bindings: Mapping[str, str]) -> list[str]:
    """The columns a pair shows: those bound to variables, the one that is cut, and the one that holds the answer."""
    spec = training_sheet.spec
    others = {column for column in (spec.column, spec.chunks.column if spec.chunks else None) if column}
    return sorted({*bindings.values(), *others})
