"""A TrainingSheet that asks by batches ends with the rows that calls would have made, and hands nothing in twice."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from workbench_pipelines.asking import asked
from workbench_pipelines.batch_asking import answer_by_batches
from workbench_pipelines.batch_collecting import collect_batches
from workbench_pipelines.batches import UPLOADED, Batch
from workbench_pipelines.catalog.training_sheet_specs import GenerationSpec
from workbench_pipelines.clients.scripted_provider import Reply, ScriptedProvider
from workbench_pipelines.errors import BudgetSpent, MissingPart
from workbench_pipelines.planning import plan_training_sheet
from workbench_pipelines.requests import Completion, Refusal
from workbench_pipelines_tests.batch_world import (
    BATCH,
    asked_in,
    killed_after,
    ledger,
    make,
    pairs,
    plant,
    reasons,
    refusals,
    started,
)
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.request_world import NOON, YES, make_request, read
from workbench_pipelines_tests.ticket_world import (
    define,
    project_at,
    provider,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)

__all__ = ["provider"]

SUBJECTS = [f"Which team? {subject}" for subject in tickets(6)["subject"]]


def test_a_run_hands_its_questions_in_once_and_ends(project: Project, provider: ScriptedProvider) -> None:
    plant(project)
    said: list[str] = []
    first = make(project.workbench, say=said.append)
    assert provider.calls == first.calls == 0
    (name,) = provider.batches.batches
    assert asked_in(provider, 0) == SUBJECTS
    ((reason, detail),) = set(refusals(project).values())
    assert (reason, detail.partition(" of ")[0]) == ("pending_batch", f"waits for batch {name}")
    assert said == ["0 from the store, 6 handed in, 6 waiting, 0 refused", f"6 questions: {detail}"]
    planned = plan_training_sheet(project.workbench, "drafted")
    assert (planned["calls"], planned["pending"], planned["store_hits"]) == (0, 6, 0)
    again = make(project.workbench)
    assert again.refusals.equals(first.refusals)
    assert len(provider.batches.batches) == 1


def awkward(body: Mapping[str, Any]) -> Reply | str:
    """Answers of every kind: told once more, cut, withheld, never fitting, and plain ones."""
    subject = body["messages"][0]["content"]
    if "number 1" in subject:
        return '{"team": "billing"}' if len(body["messages"]) > 1 else '{"team": "sales"}'
    if "number 2" in subject:
        return Reply('{"team": "acc', finish_reason="length")
    if "number 3" in subject:
        return Reply(status=400, code="content_filter")
    return '{"team": "nobody"}' if "number 4" in subject else '{"team": "other"}'


def test_batches_make_the_rows_that_calls_make(tmp_path: Path, provider: ScriptedProvider) -> None:
    provider.answer_by(awkward)
    provider.batches.shuffle(7)
    made = {}
    for mode in ("calls", "batch"):
        with project_at(tmp_path / mode) as project:
            plant(project, 9, generation={"mode": mode})
            drafts = make(project.workbench)
            while "pending_batch" in reasons(project).values():
                provider.batches.end()
                drafts = make(project.workbench, asks_again=False)
            made[mode] = (drafts.frame.drop("answered_at"), drafts.refusals)
            assert provider.calls == 11
    assert len(provider.batches.batches) == 2  # the questions, and what two of the answers were asked once more
    assert len(asked_in(provider, 1)) == 2
    for by_call, by_batch in zip(made["calls"], made["batch"], strict=True):
        assert by_batch.equals(by_call)
    assert (made["batch"][0].height, made["batch"][1].height) == (6, 3)


@pytest.mark.parametrize("path", ["files", "batches"])
def test_a_run_that_is_killed_while_it_hands_in_hands_nothing_in_twice(
    project: Project, provider: ScriptedProvider, path: str
) -> None:
    plant(project)
    killed_after(project, provider, path)
    (before,) = ledger(project).batches()
    assert (before.is_open, before.batch_id) == (True, None)
    make(project.workbench)
    (name,) = provider.batches.batches
    assert f"waits for batch {name}" in refusals(project)["T-000"][1]
    provider.batches.end()
    done = make(project.workbench)
    assert (done.calls, done.store_hits, len(pairs(project))) == (0, 6, 6)
    assert project.table("records", "requests").height == 6
    assert len(provider.batches.batches) == 1


def test_a_batch_that_was_collected_when_its_collector_died_is_collected_again_to_the_same_rows(
    project: Project, provider: ScriptedProvider
) -> None:
    plant(project)
    make(project.workbench)
    provider.batches.end()
    (before,) = ledger(project).batches()
    collect_batches(project.workbench)
    answers = project.table("records", "requests").sort("answer_id")
    # As it stood before the last step was written down.
    steps = project.table("records", "batches").filter(pl.col("status") != "completed")
    project.workbench.lake.replace_table("records", "batches", frame=steps)
    assert ledger(project).batches() == [before]
    (again,) = collect_batches(project.workbench)
    assert (again.batch.status, again.batch.answers) == ("completed", 6)
    assert project.table("records", "requests").sort("answer_id").equals(answers)


def test_a_batch_that_never_came_to_be_is_given_up_once_that_is_sure(
    project: Project, provider: ScriptedProvider
) -> None:
    plant(project)
    make(project.workbench)
    (known,) = ledger(project).batches()
    for name, at in (("just now", known.at), ("long ago", NOON)):
        lost = Batch(name, "drafted", known.model, known.endpoint, 1, None, submitted_at=at, at=at)
        ledger(project).record(lost.after(UPLOADED, at, input_file_id="file-9"))
    collect_batches(project.workbench)
    states = {one.submission_id: one.status for one in ledger(project).batches()}
    assert (states["just now"], states["long ago"]) == ("uploaded", "lost")


def test_a_line_that_failed_is_told_before_it_is_asked_again(project: Project, provider: ScriptedProvider) -> None:
    plant(project)
    provider.answer_by(lambda body: Reply(status=500) if "number 4" in str(body) else '{"team": "other"}')
    make(project.workbench)
    provider.batches.end()
    told = ("transient", "no answer from openai/scripted in the batch (500 scripted); run again")
    for asks_again in (True, False):  # whoever makes it next, and a run that only collects
        make(project.workbench, asks_again=asks_again)
        assert (len(pairs(project)), refusals(project)) == (5, {"T-004": told})
        assert len(provider.batches.batches) == 1
    provider.answer_by(lambda body: '{"team": "other"}')
    make(project.workbench)
    assert asked_in(provider, 1) == [SUBJECTS[4]]
    provider.batches.end()
    make(project.workbench)
    assert (len(pairs(project)), refusals(project)) == (6, {})


def test_what_an_expired_batch_answered_is_kept_and_the_rest_is_handed_in_anew(
    project: Project, provider: ScriptedProvider
) -> None:
    plant(project)
    make(project.workbench)
    provider.batches.end("expired", answered=3)
    make(project.workbench, asks_again=False)
    assert sorted(pairs(project)) == ["T-000", "T-001", "T-002"]
    assert set(reasons(project).values()) == {"pending_batch"}
    assert asked_in(provider, 1) == SUBJECTS[3:]
    provider.batches.end()
    assert make(project.workbench).store_hits == 6
    assert len(provider.batches.batches) == 2


def test_a_question_that_expires_every_time_comes_to_an_end(project: Project, provider: ScriptedProvider) -> None:
    plant(project, 1)
    for _ in range(3):
        make(project.workbench)
        provider.batches.end("expired", answered=0)
    make(project.workbench)
    assert (reasons(project), len(provider.batches.batches)) == ({"T-000": "expired"}, 3)


def test_an_answer_under_a_wrong_name_is_refused_and_bound_to_nobody(
    project: Project, provider: ScriptedProvider
) -> None:
    plant(project)
    odd = {f"number {n}": "billing" if n % 2 else "access" for n in range(6)}

    def by_number(body: Mapping[str, Any]) -> str:
        return json.dumps({"team": next(odd[one] for one in odd if one in body["messages"][0]["content"])})

    def confuse(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        lines[0]["custom_id"] = "0" * 64
        return [*lines, {**lines[2], "response": lines[3]["response"]}, {"custom_id": None}]

    provider.answer_by(by_number)
    provider.batches.edit(confuse)
    make(project.workbench)
    provider.batches.end()
    make(project.workbench)
    billing, access = '{"team":"billing"}', '{"team":"access"}'
    assert pairs(project) == {"T-001": billing, "T-003": billing, "T-004": access, "T-005": billing}
    assert reasons(project) == {"T-000": "missing_line", "T-002": "duplicate_custom_id"}
    kept = project.table("records", "batch_refusals").filter(pl.col("request_hash").is_null())
    assert sorted(kept["reason"]) == ["unknown_custom_id", "unreadable_line"]


def test_a_reply_that_is_no_chat_completion_is_refused_and_stops_no_other(
    project: Project, provider: ScriptedProvider
) -> None:
    plant(project)

    def spoil(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
        lines[0]["response"]["body"] = {"choices": [3]}
        lines[1]["response"]["body"]["usage"]["prompt_tokens"] = "many"
        lines[2]["response"]["body"]["choices"][0]["message"]["content"] = {"team": "other"}
        return lines

    provider.batches.edit(spoil)
    make(project.workbench)
    provider.batches.end()
    make(project.workbench)
    assert (len(pairs(project)), set(reasons(project).values())) == (3, {"unreadable_line"})


def test_a_batch_that_its_provider_can_not_take_says_why(project: Project, provider: ScriptedProvider) -> None:
    plant(project)
    make(project.workbench)
    provider.batches.end("failed", codes=["token_limit_exceeded"])
    (looked,) = collect_batches(project.workbench)
    assert "failed: the provider could not take it (token_limit_exceeded), 0 answers, 6 refused" in looked.line
    make(project.workbench)
    assert set(reasons(project).values()) == {"batch_failed"}
    assert len(provider.batches.batches) == 1
    make(project.workbench)
    assert len(provider.batches.batches) == 2


@pytest.mark.parametrize(
    ("refuses", "said"),
    [
        ((401, "invalid_api_key"), "the provider refused the key (401); check OPENAI_API_KEY"),
        ((400, "billing_hard_limit"), "the provider refused the batch (400 billing_hard_limit); nothing was handed in"),
        ((500, "down"), "its provider does not answer (create_file: 500)"),
    ],
)
def test_a_provider_that_takes_no_batch_is_one_line_and_the_next_run_hands_in(
    project: Project, provider: ScriptedProvider, refuses: tuple[int, str], said: str
) -> None:
    plant(project)
    provider.batches.refuses = refuses
    with pytest.raises(MissingPart) as error:
        make(project.workbench)
    assert said in error.value.line
    assert not any(one.is_open for one in ledger(project).batches())
    provider.batches.refuses = None
    make(project.workbench)
    assert len(provider.batches.batches) == 1


def test_the_most_a_batch_may_cost_is_held_against_the_budget_before_it_is_handed_in(
    project: Project, provider: ScriptedProvider
) -> None:
    plant(project, model="openai/gpt-4o-mini", generation={**BATCH, "ask_once_more": False})
    most = plan_training_sheet(project.workbench, "drafted")["max_cost_usd"]
    plant(project, model="openai/gpt-4o-mini", generation={**BATCH, "budget_usd": most * 0.99})
    with pytest.raises(BudgetSpent, match=r"a batch may cost up to .* raise .*spec.generation.budget_usd to go on"):
        make(project.workbench)
    assert (provider.batches.batches, ledger(project).batches()) == ({}, [])
    plant(project, model="openai/gpt-4o-mini", generation={**BATCH, "budget_usd": most})
    make(project.workbench)
    provider.batches.end()
    make(project.workbench)
    (batch,) = ledger(project).batches()
    assert batch.max_cost_usd == pytest.approx(most)
    assert batch.cost_usd is not None
    assert 0 < batch.cost_usd <= most
    answers = project.table("records", "requests")
    # Half the price of a call, as the list says for this model.
    paid = answers["prompt_tokens"] * 0.075e-6 + answers["completion_tokens"] * 0.3e-6
    assert answers["cost_usd"].to_list() == pytest.approx(paid.to_list())


def test_a_model_without_batches_is_told_so(project: Project) -> None:
    plant(project, model="local/smollm2")
    with pytest.raises(MissingPart, match="model local/smollm2: local takes no batches here"):
        make(project.workbench)


def test_fallback_models_and_batches_do_not_go_together(project: Project) -> None:
    plant(project, generation={**BATCH, "fallback_models": ["openai/other"]})
    ran = project("validate")
    assert ran.code == 2
    assert "`fallback_models` go with mode calls; a batch asks one model" in ran.err


def test_runs_at_one_time_hand_in_once(project: Project, provider: ScriptedProvider) -> None:
    plant(project)
    runs = [started(project) for _ in range(3)]
    assert {one.wait(240) for one in runs} == {0}
    assert len(provider.batches.batches) == 1


def test_two_training_sheets_that_ask_the_same_wait_for_one_batch(project: Project, provider: ScriptedProvider) -> None:
    plant(project, 6, "drafted", "also")
    make(project.workbench)
    make(project.workbench, "also")
    assert len(provider.batches.batches) == 1
    assert refusals(project, "also").keys() == refusals(project).keys()
    provider.batches.end()
    assert (make(project.workbench, "also").store_hits, make(project.workbench).store_hits) == (6, 6)
    uses = project.table("records", "request_uses")
    assert uses.group_by("training_sheet").len().sort("training_sheet").rows() == [("also", 6), ("drafted", 6)]


@pytest.mark.parametrize(("limit", "sizes"), [({"max_requests": 4}, [4, 2]), ({"max_bytes": 1200}, [2, 2, 2])])
def test_a_file_holds_no_more_than_a_provider_takes(
    project: Project, provider: ScriptedProvider, limit: dict[str, int], sizes: list[int]
) -> None:
    plant(project)
    requests = [make_request(str(number), training_sheet="drafted", model="openai/scripted") for number in range(6)]
    models = asked(project.workbench, "openai/scripted", GenerationSpec(mode="batch"))
    terms = dataclasses.replace(models.batch_terms("drafted", read), **limit)
    requests = [one.of_model(models.first.name, None, models.first.endpoint) for one in requests]
    provider.answer_by(lambda body: YES)
    for outcome in (Refusal, Completion):
        answered = list(answer_by_batches(project.workbench, terms, requests, 6, lambda line: None))
        assert {type(one.outcome) for one in answered} == {outcome}
        provider.batches.end()
    assert [len(asked_in(provider, number)) for number in range(len(sizes))] == sizes
    assert len(provider.batches.batches) == len(sizes)


def test_a_question_longer_than_a_file_is_refused(project: Project, provider: ScriptedProvider) -> None:
    plant(project)
    models = asked(project.workbench, "openai/scripted", GenerationSpec(mode="batch"))
    terms = dataclasses.replace(models.batch_terms("drafted", read), max_bytes=100)
    (answered,) = answer_by_batches(
        project.workbench, terms, [make_request(model="openai/scripted")], 1, lambda line: None
    )
    assert isinstance(answered.outcome, Refusal)
    assert (answered.outcome.reason, provider.batches.batches) == ("permanent", {})


def test_batches_are_handed_in_listed_and_collected_by_command(project: Project, provider: ScriptedProvider) -> None:
    plant(project)
    ran = project("run", "drafted")
    detail = refusals(project)["T-000"][1]
    assert f"6 questions of drafted: {detail}" in ran.out
    (state,) = project("status", "--json").json["training_sheets"]
    assert (state["pending"], state["pairs"]) == (6, 0)
    assert "6 questions wait for batches\n0 model calls" in project("plan").out
    assert (ran.code, "Collection drafted: no pair yet; drafted waits for batches" in ran.err) == (5, True)
    (row,) = project("batch", "list", "--json").json
    assert (row["status"], row["requests"], row["training_sheet"]) == ("submitted", 6, "drafted")
    looked = project("batch", "collect", "drafted", "--json").json
    assert [one["progress"] for one in looked["batches"]] == ["in_progress"]
    provider.batches.end()
    assert project("batch", "collect").out.endswith("1 of 1 open batches collected\n")
    assert project("batch", "collect").out == "0 of 0 open batches collected\n"
    assert project("batch", "list", "--open", "--json").json == []
    ran = project("run", "drafted", "--json")
    assert (ran.json["llm_calls"], ran.json["store_hits"], ran.json["pending"]) == (0, 6, [])
    assert ran.json["waiting"] == [["drafted", 6, ["a reviewer"]]]


def test_a_run_that_leaves_questions_with_a_provider_ends_with_5_whatever_else_it_made(
    project: Project, provider: ScriptedProvider
) -> None:
    plant(project)
    project("run", "drafted")
    plant(project, 8)
    provider.batches.end()
    ran = project("run", "drafted", "--json")
    (pending,), (batch,) = ran.json["pending"], ran.json["batches"]
    assert (ran.code, ran.json["ok"], pending["training_sheet"], pending["questions"]) == (5, False, "drafted", 2)
    assert (batch["status"], batch["answers"], len(pairs(project))) == ("completed", 6, 6)


def test_calls_leave_to_a_batch_what_it_asks_already(project: Project, provider: ScriptedProvider) -> None:
    plant(project, 4)
    make(project.workbench)
    put(project, tickets(6))
    define(project, sheet(), training_sheet("drafted", generation=BATCH), training_sheet("called"), template())
    planned = plan_training_sheet(project.workbench, "called")
    assert (planned["calls"], planned["pending"]) == (2, 4)
    provider.answer_by(lambda body: '{"team": "other"}')
    called = make(project.workbench, "called")
    assert (called.calls, provider.calls, called.refusals["reason"].unique().to_list()) == (2, 2, ["pending_batch"])
    assert called.frame.height == 2
    provider.batches.end()
    assert make(project.workbench, "called").frame.height == 6
    assert provider.calls == 2


def test_what_is_asked_once_more_by_a_batch_is_left_to_it_too(project: Project, provider: ScriptedProvider) -> None:
    provider.answer_by(lambda body: '{"team": "sales"}')
    plant(project)
    for _ in range(2):  # the questions, and what their answers are asked once more
        make(project.workbench)
        provider.batches.end() if len(provider.batches.batches) == 1 else None
    plant(project, generation={"mode": "calls"})
    assert make(project.workbench).refusals["reason"].unique().to_list() == ["pending_batch"]
    provider.answer_by(lambda body: '{"team": "other"}')
    provider.batches.end()
    assert (make(project.workbench).store_hits, provider.calls) == (6, 0)


def test_a_batch_that_its_provider_does_not_know_any_more_is_forgotten_on_a_persons_word(
    project: Project, provider: ScriptedProvider
) -> None:
    plant(project)
    make(project.workbench)
    name = next(iter(provider.batches.batches))
    provider.batches.batches.clear()
    ran = project("batch", "collect")
    assert ran.code == 3
    assert "does not hand out its batch (retrieve_batch: 404 no_such_batch)" in ran.err
    make(project.workbench)
    assert provider.batches.batches == {}
    assert project("batch", "forget", name).out == f"batch {name} of drafted: 6 questions may be handed in anew\n"
    assert project("batch", "forget", name).code == 2
    make(project.workbench)
    assert len(provider.batches.batches) == 1
