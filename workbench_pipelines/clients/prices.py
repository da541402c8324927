"""What asking a model costs, from the price list that litellm bundles."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import lru_cache
from importlib import metadata, resources
from typing import Any

from workbench_pipelines.clients.embedded_model import is_embedded

_LIST = "model_prices_and_context_window_backup.json"


def cost_at_most(model: str, prompt_tokens: int, completion_tokens: int, *, in_batch: bool = False) -> float | None:
    """The price of so many tokens in US dollars; None for a model whose price is not known, 0 for the embedded one."""
    return _cost(model, prompt_tokens, completion_tokens, 0, in_batch)


def cost_of(model: str, usage: Mapping[str, Any], *, in_batch: bool = False) -> float | None:
    """What one answer cost in US dollars, by the tokens its provider counted; None, never zero, where nobody knows.

    The price of a batch is the listed one; where only that of a call is listed, nobody knows of a discount.
    """
    if not is_embedded(model) and not any(
        isinstance(usage.get(name), int) for name in ("prompt_tokens", "completion_tokens")
    ):
        return None  # a provider that counts nothing: the price is not known, and is not nothing
    details = usage.get("prompt_tokens_details")
    cached = (details.get("cached_tokens") if isinstance(details, Mapping) else 0) or 0
    return _cost(model, usage.get("prompt_tokens") or 0, usage.get("completion_tokens") or 0, cached, in_batch)


def has_price(model: str) -> bool:
    """Whether it is known what a model costs."""
    return is_embedded(model) or _is_listed(model)


@lru_cache(maxsize=64)
def price_list(model: str) -> str | None:
    """The version of the list behind a price: litellm's, and the first digits of the SHA-256 of its list. None for free."""
    if is_embedded(model):
        return None
    content = (resources.files("litellm") / _LIST).read_bytes()
    return f"litellm {metadata.version('litellm')} {hashlib.sha256(content).hexdigest()[:12]}"


@lru_cache(maxsize=256)
def _is_listed(model: str) -> bool:
    from workbench_pipelines.clients.llm import open_litellm

    try:
        found = open_litellm().get_model_info(model)
    except Exception:
        # litellm raises its own and bare exceptions for what it does not list.
        return False
    listed = open_litellm().model_cost.get(found.get("key")) or {}
    # Some are listed without a price, which litellm takes for nothing.
    return "input_cost_per_token" in listed or "output_cost_per_token" in listed


@lru_cache(maxsize=4096)
def _cost(
    model: str, prompt_tokens: int, completion_tokens: int, cached_tokens: int, in_batch: bool = False
) -> float | None:
    if is_embedded(model) or not (prompt_tokens or completion_tokens):
        return 0.0
    if not _is_listed(model):
        return None
    from workbench_pipelines.clients.llm import open_litellm

    litellm = open_litellm()
    try:
        if in_batch and _has_batch_price(model):
            tokens = litellm.Usage(
                prompt_tokens=prompt_tokens,
                completion_tokens=completion_tokens,
                prompt_tokens_details={"cached_tokens": cached_tokens},
            )
            prompt, completion = litellm.cost_calculator.batch_cost_calculator(usage=tokens, model=model)
        else:
            prompt, completion = litellm.cost_per_token(
                model=model,
                prompt_tokens=prompt_tokens,
                completion_tokens=completion_tokens,
                cache_read_input_tokens=cached_tokens,
            )
    except Exception:
        return None
    return float(prompt) + float(completion)


@lru_cache(maxsize=256)
def _has_batch_price(model: str) -> bool:
    """Whether the price of a batch is listed; litellm takes half of a call's for one that is not."""
    from workbench_pipelines.clients.llm import open_litellm

    info = open_litellm().get_model_info(model)
    return all(info.get(f"{kind}_cost_per_token_batches") is not None for kind in ("input", "output"))
