"""Domains: the glossary and the business rules of a field, as templates see them and as rows of a Sheet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from workbench_pipelines.catalog import Domain, UsageSpec
from workbench_pipelines.errors import DefinitionError, nearest
from workbench_pipelines.stated_policies import domain_policy
from workbench_pipelines.usage import UsageStatement, statements_from_json, statements_to_json

DOMAIN = "domain"
"""The variable that holds the domain of a TrainingSheet."""
SCHEME = "domain:"
"""What the `primary_table` of a Sheet begins with whose items are terms or rules: `domain:billing/glossary`."""
TABLES = ("glossary", "rules")


def shown_domain(domain: Domain) -> Mapping[str, Any]:
    """What a template sees: `glossary` and `rules` as lists in Markdown, `terms` and `named_rules` to go through one by one."""
    spec = domain.spec
    terms = [{"term": one.term, "definition": one.definition, "aliases": list(one.aliases)} for one in spec.glossary]
    return {
        "name": domain.name,
        "description": domain.metadata.description or "",
        "glossary": "\n".join(_term_line(one) for one in terms),
        "rules": "\n".join(f"- {one.text}" for one in spec.rules),
        "terms": terms,
        "named_rules": [{"name": one.name, "text": one.text} for one in spec.rules],
    }


def domain_statements(domain: Domain) -> list[UsageStatement]:
    """What a domain states of the pairs that show it: of one that states nothing, that it does."""
    usage = domain.spec.usage or UsageSpec()
    return [
        UsageStatement(
            source=f"Domain {domain.name}",
            allowed_uses=usage.allowed_uses,
            prohibited_uses=usage.prohibited_uses,
            data_classification=usage.data_classification,
            reason=usage.reason,
            policy=domain_policy(domain),
        )
    ]


def also_stated(items: pl.DataFrame, statements: Sequence[UsageStatement]) -> pl.DataFrame:
    """Items with what is stated of each and every one of them besides."""
    known = items["usage_statements"].unique().to_list()
    more = {text: statements_to_json([*statements_from_json(text), *statements]) for text in known}
    return items.with_columns(pl.col("usage_statements").replace_strict(more, return_dtype=pl.String))


def domain_named(path: str) -> tuple[str, str] | None:
    """The Domain and its table that a `primary_table` names; None for the path of a file.

    Raises:
        DefinitionError: for a table that no Domain has.
    """
    if not path.startswith(SCHEME):
        return None
    name, _, table = path.removeprefix(SCHEME).partition("/")
    if table not in TABLES:
        known = f"{SCHEME}{name}/{TABLES[0]}, {SCHEME}{name}/{TABLES[1]}"
        raise DefinitionError(f"'{path}' names no table of a Domain{nearest(table, TABLES)}; known: {known}")
    return name, table


def domain_table(domain: Domain, table: str) -> pl.DataFrame:
    """The terms (term, definition, aliases: one text) or rules (name, text) of a domain, a row each."""
    if table == "rules":
        rules = [(one.name, one.text) for one in domain.spec.rules]
        return pl.DataFrame(rules, schema={"name": pl.String, "text": pl.String}, orient="row")
    terms = [(one.term, one.definition, ", ".join(one.aliases)) for one in domain.spec.glossary]
    return pl.DataFrame(terms, schema=dict.fromkeys(("term", "definition", "aliases"), pl.String), orient="row")


def _term_line(term: Mapping[str, Any]) -> str:
    also = f" (also: {', '.join(term['aliases'])})" if term["aliases"] else ""
    return f"- {term['term']}{also}: {term['definition']}"
