"""Small worlds for tests of requests: one question, its answer, and a model that says what it is told."""

from __future__ import annotations

import asyncio
import datetime as dt
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from workbench_pipelines.answers import Parsed
from workbench_pipelines.clients.llm import Ask
from workbench_pipelines.clients.request_store import RequestStore
from workbench_pipelines.clients.runner import Runner
from workbench_pipelines.identity import canonical_text
from workbench_pipelines.pacing import Pace
from workbench_pipelines.requests import Answered, Completion, Passing, Refusal, Request

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": ["yes", "no"]}},
    "required": ["answer"],
    "additionalProperties": False,
}
YES = canonical_text({"answer": "yes"})


def make_request(item: str = "a", **given: Any) -> Request:
    values: dict[str, Any] = {
        "messages": [{"role": "user", "content": f"Is {item} right?", "parts": None}],
        "model": "openai/gpt-4o-mini",
        "revision": None,
        "endpoint": None,
        "parameters": {"temperature": 0.0, "max_tokens": 20, "top_p": None, "seed": None},
        "schema": SCHEMA,
        "training_sheet": "ts",
        "sheet": "s",
        "item_ref": item,
        "pair_id": f"pair-{item}",
    }
    return Request(**(values | given))


def make_completion(request: Request, text: str = YES, **given: Any) -> Completion:
    values: dict[str, Any] = {
        "request_hash": request.request_hash,
        "text": text,
        "finish_reason": "stop",
        "model": request.model,
        "prompt_tokens": 10,
        "completion_tokens": 3,
        "cost_usd": 0.5,
        "latency_s": 0.1,
        "answered_at": NOON,
    }
    return Completion(**(values | given))


def read(request: Request, completion: Completion) -> Parsed:
    """Yes is the only usable answer."""
    return Parsed(YES) if completion.text == YES else Parsed(None, "schema_violation", "no yes")


def lookup(store: RequestStore, hashes: Iterable[str]) -> dict[str, Completion]:
    """The first usable answer to each of these requests that the store holds."""
    found = store.answers(list(hashes))
    usable = {key: [one for one in answers if one.text == YES] for key, answers in found.items()}
    return {key: answers[0] for key, answers in usable.items() if answers}


class FakeLLM:
    """Answers in turn with these texts, refusals and errors, then as `otherwise` says; keeps what it was asked."""

    def __init__(
        self, turns: Iterable[str | Refusal | Exception] = (), otherwise: Callable[[Request], str] = lambda _: YES
    ) -> None:
        self.turns = list(turns)
        self.otherwise = otherwise
        self.asked: list[Request] = []
        self._lock = threading.Lock()

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Ask]:
        async def ask(request: Request, timeout_s: float) -> Completion | Refusal | Passing:
            return await asyncio.to_thread(self, request)

        yield ask

    def __call__(self, request: Request) -> Completion | Refusal:
        with self._lock:
            self.asked.append(request)
            said = self.turns.pop(0) if self.turns else self.otherwise(request)
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, Refusal) else make_completion(request, said)


def answer(
    store: RequestStore, llm: FakeLLM, requests: Sequence[Request], at_once: int = 1, **given: Any
) -> Iterator[Answered]:
    """What a runner makes of these questions to one model."""
    runner = Runner(store, llm.connected, otherwise=Pace(at_once))
    return runner.answer([(request,) for request in requests], len(requests), read, **given)
