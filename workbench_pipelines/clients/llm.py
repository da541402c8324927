"""The door to language models: one try of one request, whatever the model id.

Endpoints that speak OpenAI's interface are asked through its SDK, every other provider through litellm, and the embedded
model behind the ids under `local/` in a thread of this process. What a person must mend (a key, a model id, a request the
provider refuses) is raised as MissingPart; what only concerns one request is a Refusal, and what may pass is Passing.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import math
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import Any

from workbench_pipelines.clients import embedded_model
from workbench_pipelines.clients.attachments import Attachments
from workbench_pipelines.clients.openai_endpoint import PROVIDERS, OpenAIEndpoints, body_parameters
from workbench_pipelines.clients.prices import cost_of, price_list
from workbench_pipelines.clients.provider_errors import error_chain, judged, key_name
from workbench_pipelines.clients.schema_dialects import response_format
from workbench_pipelines.disclosure import is_in_house
from workbench_pipelines.errors import MissingPart
from workbench_pipelines.requests import Completion, Passing, Refusal, Request

Ask = Callable[[Request, float], Awaitable[Completion | Refusal | Passing]]
"""One try of a request within so many seconds; raises MissingPart where no request to this model can be answered."""


class LLM:
    """Any model by its id.

    Args:
        secrets: values that no message may show.
        attachments: opens the images that messages name; without it none is found.
    """

    def __init__(self, *, secrets: Collection[str] = (), attachments: Attachments | None = None) -> None:
        self.attachments = attachments or Attachments()
        self.secrets = sorted(secrets, key=len, reverse=True)
        self._checked: set[str] = set()

    def check(self, model: str) -> None:
        """Whether the model can be asked at all: raises MissingPart, without a call, for an unknown id or no key."""
        if model in self._checked:
            return
        check_model_id(model)
        if embedded_model.is_embedded(model):
            self._checked.add(model)
            return
        missing = open_litellm().validate_environment(model=model)
        keys = [name for name in missing["missing_keys"] if name.endswith("_API_KEY")]
        if keys and not missing["keys_in_environment"]:
            raise MissingPart(f"model {model}: no key; set {' or '.join(keys)}, or use local/smollm2, which needs none")
        self._checked.add(model)

    def revision(self, model: str) -> str | None:
        """Digest of a local model's file; a provider's model has none. Raises MissingPart."""
        return embedded_model.model_revision(model) if embedded_model.is_embedded(model) else None

    def endpoint(self, model: str) -> str | None:
        """The base address that takes the place of the provider's own, where the environment names one."""
        if embedded_model.is_embedded(model):
            return None
        provider = provider_of(model)
        names = ["OPENAI_BASE_URL"] if provider == "openai" else []
        named = [_secret(name) for name in [*names, f"{provider.upper()}_API_BASE"]]
        return next((address.rstrip("/") for address in named if address), None)

    def way_to(self, model: str, endpoint: str | None) -> tuple[str | None, str | None]:
        """The address that a model is asked at, None for its provider's own, and the key."""
        _, provider, key, address = _way_to(model)
        return endpoint or self.endpoint(model) or address, key or _secret(key_name(provider))

    def is_in_house(self, model: str) -> bool:
        """Whether a model answers on this machine or in its private network."""
        if embedded_model.is_embedded(model):
            return True
        address, _ = self.way_to(model, None)
        return is_in_house(address, provider_of(model))

    def at_once(self, model: str, wanted: int) -> int:
        """How many calls at one time make sense."""
        return 1 if embedded_model.is_embedded(model) else wanted

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Ask]:
        """Asks models, within one event loop, over connections that are kept open."""
        endpoints = OpenAIEndpoints()

        async def ask(request: Request, timeout_s: float) -> Completion | Refusal | Passing:
            self.check(request.model)
            sent = self.attachments.loaded(request)
            if isinstance(sent, Refusal):
                return sent
            started = time.monotonic()
            try:
                reply = await self._reply(endpoints, sent, timeout_s)
                return completion_from(request, reply, time.monotonic() - started, dt.datetime.now(dt.UTC))
            except Exception as error:
                # litellm raises its own classes for the providers' answers, and bare ones for what breaks inside it.
                if embedded_model.is_embedded(request.model):
                    return _said_by_embedded(error)
                return judged(request, error, provider_of(request.model), self.secrets)

        try:
            yield ask
        finally:
            await endpoints.close()

    async def _reply(self, endpoints: OpenAIEndpoints, request: Request, timeout_s: float) -> Mapping[str, Any]:
        litellm = open_litellm()
        if embedded_model.is_embedded(request.model):
            reply = await asyncio.to_thread(litellm.completion, **_arguments(request, timeout_s))
            return dict(reply.model_dump())
        if provider_of(request.model) not in PROVIDERS:
            reply = await asyncio.wait_for(litellm.acompletion(**_arguments(request, timeout_s)), timeout_s)
            return dict(reply.model_dump())
        body = chat_body(request)
        address, key = self.way_to(request.model, request.endpoint)
        found = await asyncio.wait_for(
            endpoints.reply(body.pop("model"), address, key, body, timeout_s),
            timeout_s,
        )
        if not isinstance(found, dict):
            raise ValueError("the reply is no JSON object")
        return found


