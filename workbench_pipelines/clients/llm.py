"""The door to language models: litellm for every model id, the embedded model behind the ids under `local/`.

There is one retry loop, this one. What a person must mend (a key, a model id, a request the provider refuses) is raised
as MissingPart after a single call, or before any; what only concerns one request, or passes, is a Refusal of that one.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import random
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import lru_cache
from typing import Any

from workbench_pipelines.clients import embedded_model
from workbench_pipelines.clients.attachments import Attachments, hide_images
from workbench_pipelines.clients.schema_dialects import response_format
from workbench_pipelines.errors import MissingPart
from workbench_pipelines.requests import Completion, Refusal, Request

MAX_TRIES = 3
TIMEOUT_S = 60.0
FIRST_WAIT_S = 0.5
# A provider that wants more patience than this is treated as down: the run goes on with the other items.
LONGEST_WAIT_S = 60.0

# Providers whose key is not called as they are.
_KEY_NAMES = {
    "together_ai": "TOGETHERAI_API_KEY",
    "vertex_ai": "GOOGLE_APPLICATION_CREDENTIALS",
    "bedrock": "AWS_SECRET_ACCESS_KEY",
}

_PASSING = frozenset({408, 409, 425, 429})


class LLM:
    """Any model by its id.

    Args:
        secrets: values that no message may show.
        attachments: opens the images that messages name; without it none is found.
        timeout_s: how long one try may take.
        sleep: waits between tries.
    """

    def __init__(
        self,
        *,
        secrets: Collection[str] = (),
        attachments: Attachments | None = None,
        timeout_s: float = TIMEOUT_S,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.attachments = attachments or Attachments()
        self.secrets = sorted(secrets, key=len, reverse=True)
        self.timeout_s = timeout_s
        self.sleep = sleep
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
        from litellm.secret_managers.main import get_secret_str

        names = ["OPENAI_BASE_URL"] if provider == "openai" else []
        named = [get_secret_str(name) for name in [*names, f"{provider.upper()}_API_BASE"]]
        return next((address.rstrip("/") for address in named if address), None)

    def workers(self, model: str, hosted: int = 8) -> int:
        """How many calls at once make sense."""
        return 1 if embedded_model.is_embedded(model) else hosted

    def complete(self, request: Request) -> Completion | Refusal:
        """The answer to one request, or why it alone has none.

        Raises:
            MissingPart: where no request to this model can be answered: key, model id or request are refused.
        """
        self.check(request.model)
        sent = self.attachments.loaded(request)
        if isinstance(sent, Refusal):
            return sent
        started = time.monotonic()
        for tries in range(1, MAX_TRIES + 1):
            try:
                reply = open_litellm().completion(**_arguments(sent, self.timeout_s))
            except Exception as error:
                # litellm raises its own classes for the providers' answers, and bare ones for what breaks inside it.
                outcome = self._judged(request, error, tries)
                if outcome is not None:
                    return outcome
                if tries < MAX_TRIES:
                    self.sleep(_wait_s(error, tries))
            else:
                return _completion(request, reply, time.monotonic() - started, tries)
        return Refusal("transient", f"no answer from {request.model} after {MAX_TRIES} tries; run again", MAX_TRIES)

    def _judged(self, request: Request, error: Exception, tries: int) -> Refusal | None:
        """A Refusal of this request, or None for a failure that passes; raises MissingPart for one that does not."""
        if embedded_model.is_embedded(request.model):
            return _said_by_embedded(error)
        litellm = open_litellm()
        codes = {getattr(one, "code", None) for one in _chain(error)}
        if isinstance(error, litellm.ContextWindowExceededError) or "context_length_exceeded" in codes:
            return Refusal("too_long", f"the prompt is longer than {request.model} reads", tries)
        if isinstance(error, litellm.ContentPolicyViolationError) or "content_filter" in codes:
            return Refusal("filtered", "the provider's content filter withheld the prompt", tries)
        if "insufficient_quota" in codes:
            raise MissingPart(f"model {request.model}: the quota of {key_name(request.model)} is spent") from None
        status = getattr(error, "status_code", None)
        if isinstance(error, (OSError, litellm.Timeout, litellm.APIConnectionError)) or status in _PASSING:
            return None
        if status is None:
            raise MissingPart(f"model {request.model}: litellm can not ask it: {type(error).__name__}") from None
        if status >= 500:
            return None
        raise MissingPart(self._refused_line(request, status, error)) from None

    def _refused_line(self, request: Request, status: int, error: Exception) -> str:
        model = request.model
        if status in (401, 403):
            return f"model {model}: the provider refused the key ({status}); check {key_name(model)}"
        if status == 404:
            return f"model {model}: the provider does not know it ({status}); check the model id and the address"
        return f"model {model}: the provider refused the request ({status}): {self._shown(request, error)}"

    def _shown(self, request: Request, error: Exception) -> str:
        """What a provider said, without secrets and without the prompt it may quote."""
        text = hide_images(str(getattr(error, "message", error)), request.messages)
        for secret in self.secrets:
            text = text.replace(secret, "***")
        for message in request.messages:
            for line in [message["content"], *message["content"].splitlines()]:
                if len(line.strip()) > 3:
                    text = text.replace(line.strip(), "[prompt]")
        return " ".join(text.split())[:200]


def provider_of(model: str) -> str:
    """The provider that litellm asks for a model id. Raises MissingPart for an id that names none."""
    try:
        return str(open_litellm().get_llm_provider(model)[1])
    except Exception:
        raise MissingPart(
            f"unknown model '{model}': name it as provider/model, for example openai/gpt-4o-mini, ollama/llama3 or "
            "local/smollm2"
        ) from None


def check_model_id(model: str) -> None:
    """Whether anybody could answer under this id, key or not. Raises MissingPart, without a call, where nobody could."""
    if embedded_model.is_embedded(model):
        embedded_model.model_file(model)
    else:
        provider_of(model)


def key_name(model: str) -> str:
    """The variable that holds the key of a model's provider."""
    provider = provider_of(model)
    return _KEY_NAMES.get(provider, f"{provider.upper()}_API_KEY")


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

    for below in _chain(error):
        if isinstance(below, MissingPart):
            raise MissingPart(below.line) from None
        if isinstance(below, RefusedByModel):
            return below.refusal
    return Refusal("invalid_request", f"the embedded model failed on this prompt: {type(error).__name__}")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those it came from: litellm keeps no code of the provider's error, the one below it does."""
    below: BaseException | None = error
    while below is not None:
        yield below
        below = below.__cause__ or below.__context__


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


