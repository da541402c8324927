"""Requests and completions: what is asked of a model, what came back, and the rows both are kept as.

A request is paid once: its hash names the answer. Which item asked is no part of that name, so two items,
TrainingSheets or runs that ask the same share one answer; `REQUEST_USES` says who they are, for lineage and erasure.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import polars as pl

from workbench_pipelines import identity
from workbench_pipelines.attachments import TOKENS_AT_MOST, images_of
from workbench_pipelines.decisions import UTC_TIME

REQUESTS = pl.Schema(
    {
        "answer_id": pl.String(),
        "request_hash": pl.String(),
        "model": pl.String(),
        "revision": pl.String(),
        "endpoint": pl.String(),
        "parameters": pl.String(),
        "attempt": pl.Int64(),
        "answered_by": pl.String(),
        "answer": pl.String(),
        "finish_reason": pl.String(),
        "prompt_tokens": pl.Int64(),
        "completion_tokens": pl.Int64(),
        "cost_usd": pl.Float64(),
        "latency_s": pl.Float64(),
        "answered_at": UTC_TIME,
        "price_list": pl.String(),
        "confidence": pl.Float64(),
    }
)
"""Columns of `records/requests`: one raw answer a row, good or bad; `cost_usd` null is an unknown price, never zero, and
`price_list` the version of the list that it was worked out from. `confidence` is there where it was asked for."""

REQUEST_USES = pl.Schema(
    {
        "request_hash": pl.String(),
        "training_sheet": pl.String(),
        "sheet": pl.String(),
        "item_ref": pl.String(),
        "pair_id": pl.String(),
    }
)
"""Columns of `records/request_uses`: which item of which TrainingSheet asked."""


@dataclass(frozen=True)
class Request:
    """One question to one model.

    Attributes:
        messages: what is asked, as `role`, `content` and `parts`.
        model: model id.
        revision: digest of a local model's file, or None.
        endpoint: base address of the provider where it is not the provider's own, or None.
        parameters: `temperature`, `max_tokens`, `top_p`, `seed`, `logprobs`; a parameter that is None is not sent.
        schema: JSON Schema of the answer, or None for free text.
        attempt: a higher one asks the same again.
        training_sheet, sheet, item_ref, pair_id: who asks; no part of the hash.
    """

    messages: Sequence[Mapping[str, Any]]
    model: str
    revision: str | None
    endpoint: str | None
    parameters: Mapping[str, Any]
    schema: Mapping[str, Any] | None
    attempt: int = 0
    training_sheet: str = ""
    sheet: str = ""
    item_ref: str = ""
    pair_id: str = ""

    @cached_property
    def request_hash(self) -> str:
        return identity.request_hash(
            self.messages,
            model=self.model,
            revision=self.revision,
            endpoint=self.endpoint,
            parameters=self.parameters,
            schema=self.schema,
            attempt=self.attempt,
        )

    def of_model(self, model: str, revision: str | None, endpoint: str | None) -> Request:
        """The same question to another model."""
        return replace(self, model=model, revision=revision, endpoint=endpoint)

    def again(self) -> Request:
        """The same question as a further attempt, which has an answer of its own."""
        return replace(self, attempt=self.attempt + 1)

    def use_row(self) -> dict[str, Any]:
        """This request as a row of `REQUEST_USES`."""
        return {name: getattr(self, name) for name in REQUEST_USES}


@dataclass(frozen=True)
class Completion:
    """One raw answer, before anything was read out of it.

    Attributes:
        model: the model that answered, which a provider may name more closely than it was asked for.
        cost_usd: what it cost, None where no price is known.
        price_list: the version of the price list behind `cost_usd`.
        calls: how often the provider was called for it; 0 for an answer that was kept.
        confidence: how probable the model found its own words: the geometric mean of the probabilities of its tokens; None
            where it was not asked, or does not say.
    """

    request_hash: str
    text: str
    finish_reason: str
    model: str
    prompt_tokens: int
    completion_tokens: int
    cost_usd: float | None
    latency_s: float
    answered_at: dt.datetime
    price_list: str | None = None
    calls: int = 1
    confidence: float | None = None

    def row(self, request: Request) -> dict[str, Any]:
        """This answer to `request` as a row of `REQUESTS`."""
        return {
            "answer_id": identity.digest([self.request_hash, self.text, self.finish_reason, self.answered_at]),
            "request_hash": self.request_hash,
            "model": request.model,
            "revision": request.revision,
            "endpoint": request.endpoint,
            "parameters": identity.canonical_text(dict(request.parameters)),
            "attempt": request.attempt,
            "answered_by": self.model,
            "answer": self.text,
            "finish_reason": self.finish_reason,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost_usd": self.cost_usd,
            "latency_s": self.latency_s,
            "answered_at": self.answered_at,
            "price_list": self.price_list,
            "confidence": self.confidence,
        }


@dataclass(frozen=True)
class Refusal:
    """Why a request has no answer, where the others may still have one.

    Reasons: `transient` (no answer after all tries), `permanent` (this text can not be sent, or is longer than the model
    reads) and `filtered`.
    """

    reason: str
    detail: str
    calls: int = 1


@dataclass(frozen=True)
class Passing:
    """Why one try brought nothing, where another may.

    Attributes:
        too_often: the provider wants to be asked less often (429); such a try says nothing against the model.
        retry_after_s: how long the provider wants to be left alone, where it says so.
    """

    too_often: bool = False
    retry_after_s: float | None = None


Variants = Sequence[Request]
"""One question to the models that may answer it, in the order in which they are tried."""
Outcome = Completion | Refusal


class Answered(NamedTuple):
    """A request with what came of it, whether it was found instead of asked, and what this run paid for on the way to it."""

    request: Request
    outcome: Completion | Refusal
    from_store: bool
    paid: tuple[Completion | Refusal, ...] = ()


def completion_of(row: Mapping[str, Any]) -> Completion:
    """The answer that a row of `REQUESTS` keeps."""
    return Completion(
        request_hash=row["request_hash"],
        text=row["answer"],
        finish_reason=row["finish_reason"],
        model=row["answered_by"],
        prompt_tokens=row["prompt_tokens"],
        completion_tokens=row["completion_tokens"],
        cost_usd=row["cost_usd"],
        latency_s=row["latency_s"],
        answered_at=row["answered_at"],
        price_list=row.get("price_list"),
        calls=0,
        confidence=row.get("confidence"),
    )


def prompt_tokens_at_most(request: Request) -> int:
    """More tokens than the prompt of a request can have.

    No tokenizer of ours makes more tokens than UTF-8 bytes; a chat template adds marks to every message and, where no
    system prompt is given, one of its own; some providers count the schema.
    """
    images = TOKENS_AT_MOST * len(images_of(request.messages))
    parts = [text for message in request.messages for text in (message["content"], message.get("parts")) if text]
    schema = identity.canonical_json(request.schema) if request.schema else b""
    return images + sum(len(part.encode()) for part in parts) + len(schema) + 16 * len(request.messages) + 64


def total_cost(costs: Sequence[float | None]) -> float | None:
    """The sum of what is paid, None as soon as one price is unknown; exact, whatever the order."""
    return None if any(cost is None for cost in costs) else math.fsum(cost for cost in costs if cost is not None)
