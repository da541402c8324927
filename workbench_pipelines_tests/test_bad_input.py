"""Bad input: one clear line that names the file, item or field, nothing half-written, and what is good goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import dagster as dg
import pytest

from workbench_pipelines.clients.scripted_provider import Reply, ScriptedProvider
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.project_world import Project, Ran
from workbench_pipelines_tests.ticket_world import (
    USAGE,
    collection,
    define,
    error_lines,
    project_at,
    provider,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)  # fmt: skip

__all__ = ["provider"]

SECRET = "sk-planted-0123456789abcdef"


class Bad(NamedTuple):
    """A definition, the files it reads, the exit code of its run and what its line says."""

    spec: dict[str, Any]
    said: str
    code: int = 2
    files: Mapping[str, bytes] = MappingProxyType({})


PRICES = {"name": "prices", "path": "data/prices.csv", "join_keys": ["ticket"]}
BAD_SHEETS = {
    "missing": Bad(
        {"primary_table": "data/tikets.csv"},
        "spec.primary_table: path 'data/tikets.csv': there is no such file; did you mean 'tickets.csv'?",
    ),
    "outside": Bad(
        {"primary_table": "../../secret.csv"}, "spec.primary_table: path '../../secret.csv' leads outside the project"
    ),
    "latin": Bad(
        {}, "latin.csv: byte 0xE9 at offset 22 (line 2) is not utf-8", 1, {"latin": b"ticket,subject\nT-1,caf\xe9\n"}
    ),
    "cut": Bad({}, "cut.csv: line 3 has 1 fields, the header has 2", 1, {"cut": b"ticket,subject\nT-1,a\nT-2\n"}),
    "empty": Bad({}, "empty.csv: the file is empty", 1, {"empty": b""}),
    "twice": Bad(
        {},
        "2 rows share their ticket with another (rows 1, 3): T-1; item_ref has to be unique",
        1,
        {"twice": b"ticket,subject\nT-1,a\nT-2,b\nT-1,c\n"},
    ),
    "nameless": Bad(
        {}, "1 row has no value in the key column 'ticket' (row 2)", 1, {"nameless": b"ticket,subject\nT-1,a\n,b\n"}
    ),
    "unknown_key": Bad({"item_ref": "tikket"}, "spec.item_ref: unknown column 'tikket'; did you mean 'ticket'?"),
    "fan_out": Bad(
        {"secondary_sources": [PRICES]},
        "data/prices.csv: 1 rows find more than one row by ticket",
        1,
        {"prices": b"ticket,price\nT-000,1\nT-000,2\n"},
    ),
    "join_key": Bad(
        {"secondary_sources": [{**PRICES, "join_keys": ["note"]}]},
        "spec.secondary_sources.prices: join_keys: data/prices.csv has no column 'note'",
    ),
    "no_boolean": Bad({"filter_condition": "subject || 'x'"}, "spec.filter_condition: "),
    "sub_select": Bad(
        {"filter_condition": "ticket IN (SELECT ticket FROM read_csv('/etc/passwd'))"},
        "spec.filter_condition: a sub-select is not allowed",
    ),
    "unknown_column": Bad(
        {"filter_condition": "subjekt = 'a'"},
        "spec.filter_condition: unknown column 'subjekt'; did you mean 'subject'?",
    ),
    "unknown_use": Bad(
        {"usage": {**USAGE, "allowed_uses": ["trainig"]}},
        "spec.usage.allowed_uses: unknown use 'trainig'; did you mean 'training'?",
    ),
    "unknown_class": Bad({"usage": {**USAGE, "data_classification": "secrt"}}, "secrt"),
    "unknown_tag": Bad({"source_tags": ["PIH"]}, "spec.source_tags: "),
    "unknown_row_use": Bad(
        {"usage": {**USAGE, "rows": [{"when": "subject", "tags": ["PHI"]}]}}, "spec.usage.rows[0].when: "
    ),
}


class Seen(NamedTuple):
    project: Project
    validated: Ran
    ran: Ran


@pytest.fixture(scope="module")
def sheets(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """A project in which one Sheet is good and all others are bad, validated and run."""
    with project_at(tmp_path_factory.mktemp("sheets") / "project") as project:
        put(project, tickets(3))
        documents = [sheet()]
        for name, bad in BAD_SHEETS.items():
            table = f"data/{name}.csv" if name in bad.files else "data/tickets.csv"
            documents.append(sheet(name, table, **bad.spec))
            for file, content in bad.files.items():
                (project.folder / f"sheets/data/{file}.csv").write_bytes(content)
        define(project, *documents)
        return Seen(project, project("validate"), project("run", "--json"))


@pytest.mark.parametrize("name", BAD_SHEETS)
def test_a_bad_sheet_fails_with_one_line_and_its_own_exit_code(sheets: Seen, name: str) -> None:
    bad = BAD_SHEETS[name]
    (failure,) = [one for one in sheets.ran.json["failures"] if one["partition"] == name]
    assert failure["line"].startswith(f"sheets/all.yaml: Sheet {name}: ")
    assert bad.said in failure["line"]
    assert failure["exit_code"] == bad.code
    assert error_lines(sheets.ran).count(failure["line"]) == 1


@pytest.mark.parametrize("name", [name for name, bad in BAD_SHEETS.items() if bad.code == 2])
def test_validate_says_the_line_that_the_run_of_a_bad_sheet_ends_with(sheets: Seen, name: str) -> None:
    (failure,) = [one for one in sheets.ran.json["failures"] if one["partition"] == name]
    assert sheets.validated.code == 2
    assert failure["line"] in error_lines(sheets.validated)


def test_no_bad_sheet_leaves_anything_behind_and_the_good_one_is_taken(sheets: Seen) -> None:
    made = [one["partition"] for one in sheets.ran.json["partitions"]]
    assert made == ["tickets"] * 4  # its snapshot, its labels, what they cover and how far people agree
    assert sheets.ran.code == sheets.ran.json["failures"][0]["exit_code"]
    assert sheets.project.table("data", "sheet_snapshot", "tickets").height == 3
    assert [name for name in BAD_SHEETS if sheets.project.workbench.lake.exists("data", "sheet_snapshot", name)] == []
    assert len(error_lines(sheets.ran)) == len(BAD_SHEETS)


WITH_PRIORITY = template("{{ subject }} {{ priority }}", "with_priority")
UNFINISHED = template("{{ subject ", "unfinished")
BROKEN_YAML = "\n---\napiVersion: workbench/v1\nkind: TrainingSheet\nmetadata: {name: broken}\nspec: {sheet: [tickets\n"
BAD_DEFINITIONS = {
    "no_template": Bad(
        {"template": "teem"},
        "all.yaml: TrainingSheet no_template: spec.template: there is no PromptTemplate 'teem'; did you mean 'team'?",
    ),
    "no_version": Bad(
        {"template": "team@2.0.0"}, "spec.template: template 'team' has no version 2.0.0; did you mean '1.0.0'?"
    ),
    "no_sheet": Bad({"sheet": "ticket"}, "spec.sheet: there is no Sheet 'ticket'; did you mean 'tickets'?"),
    "unbound": Bad(
        {"template": "with_priority"},
        "spec.template: no column binds variable 'priority' of template 'with_priority' 1.0.0",
    ),
    "bound_to_nothing": Bad(
        {"bindings": {"subject": "subjekt"}},
        "spec.bindings.subject: Sheet 'tickets' has no column 'subjekt'; did you mean 'subject'?",
    ),
    "no_column": Bad({"column": "teem"}, "spec.column: Sheet 'tickets' has no column 'teem'; did you mean 'team'?"),
    "no_boolean": Bad({"items": {"filter_condition": "1"}}, "spec.items.filter_condition: the filter is a number"),
    "no_stratum": Bad(
        {"items": {"sample": {"size": 1, "method": "stratified", "by": "teem"}}}, "spec.items.sample.by: "
    ),
    "unknown_field": Bad(
        {"labelling_mode": "manual"}, "spec.labelling_mode: unknown field; did you mean 'labeling_mode'?"
    ),
    "Bad|Name": Bad({}, "TrainingSheet Bad|Name: metadata.name: 'Bad|Name' is no usable name"),
}
OTHER_LINES = [
    "all.yaml: Collection strays: spec.members: there is no TrainingSheet 'ruoted'; did you mean 'routed'?",
    "all.yaml: PromptTemplate unfinished: version 1.0.0: spec.user_prompt_template line 1: ",
    "all.yaml: PromptTemplate Team: metadata.name: 'Team' is no usable name",
    "all.yaml: TrainingSheet broken: line ",
    "all.yaml: kind 'UsagePolici' is unknown; did you mean 'UsagePolicy'?",
]


@pytest.fixture(scope="module")
def definitions(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    """A project in which one TrainingSheet is good and a lot else is bad, validated and run."""
    with project_at(tmp_path_factory.mktemp("definitions") / "project") as project:
        put(project, tickets(12))
        bad = [training_sheet(name, **{"column": "team", **bad.spec}) for name, bad in BAD_DEFINITIONS.items()]
        strays = collection("strays", "routed", "ruoted")
        templates = [template(), template(name="Team"), WITH_PRIORITY, UNFINISHED]
        own = make_document("UsagePolici", "own")
        define(project, sheet(), training_sheet("routed", column="team"), *bad, strays, own, *templates)
        file = project.folder / "sheets/all.yaml"
        file.write_text(file.read_text() + BROKEN_YAML)
        return Seen(project, project("validate"), project("run", "--json"))


@pytest.mark.parametrize("said", [bad.said for bad in BAD_DEFINITIONS.values()] + OTHER_LINES)
def test_a_definition_that_leads_nowhere_ends_validate_and_run_with_the_same_line(definitions: Seen, said: str) -> None:
    (line,) = [line for line in error_lines(definitions.validated) if said in line]
    assert definitions.validated.code == 2
    if "unfinished" not in said:  # no TrainingSheet uses it, so that no run meets it
        assert error_lines(definitions.ran).count(line) == 1
        assert definitions.ran.code == 2


def test_what_is_whole_beside_broken_definitions_is_made(definitions: Seen) -> None:
    made = {(one["asset"], one["partition"]) for one in definitions.ran.json["partitions"]}
    assert ("label/labeled_pairs", "routed") in made
    assert {partition for asset, partition in made if asset.startswith(("generate/generated", "label/labeled"))} == {
        "routed"
    }
    assert "broken" in definitions.project.workbench.catalog().names("TrainingSheet")


def test_an_item_that_can_not_be_asked_is_refused_with_its_reason_and_the_others_go_on(project: Project) -> None:
    text = "Which team? {{ subject }} {{ 10 // size }} {% if urgent %}{{ deadline.day }}{% endif %}"
    fields = [{"name": "subject", "type": "string", "max_length": 20}, {"name": "size", "type": "integer"}]
    fields += [{"name": "urgent", "type": "boolean"}, {"name": "deadline", "type": "string", "required": False}]
    define(project, sheet(), training_sheet("routed", column="team"), template(text, input_schema=fields))
    rows = [
        "ok,Log in,2,false,,access",
        "zero,Log in,0,false,,access",
        "null,,2,false,,access",
        "late,Log in,2,true,soon,access",
        "lost,Log in,2,false,,acess",
    ]
    project.write("sheets/data/tickets.csv", "\n".join(["ticket,subject,size,urgent,deadline,team", *rows]))
    ran = project("run", "--json")
    refused = project.table("generate", "rendered_prompts_refusals")
    assert dict(refused.select("item_ref", "reason").iter_rows()) == {
        "late": "undefined_variable",
        "null": "input_breaks_schema",
        "zero": "template_error",
    }
    assert project.table("label", "labeled_pairs")["item_ref"].to_list() == ["ok"]
    assert ran.code == 0
    assert [one["refused"] for one in ran.json["partitions"] if one["asset"] == "generate/rendered_prompts"] == [3]
    (lost,) = project.table("generate", "generated_pairs_refusals").to_dicts()
    assert (lost["item_ref"], lost["reason"]) == ("lost", "column_breaks_schema")
    assert not any("soon" in detail or "acess" in detail for detail in [*refused["detail"], lost["detail"]])
    # What the column does not know, an expert may.
    label = {"sheet": "tickets", "item_ref": "lost", "label_type": "team", "label_data": {"team": "access"}}
    assert project("label", "import", str(project.write("labels.jsonl", json.dumps(label)))).code == 0
    project("run", "--json")
    pairs = project.table("label", "labeled_pairs")
    assert dict(pairs.select("item_ref", "status").iter_rows())["lost"] == "labeled"
    assert project.table("generate", "generated_pairs_refusals").is_empty()


REPLIES: dict[int, str | Reply] = {
    1: '{"team": "sales"}',
    2: Reply('{"team": "bil', finish_reason="length"),
    3: "",
    4: Reply(None, refusal="I will not say"),
    5: "The billing team, I think.",
    6: '["billing"]',
    7: Reply("", choices=0),
    8: Reply("", finish_reason="content_filter"),
}
REASONS = {
    "T-001": "schema_violation",
    "T-002": "truncated",
    "T-003": "empty",
    "T-004": "refused",
    "T-005": "invalid_json",
    "T-006": "schema_violation",
    "T-007": "empty",
    "T-008": "filtered",
}


def routed_by(body: Mapping[str, Any]) -> str | Reply:
    """What the provider says to a ticket, by the number in its subject."""
    number = int(body["messages"][0]["content"].rpartition(" ")[2])
    return REPLIES.get(number, '{"team": "billing"}')


def test_an_answer_that_is_none_is_refused_with_its_reason_and_only_it_is_asked_again(
    project: Project, provider: ScriptedProvider
) -> None:
    provider.answer_by(routed_by)
    define(project, sheet(), training_sheet(), template())
    put(project, tickets(12))
    first = project("run", "--json")
    refused = project.table("generate", "generated_pairs_refusals")
    assert dict(refused.select("item_ref", "reason").iter_rows()) == REASONS
    assert sorted(project.table("label", "labeled_pairs")["item_ref"]) == ["T-000", "T-009", "T-010", "T-011"]
    assert (first.code, first.json["llm_calls"], provider.calls) == (5, 15, 15)
    told = [body["messages"][-1]["content"] for body in provider.bodies if len(body["messages"]) > 1]
    assert sorted(line.partition(".")[0] for line in told) == [
        "That answer can not be used: no JSON at line 1 column 1: Expecting value",
        "That answer can not be used: team is none of the allowed values",
        "That answer can not be used: the answer is no JSON object",
    ]
    provider.answer_by(lambda body: '{"team": "access"}')
    put(project, tickets(13))
    retried = project("run", "--retry", "refused", "--json")
    assert (retried.json["llm_calls"], retried.json["store_hits"], provider.calls) == (8, 4, 23)
    (left,) = project.table("generate", "generated_pairs_refusals").to_dicts()
    assert (left["item_ref"], left["reason"]) == ("T-012", "not_asked")
    second = project("run", "--json")
    assert (second.json["llm_calls"], second.json["store_hits"], provider.calls) == (1, 12, 24)
    assert project.table("generate", "generated_pairs_refusals").is_empty()


def refusing(body: Mapping[str, Any]) -> Reply:
    """A provider that knows neither key nor request, and repeats what it was sent."""
    if body["model"] == "scripted":
        return Reply(status=401, error=f"Incorrect API key provided: {SECRET}")
    return Reply(status=400, error=f"{SECRET} sent {body['messages'][-1]['content']}")


def test_a_model_that_can_not_be_asked_costs_one_call_at_most_and_tells_no_secret(
    project: Project, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    monkeypatch.delenv("ANTHROPIC_API_KEY", raising=False)
    provider.answer_by(refusing)
    models = {
        "a_key": "openai/scripted",
        "b_request": "openai/other",
        "c_unknown": "nosuch/model",
        "d_keyless": "anthropic/claude-3-5-haiku-latest",
    }
    define(project, sheet(), *(training_sheet(name, model=model) for name, model in models.items()), template())
    put(project, tickets(12))
    planned = project("plan", "d_keyless")
    ran = project("run", "--json")
    told = {
        one["partition"]: one["line"].partition(f"TrainingSheet {one['partition']}: ") for one in ran.json["failures"]
    }
    assert all(file.endswith(".yaml: ") for file, _, _ in told.values())
    lines = {name: line for name, (_, _, line) in told.items()}
    assert ran.code == planned.code == 3
    assert lines == {
        "a_key": "model openai/scripted: the provider refused the key (401); check OPENAI_API_KEY",
        "b_request": "model openai/other: the provider refused the request (400): *** sent [prompt]",
        "c_unknown": "unknown model 'nosuch/model': name it as provider/model, for example openai/gpt-4o-mini, "
        "ollama/llama3 or local/smollm2",
        "d_keyless": "model anthropic/claude-3-5-haiku-latest: no key; set ANTHROPIC_API_KEY, or use local/smollm2, "
        "which needs none",
    }
    assert [body["model"] for body in provider.bodies] == ["scripted", "other"]
    assert error_lines(ran) == ["".join(parts) for parts in told.values()]
    assert lines["d_keyless"] in planned.err
    (checked,) = error_lines(project("validate"))
    assert checked.endswith("TrainingSheet c_unknown: spec.model: " + lines["c_unknown"])
    assert not project.workbench.lake.exists("generate", "generated_pairs")
    assert SECRET not in ran.out + ran.err
    assert hits(project, SECRET) == []


def hits(project: Project, text: str) -> list[str]:
    """The files of a project, its lake, stores and Dagster storage included, that hold a text."""
    found = [file for file in project.folder.rglob("*") if file.is_file() and text.encode() in file.read_bytes()]
    return [str(file.relative_to(project.folder)) for file in found]


def test_an_error_that_nobody_foresaw_is_told_by_its_kind_and_place_alone() -> None:
    from workbench_pipelines.defs.reporting import one_line_failures

    @one_line_failures
    def body() -> None:
        raise ValueError(f"could not convert {SECRET}")

    with pytest.raises(dg.Failure) as failed:
        body()
    assert failed.value.description is not None
    assert failed.value.description.startswith("unexpected ValueError at test_bad_input.py:")
    assert SECRET not in str(failed.value.metadata)
    assert failed.value.__suppress_context__


def test_a_provider_that_is_not_there_is_a_missing_part_and_what_was_made_stays(
    project: Project, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.answer_by(lambda body: '{"team": "billing"}')
    define(project, sheet(), training_sheet(), template())
    put(project, tickets(3))
    project("run")
    provider.answer_by(lambda body: Reply(status=500, retry_after=0))
    define(project, sheet(), training_sheet(), template("Which team, please? {{ subject }}", version="1.1.0"))
    ran = project("run", "--json")
    assert (ran.code, ran.json["llm_calls"]) == (3, 9)
    assert "no answer to any of 3 items in 9 calls; is it reachable? run again" in ran.err
    assert project.table("generate", "generated_pairs")["response"].count() == 3


def test_a_column_to_group_by_that_nothing_has_stops_the_export(project: Project) -> None:
    spec = {"splits": {"group_by": "houze"}}
    define(project, sheet(), training_sheet(column="team"), collection("routing", "drafted", **spec), template())
    put(project, tickets(12))
    ran = project("run")
    assert ran.code == 1
    assert "spec.splits.group_by: no pair has a value in the column 'houze'" in ran.err


def test_a_ledger_without_columns_that_came_later_is_read(project: Project) -> None:
    define(project, sheet(), training_sheet(column="team"), template())
    put(project, tickets(12))
    row = {"sheet": "tickets", "item_ref": "T-001", "label_type": "team", "label_data": {"team": "other"}}
    assert project("label", "import", str(project.write("labels.jsonl", json.dumps(row)))).code == 0
    ledger = project.table("label", "decisions").drop("confidence", "notes")
    project.workbench.lake.replace_table("label", "decisions", frame=ledger)
    assert project("run").code == 0
    assert project.table("label", "canonical_labels")["label_data"].to_list() == ['{"team":"other"}']