def _completion(request: Request, reply: Any, latency_s: float, tries: int) -> Completion:
    choice = reply.choices[0] if reply.choices else None
    text = (choice.message.content if choice else None) or ""
    finish = (choice.finish_reason if choice else None) or ("stop" if choice else "no_choice")
    if choice and not text and _refusal(choice.message):
        finish = "refusal"
    usage = getattr(reply, "usage", None)
    embedded = embedded_model.is_embedded(request.model)
    return Completion(
        request_hash=request.request_hash,
        text=text,
        finish_reason=finish,
        model=request.model if embedded else reply.model or request.model,
        prompt_tokens=getattr(usage, "prompt_tokens", None) or 0,
        completion_tokens=getattr(usage, "completion_tokens", None) or 0,
        cost_usd=0.0 if embedded else _cost_usd(request.model, reply),
        latency_s=latency_s,
        answered_at=dt.datetime.now(dt.UTC),
        calls=tries,
    )


def _refusal(message: Any) -> str | None:
    """What the model said instead of an answer; litellm moved it from the provider's own fields to the message (1.107)."""
    said = getattr(message, "refusal", None) or (message.provider_specific_fields or {}).get("refusal")
    return str(said) if said else None


def _cost_usd(model: str, reply: Any) -> float | None:
    """What the bundled price list says; None, never zero, for a model that it does not hold."""
    litellm = open_litellm()
    try:
        litellm.get_model_info(model)
        return float(litellm.completion_cost(completion_response=reply, model=model))
    except Exception:
        return None


def _wait_s(error: Exception, tries: int) -> float:
    """As long as the provider asks for, else twice as long as before, spread so that waiters do not return at once."""
    headers = getattr(error, "litellm_response_headers", None) or getattr(
        getattr(error, "response", None), "headers", {}
    )
    asked = str(headers.get("retry-after", "")) if headers else ""
    if re.fullmatch(r"\d+(\.\d+)?", asked):
        return min(float(asked), LONGEST_WAIT_S)
    return FIRST_WAIT_S * 2 ** (tries - 1) * random.uniform(1.0, 1.5)  # noqa: S311  # spreads waiters
