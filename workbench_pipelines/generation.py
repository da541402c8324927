"""Generation: from rendered prompts to drafts, asking only for what no expert and no column has answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from workbench_pipelines.answers import Parsed, parse_answer
from workbench_pipelines.catalog.documents import PromptTemplate, TrainingSheet
from workbench_pipelines.decisions import UTC_TIME
from workbench_pipelines.fields import json_schema_of
from workbench_pipelines.identity import response_hash
from workbench_pipelines.requests import (
    Answered,
    Completion,
    IsGood,
    Refusal,
    Request,
    prompt_tokens_at_most,
    total_cost,
)

GENERATED_PAIRS = pl.Schema(
    {
        "training_sheet": pl.String(),
        "pair_id": pl.String(),
        "sheet": pl.String(),
        "item_ref": pl.String(),
        "label_type": pl.String(),
        "seen_hash": pl.String(),
        "prompt_hash": pl.String(),
        "request_hash": pl.String(),
        "response": pl.String(),
        "response_hash": pl.String(),
        "labeling_mode": pl.String(),
        "canonical_label_id": pl.String(),
        "model": pl.String(),
        "prompt_tokens": pl.Int64(),
        "completion_tokens": pl.Int64(),
        "cost_usd": pl.Float64(),
        "answered_at": UTC_TIME,
    }
)
"""Columns of `generate/generated_pairs`; tokens and cost are those of the paid answer, a null cost is unknown."""

REFUSALS = pl.Schema(
    {
        "training_sheet": pl.String(),
        "item_ref": pl.String(),
        "pair_id": pl.String(),
        "reason": pl.String(),
        "detail": pl.String(),
    }
)
"""Columns of `generate/generated_pairs_refusals`."""

Answer = Callable[[Sequence[Request], IsGood], Iterable[Answered]]
Lookup = Callable[[Sequence[str], IsGood], Mapping[str, Completion]]


@dataclass(frozen=True)
class Drafts:
    """The drafts of one TrainingSheet and what this run paid for them; `cost_usd` None where a price is unknown."""

    frame: pl.DataFrame
    refusals: pl.DataFrame
    calls: int = 0
    store_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = 0.0


@dataclass(frozen=True)
class Plan:
    """What drafting would take: calls at least, answers found, items that need no model, and tokens at most."""

    calls: int
    store_hits: int
    covered: int
    prompt_tokens_at_most: int
    completion_tokens_at_most: int


def draft_pairs(
    training_sheet: TrainingSheet,
    template: PromptTemplate,
    rendered: pl.DataFrame,
    live_labels: Mapping[str, str],
    *,
    model: str,
    revision: str | None,
    endpoint: str | None,
    answer: Answer,
) -> Drafts:
    """One draft a prompt: as the model wrote it, as its column holds it, or none where an expert has answered.

    Input columns: those of `generate/rendered_prompts`, of one TrainingSheet.

    Output columns: `GENERATED_PAIRS`, sorted by item whatever the order of the answers; `REFUSALS` for the prompts
    without a usable answer, which make no pair.

    Args:
        live_labels: by item, the id of its canonical label for this task, where that is active and not stale.
        answer: requests to outcomes, in any order.
    """
    requests = plan_requests(training_sheet, template, rendered, live_labels, model, revision, endpoint)
    schema = json_schema_of(template.spec.output_schema)
    answered = list(answer(requests, is_good(schema))) if requests else []
    outcomes = {one.request.pair_id: one.outcome for one in answered}
    drafts, refused = [], []
    for row in rendered.iter_rows(named=True):
        draft = _undrafted(row, training_sheet.spec.labeling_mode, live_labels)
        if row["pair_id"] in outcomes:
            drawn = _drawn(outcomes[row["pair_id"]], schema)
            if isinstance(drawn, Refusal):
                refused.append({"reason": drawn.reason, "detail": drawn.detail, **_named(row, REFUSALS)})
                continue
            draft |= drawn
        drafts.append(draft)
    fresh = [one.outcome for one in answered if not one.from_store]
    paid = [outcome for outcome in fresh if isinstance(outcome, Completion)]
    return Drafts(
        frame=_sorted(drafts, GENERATED_PAIRS),
        refusals=_sorted(refused, REFUSALS),
        calls=sum(outcome.calls for outcome in fresh),
        store_hits=sum(one.from_store for one in answered),
        prompt_tokens=sum(completion.prompt_tokens for completion in paid),
        completion_tokens=sum(completion.completion_tokens for completion in paid),
        cost_usd=total_cost([completion.cost_usd for completion in paid]),
    )


def plan_requests(
    training_sheet: TrainingSheet,
    template: PromptTemplate,
    rendered: pl.DataFrame,
    live_labels: Mapping[str, str],
    model: str,
    revision: str | None,
    endpoint: str | None,
) -> list[Request]:
    """The questions to a model that these prompts take: none for an item that has a live canonical label."""
    if training_sheet.spec.labeling_mode != "ai_generated":
        return []
    spec = template.spec
    parameters = {
        "temperature": spec.temperature,
        "max_tokens": spec.max_tokens,
        "top_p": spec.top_p,
        "seed": spec.seed,
    }
    schema = json_schema_of(spec.output_schema)
    return [
        Request(
            messages=row["messages"],
            model=model,
            revision=revision,
            endpoint=endpoint,
            parameters=parameters,
            schema=schema,
            **_named(row, ("training_sheet", "sheet", "item_ref", "pair_id")),
        )
        for row in rendered.sort("item_ref", "pair_id").iter_rows(named=True)
        if row["item_ref"] not in live_labels
    ]


def plan_drafts(
    training_sheet: TrainingSheet,
    template: PromptTemplate,
    rendered: pl.DataFrame,
    live_labels: Mapping[str, str],
    *,
    model: str,
    revision: str | None,
    endpoint: str | None,
    lookup: Lookup,
) -> Plan:
    """What `draft_pairs` would do with the same arguments, before any call; repeated tries come on top."""
    requests = plan_requests(training_sheet, template, rendered, live_labels, model, revision, endpoint)
    by_hash = {request.request_hash: request for request in requests}
    kept = lookup(list(by_hash), is_good(json_schema_of(template.spec.output_schema)))
    open_requests = [request for key, request in by_hash.items() if key not in kept]
    return Plan(
        calls=len(open_requests),
        store_hits=len(requests) - len(open_requests),
        covered=rendered.height - len(requests),
        prompt_tokens_at_most=sum(map(prompt_tokens_at_most, open_requests)),
        completion_tokens_at_most=len(open_requests) * template.spec.max_tokens,
    )


def is_good(schema: Mapping[str, Any]) -> IsGood:
    """Whether an answer holds what this schema asks for; other answers are kept, and asked for again."""
    return lambda completion: _parsed(completion, schema).response is not None


def _parsed(completion: Completion, schema: Mapping[str, Any]) -> Parsed:
    return parse_answer(completion.text, completion.finish_reason, schema)


def _undrafted(row: Mapping[str, Any], mode: str, live_labels: Mapping[str, str]) -> dict[str, Any]:
    """The draft of a prompt that asks no model."""
    response = row["column_response"] if mode == "existing_column" else None
    draft: dict[str, Any] = dict.fromkeys(GENERATED_PAIRS)
    shared = ("training_sheet", "pair_id", "sheet", "item_ref", "label_type", "seen_hash", "prompt_hash")
    return draft | {
        **_named(row, shared),
        "response": response,
        "response_hash": None if response is None else response_hash(response),
        "labeling_mode": mode,
        "canonical_label_id": live_labels.get(row["item_ref"]),
    }


def _drawn(outcome: Completion | Refusal, schema: Mapping[str, Any]) -> dict[str, Any] | Refusal:
    """What an outcome puts into a draft, or why it puts nothing."""
    if isinstance(outcome, Refusal):
        return outcome
    parsed = _parsed(outcome, schema)
    if parsed.response is None:
        return Refusal(parsed.reason or "invalid", parsed.detail or "")
    return {
        "request_hash": outcome.request_hash,
        "response": parsed.response,
        "response_hash": response_hash(parsed.response),
        "model": outcome.model,
        "prompt_tokens": outcome.prompt_tokens,
        "completion_tokens": outcome.completion_tokens,
        "cost_usd": outcome.cost_usd,
        "answered_at": outcome.answered_at,
    }


def _named(row: Mapping[str, Any], columns: Iterable[str]) -> dict[str, Any]:
    return {name: row[name] for name in columns if name in row}


def _sorted(rows: Sequence[Mapping[str, Any]], schema: pl.Schema) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=schema).sort("item_ref", "pair_id")
