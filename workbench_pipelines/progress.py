"""Progress: how far the asking of models is, and what it took so far."""

from __future__ import annotations

from dataclasses import dataclass, replace

from workbench_pipelines.requests import Completion, Refusal, total_cost


@dataclass(frozen=True)
class Tally:
    """How far a run is: requests in all, done, found in the store, without an answer; calls, and what they cost.

    `cost_usd` is None as soon as one price is unknown; `elapsed_s` counts from the first request.
    """

    total: int = 0
    done: int = 0
    store_hits: int = 0
    refused: int = 0
    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = 0.0
    elapsed_s: float = 0.0

    def found(self, elapsed_s: float) -> Tally:
        """One more, found in the store."""
        return replace(self, done=self.done + 1, store_hits=self.store_hits + 1, elapsed_s=elapsed_s)

    def paid(self, outcome: Completion | Refusal, elapsed_s: float) -> Tally:
        """What the calls of one request took, whether or not they end it."""
        if isinstance(outcome, Refusal):
            return replace(self, calls=self.calls + outcome.calls, elapsed_s=elapsed_s)
        return replace(
            self,
            calls=self.calls + outcome.calls,
            prompt_tokens=self.prompt_tokens + outcome.prompt_tokens,
            completion_tokens=self.completion_tokens + outcome.completion_tokens,
            cost_usd=total_cost([self.cost_usd, outcome.cost_usd]),
            elapsed_s=elapsed_s,
        )

    def ended(self, *, refused: bool) -> Tally:
        """One more done that was asked, with a usable answer or without."""
        return replace(self, done=self.done + 1, refused=self.refused + refused)

    @property
    def rate(self) -> float:
        """Requests a second that were asked, not found."""
        return (self.done - self.store_hits) / self.elapsed_s if self.elapsed_s else 0.0

    @property
    def left_s(self) -> float | None:
        """Seconds that the rest takes at this rate; None before there is one."""
        return (self.total - self.done) / self.rate if self.rate else None

    @property
    def line(self) -> str:
        """One line for the terminal and for the events of a run."""
        cost = "an unknown price" if self.cost_usd is None else f"{self.cost_usd:.4f} USD"
        parts = [
            f"{self.done} of {self.total} answered",
            f"{self.store_hits} from the store",
            f"{self.refused} refused",
            f"{self.calls} calls",
            f"{self.prompt_tokens + self.completion_tokens} tokens",
            cost,
            f"{self.rate:.1f} a second",
        ]
        if self.left_s is not None and self.done < self.total:
            parts.append(f"{_clock(self.left_s)} left")
        return ", ".join(parts)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
