"""The desk of a run whose questions are spread: claims, budgets and progress of all its shards, in one place.

The desk lives on the machine of the run, so that its claims are the same that every other run there looks at. A question
belongs to one shard, by its hash: two shards never claim the same one.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

from workbench_pipelines.budget import Budget
from workbench_pipelines.clients.claims import Claims
from workbench_pipelines.clients.ray_cluster import Remote
from workbench_pipelines.errors import BudgetSpent

# How often a shard whose budgets have no limit looks whether its run goes on, and says how far it is.
LOOK_EVERY_S = 0.5


class Amounts(NamedTuple):
    """A budget as it stands, without the lock that stays in its process."""

    name: str
    limit_usd: float | None
    spent_usd: float
    held_usd: float


def amounts(budgets: Iterable[Budget]) -> list[Amounts]:
    """The budgets of a run, to be handed to its desk."""
    return [Amounts(one.name, one.limit_usd, one.spent_usd, one.held_usd) for one in budgets]


class Desk:
    """What the shards of one run share."""

    def __init__(self, log_folder: Path, budgets: Sequence[Amounts]) -> None:
        self._claims = Claims(log_folder)
        self._budgets = [Budget(*one) for one in budgets]
        self._stopped = False
        self._done: dict[int, int] = {}

    def take(self, hashes: Collection[str]) -> set[str]:
        """Claims, as `Claims.take`; those of a shard that was killed stay with the desk, for the one that goes on."""
        return self._claims.take(hashes)

    def release(self, hashes: Collection[str]) -> None:
        self._claims.release(hashes)

    def pay(self, cost_usd: float | None) -> None:
        """Count an answer of any shard."""
        for one in self._budgets:
            one.pay(cost_usd)

    def may_begin(self) -> bool:
        """Whether any shard may begin a further call."""
        return not self._stopped and not any(one.is_spent for one in self._budgets)

    def stop(self) -> None:
        """Let the calls in flight come to their end, and no other begin."""
        self._stopped = True

    def tell(self, shard: int, done: int) -> None:
        """Say how many questions of a shard are done."""
        self._done[shard] = done

    def standing(self) -> tuple[int, list[float]]:
        """How many questions are done, and what is spent of each budget."""
        return sum(self._done.values()), [one.spent_usd for one in self._budgets]

    def close(self) -> None:
        """Give back every claim."""
        self._claims.close()


class DeskBudget(Budget):
    """The budgets at the desk, as a shard sees them. Every call asks first, so that all shards stop at the same answer."""

    def __init__(self, desk: Remote, *, has_limit: bool) -> None:
        super().__init__("the budgets of the run")
        self.desk = desk
        self.has_limit = has_limit
        self._may_begin = True
        self._looked = 0.0

    def pay(self, cost_usd: float | None) -> None:
        # With a limit nothing else is asked before this is counted.
        if self.has_limit:
            self.desk.call("pay", cost_usd)
        else:
            self.desk.begin("pay", cost_usd)

    @property
    def is_spent(self) -> bool:
        now = time.monotonic()
        if self.has_limit or now - self._looked >= LOOK_EVERY_S:
            self._looked = now
            self._may_begin = self.desk.call("may_begin")
        return not self._may_begin

    def refuse_if_spent(self, model: str) -> None:
        """Raises BudgetSpent where no shard may go on; its run knows which budget it was."""
        if self.is_spent:
            raise BudgetSpent(f"model {model}: {self.name} are spent, or it was stopped")


class DeskClaims(Claims):
    """Claims at the desk, for a process that may be on another machine than the file they stand in."""

    def __init__(self, folder: Path, desk: Remote) -> None:
        super().__init__(folder)
        self.desk = desk
        self._held: set[str] = set()

    def take(self, hashes: Collection[str]) -> set[str]:
        taken: set[str] = self.desk.call("take", list(hashes)) if hashes else set()
        self._held |= taken
        return taken

    def release(self, hashes: Iterable[str]) -> None:
        back = list(hashes)
        self._held -= set(back)
        if back:
            self.desk.call("release", back)

    def close(self) -> None:
        self.release(self._held.copy())
