"""Asking by batches: what the store does not answer is handed to the provider as files, and answered by a later run.

Each batch is written down before the provider hears of it, so that a run that is killed at any point hands nothing in
twice. A run never waits: a question whose batch is not back yet is refused for now, as `pending_batch`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from workbench_pipelines.batch_collecting import collect_batches
from workbench_pipelines.batch_lines import file_line
from workbench_pipelines.batch_tries import BatchTerms, Tries
from workbench_pipelines.batches import PENDING, Batch
from workbench_pipelines.clients.batch_endpoint import BatchEndpoint
from workbench_pipelines.clients.batch_ledger import BatchLedger
from workbench_pipelines.clients.batch_submission import Pile, Questions, Submission
from workbench_pipelines.clients.kept_answers import KeptAnswers
from workbench_pipelines.clients.llm import chat_body
from workbench_pipelines.clients.runner import CHUNK, NOT_ASKED
from workbench_pipelines.requests import Answered, Completion, Outcome, Refusal, Request
from workbench_pipelines.workbench import Workbench

_ELSEWHERE = Refusal(PENDING, "another run is handing it in; run again once that one has ended", calls=0)
_TOO_LONG = Refusal("permanent", "its line is longer than a whole batch file may be", calls=0)


def answer_by_batches(
    workbench: Workbench, terms: BatchTerms, questions: Iterable[Request], total: int, say: Callable[[str], None]
) -> Iterator[Answered]:
    """Each question with its answer from the store, or with why it has none yet.

    What ended of the TrainingSheet's batches is collected first.

    Raises:
        MissingPart: for a model whose provider takes no batches, or does not take this one; BudgetSpent where a batch
            could cost more than is left. What was handed in before stays so.
    """
    endpoint = BatchEndpoint(workbench.llm, terms.model.name, terms.model.endpoint)
    for one in collect_batches(workbench, [terms.training_sheet]):
        say(one.line)
    asking = _Asking(workbench, terms, endpoint)
    try:
        for done, outcome in enumerate(asking.run(iter(questions)), start=1):
            workbench.on_progress(done, total, f"{terms.model.name}: {asking.line}")
            yield outcome
        say(asking.line)
        for line in asking.waiting_lines():
            say(line)
    finally:
        workbench.store.commit()
        workbench.store.claims.close()
        workbench.store.tidy()


class _Asking:
    """One pass over questions: found, waiting, refused, or put on the pile that becomes the next batch."""

    def __init__(self, workbench: Workbench, terms: BatchTerms, endpoint: BatchEndpoint) -> None:
        self.store = workbench.store
        self.attachments = workbench.llm.attachments
        self.ledger = BatchLedger(workbench.lake)
        self.terms = terms
        self.submission = Submission(
            terms.training_sheet, terms.model, terms.budgets, endpoint, self.ledger, self.store.claims
        )
        self.kept = KeptAnswers(self.store, terms.read, terms.follow_up)
        self.tries = Tries(workbench, terms.follow_up)
        self._pile = Pile()
        self._store_state = self.store.state()
        self._counts: Counter[str] = Counter()
        self._waits: Counter[str] = Counter()

    @property
    def line(self) -> str:
        """How far it is, for the terminal and for the events of a run."""
        names = ("found", "handed in", "waiting", "refused")
        of = {"found": "from the store"}
        return ", ".join(f"{self._counts[name]} {of.get(name, name)}" for name in names)

    def waiting_lines(self) -> list[str]:
        """How many questions wait for which batch."""
        return [f"{count} questions: {detail}" for detail, count in sorted(self._waits.items())]

    def run(self, questions: Iterator[Request]) -> Iterator[Answered]:
        for chunk in iter(lambda: list(itertools.islice(questions, CHUNK)), []):
            yield from self._sort(chunk)
        yield from self._hand_in()

    def _sort(self, chunk: Sequence[Request]) -> Iterator[Answered]:
        self._store_state = self.store.state()
        usable = self.kept.usable([(one,) for one in chunk])
        found = [one for one in chunk if one.request_hash in usable]
        self.store.record_uses(found)
        for one in found:
            yield self._answered(one, usable[one.request_hash], "found", from_store=True)
        rest = [one for one in chunk if one.request_hash not in usable]
        tries = self.tries.of(rest)
        waiting = self.tries.waiting(tries)
        pending: dict[str, Questions] = {}
        for one in rest:
            tried = tries[one.request_hash]
            if one.request_hash in waiting:
                batch, step = waiting[one.request_hash]
                pending.setdefault(batch.submission_id, {}).setdefault(step.request_hash, (step, []))[1].append(one)
                yield self._pending(one, batch.line)
            elif (due := tried.due(self.terms.asks_again(one))) is None:
                assert tried.outcome is not None
                yield self._answered(one, tried.outcome, "refused")
            elif not self.terms.may_ask(one):
                yield self._answered(one, NOT_ASKED, "refused")
            else:
                yield from self._put(due, one)
        self.ledger.wait_for(pending)

    def _put(self, request: Request, origin: Request) -> Iterator[Answered]:
        if request.request_hash in self._pile.asked:
            self._pile.asked[request.request_hash][1].append(origin)
            return
        sent = self.attachments.loaded(request)
        if isinstance(sent, Refusal):
            yield self._answered(origin, sent, "refused")
            return
        line = file_line(request.request_hash, chat_body(sent))
        if len(line) > self.terms.max_bytes:
            yield self._answered(origin, _TOO_LONG, "refused")
            return
        if not self._pile.has_room(line, self.terms.max_requests, self.terms.max_bytes):
            yield from self._hand_in()
        if not self._pile.lines:
            self._pile.store_state = self._store_state
        self._pile.add(request, origin, line)

    def _hand_in(self) -> Iterator[Answered]:
        """Makes the pile a batch, without what another run is asking or has asked since."""
        pile, self._pile = self._pile, Pile()
        if not pile.lines:
            return
        mine = self.store.claims.take(pile.asked)
        try:
            usable: dict[str, Completion] = {}
            if self.store.state() != pile.store_state:
                usable = self.kept.usable([(request,) for request, _ in pile.asked.values()])
            waiting = self.ledger.waiting_for(pile.asked)
            others = {key: pile.asked[key] for key in pile.asked if key not in mine or key in {*usable, *waiting}}
            pile.without(others)
            yield from self._of_others(others, usable, waiting)
            if pile.lines:
                batch = self.submission.submit(pile)
                for _, origins in pile.asked.values():
                    self._counts["handed in"] += len(origins)
                    yield from (self._pending(origin, batch.line) for origin in origins)
        finally:
            self.store.claims.release(mine)

    def _of_others(
        self, others: Questions, usable: Mapping[str, Completion], waiting: Mapping[str, Batch]
    ) -> Iterator[Answered]:
        """What another run answered, handed in, or is handing in."""
        self.ledger.wait_for(
            {
                batch.submission_id: {key: others[key] for key in others if waiting.get(key) == batch}
                for batch in waiting.values()
            }
        )
        for key, (_, origins) in others.items():
            for origin in origins:
                if key in usable:
                    yield self._answered(origin, usable[key], "found", from_store=True)
                else:
                    yield self._pending(origin, waiting[key].line if key in waiting else _ELSEWHERE.detail)

    def _pending(self, request: Request, detail: str) -> Answered:
        self._waits[detail] += 1
        return self._answered(request, Refusal(PENDING, detail, calls=0), "waiting")

    def _answered(self, request: Request, outcome: Outcome, what: str, *, from_store: bool = False) -> Answered:
        self._counts[what] += 1
        return Answered(request, outcome, from_store)
