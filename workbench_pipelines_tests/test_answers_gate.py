"""Whatever a provider may send in place of an answer: never a pair, never exported, a row of the refusals with its reason."""

from __future__ import annotations

import json

import pytest

from workbench_pipelines.clients.scripted_provider import Reply, ScriptedProvider
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    collection,
    define,
    one_line,
    provider,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)

__all__ = ["provider"]

NAMES_ITS_ITEM = [{"name": "team", "type": "string", "enum": ["access", "billing", "other"]}, {"name": "item_ref"}]
# By the number of the ticket, what is sent and the reason that stands in the refusals; None is an answer.
SENT: list[tuple[Reply, str | None]] = [
    (Reply('{"team": "other", "item_ref": "T-000"}'), None),
    (Reply('{"team": "oth', finish_reason="length"), "truncated"),
    (Reply(""), "empty"),
    (Reply(None), "empty"),
    (Reply(None, refusal="I can not help with that."), "refused"),
    (Reply("I'm sorry, I can't help with that."), "refused"),
    (Reply(None, finish_reason="content_filter"), "filtered"),
    (Reply(choices=0), "empty"),
    (Reply("The team is other"), "invalid_json"),
    (Reply('{"team": "nobody", "item_ref": "T-009"}'), "schema_violation"),
    (Reply('{"team": "other", "item_ref": "T-000"}'), "wrong_item"),
    (Reply(status=500), "transient"),
    (Reply('{"team": "other", "item_ref": "T-012"}'), None),
]


def number_of(body: object) -> int:
    return int(str(body).rpartition("number ")[2].split("'")[0].split("\\")[0].split('"')[0].split("}")[0])


def test_nothing_but_a_usable_answer_becomes_a_pair(project: Project, provider: ScriptedProvider) -> None:
    provider.answer_by(lambda body: SENT[number_of(body["messages"][0]["content"])][0])
    put(project, tickets(len(SENT)))
    asks = {"ask_once_more": False, "at_once": 4}
    define(
        project,
        sheet(),
        training_sheet(generation=asks),
        collection("drafted", "drafted"),
        template(output_schema=NAMES_ITS_ITEM),
    )
    ran = project("run", "drafted", "--json")
    assert ran.code == 5, ran.err  # drafts wait for people
    refused = project.table("generate", "generated_pairs_refusals")
    expected = {f"T-{number:03d}": reason for number, (_, reason) in enumerate(SENT) if reason is not None}
    assert dict(refused.select("item_ref", "reason").iter_rows()) == expected
    assert refused["detail"].null_count() == 0
    pairs = project.table("label", "labeled_pairs")
    assert sorted(pairs["item_ref"]) == ["T-000", "T-012"]
    # People approve all there is: what was refused is not among it.
    rows = [
        {"sheet": "tickets", "item_ref": ref, "label_type": "team", "label_data": {"team": "other", "item_ref": ref}}
        for ref in pairs["item_ref"]
    ]
    file = project.write("labels.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert project("label", "import", str(file)).code == 0
    ran = project("run", "drafted", "--json")
    (export,) = ran.json["exports"]
    assert export["train"] + export["val"] + export["test"] == 2


@pytest.mark.parametrize("status", [400, 401, 403, 404])
def test_what_a_person_must_mend_costs_one_call_and_stops_the_run(
    project: Project, provider: ScriptedProvider, status: int
) -> None:
    provider.answer_by(lambda _: Reply(status=status, error="the key sk-test-1234567890 is not known"))
    put(project, tickets(40))
    define(project, sheet(), training_sheet(), template())
    ran = project("run", "drafted")
    assert provider.calls == 1
    assert ran.code == 3
    assert "openai/scripted" in one_line(ran)
    assert "sk-test" not in ran.out + ran.err
