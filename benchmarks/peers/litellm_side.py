"""Bare litellm: `acompletion` as its documentation shows it, on its own transport (aiohttp) and connection pool."""

from __future__ import annotations

import asyncio

import litellm
from side import KEY, MODEL, PARAMETERS, RESPONSE_FORMAT, ask_all, messages_of, take_part


def prepare(url: str, at_once: int):
    litellm.telemetry = False
    litellm.suppress_debug_info = True

    async def ask(question: str) -> str:
        reply = await litellm.acompletion(
            model=f"openai/{MODEL}",
            messages=messages_of(question),
            response_format=RESPONSE_FORMAT,
            api_base=url,
            api_key=KEY,
            **PARAMETERS,
        )
        return reply.choices[0].message.content

    return lambda questions: asyncio.run(ask_all(ask, questions, at_once))


if __name__ == "__main__":
    take_part(prepare)
