"""A budget stops a run before more money is spent, and what was answered is kept."""

from __future__ import annotations

import dataclasses
import datetime as dt
from pathlib import Path

import pytest

from workbench_pipelines.asking import Asked
from workbench_pipelines.errors import BudgetSpent
from workbench_pipelines.requests import Completion, Request
from workbench_pipelines.settings import Settings, settings_from
from workbench_pipelines.workbench import Workbench


class PricedLLM:
    """A model that answers everything at one price."""

    def __init__(self, cost_usd: float | None) -> None:
        self.cost_usd, self.calls = cost_usd, 0

    def workers(self, model: str) -> int:
        return 1

    def complete(self, request: Request) -> Completion:
        self.calls += 1
        now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
        return Completion(request.request_hash, "yes", "stop", request.model, 1, 1, self.cost_usd, 0.0, now)


def asked_with(tmp_path: Path, llm: PricedLLM, budget: float | None) -> Asked:
    settings: Settings = dataclasses.replace(settings_from({"WORKBENCH_PROJECT": str(tmp_path)}), budget_usd=budget)
    workbench = Workbench(settings)
    workbench.__dict__["llm"] = llm
    return Asked(workbench, "priced", None, None)


def requests(count: int) -> list[Request]:
    return [
        Request([{"role": "user", "content": str(n)}], "priced", None, None, {}, None, pair_id=str(n))
        for n in range(count)
    ]


def test_a_run_stops_at_its_budget_and_keeps_what_it_paid_for(tmp_path: Path) -> None:
    llm = PricedLLM(0.4)
    asked = asked_with(tmp_path, llm, budget=1.0)
    with pytest.raises(BudgetSpent, match="WORKBENCH_BUDGET_USD"):
        list(asked.answer(requests(10), lambda completion: True))
    assert llm.calls == 3
    assert len(asked.workbench.store.lookup([one.request_hash for one in requests(10)], lambda completion: True)) == 3


def test_an_unknown_price_is_not_taken_for_nothing(tmp_path: Path) -> None:
    with pytest.raises(BudgetSpent, match="price is unknown"):
        list(asked_with(tmp_path, PricedLLM(None), budget=1.0).answer(requests(2), lambda completion: True))


def test_without_a_budget_everything_is_answered(tmp_path: Path) -> None:
    assert len(list(asked_with(tmp_path, PricedLLM(None), None).answer(requests(4), lambda completion: True))) == 4
