"""What was tried of a question by batches: whether it is due, waits, or has come to its end."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from workbench_pipelines.answers import Read
from workbench_pipelines.batches import MAX_BYTES, MAX_EXPIRED, MAX_REQUESTS, PENDING, Batch
from workbench_pipelines.budget import Budget
from workbench_pipelines.clients.batch_ledger import BatchLedger
from workbench_pipelines.generation import Model
from workbench_pipelines.requests import Completion, Outcome, Refusal, Request
from workbench_pipelines.workbench import Workbench


@dataclass(frozen=True)
class BatchTerms:
    """Who is asked by batches, and on which terms.

    Attributes:
        follow_up: what an answer that can not be used is asked once more.
        may_ask: which questions may be asked; the others are only looked for.
        asks_again: which questions are asked although they were answered, but not usably, or refused.
        max_requests, max_bytes: what one file may hold.
    """

    training_sheet: str
    model: Model
    budgets: tuple[Budget, ...]
    read: Read
    follow_up: FollowUp
    may_ask: Callable[[Request], bool] = lambda request: True
    asks_again: Callable[[Request], bool] = lambda request: False
    max_requests: int = MAX_REQUESTS
    max_bytes: int = MAX_BYTES


FollowUp = Callable[[Request, Completion], Request | None]
"""What an answer that can not be used is asked once more."""


def waiting_questions(
    workbench: Workbench, follow_up: FollowUp, questions: Sequence[Request]
) -> dict[str, tuple[Batch, Request]]:
    """Those of these questions, by hash, that wait for a batch: which, and what that asks, themselves or once more."""
    if not questions or not any(one.is_open for one in BatchLedger(workbench.lake).batches()):
        return {}
    tries = Tries(workbench, follow_up)
    return tries.waiting(tries.of(questions))


def refuse_waiting(workbench: Workbench, follow_up: FollowUp, questions: Sequence[Request]) -> dict[str, Refusal]:
    """Why a run that asks by calls leaves out those of these questions that wait for a batch, by their hashes.

    That they wait is written down, so that their TrainingSheets are made again when the batch is back.
    """
    waiting = waiting_questions(workbench, follow_up, questions)
    pending: dict[str, dict[str, tuple[Request, list[Request]]]] = {}
    for one in questions:
        if one.request_hash in waiting:
            batch, step = waiting[one.request_hash]
            pending.setdefault(batch.submission_id, {}).setdefault(step.request_hash, (step, []))[1].append(one)
    BatchLedger(workbench.lake).wait_for(pending)
    return {key: Refusal(PENDING, batch.line, calls=0) for key, (batch, _) in waiting.items()}


class Tries:
    """What was tried of questions that have no usable answer, and which batches they wait for."""

    def __init__(self, workbench: Workbench, follow_up: FollowUp) -> None:
        self.store = workbench.store
        self.ledger = BatchLedger(workbench.lake)
        self.follow_up = follow_up

    def of(self, questions: Sequence[Request]) -> dict[str, Tried]:
        """What was tried of each question, itself and what its answer was asked once more."""
        answers = self.store.answers({one.request_hash for one in questions})
        follow = {}
        for one in questions:
            kept = answers.get(one.request_hash)
            follow[one.request_hash] = self.follow_up(one, kept[-1]) if kept else None
        again = {one.request_hash for one in follow.values() if one is not None}
        answers |= self.store.answers(again)
        refusals = self.ledger.refusals({one.request_hash for one in questions} | again)
        found = {}
        for one in questions:
            second = follow[one.request_hash]
            steps = (one,) if second is None else (one, second)
            found[one.request_hash] = Tried(
                steps,
                tuple(tuple(answers.get(step.request_hash, ())) for step in steps),
                tuple(tuple(refusals.get(step.request_hash, ())) for step in steps),
            )
        return found

    def waiting(self, tries: Mapping[str, Tried]) -> dict[str, tuple[Batch, Request]]:
        """The open batch that asks a question, by the question's hash, and which of its steps that asks."""
        batches = self.ledger.waiting_for({step.request_hash for tried in tries.values() for step in tried.steps})
        found = {}
        for key, tried in tries.items():
            step = next((step for step in tried.steps if step.request_hash in batches), None)
            if step is not None:
                found[key] = (batches[step.request_hash], step)
        return found


@dataclass(frozen=True)
class Tried:
    """A question that has no usable answer, with what came of it so far.

    Attributes:
        steps: the question, and what its answer is asked once more.
        answers, refusals: what came of each step, the oldest first.
    """

    steps: tuple[Request, ...]
    answers: tuple[tuple[Completion, ...], ...]
    refusals: tuple[tuple[Refusal, ...], ...]

    def due(self, asks_again: bool) -> Request | None:
        """What is asked now; None where it has come to its end."""
        if not self.answers[0] and self._is_open(0):
            return self.steps[0]
        if len(self.steps) > 1 and not self.answers[1] and self._is_open(1):
            return self.steps[1]
        return self.steps[0] if asks_again else None

    @property
    def outcome(self) -> Outcome | None:
        """What came of it in the end: of asking once more, where that brought an answer."""
        for answers in reversed(self.answers):
            if answers:
                return answers[-1]
        return next((refusals[-1] for refusals in self.refusals if refusals), None)

    def _is_open(self, step: int) -> bool:
        """Whether it was not tried yet, or only expired, and not too often."""
        refusals = self.refusals[step]
        expired = len(list(itertools.takewhile(lambda one: one.reason == "expired", reversed(refusals))))
        return not refusals or 0 < expired < MAX_EXPIRED
