"""A run is paid for once: whatever kills it, however many run beside it, whichever model answers."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from workbench_pipelines.clients.claims import Claims
from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.clients.llm import LLM
from workbench_pipelines.clients.request_store import RequestStore
from workbench_pipelines.clients.runner import CHUNK, Runner
from workbench_pipelines.clients.scripted_provider import Reply, ScriptedProvider
from workbench_pipelines.generation import ask_once_more
from workbench_pipelines.pacing import FAILURES_TO_COOL, Pace
from workbench_pipelines.requests import Answered, Completion, Refusal, Request
from workbench_pipelines_tests.request_world import YES, FakeLLM, answer, make_request, read

AT_ONCE = 8


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedProvider]:
    with ScriptedProvider() as scripted:
        monkeypatch.setenv("OPENAI_API_BASE", scripted.url)
        monkeypatch.setenv("OPENAI_API_KEY", "planted")
        scripted.answer_by(lambda _: Reply(YES, latency_s=0.02))
        yield scripted


@pytest.fixture
def store(tmp_path: Path) -> RequestStore:
    return RequestStore(tmp_path / "requests", Lake(str(tmp_path / "lake")))


def started(store: RequestStore, count: int, at_once: int = AT_ONCE) -> subprocess.Popen[str]:
    program = [sys.executable, "-m", "workbench_pipelines_tests.runner_program"]
    given = [str(store.log_folder), store.lake.uri, str(count), str(at_once)]
    return subprocess.Popen(
        [*program, *given],
        stdout=subprocess.PIPE,
        text=True,
        # Where the tests were started in the background SIGINT is ignored, and the program would take that over.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )


def ended(run: subprocess.Popen[str]) -> dict[str, str]:
    out, _ = run.communicate(timeout=120)
    assert run.returncode == 0
    return dict(json.loads(out))


def wait_for(provider: ScriptedProvider, calls: int) -> None:
    until = time.monotonic() + 60
    while provider.calls < calls and time.monotonic() < until:
        time.sleep(0.01)


def run(store: RequestStore, *questions: tuple[Request, ...], **given: Any) -> list[Answered]:
    runner = Runner(store, LLM().connected, otherwise=Pace(AT_ONCE))
    return list(runner.answer(questions, len(questions), read, **given))


def test_a_run_that_is_killed_three_times_pays_again_at_most_what_was_in_flight(
    store: RequestStore, provider: ScriptedProvider
) -> None:
    count, random_points = 1000, random.Random(7)
    for point in sorted(random_points.sample(range(100, 900), 3)):
        killed = started(store, count)
        wait_for(provider, point)
        os.kill(killed.pid, signal.SIGKILL)
        killed.wait(10)
    answered = ended(started(store, count))
    assert provider.calls <= count + 3 * AT_ONCE
    assert answered == {f"{number:05}": YES for number in range(count)}
    assert store.lake.read("records", "requests")["request_hash"].n_unique() == count
    before = provider.calls
    again = run(store, *((make_request(f"{number:05}"),) for number in range(count)))
    assert (len(again), provider.calls) == (count, before)


@pytest.mark.parametrize("count", [4, pytest.param(10, marks=pytest.mark.chaos)])
def test_runs_at_one_time_pay_for_no_request_twice(store: RequestStore, provider: ScriptedProvider, count: int) -> None:
    runs = [started(store, 200) for _ in range(count)]
    answers = [ended(one) for one in runs]
    assert provider.calls == 200
    assert all(one == answers[0] for one in answers)
    assert len(answers[0]) == 200


def test_an_interrupted_run_ends_soon_and_has_lost_nothing(store: RequestStore, provider: ScriptedProvider) -> None:
    provider.answer_by(lambda _: Reply(YES, latency_s=0.2))
    interrupted = started(store, 1000)
    wait_for(provider, 40)
    interrupted.send_signal(signal.SIGINT)
    interrupted.communicate(timeout=10)
    assert interrupted.returncode == 130
    calls = provider.calls
    assert store.lake.read("records", "requests").height == calls


def test_the_next_model_answers_where_the_first_has_no_answer_and_is_found_again(
    store: RequestStore, provider: ScriptedProvider
) -> None:
    def by_model(body: Mapping[str, Any]) -> Reply:
        return Reply(status=500, retry_after=0) if body["model"] == "down" else Reply(YES)

    provider.answer_by(by_model)
    first, second = make_request(model="openai/down"), make_request(model="openai/up")
    runner = Runner(store, LLM().connected, otherwise=Pace(1))
    (answered,) = runner.answer([(first, second)], 1, read)
    assert isinstance(answered.outcome, Completion)
    assert (answered.outcome.model, answered.outcome.request_hash) == ("up", second.request_hash)
    assert answered.outcome.calls == provider.calls == 4
    (again,) = run(store, (first, second))
    assert (again.from_store, provider.calls) == (True, 4)


def test_a_model_that_keeps_failing_is_left_alone_while_another_answers(
    store: RequestStore, provider: ScriptedProvider
) -> None:
    def by_model(body: Mapping[str, Any]) -> Reply:
        return Reply(status=500, retry_after=0) if body["model"] == "down" else Reply(YES)

    provider.answer_by(by_model)
    questions = [
        (make_request(str(n), model="openai/down"), make_request(str(n), model="openai/up")) for n in range(30)
    ]
    runner = Runner(store, LLM().connected, otherwise=Pace(1))
    answered = list(runner.answer(questions, 30, read))
    assert all(isinstance(one.outcome, Completion) for one in answered)
    down = sum(body["model"] == "down" for body in provider.bodies)
    assert FAILURES_TO_COOL <= down <= FAILURES_TO_COOL + 3


def test_an_answer_that_does_not_fit_is_asked_for_once_more_and_that_is_paid_once(
    store: RequestStore, provider: ScriptedProvider
) -> None:
    provider.answer_by(lambda body: Reply(YES) if len(body["messages"]) > 1 else Reply("maybe"))
    request, follow_up = make_request(), ask_once_more(read)
    (answered,) = run(store, (request,), follow_up=follow_up)
    assert isinstance(answered.outcome, Completion)
    assert (answered.outcome.text, provider.calls, len(answered.paid)) == (YES, 2, 2)
    turns = [turn["content"] for turn in provider.bodies[1]["messages"]]
    assert turns[:2] == ["Is a right?", "maybe"]
    assert "no yes" in turns[2]
    (again,) = run(store, (request,), follow_up=follow_up)
    assert (again.from_store, again.outcome.calls, provider.calls) == (True, 0, 2)


def test_an_answer_that_still_does_not_fit_is_none(store: RequestStore, provider: ScriptedProvider) -> None:
    provider.answer_by(lambda _: Reply("maybe"))
    (answered,) = run(store, (make_request(),), follow_up=ask_once_more(read))
    assert isinstance(answered.outcome, Completion)
    assert (read(answered.request, answered.outcome).reason, provider.calls) == ("schema_violation", 2)


def test_a_provider_that_is_asked_too_often_is_asked_more_slowly_and_every_item_is_answered(
    store: RequestStore, provider: ScriptedProvider
) -> None:
    turns = iter(range(10_000))

    def limited(body: Mapping[str, Any]) -> Reply:
        return Reply(status=429, retry_after=0.05) if next(turns) % 5 == 3 else Reply(YES, latency_s=0.01)

    provider.answer_by(limited)
    answered = run(store, *((make_request(str(n)),) for n in range(60)))
    assert all(isinstance(one.outcome, Completion) for one in answered)


def test_what_may_not_be_asked_is_only_looked_for(store: RequestStore) -> None:
    llm = FakeLLM()
    list(answer(store, llm, [make_request("a")]))
    answered = list(answer(store, llm, [make_request(c) for c in "ab"], may_ask=lambda request: False))
    assert len(llm.asked) == 1
    outcomes = {one.request.item_ref: one.outcome for one in answered}
    assert isinstance(outcomes["a"], Completion)
    assert isinstance(outcomes["b"], Refusal)
    assert outcomes["b"].reason == "not_asked"


def test_questions_are_taken_as_they_are_needed(store: RequestStore) -> None:
    taken: list[int] = []

    def questions() -> Iterator[tuple[Request, ...]]:
        for number in range(10 * CHUNK):
            taken.append(number)
            yield (make_request(str(number)),)

    async_llm = FakeLLM()
    runner = Runner(store, async_llm.connected, otherwise=Pace(4))
    answers = runner.answer(questions(), 10 * CHUNK, read)
    next(answers)
    answers.close()  # type: ignore[attr-defined]
    assert len(taken) <= 2 * CHUNK


def test_a_claim_ends_with_its_process_and_not_before(tmp_path: Path) -> None:
    mine, folder = Claims(tmp_path), str(tmp_path)
    program = (
        "import sys; from pathlib import Path; from workbench_pipelines.clients.claims import Claims; claims ="
        f" Claims(Path({folder!r})); print(sorted(claims.take(['a', 'b'])), flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert other.stdout is not None
    assert other.stdout.readline().strip() == "['a', 'b']"
    assert mine.take(["a", "c"]) == {"c"}
    other.kill()
    other.wait(10)
    assert mine.take(["a", "c"]) == {"a", "c"}
    mine.release(["a"])
    assert Claims(tmp_path).take(["a", "c"]) == {"a"}
    mine.close()
