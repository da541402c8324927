"""What definitions are checked against: each other, the columns of the sources, and what this version can write."""

from __future__ import annotations

from collections.abc import Callable, Collection as Names, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import polars as pl

from workbench_pipelines.catalog import Catalog, Problem, PromptTemplate, Sheet
from workbench_pipelines.catalog.documents import Document
from workbench_pipelines.errors import DefinitionError, TemplateError, WorkbenchError
from workbench_pipelines.templates import CompiledTemplate, compile_template

D = TypeVar("D", bound=Document)

Columns = Mapping[str, pl.DataType]


@dataclass(frozen=True)
class Surroundings:
    """A catalog with its compiled templates and the columns of its Sheets, each looked up once."""

    catalog: Catalog
    columns_of: Callable[[Sheet], Columns]
    known_formats: Names[str]
    _columns: dict[str, Columns | WorkbenchError] = field(default_factory=dict)
    _compiled: dict[tuple[str, str], CompiledTemplate | TemplateError] = field(default_factory=dict)

    def documents(self, model: type[D]) -> Iterator[tuple[str, D]]:
        """Every document of a kind that parses, with its file."""
        for one in self.catalog.parsed:
            if isinstance(one.document, model):
                yield one.file, one.document

    def columns(self, sheet: Sheet) -> Columns | WorkbenchError:
        """The columns a Sheet's sources hold with the name every item has, or why they can not be known."""
        if sheet.name not in self._columns:
            try:
                self._columns[sheet.name] = {"item_ref": pl.String(), **self.columns_of(sheet)}
            except WorkbenchError as error:
                self._columns[sheet.name] = error
        return self._columns[sheet.name]

    def compiled(self, file: str, template: PromptTemplate) -> CompiledTemplate | TemplateError:
        """A template version ready to render, or why it is not."""
        key = (template.name, template.spec.version)
        if key not in self._compiled:
            where = f"{file}: PromptTemplate {template.name}: version {template.spec.version}"
            try:
                self._compiled[key] = compile_template(template, self.catalog.template_sources(), where)
            except TemplateError as error:
                self._compiled[key] = error
        return self._compiled[key]

    def sheet_of(self, training_sheet: str) -> Sheet | None:
        """The Sheet of a TrainingSheet, where both are whole."""
        try:
            return self.catalog.sheet(self.catalog.training_sheet(training_sheet).spec.sheet)
        except DefinitionError:
            return None

    def template_of(self, training_sheet: str) -> PromptTemplate | None:
        """The template version of a TrainingSheet, where both are whole."""
        try:
            return self.catalog.template_for(self.catalog.training_sheet(training_sheet))
        except DefinitionError:
            return None


def problem(file: str, document: Document, message: str | Exception) -> Problem:
    """A problem of a document; an error that already begins with the file and the document keeps its words once."""
    text = message.line if isinstance(message, WorkbenchError) else str(message)
    for prefix in (f"{file}: ", f"{document.kind} {document.name}: "):
        text = text.removeprefix(prefix)
    return Problem(file, document.kind, document.name, text)
