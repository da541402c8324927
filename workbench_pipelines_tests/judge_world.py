"""A world in which a model routes tickets, mostly rightly, and a judge says of each answer how likely it is right."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.identity import unit_interval
from workbench_pipelines_tests.project_world import Project, Ran
from workbench_pipelines_tests.ticket_world import USAGE, define, put, sheet, template, tickets, training_sheet

JUDGE = "openai/judge"
DRAFTS_RIGHT = 0.8


def right_team(text: str) -> str:
    return "billing" if "Invoice" in text else "access"


def number_in(text: str) -> int:
    found = re.search(r"number (\d+)", text)
    assert found is not None, text
    return int(found[1])


def drafted_team(text: str) -> str:
    """What the drafting model says: the right team for four of five tickets, by their numbers."""
    right = right_team(text)
    return (
        right if unit_interval("draft", number_in(text)) < DRAFTS_RIGHT else {"billing": "access"}.get(right, "billing")
    )


def serve(provider: ScriptedProvider, judge_right: float) -> None:
    """Drafts of the scripted model, and a judge that is right about so many of them."""

    def answer(body: Mapping[str, Any]) -> str:
        asked = str(body["messages"][-1]["content"])
        if body["model"] != "judge":
            return json.dumps({"team": drafted_team(asked)})
        material = json.loads(asked)
        text = material["question"][-1]["content"]
        is_right = material["answer"]["team"] == right_team(text)
        says_so = is_right if unit_interval("judge", number_in(text)) < judge_right else not is_right
        return json.dumps({"probability": 0.97 if says_so else 0.04})

    provider.answer_by(answer)


def judge(**given: Any) -> dict[str, Any]:
    return {"quality": {"judge": {"model": JUDGE, "rubric": "Invoices go to billing.", **given}}}


def project_of(project: Project, count: int, labeled: int, usage: Mapping[str, Any] = USAGE, **spec: Any) -> Ran:
    """Tickets of which so many have an expert's label, drafted and judged; the run that made their pairs."""
    put(project, tickets(count))
    define(project, sheet(usage=usage), training_sheet(**spec), template())
    rows = tickets(labeled).iter_rows(named=True)
    lines = [
        {"sheet": "tickets", "item_ref": row["ticket"], "label_type": "team", "label_data": {"team": row["team"]}}
        for row in rows
    ]
    project.write("labels.jsonl", "\n".join(map(json.dumps, lines)))
    imported = project("label", "import", str(project.folder / "labels.jsonl"), "--json")
    assert imported.code == 0, imported.err
    return project("run", "drafted", "--json")
