"""A provider that says what it is told: a real HTTP server on loopback that speaks OpenAI's chat completions, and its
files and batches (see `scripted_batches`).

::

    with ScriptedProvider() as provider:
        provider.enqueue(Reply(status=429, retry_after=1), Reply('{"species": "setosa"}'))
        provider.answer_by(lambda body: '{"species": "virginica"}')   # what comes after

Batches that it is handed stay in progress until `provider.batches.end()` (`scripted_batches`).

For tests and for trying out a pipeline: `OPENAI_API_BASE` is its `url`, any key will do.
"""

from __future__ import annotations

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from workbench_pipelines.clients.scripted_batches import ScriptedBatches
from workbench_pipelines.clients.scripted_server import HttpAnswer, HttpRequest, ScriptedServer


@dataclass(frozen=True)
class Reply:
    """One answer of the provider.

    Attributes:
        text: what the model says, None for a null content.
        finish_reason: `length` is a cut answer, `content_filter` a filtered one.
        status: another one than 200 sends `error` in place of an answer.
        latency_s: how long the provider thinks.
        refusal: the model declines with these words.
        choices: 0 is an answer without any.
        body: sent as it is, in place of everything else.
        hang_up: the connection ends without an answer.
        logprobs: of the answer's tokens, for a question that asks for them.
    """

    text: str | None = ""
    finish_reason: str = "stop"
    status: int = 200
    retry_after: float | None = None
    latency_s: float = 0.0
    refusal: str | None = None
    choices: int = 1
    error: str = "the provider is out of order"
    code: str | None = None
    body: str | None = None
    hang_up: bool = False
    logprobs: tuple[float, ...] = ()

    def payload_to(self, body: Mapping[str, Any]) -> bytes:
        """This answer to the body of a request, as JSON."""
        words = sum(len(str(message.get("content")).split()) for message in body.get("messages", []))
        return self._payload(str(body.get("model")), words, self.logprobs if body.get("logprobs") else ())

    def _payload(self, model: str, prompt_tokens: int, logprobs: Sequence[float]) -> bytes:
        if self.body is not None:
            return self.body.encode()
        if self.status != 200:
            return json.dumps({"error": {"message": self.error, "type": "scripted", "code": self.code}}).encode()
        message = {"role": "assistant", "content": self.text, "refusal": self.refusal}
        choice: dict[str, Any] = {"index": 0, "finish_reason": self.finish_reason, "message": message}
        if logprobs:
            choice["logprobs"] = {"content": [{"token": "x", "logprob": one, "top_logprobs": []} for one in logprobs]}
        written = len((self.text or "").split())
        usage = {"prompt_tokens": prompt_tokens, "completion_tokens": written, "total_tokens": prompt_tokens + written}
        return json.dumps(
            {
                "id": "scripted",
                "object": "chat.completion",
                "created": 0,
                "model": model,
                "choices": [choice] * self.choices,
                "usage": usage,
            }
        ).encode()


Rule = Callable[[Mapping[str, Any]], str | Reply]


class ScriptedProvider(ScriptedServer):
    """The server; it runs inside its `with` block, on a free port."""

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[dict[str, Any]] = []
        self.most_at_once = 0
        self.batches = ScriptedBatches(self._line)
        self._queue: deque[Reply] = deque()
        self._rule: Rule = lambda _: Reply("{}")
        self._at_once = 0
        self._lock = threading.Lock()

    @property
    def url(self) -> str:
        """The base address, as `OPENAI_API_BASE` takes it."""
        return f"{self.address}/v1"

    @property
    def calls(self) -> int:
        """How many requests came in."""
        return len(self.bodies)

    def enqueue(self, *replies: Reply | str) -> None:
        """The next answers, in this order."""
        with self._lock:
            self._queue.extend(Reply(one) if isinstance(one, str) else one for one in replies)

    def answer_by(self, rule: Rule) -> None:
        """What answers once the queue is empty, by the body of the request."""
        self._rule = rule

    def respond(self, asked: HttpRequest) -> HttpAnswer | None:
        answer = self.batches.handle(asked.method, asked.target, asked.content, asked.headers.get("Content-Type", ""))
        if answer is not None:
            return HttpAnswer(*answer)
        if asked.method != "POST":
            return HttpAnswer(404, b"{}")
        body = json.loads(asked.content)
        reply = self.reply_to(body)
        if reply.hang_up:
            return None
        headers = {} if reply.retry_after is None else {"Retry-After": f"{reply.retry_after:g}"}
        return HttpAnswer(reply.status, reply.payload_to(body), headers)

    def reply_to(self, body: dict[str, Any]) -> Reply:
        """What the script says to a request, after the time it takes."""
        with self._lock:
            self.bodies.append(body)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            reply = self._said(body)
            time.sleep(reply.latency_s)
            return reply
        finally:
            with self._lock:
                self._at_once -= 1

    def _said(self, body: dict[str, Any]) -> Reply:
        with self._lock:
            queued = self._queue.popleft() if self._queue else None
        said = queued if queued is not None else self._rule(body)
        return Reply(said) if isinstance(said, str) else said

    def _line(self, body: dict[str, Any]) -> tuple[int, bytes]:
        """What the script says to a line of a batch, which is no call."""
        reply = self._said(body)
        return reply.status, reply.payload_to(body)
