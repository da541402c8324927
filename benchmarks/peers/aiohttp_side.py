"""The least there is: aiohttp, a JSON body out and a JSON body in; no retry, no price, nothing kept."""

from __future__ import annotations

import asyncio

import aiohttp
from side import KEY, MODEL, PARAMETERS, RESPONSE_FORMAT, ask_all, messages_of, take_part


def prepare(url: str, at_once: int):
    async def answer_all(questions: list[str]) -> list[str]:
        connector = aiohttp.TCPConnector(limit=at_once)
        async with aiohttp.ClientSession(connector=connector, headers={"Authorization": f"Bearer {KEY}"}) as session:

            async def ask(question: str) -> str:
                body = {"model": MODEL, "messages": messages_of(question), "response_format": RESPONSE_FORMAT}
                async with session.post(f"{url}/chat/completions", json=body | PARAMETERS) as reply:
                    reply.raise_for_status()
                    return (await reply.json())["choices"][0]["message"]["content"]

            return await ask_all(ask, questions, at_once)

    return lambda questions: asyncio.run(answer_all(questions))


if __name__ == "__main__":
    take_part(prepare)
