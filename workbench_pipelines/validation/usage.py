"""Checks of what Sheets and policies state: uses, classifications and tags that nobody knows would deny in silence."""

from __future__ import annotations

from collections.abc import Iterator

from workbench_pipelines.catalog import Domain, Problem, Sheet, UsagePolicy, UsageSpec
from workbench_pipelines.catalog.documents import TagPolicy
from workbench_pipelines.catalog.loading import default_policy
from workbench_pipelines.errors import DefinitionError, nearest
from workbench_pipelines.usage import known_classification, known_use
from workbench_pipelines.validation.surroundings import Surroundings, problem


def usage_problems(world: Surroundings) -> Iterator[Problem]:
    """Unknown uses, classifications and tags, in Sheets, their sources, and policies."""
    vocabulary = world.catalog.vocabulary()
    tags = set(default_policy().spec.tags)
    for file, policy in world.documents(UsagePolicy):
        tags |= set(policy.spec.tags)
        for tag, tag_policy in policy.spec.tags.items():
            for message in _statement_problems(f"spec.tags.{tag}", tag_policy, vocabulary):
                yield problem(file, policy, message)
    for file, domain in world.documents(Domain):
        for message in _statement_problems("spec.usage", domain.spec.usage, vocabulary) if domain.spec.usage else ():
            yield problem(file, domain, message)
    for file, sheet in world.documents(Sheet):
        for where, stated in _statements(sheet):
            for message in _statement_problems(where, stated, vocabulary):
                yield problem(file, sheet, message)
        for where, tag in _tags(sheet):
            if tag not in tags:
                yield problem(file, sheet, f"{where}: unknown tag '{tag}'{nearest(tag, tags)}")


def _statement_problems(where: str, stated: UsageSpec | TagPolicy, vocabulary: tuple[str, ...]) -> Iterator[str]:
    uses = [("allowed_uses", use) for use in stated.allowed_uses or ()]
    uses += [("prohibited_uses", use) for use in stated.prohibited_uses]
    for field, use in uses:
        try:
            known_use(use, vocabulary, f"{where}.{field}")
        except DefinitionError as error:
            yield error.line
    if stated.data_classification is not None:
        try:
            known_classification(stated.data_classification, f"{where}.data_classification")
        except DefinitionError as error:
            yield error.line


def _statements(sheet: Sheet) -> Iterator[tuple[str, UsageSpec]]:
    yield "spec.usage", sheet.spec.usage
    for source in sheet.spec.secondary_sources:
        if source.usage is not None:
            yield f"spec.secondary_sources.{source.name}.usage", source.usage


def _tags(sheet: Sheet) -> Iterator[tuple[str, str]]:
    spec = sheet.spec
    for tag in spec.source_tags:
        yield "spec.source_tags", tag
    for column, described in spec.columns.items():
        for tag in described.tags:
            yield f"spec.columns.{column}", tag
    for source in spec.secondary_sources:
        for tag in source.source_tags:
            yield f"spec.secondary_sources.{source.name}.source_tags", tag
    for where, stated in _statements(sheet):
        for number, rule in enumerate(stated.rows):
            for tag in rule.tags:
                yield f"{where}.rows.{number}", tag
