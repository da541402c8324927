"""What asking a model costs, from the price list that litellm bundles."""

from __future__ import annotations

from workbench_pipelines.clients.embedded_model import is_embedded


def cost_at_most(model: str, prompt_tokens: int, completion_tokens: int) -> float | None:
    """The price of so many tokens in US dollars; None for a model whose price is not known, 0 for the embedded one."""
    if is_embedded(model) or not (prompt_tokens or completion_tokens):
        return 0.0
    from workbench_pipelines.clients.llm import open_litellm

    litellm = open_litellm()
    try:
        prompt, completion = litellm.cost_per_token(
            model=model, prompt_tokens=prompt_tokens, completion_tokens=completion_tokens
        )
    except Exception:
        # litellm raises its own and bare exceptions for what it does not list.
        return None
    return float(prompt) + float(completion)
