"""Stated policies: what a definition states of uses, as a digest that travels with every statement that is made of it.

A pair names all that it was judged by (`policies`: ``Sheet invoices 3f0c...``). Where one of these says something else by now,
nobody has looked at the pair by what it says: no door opens for it until a run did. Reasons are no part of a digest.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import polars as pl

from workbench_pipelines.catalog import Catalog, Domain, Sheet, TagPolicy, TrainingSheet, UsageSpec
from workbench_pipelines.errors import ExportError, WorkbenchError
from workbench_pipelines.identity import digest
from workbench_pipelines.usage import UsageStatement, statements_from_json

# Of a digest, so many characters: enough to tell two versions of one definition apart.
_LENGTH = 16
UNKNOWN = "by which policies its pairs were judged is not on record"

F = TypeVar("F", pl.DataFrame, pl.LazyFrame)


def sheet_policy(sheet: Sheet, policies: Mapping[str, TagPolicy]) -> str:
    """What a Sheet states of its items: its usage, its tags and what they stand for, those of columns and joined sources."""
    spec = sheet.spec
    sources = {
        source.name: [_usage(source.usage), sorted(source.source_tags), list(source.join_keys)]
        for source in spec.secondary_sources
    }
    columns = {column: sorted(described.tags) for column, described in spec.columns.items() if described.tags}
    tags = sorted({*spec.source_tags, *(tag for named in columns.values() for tag in named)} | _tags_of(sheet))
    stated = {
        "usage": _usage(spec.usage),
        "source_tags": sorted(spec.source_tags),
        "columns": columns,
        "keys": list(spec.key_columns),
        "sources": sources,
        "tags": {tag: _dumped(policies[tag]) for tag in tags if tag in policies},
    }
    return _named("Sheet", sheet.name, stated)


def domain_policy(domain: Domain) -> str:
    """What a Domain states of the pairs that show it."""
    return _named("Domain", domain.name, _usage(domain.spec.usage))


def rubric_policy(training_sheet: TrainingSheet) -> str:
    """What the rubric of a TrainingSheet's judge states of the pairs that are judged by it."""
    judge = training_sheet.spec.quality.judge
    return _named("TrainingSheet", training_sheet.name, _usage(judge.usage if judge is not None else None))


def policies_of(statements: Iterable[UsageStatement]) -> list[str]:
    """The policies that statements were made of, each once."""
    return sorted({one.policy for one in statements if one.policy is not None})


def policies_in(texts: Iterable[str | None]) -> list[str]:
    """The policies of statements in the form in which they travel (`usage.statements_to_json`)."""
    return policies_of(one for text in texts if text for one in statements_from_json(text))


def with_policies(pairs: F) -> F:
    """Pairs with their `policies`; those of a table from before there were any have none."""
    if "policies" in pairs.lazy().collect_schema():
        return pairs
    return pairs.with_columns(pl.lit(None, pl.List(pl.String)).alias("policies"))


def policies_judged_by(pairs: pl.DataFrame) -> list[str]:
    """The policies that any of these pairs was judged by."""
    return with_policies(pairs)["policies"].explode().drop_nulls().unique().sort().to_list()


def outdated(catalog: Catalog, policies: Iterable[str]) -> dict[str, str]:
    """The policies that do not hold any more, each with a line that names the definition and says so."""
    found: dict[str, str] = {}
    for policy in sorted(set(policies)):
        kind, name, _ = policy.split(" ")
        try:
            today = catalog.today(kind, name)
            if _digest(_now(catalog, kind, today)) != _digest(policy):
                found[policy] = (
                    f"{catalog.file_of(kind, today)}: {kind} {today} states other uses than when its pairs were judged"
                )
        except WorkbenchError as error:
            found[policy] = error.line
    return found


def refuse_outdated(catalog: Catalog, pairs: pl.DataFrame, collection: str) -> None:
    """The gate before a door that opens by what was found of the pairs of a Collection earlier.

    Raises:
        ExportError: naming the first definition that states otherwise by now.
    """
    line = first_outdated(catalog, with_policies(pairs)["policies"].unique())
    if line is not None:
        raise ExportError(
            f"Collection {collection}: {line}; run `workbench run {collection}`, and its pairs are judged by what is stated now"
        )


def first_outdated(catalog: Catalog, judged_by: Iterable[Iterable[str] | None]) -> str | None:
    """Why pairs are not judged by what is stated now, in a line; None where they are.

    Args:
        judged_by: the policies that pairs were judged by; none at all are not known to be those of now.
    """
    known: set[str] = set()
    for policies in judged_by:
        names = [] if policies is None else list(policies)
        if not names:
            return UNKNOWN
        known.update(names)
    return next(iter(outdated(catalog, known).values()), None)


def _now(catalog: Catalog, kind: str, name: str) -> str:
    if kind == "Sheet":
        return sheet_policy(catalog.sheet(name), catalog.tag_policies())
    return domain_policy(catalog.domain(name)) if kind == "Domain" else rubric_policy(catalog.training_sheet(name))


def _named(kind: str, name: str, stated: Any) -> str:
    return f"{kind} {name} {digest([kind, stated])[:_LENGTH]}"


def _digest(policy: str) -> str:
    return policy.rpartition(" ")[2]


def _usage(usage: UsageSpec | None) -> dict[str, Any] | None:
    return None if usage is None else _dumped(usage)


def _dumped(said: UsageSpec | TagPolicy) -> dict[str, Any]:
    """A statement as it counts: without its reason, and whatever the order of its uses."""
    stated = said.model_dump(mode="json", exclude={"reason", "description"})
    uses = {name: sorted(stated[name]) for name in ("allowed_uses", "prohibited_uses") if stated[name] is not None}
    return {**stated, **uses}


def _tags_of(sheet: Sheet) -> set[str]:
    """The tags that rules and joined sources set."""

    def named() -> Iterator[str]:
        for usage in (sheet.spec.usage, *(source.usage for source in sheet.spec.secondary_sources)):
            for rule in usage.rows if usage is not None else ():
                yield from rule.tags
        for source in sheet.spec.secondary_sources:
            yield from source.source_tags

    return set(named())
