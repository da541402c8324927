"""The runner: questions in, answers out, each one from the store where it is kept and from a model where it is not.

Every answer is kept the moment it is there, so an interrupted run has lost nothing but what was in flight. Questions are
taken in chunks, so that a million of them take no more memory than ten thousand.
"""

from __future__ import annotations

import datetime as dt
import itertools
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager

from workbench_pipelines.answers import Read
from workbench_pipelines.budget import Budget
from workbench_pipelines.clients.calls_in_flight import CallsInFlight
from workbench_pipelines.clients.kept_answers import KeptAnswers, hash_of
from workbench_pipelines.clients.llm import Ask
from workbench_pipelines.clients.request_store import RequestStore
from workbench_pipelines.pacing import Pace
from workbench_pipelines.progress import Tally
from workbench_pipelines.requests import Answered, Completion, Outcome, Refusal, Request, Variants

# Questions that are looked up and claimed together.
CHUNK = 5_000
# Answers and uses a commit to the lake: small enough to replay quickly, large enough that commits cost next to nothing.
COMMIT_EVERY = 5_000
# Claims go back in batches: another run that waits for an answer finds it before.
RELEASE_EVERY = 200
# How often a run looks for the answers that another one is asking for.
LOOK_EVERY_S = 0.5

NOT_ASKED = Refusal("not_asked", "this run asks other items only", calls=0)


class Runner:
    """Answers questions from a store, and by models where it holds nothing.

    Args:
        store: where answers are kept.
        connected: opens the connections to models.
        pace: what each model is asked for at most, by id; `otherwise` for the rest.
        budgets: what may be paid.
        pending: which questions are waited for elsewhere, by hash, and why; they are not asked here.
    """

    def __init__(
        self,
        store: RequestStore,
        connected: Callable[[], AbstractAsyncContextManager[Ask]],
        *,
        pace: Mapping[str, Pace] | None = None,
        otherwise: Pace = Pace(),  # noqa: B008  # a frozen value
        budgets: Sequence[Budget] = (),
        pending: Callable[[Sequence[Request]], Mapping[str, Refusal]] = lambda questions: {},
    ) -> None:
        self.store = store
        self.pending = pending
        self.budgets = tuple(budgets)
        self._calls = CallsInFlight(
            connected,
            pace or {},
            otherwise,
            self._keep,
            lambda: not any(budget.is_spent for budget in self.budgets),
        )

    def answer(
        self,
        questions: Iterable[Variants],
        total: int,
        read: Read,
        *,
        follow_up: Callable[[Request, Completion], Request | None] = lambda request, completion: None,
        may_ask: Callable[[Request], bool] = lambda request: True,
        on_progress: Callable[[Tally], None] = lambda tally: None,
    ) -> Iterator[Answered]:
        """Each question with its outcome, in the order in which they come.

        Questions with one hash are asked once. Only usable answers are found again; another one is asked for again.

        Args:
            questions: each the same question to one or several models, in the order in which they are tried.
            total: how many they are.
            read: whether an answer can be used.
            follow_up: what an answer that can not be used is asked once more.
            may_ask: whether a question may be asked; one that may not is only looked for in the store.

        Raises:
            MissingPart: where a model can not be asked; BudgetSpent once a budget is; what was answered is kept.
        """
        asking = _Asking(
            self.store,
            self._calls,
            KeptAnswers(self.store, read, follow_up),
            may_ask,
            self.pending,
            on_progress,
            Tally(total=total),
        )
        waiting = iter(questions)
        chunks = iter(lambda: list(itertools.islice(waiting, CHUNK)), [])
        try:
            yield from asking.run(chunks)
            if asking.stopped_at is not None:
                for budget in self.budgets:
                    budget.refuse_if_spent(asking.stopped_at)
        finally:
            self._calls.close()
            self.store.commit()
            self.store.claims.close()
            self.store.tidy()

    def _keep(self, request: Request, completion: Completion) -> None:
        self.store.put(request, completion)
        for budget in self.budgets:
            budget.pay(completion.cost_usd)


