"""The embedded model as a provider of litellm; this module imports litellm, so it is imported where that is needed."""

from __future__ import annotations

from typing import Any

import litellm
from litellm.llms.custom_llm import CustomLLM, CustomLLMError
from litellm.types.utils import ChoiceLogprobs

from workbench_pipelines.clients import embedded_model
from workbench_pipelines.requests import Refusal

_PARAMETERS = ("temperature", "max_tokens", "top_p", "seed", "logprobs")


class RefusedByModel(CustomLLMError):
    """A request that the embedded model can not answer; `refusal` says why."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(status_code=422, message=f"{refusal.reason}: {refusal.detail}")
        self.refusal = refusal


class EmbeddedProvider(CustomLLM):
    """Answers `local/...` in this process."""

    def completion(self, *args: Any, **given: Any) -> Any:
        options = given["optional_params"]
        wanted = (options.get("response_format") or {}).get("json_schema") or {}
        answer = embedded_model.answer(
            embedded_model.PREFIX + given["model"],
            given["messages"],
            {name: options[name] for name in _PARAMETERS if name in options},
            wanted.get("schema"),
        )
        if isinstance(answer, Refusal):
            raise RefusedByModel(answer)
        reply = given["model_response"]
        reply.model = given["model"]
        reply.choices[0].message.content = answer.text
        reply.choices[0].finish_reason = answer.finish_reason
        if answer.logprobs is not None:
            tokens: list[Any] = [
                {"token": "", "bytes": None, "logprob": one, "top_logprobs": []} for one in answer.logprobs
            ]
            reply.choices[0].logprobs = ChoiceLogprobs(content=tokens)
        reply.usage = litellm.Usage(
            prompt_tokens=answer.prompt_tokens,
            completion_tokens=answer.completion_tokens,
            total_tokens=answer.prompt_tokens + answer.completion_tokens,
        )
        return reply
