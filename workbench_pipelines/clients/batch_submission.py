"""Handing a batch in: each step is written down before the next, so that a killed run hands nothing in twice."""

from __future__ import annotations

import datetime as dt
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from workbench_pipelines.batches import SUBMITTED, UPLOADED, Batch
from workbench_pipelines.budget import Budget
from workbench_pipelines.clients.batch_endpoint import BatchEndpoint, ProviderBatch, Unreachable
from workbench_pipelines.clients.batch_ledger import BatchLedger
from workbench_pipelines.clients.claims import Claims
from workbench_pipelines.clients.prices import cost_at_most
from workbench_pipelines.errors import MissingPart
from workbench_pipelines.generation import Model
from workbench_pipelines.requests import Request, prompt_tokens_at_most

Questions = dict[str, tuple[Request, list[Request]]]
"""Questions by hash, each with all who wait for it."""


@dataclass
class Pile:
    """Questions that go into the next file, and what the store held when the first of them was looked for."""

    store_state: tuple[object, ...] = ()
    asked: Questions = field(default_factory=dict)
    lines: dict[str, bytes] = field(default_factory=dict)
    size: int = 0

    def has_room(self, line: bytes, max_requests: int, max_bytes: int) -> bool:
        return len(self.lines) < max_requests and self.size + len(line) <= max_bytes

    def add(self, request: Request, origin: Request, line: bytes) -> None:
        self.asked[request.request_hash] = (request, [origin])
        self.lines[request.request_hash] = line
        self.size += len(line)

    def without(self, hashes: Iterable[str]) -> None:
        for key in hashes:
            self.size -= len(self.lines.pop(key))
            del self.asked[key]


class Submission:
    """Hands batches in for one TrainingSheet and model, within its budgets."""

    def __init__(
        self,
        training_sheet: str,
        model: Model,
        budgets: Sequence[Budget],
        endpoint: BatchEndpoint,
        ledger: BatchLedger,
        claims: Claims,
    ) -> None:
        self.training_sheet = training_sheet
        self.model = model
        self.budgets = budgets
        self.endpoint = endpoint
        self.ledger = ledger
        self.claims = claims

    def submit(self, pile: Pile) -> Batch:
        """Hands a batch in, each step written down before the next. Raises MissingPart, Unreachable, BudgetSpent."""
        name, model = secrets.token_hex(16), self.model
        most = self._most(pile)
        self._hold(most)
        now = _now()
        batch = Batch(
            name, self.training_sheet, model.name, model.endpoint, len(pile.lines), most, submitted_at=now, at=now
        )
        self.claims.take([name])  # whoever can take it knows that this process has ended
        self.ledger.intend(batch, pile.asked)
        taken: ProviderBatch | None = None
        try:
            file_id = self.endpoint.upload(f"workbench-{name}.jsonl", b"".join(pile.lines.values()))
            batch = batch.after(UPLOADED, _now(), input_file_id=file_id)
            self.ledger.record(batch)
            taken = self._begun(batch, file_id)
        except Unreachable:
            if batch.status != UPLOADED:
                # The file costs nothing: without a batch nothing was handed in.
                self._give_up(batch, "lost", most)
            raise
        except MissingPart as error:
            self._give_up(batch, "refused", most, error.line)
            raise
        finally:
            if taken is None:
                self.claims.release([name])
        batch = batch.after(SUBMITTED, _now(), batch_id=taken.batch_id)
        self.ledger.record(batch)
        self.claims.release([name])
        return batch

    def _begun(self, batch: Batch, file_id: str) -> ProviderBatch:
        """The provider's batch; looked for where it did not say whether it took it."""
        try:
            return self.endpoint.create(file_id, batch.submission_id)
        except Unreachable as error:
            try:
                found = self.endpoint.find(batch.submission_id, batch.submitted_at)
            except MissingPart:
                raise error from None
            if found is None:
                raise
            return found

    def _most(self, pile: Pile) -> float | None:
        requests = [request for request, _ in pile.asked.values()]
        written = sum(int(request.parameters.get("max_tokens") or 0) for request in requests)
        prompts = sum(prompt_tokens_at_most(request) for request in requests)
        return cost_at_most(self.model.name, prompts, written, in_batch=True)

    def _hold(self, most: float | None) -> None:
        held: list[Budget] = []
        try:
            for budget in self.budgets:
                budget.hold(most, self.model.name)
                held.append(budget)
        except BaseException:
            for budget in held:
                budget.let_go(most)
            raise

    def _give_up(self, batch: Batch, status: str, most: float | None, detail: str | None = None) -> None:
        for budget in self.budgets:
            budget.let_go(most)
        self.ledger.record(batch.after(status, _now(), detail=detail))


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)
