"""Templates speak the language of their item, and an answer in another language than the wanted one is refused."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from workbench_pipelines.catalog.variety import AnswerLanguageSpec
from workbench_pipelines.clients.language_identification import identify
from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.errors import TemplateError
from workbench_pipelines.languages import languages_of, text_of, wanted_languages
from workbench_pipelines.templates import compile_template, template_hash
from workbench_pipelines_tests.definition_world import make_template
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import define, error_lines, provider, put, sheet, template, training_sheet

__all__ = ["provider"]

GERMAN = {"system_prompt": "Du beantwortest Anfragen.", "user_prompt_template": "Was ist zu tun? {{ subject }}"}
EN = "Please restart the router and wait a few minutes before you try it again."
DE = "Bitte starten Sie den Router neu und warten Sie einige Minuten, bevor Sie es wieder versuchen."
ANSWERS = {"output_schema": [{"name": "answer", "type": "string"}], "label_type": "help"}


def test_a_template_speaks_the_language_of_its_item() -> None:
    made = make_template(
        "What now? {{ x }}", system_prompt="You help.", languages={"de": {"user_prompt_template": "Was nun? {{ y }}"}}
    )
    compiled = compile_template(made, {}, "t")
    assert compiled.variables == {"x", "y", "language"}
    texts = [
        [message["content"] for message in compiled.render({"x": 1, "y": 2, "language": language})]
        for language in ("de", "en", None)
    ]
    assert texts == [["You help.", "Was nun? 2"], ["You help.", "What now? 1"], ["You help.", "What now? 1"]]


def test_a_text_in_another_language_is_part_of_what_a_version_is() -> None:
    sources = {"end.j2": "Danke.", "other.j2": "Bitte."}
    one, other = (
        make_template("A", languages={"de": {"user_prompt_template": f"B {{% include '{name}' %}}"}})
        for name in ("end.j2", "other.j2")
    )
    assert template_hash(one, sources) != template_hash(other, sources)
    assert template_hash(one, sources) != template_hash(one, {**sources, "end.j2": "Vielen Dank."})
    assert template_hash(make_template("A"), {}) == template_hash(make_template("A", languages={}), {})
    broken = make_template("A", languages={"de": {"user_prompt_template": "{{ x"}})
    with pytest.raises(TemplateError, match=r"t: spec\.languages\.de: spec\.user_prompt_template line 1"):
        compile_template(broken, {}, "t")


def test_the_language_of_short_texts_is_not_told() -> None:
    spec = AnswerLanguageSpec.model_validate({"is": "de", "fields": ["answer"]})
    texts = [json.dumps({"answer": text, "note": EN}) for text in (DE, EN, "ok")]
    assert languages_of([*texts, None], spec, identify) == ["de", "en", None, None]
    assert text_of(texts[2], spec) == "ok"
    assert sum(identify(DE).values()) == pytest.approx(1)


def test_the_wanted_language_is_one_for_all_or_named_by_the_item() -> None:
    prompts = pl.DataFrame(
        {
            "pair_id": ["a", "b", "c"],
            "inputs": ['{"language":"de-AT"}', "{}", "{}"],
            "attributes": ["{}", '{"language":"EN"}', '{"language":null}'],
        }
    )
    named = AnswerLanguageSpec.model_validate({"of": "language"})
    assert wanted_languages(named, prompts) == {"a": "de", "b": "en"}
    assert set(wanted_languages(AnswerLanguageSpec.model_validate({"is": "fr"}), prompts).values()) == {"fr"}


def define_help(project: Project, **spec: Any) -> None:
    rows = pl.DataFrame({"ticket": [f"T{n}" for n in range(4)], "subject": [f"Router {n}" for n in range(4)]})
    put(project, rows, "sheets/data/help.csv")
    helped = template(
        "What is to be done? {{ subject }}", system_prompt="You help.", languages={"de": GERMAN}, **ANSWERS
    )
    given = {
        "variants": {"parameters": {"language": ["de", "en"]}},
        "answer_language": {"of": "language"},
        "generation": {"ask_once_more": False},
        **spec,
    }
    define(project, sheet("help", "data/help.csv"), training_sheet(sheet="help", **given), helped)


def test_an_answer_in_the_wrong_language_is_refused_and_asked_again_next_time(
    project: Project, provider: ScriptedProvider
) -> None:
    def stubborn(body: Mapping[str, Any]) -> str:
        said = str(body["messages"][-1]["content"])
        return json.dumps({"answer": DE if said.startswith("Was") and "3" not in said else EN})

    provider.answer_by(stubborn)
    define_help(project)
    assert project("validate").code == 0
    ran = project("run", "--json")
    pairs = project.table("label", "labeled_pairs")
    assert Counter(pairs["language"]) == {"de": 3, "en": 4}
    assert any("1 items refused, wrong_language" in line for line in error_lines(ran))
    (refused,) = project.table("generate", "generated_pairs_refusals").to_dicts()
    assert refused["detail"] == "the answer is in 'en', and is to be in 'de'"
    german = next(row for row in pairs.to_dicts() if row["language"] == "de")
    assert german["messages"][0]["content"] == GERMAN["system_prompt"]
    provider.answer_by(lambda body: json.dumps({"answer": DE}))
    assert project("run", "--json").json["llm_calls"] == 1
    assert Counter(project.table("label", "labeled_pairs")["language"]) == {"de": 4, "en": 4}


def test_a_model_is_told_of_the_wrong_language_and_asked_once_more(
    project: Project, provider: ScriptedProvider
) -> None:
    def mending(body: Mapping[str, Any]) -> str:
        return json.dumps({"answer": DE if len(body["messages"]) > 2 else EN})

    provider.answer_by(mending)
    define_help(project, variants=None, answer_language={"is": "de"}, generation={}, bindings={"language": "ticket"})
    project("run")
    assert provider.calls == 8
    assert Counter(project.table("label", "labeled_pairs")["language"]) == {"de": 4}


def test_answers_have_their_language_in_one_way() -> None:
    for given in ({}, {"is": "de", "of": "language"}):
        with pytest.raises(ValueError, match="give `is`"):
            AnswerLanguageSpec.model_validate(given)


def test_validate_says_what_names_no_language(project: Project) -> None:
    define_help(project, answer_language={"of": "langauge"})
    assert any(
        "no column or parameter 'langauge'; did you mean 'language'?" in line
        for line in error_lines(project("validate"))
    )
    define_help(project, answer_language={"is": "de", "fields": ["anwser"]}, targets={"accepted": 3, "by": "team"})
    said = error_lines(project("validate"))
    assert any("answers with no 'anwser'; did you mean 'answer'?" in line for line in said)
    assert any("spec.targets.by: there is no column or parameter 'team'" in line for line in said)
    define_help(project, variants=None, answer_language=None)
    assert any("no column binds variable 'language'" in line for line in error_lines(project("validate")))
