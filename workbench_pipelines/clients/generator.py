"""The generator: requests in, answers out, each one from the store where it is kept and from the model where it is not.

Every answer is kept the moment it is there, so an interrupted run has lost nothing but what was in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

from workbench_pipelines.clients.request_store import RequestStore
from workbench_pipelines.requests import Answered, Completion, IsGood, Refusal, Request, total_cost

# Answers a commit to the lake: small enough to replay quickly, large enough that commits cost next to nothing.
COMMIT_EVERY = 2000
# How long an interrupted run waits for the calls in flight; what comes later is still kept in the log.
LAST_WAIT_S = 5.0


@dataclass(frozen=True)
class Tally:
    """How far a run is: requests in all, done, found in the store, without an answer; calls, and what they cost."""

    total: int = 0
    done: int = 0
    store_hits: int = 0
    refused: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = 0.0

    def found(self) -> Tally:
        """One more, found in the store."""
        return replace(self, done=self.done + 1, store_hits=self.store_hits + 1)

    def asked(self, outcome: Completion | Refusal) -> Tally:
        """One more, asked of the model."""
        if isinstance(outcome, Refusal):
            return replace(self, done=self.done + 1, refused=self.refused + 1, calls=self.calls + outcome.calls)
        return replace(
            self,
            done=self.done + 1,
            calls=self.calls + outcome.calls,
            prompt_tokens=self.prompt_tokens + outcome.prompt_tokens,
            completion_tokens=self.completion_tokens + outcome.completion_tokens,
            cost_usd=total_cost([self.cost_usd, outcome.cost_usd]),
        )


class Generator:
    """Answers requests from a store, and with `complete` where it holds none.

    Args:
        store: where answers are kept.
        complete: one request to its answer, or the reason why it has none; raises MissingPart where none can have one.
        max_workers: calls at once; 1 asks in this thread, which suits a model in this process.
    """

    def __init__(
        self, store: RequestStore, complete: Callable[[Request], Completion | Refusal], *, max_workers: int = 8
    ) -> None:
        self.store = store
        self.complete = complete
        self.max_workers = max_workers

    def answer(
        self, requests: Sequence[Request], is_good: IsGood, on_progress: Callable[[Tally], None] | None = None
    ) -> Iterator[Answered]:
        """Each request with its outcome, in the order in which they come.

        Requests with one hash are asked once. Only good answers count as kept; a bad one is asked again
        in the next run.
        """
        tell = on_progress or (lambda _: None)
        tally = Tally(total=len(requests))
        by_hash: dict[str, list[Request]] = {}
        for request in requests:
            by_hash.setdefault(request.request_hash, []).append(request)
        kept = self.store.lookup(by_hash, is_good)
        try:
            self.store.record_uses(request for key in kept for request in by_hash[key])
            for key, completion in kept.items():
                for request in by_hash[key]:
                    tally = tally.found()
                    tell(tally)
                    yield Answered(request, completion, True)
            for request, outcome in self._ask([group[0] for key, group in by_hash.items() if key not in kept]):
                tally = tally.asked(outcome)
                tell(tally)
                yield Answered(request, outcome, False)
                twins = by_hash[request.request_hash][1:]
                self.store.record_uses(twins)
                for twin in twins:
                    tally = tally.found()
                    tell(tally)
                    yield Answered(twin, outcome, True)
        finally:
            self.store.commit()

    def _ask(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Completion | Refusal]]:
        asked = (self._asked_alone if self.max_workers == 1 else self._asked_at_once)(requests)
        for count, answered in enumerate(asked, start=1):
            yield answered
            if count % COMMIT_EVERY == 0:
                self.store.commit()

    def _asked_alone(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Completion | Refusal]]:
        for request in requests:
            yield request, self._kept(request)

    def _asked_at_once(self, requests: Sequence[Request]) -> Iterator[tuple[Request, Completion | Refusal]]:
        waiting = iter(requests)
        running: dict[Future[Completion | Refusal], Request] = {}
        pool = ThreadPoolExecutor(self.max_workers, thread_name_prefix="ask")

        def fill(at_once: int) -> None:
            # As many in flight as there are workers: a run that stops has no queue left to pay for.
            while len(running) < at_once and (request := next(waiting, None)) is not None:
                running[pool.submit(self._kept, request)] = request

        try:
            fill(1)  # alone: a key or model that is refused costs one call
            while running:
                done = [
                    (running.pop(future), future.result()) for future in wait(running, return_when=FIRST_COMPLETED).done
                ]
                fill(self.max_workers)
                yield from done
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
            # One that was cancelled before it began never counts as done.
            wait([future for future in running if not future.cancelled()], timeout=LAST_WAIT_S)

    def _kept(self, request: Request) -> Completion | Refusal:
        outcome = self.complete(request)
        if isinstance(outcome, Completion):
            self.store.put(request, outcome)
        return outcome