def chat_body(request: Request) -> dict[str, Any]:
    """What an endpoint that speaks OpenAI's chat completions is sent, in the words of this very model."""
    name, provider, _, _ = _way_to(request.model)
    schema = None if request.schema is None else response_format(request.schema)
    body = body_parameters(open_litellm(), name, provider, request.parameters, schema)
    return {"model": name, **body, "messages": [_message(one) for one in request.messages]}


def provider_of(model: str) -> str:
    """The provider that litellm asks for a model id. Raises MissingPart for an id that names none."""
    return _way_to(model)[1]


def check_model_id(model: str) -> None:
    """Whether anybody could answer under this id, key or not. Raises MissingPart, without a call, where nobody could."""
    if embedded_model.is_embedded(model):
        embedded_model.model_file(model)
    else:
        provider_of(model)


def _secret(name: str) -> str | None:
    from litellm.secret_managers.main import get_secret_str

    return get_secret_str(name)


@lru_cache(maxsize=256)
def _way_to(model: str) -> tuple[str, str, str | None, str | None]:
    """The name of a model at its provider, the provider, and the key and address that litellm knows for it."""
    try:
        name, provider, key, address = open_litellm().get_llm_provider(model)
    except Exception:
        raise MissingPart(
            f"unknown model '{model}': name it as provider/model, for example openai/gpt-4o-mini, ollama/llama3 or "
            "local/smollm2"
        ) from None
    return str(name), str(provider), key, address


@lru_cache(maxsize=1)
def open_litellm() -> Any:
    """litellm, quiet, with its bundled price list, and with the embedded model as its provider `local`."""
    # Without it the import tries to fetch a price list.
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    import logging

    import litellm

    from workbench_pipelines.clients.embedded_provider import EmbeddedProvider

    litellm.telemetry = False
    litellm.suppress_debug_info = True
    # Its log lines quote prompts and the providers' words.
    for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    litellm.custom_provider_map = [
        *(one for one in litellm.custom_provider_map if one["provider"] != "local"),
        {"provider": "local", "custom_handler": EmbeddedProvider()},
    ]
    return litellm


def _said_by_embedded(error: BaseException) -> Refusal:
    """What the embedded model said, below what litellm made of it; raises MissingPart where it does not load."""
    from workbench_pipelines.clients.embedded_provider import RefusedByModel

    for below in error_chain(error):
        if isinstance(below, MissingPart):
            raise MissingPart(below.line) from None
        if isinstance(below, RefusedByModel):
            return below.refusal
    return Refusal("permanent", f"the embedded model failed on this prompt: {type(error).__name__}")


