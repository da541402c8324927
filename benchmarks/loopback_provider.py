"""A provider on loopback that answers every chat completion with the same valid JSON after so many milliseconds.

    python loopback_provider.py LATENCY_MS

It says its port as one line, and ends when its standard input does. `POST /start` forgets what was asked so far; `GET /asked`
says how many calls came since, how many of them asked what had been asked before, and the most that were open at one time.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import sys
from typing import Any

from aiohttp import web


class Provider:
    """What was asked since the start."""

    def __init__(self, latency_s: float) -> None:
        self.latency_s = latency_s
        self.open = 0
        self.forget()

    def forget(self) -> None:
        self.calls = self.most_at_once = 0
        self.seen: set[bytes] = set()

    async def complete(self, request: web.Request) -> web.Response:
        self.open += 1
        self.calls += 1
        self.most_at_once = max(self.most_at_once, self.open)
        try:
            body = await request.read()
            self.seen.add(hashlib.blake2b(body, digest_size=16).digest())
            if self.latency_s:
                await asyncio.sleep(self.latency_s)
            return web.Response(body=_answer(self.calls, len(body) // 4), content_type="application/json")
        finally:
            self.open -= 1

    async def start(self, _: web.Request) -> web.Response:
        self.forget()
        return web.Response()

    async def asked(self, _: web.Request) -> web.Response:
        twice = self.calls - len(self.seen)
        return web.json_response({"calls": self.calls, "twice": twice, "most_at_once": self.most_at_once})


def _answer(number: int, prompt_tokens: int) -> bytes:
    message = {"role": "assistant", "content": '{"answer":"yes"}', "refusal": None}
    usage: dict[str, Any] = {"prompt_tokens": prompt_tokens, "completion_tokens": 5, "total_tokens": prompt_tokens + 5}
    return json.dumps(
        {
            "id": f"chatcmpl-{number}",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": "gpt-4o-mini-2024-07-18",
            "choices": [{"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}],
            "usage": usage,
        }
    ).encode()


async def serve(latency_s: float) -> None:
    provider = Provider(latency_s)
    application = web.Application()
    application.add_routes(
        [
            web.post("/v1/chat/completions", provider.complete),
            web.post("/start", provider.start),
            web.get("/asked", provider.asked),
        ]
    )
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, backlog=1024)
    await site.start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await runner.cleanup()


def main() -> None:
    try:
        from uvloop import new_event_loop
    except ImportError:
        new_event_loop = None
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(serve(float(sys.argv[1]) / 1000))


if __name__ == "__main__":
    main()
