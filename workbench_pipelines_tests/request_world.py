"""Small worlds for tests of requests: one question, its answer, and a model that says what it is told."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterable
from typing import Any

from workbench_pipelines.identity import canonical_text
from workbench_pipelines.requests import Completion, Refusal, Request

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


def is_good(completion: Completion) -> bool:
    return completion.text == YES


class FakeLLM:
    """Answers in turn with these texts, refusals and errors, then as `otherwise` says; keeps what it was asked."""

    def __init__(
        self, turns: Iterable[str | Refusal | Exception] = (), otherwise: Callable[[Request], str] = lambda _: YES
    ) -> None:
        self.turns = list(turns)
        self.otherwise = otherwise
        self.asked: list[Request] = []
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Completion | Refusal:
        with self._lock:
            self.asked.append(request)
            said = self.turns.pop(0) if self.turns else self.otherwise(request)
        if isinstance(said, Exception):
            raise said
        return said if isinstance(said, Refusal) else make_completion(request, said)
