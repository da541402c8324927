"""Budgets: what may be paid to models, and what has been.

An answer that was found in the store was paid before and counts as nothing. A budget that is spent lets the calls in flight
come to their end and no other begin.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from workbench_pipelines.errors import BudgetSpent


@dataclass
class Budget:
    """One limit in US dollars, None for none, and what was paid against it; it is paid into by many threads.

    Attributes:
        name: what a person raises to go on, such as WORKBENCH_BUDGET_USD.
        held_usd: the most that batches may cost which are handed in and not answered yet.
    """

    name: str
    limit_usd: float | None = None
    spent_usd: float = 0.0
    held_usd: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def pay(self, cost_usd: float | None) -> None:
        """Count an answer; one of an unknown price is nothing that a limit could be held to."""
        with self._lock:
            self.spent_usd += cost_usd or 0.0

    def hold(self, cost_usd: float | None, model: str) -> None:
        """Set aside what a batch may cost at most.

        Raises:
            BudgetSpent: where that does not fit any more; nothing is set aside then.
        """
        with self._lock:
            cost = cost_usd or 0.0
            left = None if self.limit_usd is None else self.limit_usd - self.spent_usd - self.held_usd
            if left is not None and (left <= 0 or cost > left):
                raise BudgetSpent(
                    f"model {model}: a batch may cost up to {cost:.4f} USD and {max(left, 0):.4f} are left of a budget of "
                    f"{self.limit_usd:g}; raise {self.name} to go on"
                )
            self.held_usd += cost

    def let_go(self, cost_usd: float | None) -> None:
        """What was held for a batch that its provider did not take."""
        with self._lock:
            self.held_usd -= cost_usd or 0.0

    @property
    def is_spent(self) -> bool:
        # Nothing was paid where a model is free: that is within any budget, none at all included.
        taken = self.spent_usd + self.held_usd
        return self.limit_usd is not None and taken > 0 and taken >= self.limit_usd

    def refuse_if_spent(self, model: str) -> None:
        """Raises BudgetSpent once the limit is reached."""
        if self.is_spent:
            held = f" and {self.held_usd:.6g} held for batches" if self.held_usd > 0 else ""
            raise BudgetSpent(
                f"model {model}: {self.spent_usd:.6g} USD are spent{held} of a budget of {self.limit_usd:g}; the answers so "
                f"far are kept, raise {self.name} to go on"
            )

    def refuse_model(self, model: str, *, is_free: bool, is_priced: bool) -> None:
        """Raises BudgetSpent, before any call, where a limit is set and nothing is left, or nobody knows what a call costs."""
        if self.limit_usd is None or is_free:
            return
        if self.spent_usd >= self.limit_usd:
            raise BudgetSpent(f"model {model}: a budget of {self.limit_usd:g} USD is spent; raise {self.name} to go on")
        if not is_priced:
            raise BudgetSpent(
                f"model {model}: its price is unknown and {self.name} is set; unset it, or say `generation: "
                "{allow_unknown_price: true}` in the TrainingSheet"
            )
