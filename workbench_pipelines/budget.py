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
    """

    name: str
    limit_usd: float | None = None
    spent_usd: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def pay(self, cost_usd: float | None) -> None:
        """Count an answer; one of an unknown price is nothing that a limit could be held to."""
        with self._lock:
            self.spent_usd += cost_usd or 0.0

    @property
    def is_spent(self) -> bool:
        return self.limit_usd is not None and self.spent_usd >= self.limit_usd

    def refuse_if_spent(self, model: str) -> None:
        """Raises BudgetSpent once the limit is reached."""
        if self.is_spent:
            raise BudgetSpent(
                f"model {model}: {self.spent_usd:.4f} USD are spent of a budget of {self.limit_usd:g}; the answers so far "
                f"are kept, raise {self.name} to go on"
            )

    def refuse_unknown_price(self, model: str) -> None:
        """Raises BudgetSpent, before any call, where a limit is set and nobody knows what a call costs."""
        if self.limit_usd is not None:
            raise BudgetSpent(
                f"model {model}: its price is unknown and {self.name} is set; unset it, or say `generation: "
                "{allow_unknown_price: true}` in the TrainingSheet"
            )
