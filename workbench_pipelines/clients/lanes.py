"""Lanes: one a model, through which its calls go at the pace it takes, with the only retry loop there is."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import replace

from aiolimiter import AsyncLimiter

from workbench_pipelines.clients.llm import Ask
from workbench_pipelines.pacing import COOLDOWN_S, FAILURES_TO_COOL, Pace, Window, wait_s
from workbench_pipelines.requests import Completion, Passing, Refusal, Request, prompt_tokens_at_most

MAX_TRIES = 3
# How often a provider may say that it is asked too often before a request is given up: patience, no failure.
MAX_SLOWED = 30
# The same while another model is left that may answer in its place.
FEW_SLOWED = 4
Sleep = Callable[[float], Awaitable[None]]


class Lane:
    """The calls of one model, within one event loop.

    Args:
        ask: one try.
        pace: what the model is asked for at most.
        may_go_on: whether a further call may begin.
        sleep: waits between tries.
    """

    def __init__(
        self,
        ask: Ask,
        pace: Pace,
        *,
        may_go_on: Callable[[], bool] = lambda: True,
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._ask = ask
        self._pace = pace
        self._may_go_on = may_go_on
        self._sleep = sleep
        self._window = Window(pace.at_once)
        self._in_flight = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._quiet_until = 0.0
        self._cool_until = 0.0
        self._failures = 0
        self._requests = _limiter(pace.requests_per_minute)
        self._tokens = _limiter(pace.tokens_per_minute)

    @property
    def is_cooling(self) -> bool:
        """Whether the model failed so often in a row that it is left alone for now."""
        return time.monotonic() < self._cool_until

    @property
    def has_answered(self) -> bool:
        """Whether the model ever answered, or said that it is asked too often."""
        return self._window.opened

    async def answer(self, request: Request, patience: int = MAX_SLOWED) -> Completion | Refusal | None:
        """The answer to a request after as many tries as help, with the number of calls it took; None where no call may
        begin any more.

        Args:
            patience: how often the provider may say that it is asked too often before the request is given up.

        Raises:
            MissingPart: where no request to this model can be answered.
        """
        calls = failed = slowed = 0
        while failed < MAX_TRIES and slowed < patience:
            await self._turn(request)
            try:
                # Asked here, after the wait: what happened meanwhile counts.
                if not self._may_go_on():
                    return None
                outcome = await self._ask(request, self._pace.timeout_s)
            finally:
                self._leave()
            calls += 1
            if not isinstance(outcome, Passing):
                self._failures = 0
                self._window = self._window.answered()
                return replace(outcome, calls=calls)
            if outcome.too_often:
                slowed += 1
                self._window = self._window.slowed()
            else:
                failed += 1
                self._count_failure()
            pause = wait_s(max(failed, slowed), outcome.retry_after_s, random.uniform(1.0, 1.5))  # noqa: S311  # spreads
            if outcome.retry_after_s is not None:
                # The provider speaks to all, not to this request alone.
                self._quiet_until = max(self._quiet_until, time.monotonic() + pause)
            if failed < MAX_TRIES and slowed < patience:
                await self._sleep(pause)
        if slowed >= patience:
            self._cool_until = time.monotonic() + COOLDOWN_S
        return Refusal("transient", f"no answer from {request.model} after {calls} tries; run again", calls)

    async def _turn(self, request: Request) -> None:
        """Waits until this request may be asked."""
        if self._in_flight < self._window.calls:
            self._in_flight += 1
        else:
            turn = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            await turn
        try:
            while (quiet := self._quiet_until - time.monotonic()) > 0:
                await asyncio.sleep(quiet)
            await _take(self._requests, 1)
            if self._tokens is not None:
                await _take(self._tokens, _tokens_at_most(request))
        except BaseException:
            self._leave()
            raise

    def _leave(self) -> None:
        self._in_flight -= 1
        while self._waiting and self._in_flight < self._window.calls:
            turn = self._waiting.popleft()
            if not turn.done():
                self._in_flight += 1
                turn.set_result(None)

    def _count_failure(self) -> None:
        self._failures += 1
        if self._failures >= FAILURES_TO_COOL:
            self._cool_until = time.monotonic() + COOLDOWN_S
            self._failures = 0


def _limiter(per_minute: float | None) -> AsyncLimiter | None:
    """A leaky bucket that never lets more than this through in any minute: a tenth at one time, the rest over the minute."""
    if per_minute is None:
        return None
    at_one_time = max(1.0, per_minute / 10)
    steady = max(per_minute - at_one_time, per_minute / 10)
    return AsyncLimiter(at_one_time, at_one_time * 60 / steady)


async def _take(limiter: AsyncLimiter | None, amount: float) -> None:
    while limiter is not None and amount > 0:
        await limiter.acquire(min(amount, limiter.max_rate))
        amount -= limiter.max_rate


def _tokens_at_most(request: Request) -> float:
    return float(prompt_tokens_at_most(request) + (request.parameters.get("max_tokens") or 0))
