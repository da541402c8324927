"""A budget stops a run before more money is spent, and what was answered is kept."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime as dt
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from workbench_pipelines.asking import asked
from workbench_pipelines.catalog.training_sheet_specs import GenerationSpec
from workbench_pipelines.clients.llm import Ask
from workbench_pipelines.errors import BudgetSpent
from workbench_pipelines.requests import Answered, Completion, Request
from workbench_pipelines.settings import Settings, settings_from
from workbench_pipelines.workbench import Workbench
from workbench_pipelines_tests.request_world import YES, make_request, read


class PricedLLM:
    """A model that answers everything at one price."""

    def __init__(self, cost_usd: float | None) -> None:
        self.cost_usd, self.calls = cost_usd, 0

    def check(self, model: str) -> None: ...

    def revision(self, model: str) -> None: ...

    def endpoint(self, model: str) -> None: ...

    def at_once(self, model: str, wanted: int) -> int:
        return wanted

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[Ask]:
        async def ask(request: Request, timeout_s: float) -> Completion:
            self.calls += 1
            await asyncio.sleep(0)
            now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
            return Completion(request.request_hash, YES, "stop", request.model, 1, 1, self.cost_usd, 0.0, now)

        yield ask


def bench(tmp_path: Path, llm: PricedLLM, budget: float | None) -> Workbench:
    settings: Settings = dataclasses.replace(settings_from({"WORKBENCH_PROJECT": str(tmp_path)}), budget_usd=budget)
    workbench = Workbench(settings)
    workbench.__dict__["llm"] = llm
    return workbench


def ask(workbench: Workbench, count: int, **how: Any) -> list[Answered]:
    models = asked(workbench, "openai/gpt-4o-mini", GenerationSpec(**how), "ts")
    return list(models.answer(read)([make_request(str(n)) for n in range(count)], count))


def test_a_run_stops_at_its_budget_and_keeps_what_it_paid_for(tmp_path: Path) -> None:
    llm = PricedLLM(0.4)
    workbench = bench(tmp_path, llm, budget=1.0)
    with pytest.raises(BudgetSpent, match="WORKBENCH_BUDGET_USD"):
        ask(workbench, 10, at_once=1)
    assert llm.calls == 3
    assert len(workbench.store.answers([make_request(str(n)).request_hash for n in range(10)])) == 3


@pytest.mark.parametrize("at_once", [4, 16])
def test_a_budget_is_passed_by_no_more_than_the_calls_in_flight(tmp_path: Path, at_once: int) -> None:
    llm = PricedLLM(0.1)
    with pytest.raises(BudgetSpent):
        ask(bench(tmp_path, llm, budget=2.0), 500, at_once=at_once)
    assert 20 <= llm.calls <= 20 + at_once


def test_a_training_sheet_has_a_budget_of_its_own_and_a_resumed_run_counts_nothing_twice(tmp_path: Path) -> None:
    llm = PricedLLM(0.1)
    workbench = bench(tmp_path, llm, budget=None)
    with pytest.raises(BudgetSpent, match="ts: spec"):
        ask(workbench, 20, at_once=1, budget_usd=0.95)
    assert llm.calls == 10
    answered = ask(workbench, 20, at_once=1, budget_usd=1.05)
    assert (len(answered), llm.calls) == (20, 20)
    assert workbench.budget.spent_usd == pytest.approx(2.0)


def test_a_budget_refuses_a_model_without_a_price_before_any_call_unless_that_is_allowed(tmp_path: Path) -> None:
    llm = PricedLLM(None)
    workbench = bench(tmp_path, llm, budget=1.0)
    with pytest.raises(BudgetSpent, match="price is unknown"):
        asked(workbench, "openai/our-own")
    assert llm.calls == 0
    models = asked(workbench, "openai/our-own", GenerationSpec(allow_unknown_price=True))
    assert len(list(models.answer(read)([make_request(model="openai/our-own")], 1))) == 1


def test_without_a_budget_everything_is_answered(tmp_path: Path) -> None:
    assert len(ask(bench(tmp_path, PricedLLM(None), None), 4)) == 4
