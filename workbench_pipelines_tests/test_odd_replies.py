"""Replies of a form that nobody expects, and providers that count nothing, take nothing or ask for patience without end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from workbench_pipelines.clients.lanes import FEW_SLOWED
from workbench_pipelines.clients.prices import cost_of, has_price
from workbench_pipelines.clients.scripted_provider import Reply, ScriptedProvider
from workbench_pipelines.errors import ArgumentError
from workbench_pipelines.settings import settings_from
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import define, provider, put, sheet, template, tickets, training_sheet

__all__ = ["provider"]

FITS = '{"team": "other"}'


def reply(message: Any, **more: Any) -> Reply:
    """A whole reply of the provider, as it is."""
    choice = {"index": 0, "finish_reason": "stop", "message": message}
    usage = {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8}
    body = {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "scripted",
        "choices": [choice],
        "usage": usage,
    }
    return Reply(body=json.dumps(body | more))


def test_an_answer_in_parts_is_their_words(project: Project, provider: ScriptedProvider) -> None:
    parts = [{"type": "text", "text": '{"team": '}, {"type": "text", "text": '"other"}'}]
    provider.answer_by(lambda _: reply({"role": "assistant", "content": parts}))
    put(project, tickets(2))
    define(project, sheet(), training_sheet(), template())
    project("run", "drafted", "--json")
    assert project.table("generate", "generated_pairs")["response"].to_list() == ['{"team":"other"}'] * 2


ODD = {
    "T-002": reply({"role": "assistant", "content": {"text": FITS}}),
    "T-004": reply("a message"),
    "T-006": reply({"content": FITS}, choices=["x"]),
    "T-008": reply({"content": FITS}, choices={"a": 1}),
    "T-010": reply({"content": FITS}, model=5),
    "T-012": reply({"content": FITS}, usage="many"),
    "T-014": reply({"content": FITS}, usage={"prompt_tokens": 1.5, "completion_tokens": 2}),
}


def test_a_reply_of_another_form_refuses_its_item_and_nothing_else(
    project: Project, provider: ScriptedProvider
) -> None:
    def said(body: Mapping[str, Any]) -> str | Reply:
        return ODD.get(f"T-{int(body['messages'][-1]['content'].rpartition(' ')[2]):03d}", FITS)

    provider.answer_by(said)
    put(project, tickets(16))
    define(project, sheet(), training_sheet(), template())
    project("run", "drafted", "--json")
    refused = project.table("generate", "generated_pairs_refusals")
    assert dict(refused.select("item_ref", "reason").iter_rows()) == dict.fromkeys(ODD, "transient")
    assert project.table("generate", "generated_pairs").height == 16 - len(ODD)
    provider.answer_by(lambda _: FITS)
    assert project("run", "drafted", "--json").json["llm_calls"] == len(ODD)
    assert project("store", "gc").code == 0


def test_a_log_that_holds_what_fits_no_table_holds_up_no_other(project: Project, provider: ScriptedProvider) -> None:
    put(project, tickets(2))
    define(project, sheet(), training_sheet(), template())
    logs = project.settings.state / "requests"
    logs.mkdir(parents=True)
    use = {"request_hash": "h", "training_sheet": "drafted", "sheet": "tickets", "item_ref": "T-000", "pair_id": "p"}
    answer = {"answer_id": "a", "request_hash": "h", "answer": ["x"], "answered_at": "2026-01-01T00:00:00+00:00"}
    (logs / "1-old.jsonl").write_text(json.dumps({"answer": answer, "use": use}) + "\n")
    assert project("run", "drafted", "--json").json["llm_calls"] == 2
    assert project.table("records", "requests").height == 2


def test_a_provider_that_counts_no_tokens_has_an_unknown_price() -> None:
    assert cost_of("openai/gpt-4o-mini", {}) is None
    assert cost_of("openai/gpt-4o-mini", {"prompt_tokens": 0, "completion_tokens": 0}) == 0.0
    assert has_price("openai/gpt-4o-mini")
    assert not has_price("snowflake/llama3-8b")  # listed, without a price


def test_a_question_that_is_too_large_stops_no_other(project: Project, provider: ScriptedProvider) -> None:
    statuses = {"number 1": 413, "number 2": 422}

    def said(body: Mapping[str, Any]) -> str | Reply:
        status = next((status for text, status in statuses.items() if text in str(body["messages"])), None)
        return FITS if status is None else Reply(status=status)

    provider.answer_by(said)
    put(project, tickets(4))
    define(project, sheet(), training_sheet(), template())
    project("run", "drafted", "--json")
    refused = project.table("generate", "generated_pairs_refusals")
    assert dict(refused.select("item_ref", "reason").iter_rows()) == {"T-001": "permanent", "T-002": "permanent"}
    assert provider.calls == 4


def test_a_model_that_only_asks_for_patience_is_left_for_the_next_one(
    project: Project, provider: ScriptedProvider
) -> None:
    provider.answer_by(lambda body: Reply(status=429, retry_after=0) if body["model"] == "slow" else FITS)
    put(project, tickets(3))
    how = {"fallback_models": ["openai/scripted"], "at_once": 1}
    define(project, sheet(), training_sheet(model="openai/slow", generation=how), template())
    project("run", "drafted", "--json")
    assert project.table("generate", "generated_pairs").height == 3
    asked = [body["model"] for body in provider.bodies]
    assert asked.count("slow") == FEW_SLOWED
    assert asked.count("scripted") == 3


def test_a_provider_that_is_silent_is_left_after_a_few_questions(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_BASE", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "test")
    put(project, tickets(40))
    define(project, sheet(), training_sheet(), template())
    ran = project("run", "drafted")
    assert ran.code == 3
    assert "at http://127.0.0.1:9/v1: no answer to the first 5 questions, each tried 3 times" in ran.err


@pytest.mark.parametrize("amount", ["nan", "inf", "-1", "ten"])
def test_a_budget_is_an_amount(amount: str) -> None:
    with pytest.raises(ArgumentError, match="WORKBENCH_BUDGET_USD"):
        settings_from({"WORKBENCH_BUDGET_USD": amount})


def test_a_refused_request_tells_no_part_of_its_prompt(project: Project, provider: ScriptedProvider) -> None:
    provider.answer_by(lambda _: Reply(status=400, error="can not read: patient Ottokar Zebedee, born 1961, is unwell"))
    put(project, tickets(1).with_columns(subject=pl.lit("The patient Ottokar Zebedee born 1961 called")))
    define(project, sheet(), training_sheet(), template())
    ran = project("run", "drafted")
    assert ran.code == 3
    assert not any(word in ran.err for word in ("Ottokar", "Zebedee", "1961"))
