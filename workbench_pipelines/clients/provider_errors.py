"""What a provider's error means: this request has no answer, another try may bring one, or a person must mend something."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence, Set
from itertools import pairwise
from typing import Any

from workbench_pipelines.clients.attachments import hide_images
from workbench_pipelines.errors import MissingPart
from workbench_pipelines.requests import Passing, Refusal, Request

_PASSING = frozenset({408, 409, 425, 429})
_TOO_OFTEN = 429
# Providers whose key is not called as they are.
_KEY_NAMES = {
    "together_ai": "TOGETHERAI_API_KEY",
    "vertex_ai": "GOOGLE_APPLICATION_CREDENTIALS",
    "bedrock": "AWS_SECRET_ACCESS_KEY",
}
# Too large, or not to be processed: it is this question, and the next one may be taken.
_OF_THIS_REQUEST = frozenset({413, 422})
_WORD = re.compile(r"\w+")
_RUN = re.compile(r"[^\s.,;:()\[\]{}]+(?: [^\s.,;:()\[\]{}]+)*")
_SHOWN = 200  # characters of a provider's own words
# What looks like a key, whoever's it is: a proxy may echo its own.
_KEY = re.compile(
    r"\b(?:sk|pk|gsk|xai|hf|ghp|glpat)[-_][A-Za-z0-9_-]{8,}|\bAKIA[0-9A-Z]{16}\b|\bAIza[\w-]{20,}|(?<=Bearer )[\w.~+/=-]{8,}"
)
_QUOTED = 3  # a prompt line up to this length is found in any text


def judged(request: Request, error: Exception, provider: str, secrets: Sequence[str]) -> Refusal | Passing:
    """What an exception of litellm or of the openai SDK means for a request.

    Raises:
        MissingPart: where no request to this model can be answered: key, model id or request are refused.
    """
    kind = {one.__name__ for one in type(error).__mro__}
    codes = {getattr(one, "code", None) for one in error_chain(error)}
    if "ContextWindowExceededError" in kind or "context_length_exceeded" in codes:
        return Refusal("permanent", f"the prompt is longer than {request.model} reads")
    if "ContentPolicyViolationError" in kind or "content_filter" in codes:
        return Refusal("filtered", "the provider's content filter withheld the prompt")
    if "insufficient_quota" in codes:
        raise MissingPart(f"model {request.model}: the quota of {key_name(provider)} is spent") from None
    status = getattr(error, "status_code", None)
    if status in _OF_THIS_REQUEST:
        return Refusal("permanent", f"the provider does not take this question ({status})")
    if status in _PASSING:
        return Passing(status == _TOO_OFTEN, _retry_after(error))
    # A timeout, a lost connection, and a reply that is no JSON: the next one may be sound.
    if isinstance(error, (OSError, ValueError)) or kind & {
        "Timeout",
        "APIConnectionError",
        "APIResponseValidationError",
    }:
        return Passing()
    if status is None:
        raise MissingPart(f"model {request.model}: it can not be asked: {type(error).__name__}") from None
    if status >= 500:
        return Passing(retry_after_s=_retry_after(error))
    raise MissingPart(_refused_line(request, status, error, provider, secrets)) from None


def key_name(provider: str) -> str:
    """The variable that holds a provider's key."""
    return _KEY_NAMES.get(provider, f"{provider.upper()}_API_KEY")


def error_chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those it came from: litellm keeps no code of the provider's error, the one below it does."""
    below: BaseException | None = error
    while below is not None:
        yield below
        below = below.__cause__ or below.__context__


def _refused_line(request: Request, status: int, error: Exception, provider: str, secrets: Sequence[str]) -> str:
    model = request.model
    if status in (401, 403):
        return f"model {model}: the provider refused the key ({status}); check {key_name(provider)}"
    if status == 404:
        return f"model {model}: the provider does not know it ({status}); check the model id and the address"
    return f"model {model}: the provider refused the request ({status}): {_shown(request, error, secrets)}"


def _shown(request: Request, error: Exception, secrets: Sequence[str]) -> str:
    """What a provider said, without secrets and without the prompt it may quote."""
    body = getattr(error, "body", None)
    text = str((isinstance(body, dict) and body.get("message")) or getattr(error, "message", error))
    text = hide_images(text, request.messages)
    for secret in secrets:
        text = text.replace(secret, "***")
    text = _KEY.sub("***", text)
    for message in request.messages:
        for line in [message["content"], *message["content"].splitlines()]:
            if len(line.strip()) > _QUOTED:
                text = text.replace(line.strip(), "[prompt]")
    asked = {word for message in request.messages for word in _WORD.findall(message["content"].lower())}
    # A part of a prompt is told by two of its words in a row, or by one that is a name or holds a digit.
    text = _RUN.sub(lambda run: "[prompt]" if _is_quoted(run[0], asked) else run[0], text)
    return " ".join(text.split())[:_SHOWN]


def _is_quoted(run: str, asked: Set[str]) -> bool:
    words = _WORD.findall(run)
    return any(word.lower() in asked and (not word.islower() or any(map(str.isdigit, word))) for word in words) or any(
        one.lower() in asked and other.lower() in asked for one, other in pairwise(words)
    )


def _retry_after(error: Exception) -> float | None:
    """The seconds that the provider wants to be left alone; a date, which few send, is passed over."""
    headers: Any = getattr(error, "litellm_response_headers", None)
    headers = headers or getattr(getattr(error, "response", None), "headers", None) or {}
    asked = str(headers.get("retry-after", ""))
    return float(asked) if re.fullmatch(r"\d+(\.\d+)?", asked) else None
