"""Pacing: how many calls a model is given at one time, and how long a failed one waits.

The window of calls in flight follows TCP's rule (additive increase, multiplicative decrease; Chiu and Jain 1989): it is
halved when a provider says that it is asked too often, and opens by about one call a round of answers until then. It starts
at one, so that a key or model that is refused costs one call, and opens whole at the first answer.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

FIRST_WAIT_S = 0.5
# A provider that wants more patience than this is treated as down: the run goes on with the other items.
LONGEST_WAIT_S = 60.0
# Failures in a row, over all requests, after which a model is left alone for a while.
FAILURES_TO_COOL = 5
COOLDOWN_S = 30.0


@dataclass(frozen=True)
class Pace:
    """What a model is asked for at most.

    Attributes:
        at_once: calls in flight.
        requests_per_minute, tokens_per_minute: the provider's limits, None where there is none.
        timeout_s: how long one call may take.
    """

    at_once: int = 16
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    timeout_s: float = 60.0


@dataclass(frozen=True)
class Window:
    """How many calls may be in flight: `width`, at most `widest`; a fraction of a call is progress towards the next."""

    widest: int
    width: float = 1.0
    opened: bool = False

    @property
    def calls(self) -> int:
        return max(1, int(self.width))

    def answered(self) -> Window:
        """After an answer: the first opens it whole, a later one widens it by a call a round."""
        if not self.opened:
            return replace(self, width=float(self.widest), opened=True)
        return replace(self, width=min(float(self.widest), self.width + 1 / self.width))

    def slowed(self) -> Window:
        """After the provider said that it is asked too often."""
        return replace(self, width=max(1.0, self.width / 2), opened=True)


def wait_s(tries: int, retry_after_s: float | None, spread: float = 1.0) -> float:
    """How long to wait after so many failed tries: what the provider asks for, else twice as long as before.

    `spread`, from 1 to 1.5, keeps waiters from coming back at one time. Never longer than `LONGEST_WAIT_S`.
    """
    if retry_after_s is not None:
        return min(retry_after_s, LONGEST_WAIT_S)
    return float(min(FIRST_WAIT_S * 2 ** (tries - 1) * spread, LONGEST_WAIT_S))