class _Asking:
    """One pass over questions: what is being asked, and who waits for it."""

    def __init__(
        self,
        store: RequestStore,
        calls: CallsInFlight,
        kept: KeptAnswers,
        may_ask: Callable[[Request], bool],
        pending: Callable[[Sequence[Request]], Mapping[str, Refusal]],
        on_progress: Callable[[Tally], None],
        tally: Tally,
    ) -> None:
        self.store = store
        self.calls = calls
        self.kept = kept
        self.may_ask = may_ask
        self.pending = pending
        self.on_progress = on_progress
        self.tally = tally
        self.stopped_at: str | None = None
        """The model that was not asked any more, once a budget is spent."""
        self._started = time.monotonic()
        self._began_at = dt.datetime.now(dt.UTC)
        self._looked = 0.0
        # By the hash of a question: who asked it, the first one first.
        self._asked: dict[str, list[Request]] = {}
        # Questions that another run is asking.
        self._elsewhere: dict[str, Variants] = {}
        # From the hash of what is asked once more to the question that it belongs to.
        self._origin: dict[str, str] = {}
        # What was paid for questions that are asked once more.
        self._paid: dict[str, tuple[Outcome, ...]] = {}
        self._given_back: list[str] = []
        self._since_commit = 0

    def run(self, chunks: Iterator[Sequence[Variants]]) -> Iterator[Answered]:
        more = True
        while more or self._asked:
            self._commit_if_due()
            # The next chunk is prepared while calls are in flight, so that no call waits for the store; but not while
            # models answer faster than their answers are taken, or these would fill the memory.
            if more and self.calls.waiting == 0 and self.calls.outstanding < CHUNK:
                chunk = next(chunks, None) if self.stopped_at is None else None
                more = chunk is not None
                yield from self._begin(chunk or ())
                continue
            yield from self._look_elsewhere()
            result = self.calls.result(LOOK_EVERY_S)
            if result is not None:
                yield from self._end(*result)
        self._give_back()

    def _begin(self, chunk: Sequence[Variants]) -> Iterator[Answered]:
        """Finds what is kept, and asks the rest that nobody else is asking."""
        usable = self.kept.usable(chunk)
        yield from self._found(
            [(variants[0], usable[hash_of(variants)]) for variants in chunk if hash_of(variants) in usable]
        )
        fresh: dict[str, Variants] = {}
        for variants in chunk:
            key = hash_of(variants)
            if key in usable:
                continue
            if key in self._asked:
                self._asked[key].append(variants[0])
            elif not self.may_ask(variants[0]):
                yield from self._refused(variants[0])
            else:
                self._asked[key] = [variants[0]]
                fresh[key] = variants
        yield from self._ask(fresh)

    def _ask(self, fresh: Mapping[str, Variants]) -> Iterator[Answered]:
        before = self.store.state()
        mine = self.store.claims.take(fresh)
        if mine and self.store.state() != before:
            # Between the look and the claim another run may have answered, and given its claim back.
            for key, completion in self.kept.usable([fresh[key] for key in sorted(mine)]).items():
                mine.discard(key)
                yield from self._settle(key, completion, from_store=True)
        yield from self._leave_pending(mine)
        self._elsewhere |= {key: fresh[key] for key in fresh if key not in mine and key in self._asked}
        self.calls.submit([fresh[key] for key in fresh if key in mine and key in self._asked])

    def _leave_pending(self, mine: Collection[str]) -> Iterator[Answered]:
        """Refuses for now what was handed in; after the claim, since whoever hands in holds one until it is written down."""
        for key, refusal in self.pending([self._asked[key][0] for key in sorted(mine) if key in self._asked]).items():
            yield from self._settle(key, refusal, from_store=False)

    def _look_elsewhere(self) -> Iterator[Answered]:
        """Takes over what another run answered, and asks what it gave up."""
        now = time.monotonic()
        if not self._elsewhere or now - self._looked < LOOK_EVERY_S:
            return
        self._looked = now
        waited, self._elsewhere = self._elsewhere, {}
        for key, completion in self.kept.usable(list(waited.values())).items():
            del waited[key]
            yield from self._settle(key, completion, from_store=True)
        mine = self.store.claims.take(waited)
        # The other run is done with these; an answer that it got and could not use is no better for us.
        answers = self.store.answers(mine)
        for key in sorted(mine):
            late = [one for one in answers.get(key, ()) if one.answered_at >= self._began_at]
            if late:
                yield from self._settle(key, late[-1], from_store=True)
            elif self.stopped_at is not None:
                del self._asked[key]
        yield from self._leave_pending(mine)
        self._elsewhere |= {key: waited[key] for key in waited if key not in mine}
        self.calls.submit([waited[key] for key in waited if key in mine and key in self._asked])

    def _end(self, variants: Variants, outcome: Outcome | None) -> Iterator[Answered]:
        """Hands on what came of a question, to all who asked it."""
        key = self._origin.pop(hash_of(variants), hash_of(variants))
        if outcome is None:
            self.stopped_at = variants[0].model
            del self._asked[key]
            return
        self.tally = self.tally.paid(outcome, self._elapsed())
        before = self._paid.get(key, ())
        self._paid[key] = (*before, outcome)
        if before and isinstance(outcome, Refusal):
            outcome = before[-1]  # nothing better came of asking once more
        if isinstance(outcome, Completion):
            self._since_commit += 1
            asked = next((one for one in variants if one.request_hash == outcome.request_hash), variants[0])
            again = None if before or self.kept.is_usable(asked, outcome) else self.kept.follow_up(asked, outcome)
            if again is not None and self.stopped_at is None:
                self._origin[again.request_hash] = key
                self.calls.submit([(again,)])
                return
        yield from self._settle(key, outcome, from_store=False)

    def _commit_if_due(self) -> None:
        if self._since_commit >= COMMIT_EVERY:
            self._since_commit = 0
            self.store.commit()

    def _settle(self, key: str, outcome: Outcome, *, from_store: bool) -> Iterator[Answered]:
        first, *twins = self._asked.pop(key)
        self._given_back.append(key)
        if len(self._given_back) >= RELEASE_EVERY or from_store:
            self._give_back()
        if from_store and isinstance(outcome, Completion):
            yield from self._found([(one, outcome) for one in (first, *twins)])
            return
        self.tally = self.tally.ended(refused=not self.kept.is_usable(first, outcome))
        self.on_progress(self.tally)
        yield Answered(first, outcome, False, self._paid.pop(key, ()))
        if isinstance(outcome, Completion):
            yield from self._found([(twin, outcome) for twin in twins])
        else:
            for twin in twins:
                yield from self._refused(twin, outcome)

    def _found(self, found: Sequence[tuple[Request, Completion]]) -> Iterator[Answered]:
        self.store.record_uses(request for request, _ in found)
        self._since_commit += len(found)
        for request, completion in found:
            self.tally = self.tally.found(self._elapsed())
            self.on_progress(self.tally)
            yield Answered(request, completion, True)

    def _refused(self, request: Request, refusal: Refusal = NOT_ASKED) -> Iterator[Answered]:
        self.tally = self.tally.ended(refused=True)
        self.on_progress(self.tally)
        yield Answered(request, refusal, False)

    def _give_back(self) -> None:
        self.store.claims.release(self._given_back)
        self._given_back.clear()

    def _elapsed(self) -> float:
        return time.monotonic() - self._started
