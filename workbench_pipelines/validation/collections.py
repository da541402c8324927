"""Checks of Collection and ExampleStore documents: members, formats, trainers, splits and the rule of promotion."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from workbench_pipelines.catalog import Collection, ColumnSpec, ExampleStore, Problem, PromptTemplate
from workbench_pipelines.errors import WorkbenchError, nearest
from workbench_pipelines.filters import columns_in, compile_filter
from workbench_pipelines.promotions import METRICS
from workbench_pipelines.validation.surroundings import Surroundings, problem

EMBEDDING_MODELS = ("wordllama",)


def collection_problems(world: Surroundings, check_promotion: Callable[[str], None]) -> Iterator[Problem]:
    """Members, formats, targets, split columns and rules that name what is not there."""
    for file, collection in world.documents(Collection):
        for messages in (
            _member_problems(world, collection),
            _filter_problems(world, collection),
            _format_problems(world, collection),
            _trainer_problems(world, collection),
            _split_problems(world, collection),
            _evaluation_problems(collection, check_promotion),
        ):
            for message in messages:
                yield problem(file, collection, message)


def example_store_problems(world: Surroundings) -> Iterator[Problem]:
    """Example stores that take labels of an unknown task, or are embedded by a model that there is not."""
    known = world.catalog.label_types()
    for file, store in world.documents(ExampleStore):
        model = store.spec.embedding_model
        if model not in EMBEDDING_MODELS:
            message = f"spec.embedding_model: unknown model '{model}'{nearest(model, EMBEDDING_MODELS)}"
            yield problem(file, store, message)
        for name in store.spec.label_types:
            if name not in known:
                message = f"spec.label_types: there is no label_type '{name}'{nearest(name, known)}"
                yield problem(file, store, message)


def _member_problems(world: Surroundings, collection: Collection) -> Iterator[str]:
    known = world.catalog.names("TrainingSheet")
    names = [member.training_sheet for member in collection.spec.members]
    for name in dict.fromkeys(names):
        if name not in known:
            yield f"spec.members: there is no TrainingSheet '{name}'{nearest(name, known)}"
        if names.count(name) > 1:
            yield f"spec.members: '{name}' stands {names.count(name)} times; name it once and give it a weight"


def _filter_problems(world: Surroundings, collection: Collection) -> Iterator[str]:
    for place, member in enumerate(collection.spec.members):
        sheet = world.sheet_of(member.training_sheet)
        columns = world.columns(sheet) if sheet is not None and member.filter is not None else None
        if member.filter is None or sheet is None or columns is None or isinstance(columns, WorkbenchError):
            continue
        where = f"spec.members[{place}].filter"
        try:
            compile_filter(member.filter, columns, where)
            tagged = [
                name for name in columns_in(member.filter, where) if sheet.spec.columns.get(name, ColumnSpec()).tags
            ]
        except WorkbenchError as error:
            yield error.line
            continue
        for name in tagged:
            yield f"{where}: the column '{name}' is tagged; who is in a Collection would tell what it holds"


def _format_problems(world: Surroundings, collection: Collection) -> Iterator[str]:
    known = sorted(world.known_formats)
    for name in dict.fromkeys(collection.spec.formats):
        if name not in known:
            yield f"spec.formats: unknown format '{name}'{nearest(name, known)}"


def _templates(world: Surroundings, collection: Collection) -> list[PromptTemplate] | None:
    """The templates of all members, or None where one is not whole, so that nothing can be said of the others."""
    found = [world.template_of(member.training_sheet) for member in collection.spec.members]
    whole = [template for template in found if template is not None]
    return whole if len(whole) == len(found) else None


def _trainer_problems(world: Surroundings, collection: Collection) -> Iterator[str]:
    names = [trainer.name for trainer in collection.spec.trainers]
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield f"spec.trainers: the name '{name}' stands twice"
    templates = _templates(world, collection)
    if templates is None:
        return
    fields = [field for template in templates for field in template.spec.output_schema]
    outputs = {field.name for field in fields}
    for trainer in collection.spec.trainers:
        where = f"spec.trainers.{trainer.name}.target"
        if trainer.target is not None and trainer.target not in outputs:
            yield f"{where}: no member's template answers with '{trainer.target}'{nearest(trainer.target, outputs)}"
        if trainer.target is None and not any(field.enum for field in fields):
            yield f"{where}: no output field of the members has an enum to predict; name a target"


def _split_problems(world: Surroundings, collection: Collection) -> Iterator[str]:
    splits = collection.spec.splits
    found = [world.sheet_of(member.training_sheet) for member in collection.spec.members]
    sheets = {sheet.name: sheet for sheet in found if sheet is not None}
    columns = [world.columns(sheet) for sheet in sheets.values()]
    if None in found or any(isinstance(one, WorkbenchError) for one in columns):
        return
    known: Sequence[str] = sorted({name for one in columns if not isinstance(one, WorkbenchError) for name in one})
    for where, column in (("group_by", splits.group_by), ("stratify_by", splits.stratify_by)):
        if column is not None and column not in known:
            yield f"spec.splits.{where}: no member's Sheet has a column '{column}'{nearest(column, known)}"


def _evaluation_problems(collection: Collection, check_promotion: Callable[[str], None]) -> Iterator[str]:
    evaluation = collection.spec.evaluation
    for metric in evaluation.metrics:
        if metric not in METRICS:
            yield f"spec.evaluation.metrics: unknown metric '{metric}'{nearest(metric, METRICS)}"
    if evaluation.promote_if is not None:
        try:
            check_promotion(evaluation.promote_if)
        except WorkbenchError as error:
            yield f"spec.evaluation.{error.line}"
