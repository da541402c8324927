"""What a model thinks of its own answer stands in its pair, and orders what people look at."""

from __future__ import annotations

import math

import polars as pl

from workbench_pipelines.clients.scripted_provider import Reply, ScriptedProvider
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import define, provider, put, sheet, template, tickets, training_sheet

__all__ = ["provider"]

DOUBTED = ("T-002", "T-005")


def confidences(project: Project) -> dict[str, float | None]:
    return dict(project.table("label", "labeled_pairs").select("item_ref", "ai_confidence").iter_rows())


def test_the_answers_a_model_doubts_come_first(project: Project, provider: ScriptedProvider) -> None:
    def reply(body: dict[str, object]) -> Reply:
        asked = str(body["messages"])
        doubts = any(f"number {int(ref[2:])}'" in asked for ref in DOUBTED)
        return Reply('{"team": "other"}', logprobs=(math.log(0.2), math.log(0.45)) if doubts else (math.log(0.9),) * 3)

    provider.answer_by(reply)  # type: ignore[arg-type]
    put(project, tickets(6))
    define(project, sheet(), training_sheet(generation={"confidence": True}), template())
    assert project("run", "drafted", "--json").json["llm_calls"] == 6
    found = confidences(project)
    assert {ref: round(value or 0, 6) for ref, value in found.items()} == {
        f"T-00{number}": 0.3 if f"T-00{number}" in DOUBTED else 0.9 for number in range(6)
    }
    queue = project.table("label", "review_queue").sort("rank")
    assert queue.filter(pl.col("need") == "uncertain")["item_ref"].sort().to_list() == sorted(DOUBTED)
    assert set(queue["item_ref"].head(2)) == set(DOUBTED)
    # What was kept says it again, without a call.
    assert project("run", "drafted", "--json").json["llm_calls"] == 0
    assert confidences(project) == found


def test_nobody_is_asked_unless_it_is_wanted_and_a_provider_may_not_tell(
    project: Project, provider: ScriptedProvider
) -> None:
    put(project, tickets(2))
    define(project, sheet(), training_sheet(), template())
    assert project("run", "drafted").code in (0, 5)
    assert not any("logprobs" in body for body in provider.bodies)
    define(project, sheet(), training_sheet(generation={"confidence": True}), template())
    assert project("run", "drafted", "--json").json["llm_calls"] == 2
    assert all(body["logprobs"] is True for body in provider.bodies[2:])
    assert set(confidences(project).values()) == {None}


ODD = ('{"content": "x"}', '{"content": [{"logprob": "-1"}]}', '"x"', "[]", '{"content": [3]}')


def test_an_odd_reply_is_no_confidence(project: Project, provider: ScriptedProvider) -> None:
    choice = (
        '{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "{\\"team\\": \\"other\\"}"}'
    )

    def reply(body: dict[str, object]) -> Reply:
        number = next(number for number in range(len(ODD)) if f"number {number}" in str(body["messages"]))
        head = '{"id": "x", "object": "chat.completion", "created": 0, "model": "m", "choices": ['
        return Reply(body=f'{head}{choice}, "logprobs": {ODD[number]}}}]}}')

    provider.answer_by(reply)  # type: ignore[arg-type]
    put(project, tickets(len(ODD)))
    define(project, sheet(), training_sheet(generation={"confidence": True}), template())
    assert project("run", "drafted").code in (0, 5)
    assert list(confidences(project).values()) == [None] * len(ODD)


def test_the_embedded_model_says_how_sure_it_is(project: Project) -> None:
    put(project, tickets(2))
    asked = training_sheet(generation={"confidence": True}, model="local/smollm2")
    define(project, sheet(), asked, template())
    assert project("run", "drafted").code in (0, 5)
    assert all(value is not None and 0 < value <= 1 for value in confidences(project).values())
