"""Collecting batches: what providers have answered goes into the request store, as if each had been asked by a call.

A batch whose run was killed while it handed it in is found again by the name it bears. Collecting twice adds nothing.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from workbench_pipelines.batch_lines import LineRefusal, bind, read_lines
from workbench_pipelines.batches import ENDS, INTENDED, SUBMITTED, Batch
from workbench_pipelines.clients.batch_endpoint import BatchEndpoint, ProviderBatch, Unreachable
from workbench_pipelines.clients.batch_ledger import BatchLedger
from workbench_pipelines.clients.llm import completion_from
from workbench_pipelines.errors import ArgumentError, MissingPart, nearest
from workbench_pipelines.requests import Completion, Request, total_cost
from workbench_pipelines.workbench import Workbench

# A batch that was asked for when its run was killed may be listed by its provider a little later.
SETTLED_AFTER_S = 60.0


@dataclass(frozen=True)
class Looked:
    """One look after a batch: how far it is now, and why that is not known, where it is not.

    Attributes:
        progress: what the provider says of one that it still works on.
    """

    batch: Batch
    progress: str | None = None
    problem: str | None = None

    @property
    def line(self) -> str:
        """One line for the terminal and for the events of a run."""
        batch = self.batch
        name = f"batch {batch.batch_id or batch.submission_id} of {batch.training_sheet}"
        if self.problem is not None:
            return f"{name}: {self.problem}"
        if batch.is_open:
            return f"{name}: {self.progress or batch.status}, {batch.requests} questions"
        if batch.answers is None:
            return f"{name}: {batch.status}: {batch.detail}"
        cost = "an unknown price" if batch.cost_usd is None else f"{batch.cost_usd:.4f} USD"
        why = f": {batch.detail}" if batch.detail else ""
        return f"{name}: {batch.status}{why}, {batch.answers} answers, {batch.refused} refused, {cost}"


def collect_batches(
    workbench: Workbench, training_sheets: Collection[str] | None = None, *, at_most: int | None = None
) -> list[Looked]:
    """Looks after every open batch, and keeps what came of those that ended.

    A provider that can not be asked holds up its own batches only, and is asked once. A batch that another process looks
    after is left to it.

    Args:
        training_sheets: look after the batches that these wait for; after all where it is None.
        at_most: how many are collected; the rest is for the next look.
    """
    ledger = BatchLedger(workbench.lake)
    looked: list[Looked] = []
    silent: set[tuple[str, str | None]] = set()
    claims = workbench.store.claims
    try:
        for batch in _open(ledger, training_sheets):
            if at_most is not None and sum(one.batch.answers is not None for one in looked) >= at_most:
                break
            if (batch.model, batch.endpoint) in silent or not claims.take([batch.submission_id]):
                continue
            try:
                # It may have been collected between the look at the record and the claim.
                looked.append(_look(workbench, ledger, ledger.find(batch.submission_id)))
            except MissingPart as error:
                if isinstance(error, Unreachable):
                    silent.add((batch.model, batch.endpoint))
                looked.append(Looked(batch, problem=error.line))
            claims.release([batch.submission_id])
    finally:
        claims.close()
    return looked


def forget_batch(workbench: Workbench, name: str, by: str) -> Batch:
    """Counts a batch as lost on a person's word, so that its questions can be handed in anew.

    Raises:
        ArgumentError: for a batch that is not open.
    """
    ledger = BatchLedger(workbench.lake)
    known = {key: one for one in _open(ledger, None) for key in (one.batch_id, one.submission_id) if key}
    if name not in known:
        raise ArgumentError(f"there is no open batch '{name}'{nearest(name, known)}")
    batch = known[name].after("lost", _now(), detail=f"given up by {by}")
    ledger.record(batch)
    return batch


def _open(ledger: BatchLedger, training_sheets: Collection[str] | None) -> list[Batch]:
    if training_sheets is None:
        return [one for one in ledger.batches() if one.is_open]
    concerned = ledger.concerned()
    found = {one.submission_id: one for name in training_sheets for one in concerned.get(name, ()) if one.is_open}
    return list(found.values())


def _look(workbench: Workbench, ledger: BatchLedger, batch: Batch) -> Looked:
    if not batch.is_open:
        return Looked(batch)
    endpoint = BatchEndpoint(workbench.llm, batch.model, batch.endpoint)
    if batch.batch_id is None:
        batch = _found_again(ledger, endpoint, batch)
        if batch.batch_id is None:
            return Looked(batch)
    described = endpoint.retrieve(batch.batch_id)
    # For a moment a batch has ended and its answers are not there yet.
    if described.status not in ENDS or (described.answered and described.output_file_id is None):
        return Looked(batch, progress=described.status)
    return Looked(_collected(workbench, ledger, endpoint, batch, described))


def _found_again(ledger: BatchLedger, endpoint: BatchEndpoint, batch: Batch) -> Batch:
    """A batch whose run ended while it handed it in, as the provider knows it, or as lost where it never came to be."""
    now = _now()
    if batch.status == INTENDED:
        # The batch is asked for only after that was written down.
        batch = batch.after("lost", now, detail="its run was ended before the provider was asked for it")
    elif (found := endpoint.find(batch.submission_id, batch.submitted_at)) is not None:
        batch = batch.after(SUBMITTED, now, batch_id=found.batch_id)
    elif (now - batch.at).total_seconds() > SETTLED_AFTER_S:
        batch = batch.after("lost", now, detail="its run was ended, and the provider knows no such batch")
    else:
        return batch
    ledger.record(batch)
    return batch


def _collected(
    workbench: Workbench, ledger: BatchLedger, endpoint: BatchEndpoint, batch: Batch, described: ProviderBatch
) -> Batch:
    """Keeps what came of a batch. The times are the provider's, so that a second collecting makes the same rows."""
    asked = ledger.requests_of(batch)
    lines = [
        line
        for file, file_id in (("output", described.output_file_id), ("errors", described.error_file_id))
        for line in read_lines(endpoint.content(file_id), file)
    ]
    returned = bind(lines, asked, batch.model, described.status)
    # What its collector kept before it was killed is there already.
    kept = workbench.store.answers(returned.replies)
    costs: list[float | None] = []
    refusals = list(returned.refusals)
    for key, reply in returned.replies.items():
        first, *others = asked[key]
        completion = _completion(first, reply, described, batch)
        if completion is None:
            refusals.append(LineRefusal(f"question {key}", key, "unreadable_line", "its line holds no chat completion"))
            continue
        if any(_is_same(completion, one) for one in kept.get(key, ())):
            workbench.store.record_uses([first, *others])
        else:
            workbench.store.put(first, completion)
            workbench.store.record_uses(others)
        costs.append(completion.cost_usd)
    workbench.store.commit()
    now = _now()
    ledger.refuse(batch, refusals, now)
    batch = batch.after(
        described.status,
        now,
        answers=len(costs),
        refused=len(refusals),
        cost_usd=total_cost(costs),
        detail=f"the provider could not take it ({', '.join(described.codes)})" if described.codes else None,
    )
    ledger.record(batch)
    return batch


def _completion(
    request: Request, reply: Mapping[str, Any], described: ProviderBatch, batch: Batch
) -> Completion | None:
    """The answer in the reply of a line; None where that is no chat completion."""
    created, ended = reply.get("created"), described.ended_at or batch.submitted_at
    answered = ended
    # When the model says that it answered, where that can be.
    if isinstance(created, int) and described.created_at.timestamp() <= created <= ended.timestamp():
        answered = dt.datetime.fromtimestamp(created, dt.UTC)
    took = max(0.0, (answered - described.created_at).total_seconds())
    try:
        found = completion_from(request, reply, took, answered, in_batch=True)
    except (AttributeError, TypeError, ValueError):
        return None
    typed = isinstance(found.text, str) and isinstance(found.finish_reason, str) and isinstance(found.model, str)
    counted = isinstance(found.prompt_tokens, int) and isinstance(found.completion_tokens, int)
    return found if typed and counted else None


def _is_same(completion: Completion, kept: Completion) -> bool:
    """Whether an answer is one that is kept: the same words, at the same time."""
    return (completion.text, completion.finish_reason, completion.answered_at) == (
        kept.text,
        kept.finish_reason,
        kept.answered_at,
    )


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
