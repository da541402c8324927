"""The bare openai SDK on its aiohttp transport, the client that ours uses: `chat.completions.create` and nothing else.

With `--uvloop`, on the event loop that ours runs on.
"""

from __future__ import annotations

import asyncio
import sys

import openai
from side import KEY, MODEL, PARAMETERS, RESPONSE_FORMAT, ask_all, messages_of, take_part


def prepare(url: str, at_once: int):
    factory = None
    if "--uvloop" in sys.argv:
        import uvloop

        factory = uvloop.new_event_loop

    async def answer_all(questions: list[str]) -> list[str]:
        transport = openai.DefaultAioHttpClient()
        async with openai.AsyncOpenAI(base_url=url, api_key=KEY, http_client=transport) as client:

            async def ask(question: str) -> str:
                reply = await client.chat.completions.create(
                    model=MODEL, messages=messages_of(question), response_format=RESPONSE_FORMAT, **PARAMETERS
                )
                return reply.choices[0].message.content

            return await ask_all(ask, questions, at_once)

    def answer(questions: list[str]) -> list[str]:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(answer_all(questions))

    return answer


if __name__ == "__main__":
    take_part(prepare)
