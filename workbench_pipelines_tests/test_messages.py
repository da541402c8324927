"""A template may be a whole conversation: every turn is rendered, hashed, locked, sent and exported."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from workbench_pipelines.catalog import PromptTemplate
from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.errors import TemplateError
from workbench_pipelines.templates import CompiledTemplate, RenderError, compile_template, template_hash
from workbench_pipelines_tests.definition_world import YES_NO, make_catalog, make_document, template_document
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    collection,
    define,
    provider,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)

__all__ = ["provider"]

WHERE = "templates/t.yaml: PromptTemplate t"
TURNS = [
    {"role": "system", "content": "You check {{ what }}."},
    {"role": "user", "content": "Here is {{ x }}."},
    {"role": "assistant", "content": "I have read {{ x }}."},
    {"role": "user", "content": "Is it right?"},
]


def conversation(turns: list[dict[str, str]], **spec: Any) -> dict[str, Any]:
    given = {"version": "1.0.0", "status": "published", "label_type": "l", "output_schema": YES_NO, **spec}
    return make_document("PromptTemplate", "t", messages=turns, **given)


def compiled(turns: list[dict[str, str]], sources: dict[str, str] | None = None, **spec: Any) -> CompiledTemplate:
    return compile_template(PromptTemplate.model_validate(conversation(turns, **spec)), sources or {}, WHERE)


def said(messages: list[Any]) -> list[tuple[str, str]]:
    return [(one["role"], one["content"]) for one in messages]


def test_every_turn_is_rendered_and_every_turn_asks_for_its_variables() -> None:
    found = compiled(TURNS)
    assert found.variables == {"what", "x"}
    assert said(found.render({"what": "sums", "x": "2 + 2 = 4"})) == [
        ("system", "You check sums."),
        ("user", "Here is 2 + 2 = 4."),
        ("assistant", "I have read 2 + 2 = 4."),
        ("user", "Is it right?"),
    ]


def test_examples_stand_between_the_system_message_and_the_conversation() -> None:
    turns = [TURNS[0], {"role": "user", "content": "Is {{ x }} right?"}]
    found = compiled(turns, examples=[{"inputs": {"x": "1"}, "output": {"answer": "yes"}}])
    assert said(found.render({"what": "sums", "x": "2"})) == [
        ("system", "You check sums."),
        ("user", "Is 1 right?"),
        ("assistant", '{"answer":"yes"}'),
        ("user", "Is 2 right?"),
    ]


def test_an_error_names_the_turn_and_its_line() -> None:
    with pytest.raises(TemplateError, match=r"spec\.messages\.1\.content line 2: expected token"):
        compiled([TURNS[0], {"role": "user", "content": "a\n{{ x y }}"}])
    with pytest.raises(RenderError, match=r"spec\.messages\.0\.content line 1: variable 'what' is undefined"):
        compiled(TURNS).render({"x": "a"})


def test_turns_include_texts_and_are_no_text_to_include() -> None:
    catalog = make_catalog(conversation(TURNS), template_document("Is {{ x }} right?", "plain"))
    sources = catalog.template_sources()
    assert sorted(sources) == ["plain", "plain@1.0.0"]
    assert (
        compiled([{"role": "user", "content": "{% include 'plain' %}"}], dict(sources)).text({"x": 1}) == "Is 1 right?"
    )


def test_the_hash_covers_every_turn_and_what_it_reaches() -> None:
    def hashed(turns: list[dict[str, str]], sources: dict[str, str]) -> str:
        return template_hash(PromptTemplate.model_validate(conversation(turns)), sources)

    including = [{"role": "assistant", "content": "{% include 'p.j2' %}"}, TURNS[-1]]
    before = hashed(including, {"p.j2": "1"})
    assert hashed(including, {"p.j2": "2"}) != before
    assert hashed([including[0], {"role": "user", "content": "Is that right?"}], {"p.j2": "1"}) != before
    assert hashed([{**including[0], "role": "user"}, TURNS[-1]], {"p.j2": "1"}) != before


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ({}, "give either `user_prompt_template`"),
        ({"messages": TURNS, "user_prompt_template": "Right?"}, "give either `user_prompt_template`"),
        ({"messages": TURNS, "system_prompt": "Be brief."}, "make it the first of `messages`"),
        ({"messages": [TURNS[1], TURNS[0], TURNS[3]]}, "a system message is the first"),
        ({"messages": TURNS[:3]}, "the last of `messages` is the user's"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "spec.messages.0.role"),
        ({"messages": [{"role": "user", "content": ""}]}, "spec.messages.0.content"),
    ],
)
def test_a_conversation_that_is_none_is_one_line(spec: dict[str, Any], line: str) -> None:
    document = make_document("PromptTemplate", "t", version="1.0.0", label_type="l", output_schema=YES_NO, **spec)
    (problem,) = make_catalog(document).problems
    assert line in problem.line


def test_a_conversation_is_locked_sent_and_exported_with_all_its_turns(
    project: Project, provider: ScriptedProvider
) -> None:
    put(project, tickets(12))
    turns = [
        {"role": "system", "content": "You route {{ subject }}."},
        {"role": "user", "content": "I have a ticket."},
        {"role": "assistant", "content": "Which one?"},
        {"role": "user", "content": "{{ subject }}"},
    ]
    asked = template()
    asked["spec"] = {key: value for key, value in asked["spec"].items() if key != "user_prompt_template"}
    asked["spec"]["messages"] = turns
    define(
        project,
        sheet(),
        training_sheet("routed", column="team"),
        training_sheet("drafted"),
        collection("routing", "routed", splits={"train": 0.5, "val": 0.0, "test": 0.5, "seed": 1}),
        asked,
    )
    assert project("publish", "--json").json["added"] == ["team 1.0.0"]
    assert project("validate", "--strict").code == 0
    project("run", "drafted")
    assert said(provider.bodies[0]["messages"]) == [
        ("system", "You route Log in number 0."),
        ("user", "I have a ticket."),
        ("assistant", "Which one?"),
        ("user", "Log in number 0"),
    ]
    (export,) = project("run", "routing", "--json").json["exports"]
    lines = [json.loads(line) for line in (Path(export["path"]) / "train.openai.jsonl").read_text().splitlines()]
    assert {tuple(one["role"] for one in line["messages"]) for line in lines} == {
        ("system", "user", "assistant", "user", "assistant")
    }
    changed = project.folder / "templates/all.yaml"
    changed.write_text(changed.read_text().replace("Which one?", "Which?"))
    refused = project("validate")
    assert refused.code == 2
    assert "version 1.0.0 was published and its spec, or a text it includes, has changed since" in refused.err