def _arguments(request: Request, timeout_s: float) -> dict[str, Any]:
    arguments: dict[str, Any] = {
        "model": request.model,
        "messages": [_message(one) for one in request.messages],
        "timeout": timeout_s,
        # The loop is ours: its own would repeat what can not succeed.
        "num_retries": 0,
        "max_retries": 0,
        # A provider without a seed or a JSON mode is asked without; the answer is checked either way.
        "drop_params": True,
        **{name: value for name, value in request.parameters.items() if value is not None},
    }
    if request.schema is not None:
        arguments["response_format"] = response_format(
            request.schema, bounded=embedded_model.is_embedded(request.model)
        )
    return arguments


def _message(message: Mapping[str, Any]) -> dict[str, Any]:
    if not message.get("parts"):
        return {"role": message["role"], "content": message["content"]}
    text = [{"type": "text", "text": message["content"]}] if message["content"] else []
    return {"role": message["role"], "content": text + json.loads(message["parts"])}


def completion_from(
    request: Request, reply: Mapping[str, Any], latency_s: float, answered_at: dt.datetime, *, in_batch: bool = False
) -> Completion:
    """The answer that a reply of OpenAI's chat completions is, at the price of a call or of a line of a batch.

    Raises:
        ValueError: for a reply of another form. What is kept must fit the table of answers, whatever a provider sends.
    """
    choices = reply.get("choices") or []
    if not isinstance(choices, list):
        raise ValueError("the reply is no chat completion")
    choice = choices[0] if choices else None
    message = _mapping(_mapping(choice).get("message"))
    text = _text_of(message.get("content"))
    finish = _mapping(choice).get("finish_reason") or ("stop" if choice else "no_choice")
    if not text and _refusal(message):
        finish = "refusal"
    usage = {name: value for name, value in _mapping(reply.get("usage")).items() if value is not None}
    if not all(isinstance(value, str) for value in (finish, reply.get("model") or "")):
        raise ValueError("the reply is no chat completion")
    for name in ("prompt_tokens", "completion_tokens"):
        if not isinstance(usage.get(name, 0), int):
            raise ValueError("the reply counts tokens in other than whole numbers")
    embedded = embedded_model.is_embedded(request.model)
    return Completion(
        request_hash=request.request_hash,
        text=text,
        finish_reason=finish,
        model=request.model if embedded else reply.get("model") or request.model,
        prompt_tokens=usage.get("prompt_tokens") or 0,
        completion_tokens=usage.get("completion_tokens") or 0,
        cost_usd=cost_of(request.model, usage, in_batch=in_batch),
        latency_s=latency_s,
        answered_at=answered_at,
        price_list=price_list(request.model),
        confidence=_confidence(_mapping(choice).get("logprobs")) if request.parameters.get("logprobs") else None,
    )


def _confidence(logprobs: Any) -> float | None:
    """The geometric mean of the probabilities of the answer's tokens; None where the provider does not say."""
    tokens = logprobs.get("content") if isinstance(logprobs, Mapping) else None
    found: list[Any] = [token.get("logprob") for token in tokens or () if isinstance(token, Mapping)]
    if not found or not all(isinstance(one, int | float) and not isinstance(one, bool) for one in found):
        return None
    return math.exp(min(0.0, math.fsum(found) / len(found)))


def _mapping(value: Any) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError("the reply is no chat completion")
    return value


def _text_of(content: Any) -> str:
    """The words of a message, which some providers send in parts."""
    if isinstance(content, list):
        return "".join(_text_of(_mapping(part).get("text")) for part in content)
    if content is not None and not isinstance(content, str):
        raise ValueError("the reply is no chat completion")
    return content or ""


def _refusal(message: Mapping[str, Any]) -> str | None:
    """What the model said instead of an answer; litellm keeps it among the provider's own fields, or not (1.107)."""
    said = message.get("refusal") or _mapping(message.get("provider_specific_fields")).get("refusal")
    return str(said) if said else None
