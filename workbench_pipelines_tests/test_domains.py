"""The glossary and rules of a domain are shown to any template, count as shown, and are items of their own."""

from __future__ import annotations

from typing import Any

import pytest

from workbench_pipelines.catalog import Domain
from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.domains import domain_table, shown_domain
from workbench_pipelines.errors import DefinitionError
from workbench_pipelines.planning import render_now
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    define,
    one_line,
    provider,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)  # fmt: skip

__all__ = ["provider"]

TERMS = [
    {"term": "dunning", "definition": "a reminder to pay", "aliases": ["reminder"]},
    {"term": "SSO", "definition": "single sign-on"},
]
RULES = [{"name": "money-first", "text": "What is about money goes to billing."}]
TEXT = "{{ domain.glossary }}\n{{ domain.rules }}\nWhich team? {{ subject }}"


def domain(**spec: Any) -> dict[str, Any]:
    return make_document("Domain", "support", **{"glossary": TERMS, "rules": RULES, **spec})


def prompts(project: Project) -> Any:
    return render_now(project.workbench, "drafted").frame


def test_a_template_sees_terms_and_rules() -> None:
    shown = shown_domain(Domain.model_validate(domain()))
    assert shown["glossary"] == "- dunning (also: reminder): a reminder to pay\n- SSO: single sign-on"
    assert shown["rules"] == "- What is about money goes to billing."
    assert domain_table(Domain.model_validate(domain()), "rules").rows() == [("money-first", RULES[0]["text"])]


def test_what_a_domain_says_is_part_of_what_is_asked(project: Project) -> None:
    put(project, tickets(2))
    define(project, sheet(), training_sheet(domain="support"), template(TEXT), domain())
    before = prompts(project)
    assert "- dunning (also: reminder): a reminder to pay" in before["messages"][0][0]["content"]
    assert "domain" not in before["inputs"][0]
    define(project, sheet(), training_sheet(domain="support"), template(TEXT), domain(rules=[]))
    after = prompts(project)
    assert after["prompt_hash"].to_list() != before["prompt_hash"].to_list()
    assert after["seen_hash"].to_list() == before["seen_hash"].to_list()  # labels of people stand: the item is the same


def test_what_a_domain_prohibits_holds_for_pairs_that_show_it_alone(
    project: Project, provider: ScriptedProvider
) -> None:
    put(project, tickets(1))
    secret = domain(usage={"prohibited_uses": ["training"], "data_classification": "confidential"})
    own = {"name": "plain", "text": "Which? {{ subject }}"}
    define(
        project,
        sheet(),
        training_sheet(domain="support"),
        training_sheet("plainly", domain="support", template="plain"),
        template(TEXT),
        template(**own),
        secret,
    )
    assert project("run").code in (0, 5)
    rows = {row["training_sheet"]: row for row in project.table("label", "labeled_pairs").to_dicts()}
    assert rows["drafted"]["allowed_uses"] == ["evaluation", "validation"]
    assert rows["drafted"]["data_classification"] == "confidential"
    assert rows["plainly"]["allowed_uses"] == ["evaluation", "training", "validation"]


def test_the_terms_of_a_domain_are_the_items_of_a_sheet(project: Project, provider: ScriptedProvider) -> None:
    provider.answer_by(lambda body: '{"team": "billing"}')
    terms = sheet("terms", "domain:support/glossary", item_ref="term")
    asked = training_sheet("asked", sheet="terms")
    define(project, terms, asked, template("Whose word is {{ term }}: {{ definition }}?"), domain())
    assert project("validate").code == 0
    assert project("run").code in (0, 5)
    assert project.table("label", "labeled_pairs")["item_ref"].sort().to_list() == ["SSO", "dunning"]


def test_what_a_domain_states_holds_for_its_terms_as_items_too(project: Project) -> None:
    terms = sheet("terms", "domain:support/glossary", item_ref="term")
    asked = training_sheet("drafted", sheet="terms")
    define(project, terms, asked, template("{{ term }}"), domain(usage={"prohibited_uses": ["training"]}))
    assert "Domain support" in prompts(project)["usage_statements"][0]


def test_validate_says_what_is_wrong_with_a_domain(project: Project) -> None:
    put(project, tickets(1))
    define(project, sheet(), training_sheet(domain="suport"), template(TEXT), domain())
    assert "spec.domain: there is no Domain 'suport'; did you mean 'support'?" in project("validate").err
    define(project, sheet(), training_sheet(domain="support"), template(TEXT), domain(glossary=[TERMS[0], TERMS[0]]))
    assert "the term 'dunning' stands twice" in project("validate").err
    define(
        project, sheet(), training_sheet(domain="support"), template(TEXT), domain(usage={"allowed_uses": ["trainig"]})
    )
    assert "Domain support: spec.usage.allowed_uses: unknown use 'trainig'" in one_line(project("validate"))
    with pytest.raises(DefinitionError, match=r"Domain support: spec\.usage: unknown use 'trainig'"):
        prompts(project)
    define(project, sheet(table="domain:support/words"), training_sheet(domain="support"), template(TEXT), domain())
    assert "names no table of a Domain" in project("validate").err


def test_a_domain_states_no_rows() -> None:
    with pytest.raises(ValueError, match="a domain has no rows"):
        Domain.model_validate(domain(usage={"rows": [{"when": "a = 1", "tags": ["PHI"]}]}))
