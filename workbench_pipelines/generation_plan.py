"""Generation planned: what drafting would ask, find and take at most, before any call is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import polars as pl

from workbench_pipelines.catalog.documents import PromptTemplate, TrainingSheet
from workbench_pipelines.generation import SHOWN_BACK, Model, asked_prompts, make_requests
from workbench_pipelines.requests import Request, prompt_tokens_at_most

IsKept = Callable[[Sequence[Request]], Sequence[bool]]
"""Says of each question whether a usable answer is kept."""
_CHUNK = 10_000  # questions that are Python objects at one time
_BYTES_A_CHARACTER = 4  # at most, in UTF-8
# Tokens that a token of an answer is when it is read again: as a rule one, since a tokenizer writes no text in more tokens
# than its model did, and twice that is safe.
_READ_AGAIN = 2
_TOLD_AT_MOST = 600  # bytes of what was wrong with an answer, more than any such line has


@dataclass(frozen=True)
class Plan:
    """What drafting would take: calls, answers found, items that need no model, and tokens at most.

    `calls` is how many are asked, `repeated` how many ask what another item asks too, and have its answer; `calls_at_most` counts
    that each may be asked once more for an answer that fits.
    """

    calls: int
    store_hits: int
    repeated: int
    covered: int
    calls_at_most: int
    prompt_tokens_at_most: int
    completion_tokens_at_most: int


def plan_drafts(
    training_sheet: TrainingSheet,
    template: PromptTemplate,
    rendered: pl.DataFrame,
    live_labels: Mapping[str, str],
    *,
    model: Model,
    is_kept: IsKept,
    asks_once_more: bool = True,
) -> Plan:
    """What `draft_pairs` would do with the same arguments, before any call; repeated tries come on top."""
    asked = asked_prompts(training_sheet, rendered, live_labels)
    seen: set[str] = set()
    calls = hits = repeated = prompt_tokens = prompt_tokens_again = 0
    requests = make_requests(template, asked, model, training_sheet)
    max_tokens = template.spec.max_tokens
    shown_back = min(SHOWN_BACK * _BYTES_A_CHARACTER, max_tokens * _READ_AGAIN)
    while chunk := list(islice(requests, _CHUNK)):
        for request, kept in zip(chunk, is_kept(chunk), strict=True):
            hits += kept
            repeated += not kept and request.request_hash in seen
            if kept or request.request_hash in seen:
                continue
            seen.add(request.request_hash)
            calls += 1
            prompt_tokens += prompt_tokens_at_most(request)
            # What was answered is shown again, with what was wrong with it.
            prompt_tokens_again += prompt_tokens_at_most(request) + shown_back + _TOLD_AT_MOST
    again = 1 if asks_once_more else 0
    return Plan(
        calls=calls,
        store_hits=hits,
        repeated=repeated,
        covered=rendered.height - asked.height,
        calls_at_most=calls * (1 + again),
        prompt_tokens_at_most=prompt_tokens + again * prompt_tokens_again,
        completion_tokens_at_most=calls * max_tokens * (1 + again),
    )
