"""Endpoints that speak OpenAI's chat completions, through the openai SDK on its aiohttp transport.

litellm can ask them too, at some 2 ms of CPU a request, which ends at about 450 requests a second and core; it still says
which address, key and parameters a model id stands for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import orjson

# Providers of litellm that are OpenAI's own interface, with nothing translated on the way.
PROVIDERS = frozenset({"openai", "custom_openai", "openai_like", "hosted_vllm", "lm_studio", "llamafile"})


class OpenAIEndpoints:
    """The open connections of one event loop, one client an address and key."""

    def __init__(self) -> None:
        self._clients: dict[tuple[str | None, str | None], Any] = {}

    async def reply(
        self, name: str, address: str | None, key: str | None, body: dict[str, Any], timeout_s: float
    ) -> Any:
        """What the endpoint replies to a chat completion, as the JSON it sent.

        Raises:
            openai.OpenAIError: for what the endpoint or the way there refuses; ValueError for a reply that is no JSON.
        """
        import httpx

        # The body goes as it is: checked against the types of the SDK it would take as much time again.
        raw = await self._client(address, key).post(
            "/chat/completions", cast_to=httpx.Response, body={"model": name, **body}, options={"timeout": timeout_s}
        )
        return orjson.loads(raw.content)

    async def close(self) -> None:
        for client in self._clients.values():
            await client.close()
        self._clients.clear()

    def _client(self, address: str | None, key: str | None) -> Any:
        if (address, key) not in self._clients:
            import openai

            self._clients[address, key] = openai.AsyncOpenAI(
                api_key=key,
                base_url=address,
                # The loop is ours: its own would repeat what can not succeed.
                max_retries=0,
                http_client=openai.DefaultAioHttpClient(),
            )
        return self._clients[address, key]


def body_parameters(
    litellm: Any, name: str, provider: str, parameters: Mapping[str, Any], response_format: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The parameters in the words of this very model, as litellm translates them; what it does not know is left out."""
    given = json.dumps({name: value for name, value in parameters.items() if value is not None}, sort_keys=True)
    return dict(_translated(litellm.utils.get_optional_params, name, provider, given, json.dumps(response_format)))


@lru_cache(maxsize=256)
def _translated(translate: Any, name: str, provider: str, given: str, response_format: str) -> dict[str, Any]:
    wanted = json.loads(given)
    if (form := json.loads(response_format)) is not None:
        wanted["response_format"] = form
    translated = translate(model=name, custom_llm_provider=provider, drop_params=True, **wanted)
    # What litellm would have the SDK put into the body beside the fields that it knows.
    translated |= translated.pop("extra_body", None) or {}
    return {key: value for key, value in translated.items() if key != "stream" and value not in (None, {})}
