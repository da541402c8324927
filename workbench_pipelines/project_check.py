"""Everything that is wrong with a project, one line each: documents, references, sources, filters, templates and lock."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import polars as pl

from workbench_pipelines.asking import model_of
from workbench_pipelines.catalog import Catalog, Sheet
from workbench_pipelines.clients.attachments import refuse_images
from workbench_pipelines.clients.llm import check_model_id
from workbench_pipelines.errors import WorkbenchError
from workbench_pipelines.example_rendering import pin_problems
from workbench_pipelines.labels import fold_labels
from workbench_pipelines.publishing import parse_lock, updated_lock
from workbench_pipelines.sheet_columns import check_sheet_columns, joined_columns
from workbench_pipelines.sheet_contract import contract_problems
from workbench_pipelines.validation import check_project
from workbench_pipelines.workbench import Workbench


def project_problems(workbench: Workbench, *, strict: bool = False) -> list[str]:
    """The problem lines of a project, in the order of its files; none where all is in order.

    Args:
        strict: a published template version that the lock does not hold is a problem too.
    """
    catalog = workbench.catalog()
    policies_broken = next((p.line for p in catalog.problems if p.kind == "UsagePolicy"), None)
    lock_text = workbench.files.published_lock() or ""

    def columns_of(sheet: Sheet) -> Mapping[str, pl.DataType]:
        columns = workbench.source_columns(catalog, sheet)
        return joined_columns(sheet, columns[""], _joined(columns), f"Sheet {sheet.name}").schema

    def sheet_problems(sheet: Sheet) -> list[str]:
        if policies_broken is not None:
            return []  # said once, for the policy itself
        try:
            columns = workbench.source_columns(catalog, sheet)
            if sheet.spec.expectations is not None:
                workbench.beside("Sheet", sheet.name, sheet.spec.expectations)
            where = f"{catalog.file_of('Sheet', sheet.name)}: Sheet {sheet.name}"
            contract = workbench.contract_of(sheet)
            if contract is not None:
                broken = contract_problems(contract, sheet, columns, catalog.tag_policies(), where)
                if lines := [problem.line for problem in broken]:
                    return lines
        except WorkbenchError as error:
            return [error.line]
        return check_sheet_columns(
            sheet, columns[""], _joined(columns), catalog.tag_policies(), catalog.vocabulary(), where
        )

    try:
        lock = parse_lock(lock_text)
    except WorkbenchError as error:
        return [error.line]
    found = check_project(catalog, columns_of=columns_of, lock=lock, sheet_problems=sheet_problems)
    lines = [problem.line for problem in found]
    if strict:
        new = set(updated_lock(catalog, lock).splitlines()) - set(lock_text.splitlines())
        lines += [
            f"templates/published.lock lacks {line.rpartition(' ')[0]}; run `workbench publish`" for line in sorted(new)
        ]
    return list(
        dict.fromkeys(
            [
                *lines,
                *_unknown_models(workbench, catalog),
                *pin_problems(workbench, catalog),
                *_orphaned_labels(workbench, catalog),
            ]
        )
    )


def _unknown_models(workbench: Workbench, catalog: Catalog) -> Iterator[str]:
    """The TrainingSheets that ask a model of which no provider is known, or one that can not read their images; whether its
    key is there, a run says."""
    for training_sheet in catalog.training_sheets():
        if training_sheet.spec.labeling_mode != "ai_generated":
            continue
        try:
            template = catalog.template_for(training_sheet)
        except WorkbenchError:
            continue  # the reference itself is a problem that is said
        where = f"{catalog.file_of('TrainingSheet', training_sheet.name)}: TrainingSheet {training_sheet.name}"
        try:
            model = model_of(workbench, training_sheet, template)
        except WorkbenchError as error:
            yield error.line
            continue
        try:
            check_model_id(model)
            if template.spec.attachments:
                refuse_images(model)
        except WorkbenchError as error:
            yield f"{where}: spec.model: {error.line}"


def _orphaned_labels(workbench: Workbench, catalog: Catalog) -> list[str]:
    """Names that experts' labels hang on and that no document has any more."""
    labels = fold_labels(workbench.decisions(), None).filter(pl.col("active"))
    sheets = set(catalog.names("Sheet"))
    for name in list(sheets):
        try:
            sheets |= set(catalog.sheet(name).metadata.formerly)
        except WorkbenchError:
            continue  # a broken document says so itself
    lines = []
    for column, kind, known in (("sheet", "Sheet", sheets), ("label_type", "label type", set(catalog.label_types()))):
        for name, count in labels.group_by(column).len().sort(column).iter_rows():
            if name not in known:
                lines.append(
                    f"sheets/: {kind} {name} holds {count} labels of experts and is no longer defined; "
                    "put it back, or name it in `formerly` of the one that took its place"
                )
    return lines


def _joined(columns: Mapping[str, Mapping[str, pl.DataType]]) -> dict[str, Mapping[str, pl.DataType]]:
    """The columns of the joined tables, without the primary one."""
    return {name: schema for name, schema in columns.items() if name}
