"""Calls in flight: an event loop in a thread of its own that asks models, and keeps each answer the moment it is there."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any

from workbench_pipelines.clients.lanes import FEW_SLOWED, MAX_SLOWED, Lane
from workbench_pipelines.clients.llm import Ask
from workbench_pipelines.errors import MissingPart
from workbench_pipelines.pacing import Pace
from workbench_pipelines.requests import Completion, Outcome, Passing, Refusal, Request, Variants

# How long an interrupted run waits for the calls in flight before it gives them up.
LAST_WAIT_S = 5.0
# Questions to models that never answered anything, all tries in vain, after which nobody is asked any more.
SILENT_QUESTIONS = 5


class CallsInFlight:
    """Asks what is submitted, at the pace of each model, until it is closed.

    Args:
        connected: opens the connections, within the loop.
        pace: what each model is asked for at most, by id; `otherwise` for the rest.
        keep: takes each answer as soon as it is there; called in the thread of the loop.
        may_go_on: whether a further call may begin; False lets those in flight come to their end.
    """

    def __init__(
        self,
        connected: Callable[[], AbstractAsyncContextManager[Ask]],
        pace: Mapping[str, Pace],
        otherwise: Pace,
        keep: Callable[[Request, Completion], None],
        may_go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        self._connected = connected
        self._pace = pace
        self._otherwise = otherwise
        self._keep = keep
        self._may_go_on = may_go_on
        self._submitted: deque[Variants] = deque()
        self._results: SimpleQueue[tuple[Variants, Outcome | BaseException | None]] = SimpleQueue()
        self._lanes: dict[str, Lane] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake: asyncio.Event
        self._stop: asyncio.Event
        self._broken = False
        self._calling: set[asyncio.Task[Any] | None] = set()
        self._silent = 0
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="calls in flight", daemon=True)
        self.outstanding = 0
        """Submitted questions whose result was not taken yet."""

    @property
    def waiting(self) -> int:
        """Submitted questions that are not being asked yet."""
        return len(self._submitted)

    def submit(self, questions: Sequence[Variants]) -> None:
        """Ask these too, in this order."""
        if not questions:
            return
        if self._loop is None:
            self._thread.start()
            self._ready.wait()
        self._submitted.extend(questions)
        self.outstanding += len(questions)
        self._call(self._wake.set)

    def result(self, timeout_s: float) -> tuple[Variants, Outcome | None] | None:
        """The next question with its outcome; None where none came in time.

        An outcome of None is a question that was not asked, since no call may begin any more.

        Raises:
            Whatever made it impossible to ask: MissingPart, LakeError.
        """
        try:
            variants, outcome = self._results.get(timeout=timeout_s)
        except Empty:
            return None
        self.outstanding -= 1
        if isinstance(outcome, BaseException):
            raise outcome
        return variants, outcome

    def close(self) -> None:
        """Begin no further call, wait a little for those in flight, and give up the rest."""
        self._submitted.clear()
        if self._loop is None:
            return
        self._call(self._stop.set)
        self._thread.join(LAST_WAIT_S + 1.0)

    def _call(self, function: Callable[[], object]) -> None:
        # A loop that ended by itself takes nothing any more.
        with suppress(RuntimeError):
            assert self._loop is not None
            self._loop.call_soon_threadsafe(function)

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=_fast_loop()) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._wake, self._stop = asyncio.Event(), asyncio.Event()
        self._ready.set()
        try:
            async with self._connected() as ask:
                await self._ask_until_stopped(self._noted(ask))
        except BaseException as error:
            self._results.put(((), error))

    async def _ask_until_stopped(self, ask: Ask) -> None:
        widest = max([self._otherwise.at_once, *(pace.at_once for pace in self._pace.values())])
        workers = [asyncio.create_task(self._work(ask)) for _ in range(widest)]
        await self._stop.wait()
        idle = asyncio.create_task(asyncio.sleep(0))
        self._wake.set()
        for task in workers:
            if task not in self._calling:
                task.cancel()  # it waits for its turn or for the next try: nothing is lost
        _, late = await asyncio.wait([*workers, idle], timeout=LAST_WAIT_S)
        for task in late:
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    def _noted(self, ask: Ask) -> Ask:
        """The same, with the workers known whose calls are with a provider."""

        async def noted(request: Request, timeout_s: float) -> Completion | Refusal | Passing:
            task = asyncio.current_task()
            self._calling.add(task)
            try:
                return await ask(request, timeout_s)
            finally:
                self._calling.discard(task)

        return noted

    async def _work(self, ask: Ask) -> None:
        while not self._stop.is_set():
            if not self._submitted:
                self._wake.clear()
                await self._wake.wait()
                continue
            variants = self._submitted.popleft()
            try:
                outcome = await self._answer(ask, variants)
            except asyncio.CancelledError:
                raise
            except BaseException as error:
                # What stops one question stops all.
                self._broken = True
                self._submitted.clear()
                self._results.put((variants, error))
                return
            self._results.put((variants, outcome))

    def _may_begin(self) -> bool:
        return not self._broken and not self._stop.is_set() and self._may_go_on()

    async def _answer(self, ask: Ask, variants: Variants) -> Outcome | None:
        """The answer of the first model that has one; a model that failed often is passed over while another is left."""
        calls = 0
        refusal: Refusal | None = None
        for request in variants:
            lane = self._lane(ask, request.model)
            if lane.is_cooling and request is not variants[-1]:
                continue
            outcome = await lane.answer(request, MAX_SLOWED if request is variants[-1] else FEW_SLOWED)
            if outcome is None:
                return None
            calls += outcome.calls
            if isinstance(outcome, Completion):
                self._keep(request, outcome)
                return replace(outcome, calls=calls)
            refusal = replace(outcome, calls=calls)
            if outcome.reason != "transient":
                break
        assert refusal is not None
        if refusal.reason == "transient" and not any(self._lane(ask, one.model).has_answered for one in variants):
            self._silent += 1
            if self._silent == SILENT_QUESTIONS:
                at = f" at {variants[0].endpoint}" if variants[0].endpoint else ""
                raise MissingPart(
                    f"model {variants[0].model}{at}: no answer to the first {self._silent} questions, each tried "
                    f"{calls} times; is it reachable? run again"
                )
        return refusal

    def _lane(self, ask: Ask, model: str) -> Lane:
        if model not in self._lanes:
            self._lanes[model] = Lane(ask, self._pace.get(model, self._otherwise), may_go_on=self._may_begin)
        return self._lanes[model]


def _fast_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """uvloop where it is installed (not on Windows): half the CPU a call."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop
