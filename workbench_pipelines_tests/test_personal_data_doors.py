"""What the net keeps back reaches no model, pair, example or export, by whichever road it comes; presidio is not needed for it.

What is known are the values of the tagged column `patient`. They stand in a note, in what a model answers, in an expert's label
and its note, and in the examples that are shown before a question.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest

from workbench_pipelines.clients.byte_search import find_texts
from workbench_pipelines.clients.pseudonym_key import KEY_FILE
from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.export_taints import tainted_exports
from workbench_pipelines.usage import USES
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import MODEL, define, one_line, project_at, provider_that_says

PATIENTS = [
    f"Mary {name}" for name in ("Quillfeather", "Ashdownly", "Brannigill", "Dupontier", "Ingersolt", "Wykmanson")
]
LABELED = range(4)
TOKEN = re.compile(r"<KNOWN_VALUE_[0-9a-f]{8}>")
LAKE_TABLES = ("generate/rendered_prompts", "generate/generated_pairs", "generate/typed_answers", "label/labeled_pairs",
               "label/pair_quality", "label/example_store", "records/examples", "train/governed_export", "exports")  # fmt: skip


def documents(**policy: Any) -> list[dict[str, Any]]:
    def taken(name: str, **spec: Any) -> dict[str, Any]:
        return make_document("TrainingSheet", name, sheet="visits", template="summary", **spec)

    usage = {"allowed_uses": list(USES), "data_classification": "internal"}
    given: dict[str, Any] = {"primary_table": "data/visits.csv", "item_ref": "visit", "usage": usage}
    return [
        *([make_document("UsagePolicy", "house", personal_data=policy)] if policy else []),
        make_document("Sheet", "visits", columns={"patient": {"tags": ["PII"]}}, **given),
        taken("drafted"),
        taken("shown", few_shot={"store": "default", "k": 1}),
        make_document(
            "Collection",
            "summaries",
            members=[{"training_sheet": "drafted"}],
            formats=["openai", "alpaca", "csv", "dpo"],
            splits={"train": 0.5, "val": 0.25, "test": 0.25, "seed": 1},
        ),
        make_document(
            "PromptTemplate",
            "summary",
            version="1.0.0",
            status="published",
            label_type="summary",
            user_prompt_template="Summarise: {{ note }}",
            output_schema=[{"name": "summary", "type": "string"}],
            base_model=MODEL,
            max_tokens=60,
        ),
    ]


def write_visits(project: Project) -> None:
    notes = [
        f"visit {number}: {name.upper()} sleeps well, {name.split()[-1]}, Mary told"
        for number, name in enumerate(PATIENTS)
    ]
    rows = pl.DataFrame({"visit": [f"V{n}" for n in range(len(PATIENTS))], "patient": PATIENTS, "note": notes})
    project.write("sheets/data/visits.csv", rows.write_csv())
    labels = [
        {
            "sheet": "visits",
            "item_ref": f"V{number}",
            "label_type": "summary",
            "label_data": {"summary": f"{PATIENTS[number]} is well"},
            "notes": f"told by {PATIENTS[number]}",
        }
        for number in LABELED
    ]
    project.write("labels.jsonl", "".join(json.dumps(row) + "\n" for row in labels))


def says_the_name(body: dict[str, Any]) -> str:
    asked = re.findall(r"visit (\d)", body["messages"][-1]["content"])
    return json.dumps({"summary": f"{PATIENTS[int(asked[-1])]} sleeps" if asked else "well"})


def hits(project: Project) -> list[str]:
    """Where a name stands in what leaves; only the snapshot, the labels and the decisions may hold one."""
    lake = project.folder / ".workbench" / "lake"
    return sorted(
        {hit.path.relative_to(lake).as_posix() for hit in find_texts([lake / one for one in LAKE_TABLES], PATIENTS)}
    )


@dataclass(frozen=True)
class World:
    project: Project
    provider: ScriptedProvider
    bodies: list[dict[str, Any]]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A project whose policy gives known values pseudonyms, after its first run."""
    bodies: list[dict[str, Any]] = []

    def answer(body: dict[str, Any]) -> str:
        bodies.append(body)
        return says_the_name(body)

    with project_at(tmp_path_factory.mktemp("visits")) as project, provider_that_says("") as provider:
        provider.answer_by(answer)
        write_visits(project)
        define(project, *documents(entities={"KNOWN_VALUE": "pseudonymise"}))
        assert project("label", "import", str(project.folder / "labels.jsonl")).code == 0
        ran = project("run", "--json")
        assert ran.code in (0, 5), ran.err
        yield World(project, provider, bodies)


def test_no_name_leaves_by_any_road(world: World) -> None:
    assert hits(world.project) == []
    said = json.dumps(world.bodies)
    assert world.bodies
    assert not any(name.lower() in said.lower() for name in PATIENTS)
    assert TOKEN.search(said)


def test_a_value_has_one_token_wherever_it_stands(world: World) -> None:
    pairs = world.project.table("label", "labeled_pairs").filter(training_sheet="drafted").sort("item_ref")
    for row in pairs.to_dicts():
        # The note holds the name in capitals and the other way round, the answer as it is; the model was shown none of them.
        tokens = TOKEN.findall(row["messages"][-1]["content"]) + TOKEN.findall(row["response"])
        assert (len(tokens), len(set(tokens))) == (3, 1)
    assert len({TOKEN.findall(text)[0] for text in pairs["response"]}) == len(PATIENTS)
    notes = world.project.table("label", "example_store")["explanation"].drop_nulls().to_list()
    assert notes
    assert all(TOKEN.search(note) for note in notes)


def test_the_key_is_kept_to_the_project_and_in_no_table(world: World) -> None:
    file = world.project.folder / ".workbench" / KEY_FILE
    assert file.stat().st_mode & 0o777 == 0o600
    key = file.read_text().strip()
    assert len(key) == 64
    lake = world.project.folder / ".workbench"
    assert [hit.path.name for hit in find_texts([lake, world.project.home], [key])] == [KEY_FILE]


def test_an_export_is_replayed_and_a_second_run_makes_nothing_new(world: World) -> None:
    calls = world.provider.calls
    ran = world.project("run", "summaries", "--json")
    assert ran.code in (0, 5), ran.err
    assert world.provider.calls == calls
    (export,) = ran.json["exports"]
    assert export["version"] == 1
    replayed = world.project("replay", export["path"])
    assert replayed.code == 0, replayed.err


def test_what_was_stated_is_on_record_and_in_the_manifest(world: World) -> None:
    policies = world.project.table("records", "usage_policies").filter(subject="personal_data")
    (content,) = (json.loads(text)["personal_data"]["entities"] for text in policies["content"])
    assert content["KNOWN_VALUE"] == "pseudonymise"
    assert content["US_SSN"] == "flag"


def test_another_policy_makes_everything_anew_and_is_audited(world: World) -> None:
    """The last one: it changes the world."""
    project = world.project
    before = project.table("label", "labeled_pairs").filter(training_sheet="drafted")
    define(project, *documents(entities={"KNOWN_VALUE": "block"}))
    ran = project("run", "drafted", "--json")
    assert ran.code == 1
    refused = project.table("generate", "rendered_prompts_refusals").filter(training_sheet="drafted")
    assert refused.select("reason", "detail").unique().rows() == [
        ("personal_data", "the item holds KNOWN_VALUE in note: its policy blocks it")
    ]
    assert refused.height == before.height == len(PATIENTS)
    assert project.table("label", "labeled_pairs").filter(training_sheet="drafted").is_empty()
    audit = project.table("records", "usage_constraint_audit").filter(subject="personal_data")
    assert audit["reason"].to_list() == ["personal_data: KNOWN_VALUE pseudonymise -> block"]
    assert hits(project) == []
    # What was made under the policy before holds tokens, which are no names, and still tell people apart.
    (tainted,) = tainted_exports(project.workbench, "summaries")
    assert (tainted["version"], tainted["pairs"]) == (1, len(LABELED))
    (project.folder / ".workbench" / KEY_FILE).unlink()
    define(project, *documents(entities={"KNOWN_VALUE": "pseudonymise"}))
    lost = project("preview", "drafted")
    assert lost.code == 3
    assert "made with another key" in one_line(lost)
