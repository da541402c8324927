"""Checks of what a TrainingSheet says of quality: its rules, and the fields that it names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from workbench_pipelines.catalog import PromptTemplate, TrainingSheet
from workbench_pipelines.consistency import other_schemas, rule_columns
from workbench_pipelines.errors import WorkbenchError, nearest
from workbench_pipelines.fields import json_schema_of
from workbench_pipelines.filters import compile_filter
from workbench_pipelines.usage import known_classification, known_use
from workbench_pipelines.validation.surroundings import Surroundings


def quality_problems(world: Surroundings, training_sheet: TrainingSheet, template: PromptTemplate) -> Iterator[str]:
    """Rules over what no answer and no label has, fields that nobody answers, and uses that are not known."""
    spec = training_sheet.spec
    answered = {field.name for field in template.spec.output_schema}
    named = {"quality.language.fields": spec.quality.language.fields if spec.quality.language else ()}
    judge = spec.quality.judge
    named["quality.judge.calibrate.fields"] = judge.calibrate.fields if judge else ()
    for place, fields in named.items():
        for name in fields:
            if name not in answered:
                yield f"spec.{place}: template '{template.name}' answers with no '{name}'{nearest(name, answered)}"
    try:
        columns = rule_columns(json_schema_of(template.spec.output_schema), other_schemas(world.catalog, template))
        for rule in spec.consistency:
            for part, condition in (("when", rule.when), ("then", rule.then)):
                compile_filter(condition, columns, f"spec.consistency.{rule.name}.{part}")
    except WorkbenchError as error:
        yield error.line
    if judge is not None and judge.auto_approve:
        with suppress(WorkbenchError):  # a Sheet that is not there is said elsewhere
            review = world.catalog.sheet(spec.sheet).spec.review
            if review.two_persons or review.annotators > 1:
                yield "spec.quality.judge.auto_approve: its Sheet asks several people, and a judge stands in for none of them"
    if judge is not None and judge.usage is not None:
        where = "spec.quality.judge.usage"
        try:
            for use in (*(judge.usage.allowed_uses or ()), *judge.usage.prohibited_uses):
                known_use(use, world.catalog.vocabulary(), where)
            if judge.usage.data_classification is not None:
                known_classification(judge.usage.data_classification, where)
        except WorkbenchError as error:
            yield error.line
