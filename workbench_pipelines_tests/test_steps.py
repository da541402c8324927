"""Steps through the command line: each answer is an item with its own name and trace, paid once, governed as what it showed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl
import pytest

from workbench_pipelines.catalog.variety import StepSpec
from workbench_pipelines.clients.scripted_provider import Reply, ScriptedProvider
from workbench_pipelines.derivation import Derived
from workbench_pipelines.steps import chosen_for, chrf, made_of
from workbench_pipelines_tests.project_world import Kept, Project
from workbench_pipelines_tests.ticket_world import (
    collection,
    define,
    error_lines,
    project_at,
    provider,
    provider_that_says,
    put,
    sheet,
    template,
    training_sheet,
)  # fmt: skip

__all__ = ["provider"]

QUESTIONS = {"name": "questions", "type": "list", "items": {"type": "string", "maxLength": 200}}
TEXT = {"type": "string", "max_length": 200}
ASK = template(
    "ASK about {{ heading }}: {{ body }}", "ask", label_type="asked", output_schema=[QUESTIONS], max_tokens=200
)
HARDER = template(
    "HARDER ({{ how }}): {{ question }}", "harder", label_type="q", output_schema=[{"name": "question", **TEXT}]
)
ANSWER = template(
    "ANSWER {{ question }} from: {{ body }}", "answer", label_type="qa", output_schema=[{"name": "answer", **TEXT}]
)
STEPS = [
    {"name": "ask", "template": "ask", "each": "questions", "makes": ["question"]},
    {
        "name": "evolve",
        "template": "harder",
        "makes": ["question"],
        "repeat": 2,
        "keep_parent": True,
        "choose": {"how": ["one more condition", "a reason"]},
    },
]
MANUALS = pl.DataFrame(
    {"manual": ["m1", "m2"], "body": ["# One\n\nAbout one.\n\n# Two\n\nAbout two.", "# Three\n\nAbout three."]}
)


def answer(body: Mapping[str, Any]) -> str:
    said = str(body["messages"][-1]["content"])
    if said.startswith("ASK"):
        topic = said.partition(":")[0].removeprefix("ASK about ")
        return json.dumps({"questions": [f"What is {topic}?", f"Why is {topic}?"]})
    if said.startswith("HARDER"):
        return json.dumps({"question": f"{said.partition(': ')[2]} And then?"})
    return json.dumps({"answer": f"It is said in {len(said)} characters."})


def define_manuals(project: Project, *more: dict[str, Any], **spec: Any) -> None:
    put(project, MANUALS, "sheets/data/manuals.csv")
    given = {
        "sheet": "manuals",
        "template": "answer",
        "steps": STEPS,
        "chunks": {"column": "body", "size": 200},
        **spec,
    }
    manuals = sheet("manuals", "data/manuals.csv", item_ref="manual")
    define(project, manuals, training_sheet("taught", **given), ASK, HARDER, ANSWER, *more)


@dataclass(frozen=True)
class Taught:
    """A project after the run of all its steps, and what a plan said before."""

    kept: Kept
    planned: dict[str, Any]


@pytest.fixture(scope="module")
def taught(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Taught]:
    with project_at(tmp_path_factory.mktemp("taught") / "project") as project, provider_that_says("") as scripted:
        scripted.answer_by(answer)
        define_manuals(project)
        (planned,) = project("plan", "--json").json["training_sheets"]
        ran = project("run", "--json")
        assert ran.code in (0, 5), ran.err
        # 3 chunks, 6 questions, each made harder and harder again, and an answer to all three forms.
        assert ran.json["llm_calls"] == scripted.calls == 3 + 6 + 6 + 18
        yield Taught(Kept(project), planned)


def test_a_text_becomes_questions_that_grow_harder_and_each_is_answered_and_traced(taught: Taught) -> None:
    project = taught.kept.put_back()
    before = taught.planned
    assert (before["calls"], before["step_calls"], before["known_to_the_end"]) == (3, 3, False)
    pairs = project.table("label", "labeled_pairs").sort("item_ref")
    assert pairs.height == pairs["item_ref"].n_unique() == 18
    deepest = max(pairs.to_dicts(), key=lambda row: len(row["trace"]["parent_ids"]))
    steps = [step["name"] for step in deepest["trace"]["steps"]]
    assert steps == ["chunk", "ask", "evolve", "evolve", "draft"]
    assert deepest["trace"]["parent_ids"] == ["#".join(deepest["item_ref"].split("#")[:count]) for count in range(1, 5)]
    evolved = json.loads(deepest["trace"]["steps"][3]["params"])
    assert evolved["round"] == 2
    assert evolved["how"] in ("one more condition", "a reason")
    assert project.table("records", "requests").filter(request_hash=evolved["request_hash"]).height == 1
    assert deepest["messages"][-1]["content"].count("And then?") == 2

    again = project("run", "--json")
    assert again.json["llm_calls"] == 0
    (after,) = project("plan", "--json").json["training_sheets"]
    assert (after["calls"], after["store_hits"], after["known_to_the_end"]) == (0, 33, True)
    assert project("preview", "taught", "--json").json["prompts"] == 18
    children = project(
        "sql", "--query", "children_of_item", "--param", "sheet=manuals", "--param", "item_ref=m2", "--json"
    )
    assert len(children.json) == 6


def test_one_changed_section_asks_its_own_questions_alone(taught: Taught) -> None:
    project = taught.kept.put_back()
    before = set(project.table("generate", "generated_pairs")["pair_id"])
    put(project, MANUALS.with_columns(pl.col("body").str.replace("About two", "About both")), "sheets/data/manuals.csv")
    ran = project("run", "--json").json
    after = set(project.table("generate", "generated_pairs")["pair_id"])
    assert len(after - before) == 6
    # Its questions are as before, and where the same was chosen for them, making them harder was paid.
    assert 1 + 6 <= ran["llm_calls"] <= 1 + 2 + 2 + 6


def test_what_a_step_showed_counts_as_shown(project: Project, provider: ScriptedProvider) -> None:
    provider.answer_by(answer)
    bare = template("ANSWER {{ question }}", "answer", label_type="qa", output_schema=[{"name": "answer", **TEXT}])
    put(project, MANUALS, "sheets/data/manuals.csv")
    define(
        project,
        sheet("manuals", "data/manuals.csv", item_ref="manual", columns={"body": {"tags": ["PHI"]}}),
        training_sheet("taught", sheet="manuals", template="answer", steps=STEPS[:1], bindings={"heading": "manual"}),
        collection("all", "taught"),
        ASK,
        bare,
    )
    assert project("run").code in (0, 1, 5)
    pairs = project.table("label", "labeled_pairs")
    assert pairs.height == 4
    assert all("training" not in uses for uses in pairs["allowed_uses"].to_list())


def test_what_is_restricted_is_sent_outside_by_no_step(
    project: Project, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench_pipelines.clients.llm.is_in_house", lambda address, provider: False)
    provider.answer_by(answer)
    put(project, MANUALS, "sheets/data/manuals.csv")
    secret = {"usage": {"allowed_uses": ["training"], "data_classification": "restricted"}}
    manuals = sheet("manuals", "data/manuals.csv", item_ref="manual", **secret)
    chunks = {"column": "body", "size": 200}
    taught = training_sheet("taught", sheet="manuals", template="answer", steps=STEPS[:1], chunks=chunks)
    define(project, manuals, taught, ASK, ANSWER)
    project("run")
    assert provider.calls == 0
    refused = project.table("generate", "derived_items_refusals")
    assert set(refused["reason"]) == {"withheld"}


def test_the_text_of_files_is_cut_and_asked_about(project: Project, provider: ScriptedProvider) -> None:
    provider.answer_by(answer)
    project.write("sheets/files/guide.md", "# Doses\n\nOne a day.\n\n# Storage\n\nKeep it cold.\n")
    put(project, pl.DataFrame({"id": ["g", "h"], "file": ["guide.md", "missing.md"]}), "sheets/data/guides.csv")
    volume = {"name": "guide", "type": "volume", "path": "files", "join_keys": ["file"], "extract": "text"}
    guides = sheet("guides", "data/guides.csv", item_ref="id", secondary_sources=[volume])
    given = {"steps": STEPS[:1], "chunks": {"column": "guide_text", "size": 100}, "bindings": {"body": "guide_text"}}
    define(project, guides, training_sheet("taught", sheet="guides", template="answer", **given), ASK, ANSWER)
    assert project("validate").code == 0
    assert project("run", "--json").json["llm_calls"] == 2 + 4
    asked = project.table("generate", "rendered_prompts")
    assert any(
        "What is Storage?" in row[-1]["content"] and "Keep it cold." in row[-1]["content"] for row in asked["messages"]
    )
    refused = project.table("generate", "derived_items_refusals").select("item_ref", "reason").rows()
    assert refused == [("h", "nothing_to_cut")]


def test_a_provider_that_is_silent_leaves_what_was_made(taught: Taught, provider: ScriptedProvider) -> None:
    project = taught.kept.put_back()
    before = project.table("generate", "derived_items")
    define_manuals(project, generation={"timeout_s": 5})
    provider.answer_by(lambda body: Reply(status=503, retry_after=0))
    put(project, MANUALS.with_columns(pl.col("body").str.replace_all("About", "Of")), "sheets/data/manuals.csv")
    ran = project("run")
    assert ran.code == 3
    assert any("is it reachable? run again" in line for line in error_lines(ran))
    assert project.table("generate", "derived_items").equals(before)


def test_labels_name_what_steps_made_and_are_stale_when_its_text_changes(
    project: Project, provider: ScriptedProvider
) -> None:
    provider.answer_by(answer)
    define_manuals(project, steps=STEPS[:1])
    project("run")
    ref = project.table("label", "labeled_pairs").sort("item_ref")["item_ref"].to_list()[-1]
    row = {"sheet": "manuals", "label_type": "qa", "label_data": {"answer": "As I say."}, "item_ref": ref}
    file = project.write("labels.jsonl", json.dumps(row) + "\n")
    assert project("label", "import", str(file)).code == 0
    project("run")
    pairs = project.table("label", "labeled_pairs").filter(status="labeled")
    assert pairs["item_ref"].to_list() == [ref]


def test_an_answer_that_makes_no_item_is_refused_with_its_reason(project: Project, provider: ScriptedProvider) -> None:
    def broken(body: Mapping[str, Any]) -> str:
        said = str(body["messages"][-1]["content"])
        if said.startswith("ASK about One"):
            return '{"questions": ["Same?", "Same?", " "]}'
        if said.startswith("ASK about Two"):
            return '{"questions": []}'
        return json.dumps({"question": said.partition(": ")[2]}) if said.startswith("HARDER") else answer(body)

    provider.answer_by(broken)
    define_manuals(project, steps=[STEPS[0], {**STEPS[1], "repeat": 1, "keep_parent": False}])
    project("run")
    refused = project.table("generate", "derived_items_refusals")
    counts = dict(refused.group_by("reason").len().iter_rows())
    assert counts == {"step_made_it_twice": 1, "step_made_nothing": 2, "step_changed_nothing": 3}
    assert all(detail.startswith("step ") for detail in refused["detail"])


def test_a_round_trip_is_scored_and_a_poor_one_refused(project: Project, provider: ScriptedProvider) -> None:
    def translate(body: Mapping[str, Any]) -> str:
        said = str(body["messages"][-1]["content"])
        if said.startswith("TO GERMAN"):
            return json.dumps({"german": f"auf deutsch: {said.partition(': ')[2]}"})
        if said.startswith("BACK"):
            back = said.partition("auf deutsch: ")[2]
            return json.dumps({"back": back if "one" in back else "something else altogether"})
        return json.dumps({"answer": "ja"})

    provider.answer_by(translate)
    put(project, pl.DataFrame({"id": ["a", "b"], "text": ["This is one.", "This is two."]}), "sheets/data/t.csv")
    define(
        project,
        sheet("texts", "data/t.csv", item_ref="id"),
        training_sheet(
            "german",
            sheet="texts",
            template="judge",
            steps=[
                {"name": "german", "template": "to_german", "makes": ["german"]},
                {
                    "name": "back",
                    "template": "to_english",
                    "makes": ["back"],
                    "round_trip": {"of": "back", "against": "text", "at_least": 0.6},
                },
            ],
        ),
        template("TO GERMAN: {{ text }}", "to_german", label_type="g", output_schema=[{"name": "german", **TEXT}]),
        template("BACK: {{ german }}", "to_english", label_type="b", output_schema=[{"name": "back", **TEXT}]),
        template("Ist das gut? {{ german }}", "judge", label_type="j", output_schema=[{"name": "answer", **TEXT}]),
    )
    project("run")
    (row,) = project.table("label", "labeled_pairs").to_dicts()
    assert json.loads(row["attributes"])["back_chrf"] == 1
    assert "auf deutsch: This is one." in row["messages"][-1]["content"]
    refused = project.table("generate", "derived_items_refusals").to_dicts()
    assert [one["reason"] for one in refused] == ["round_trip_too_far"]
    assert "at least 0.6" in refused[0]["detail"]


def test_a_question_that_stands_in_a_column_is_made_harder(project: Project, provider: ScriptedProvider) -> None:
    provider.answer_by(answer)
    put(project, pl.DataFrame({"id": ["a"], "question": ["Why?"], "body": ["So."]}), "sheets/data/q.csv")
    asked = training_sheet("harder", sheet="asked", template="answer", steps=[{**STEPS[1], "keep_parent": False}])
    define(project, sheet("asked", "data/q.csv", item_ref="id"), asked, HARDER, ANSWER)
    assert project("validate").code == 0
    assert project("run", "--json").json["llm_calls"] == 3
    (row,) = project.table("label", "labeled_pairs").to_dicts()
    assert row["messages"][-1]["content"] == "ANSWER Why? And then? And then? from: So."
    assert row["item_ref"].startswith("a#")


def test_a_trainingsheet_without_steps_has_no_derived_items(project: Project, provider: ScriptedProvider) -> None:
    provider.answer_by(answer)
    define_manuals(project, steps=[], template="ask")
    assert project("run", "--json").json["llm_calls"] == 3
    assert project.table("generate", "derived_items").is_empty()


@pytest.mark.parametrize(
    ("steps", "line"),
    [
        ([{**STEPS[0], "template": "askk"}], "spec.steps.ask.template: there is no PromptTemplate 'askk'; did you mean"),
        ([{**STEPS[0], "each": "question"}], "spec.steps.ask.each: template 'ask' 1.0.0 answers with no list 'question'"),
        ([{**STEPS[0], "makes": ["a", "question"]}], "the members of 'questions' are plain values, which have one name"),
        ([STEPS[1]], "template 'harder' asks for 'question', which no step before has made"),
        ([STEPS[0], {**STEPS[1], "makes": ["questoin"]}], "template 'harder' 1.0.0 answers with no 'questoin'"),
        ([STEPS[0], STEPS[0]], "two of the `steps` have one name"),
    ],
)  # fmt: skip
def test_validate_says_what_a_step_lacks(project: Project, steps: list[dict[str, Any]], line: str) -> None:
    define_manuals(project, steps=steps)
    assert any(line in said for said in error_lines(project("validate")))
    define_manuals(project)
    assert project("validate").code == 0


def test_what_is_chosen_depends_on_the_item_and_all_choices_come_up() -> None:
    step = StepSpec.model_validate({**STEPS[1], "choose": {"how": ["a", "b", "c"]}})
    items = [Derived({"item_ref": f"i{number}"}, {}) for number in range(300)]
    counts = [chosen_for(step, 1, one).variables["how"] for one in items]
    assert {value for value in counts if 70 < counts.count(value) < 130} == {"a", "b", "c"}
    assert [chosen_for(step, 1, one).variables["how"] for one in reversed(items)] == counts[::-1]


def test_an_item_is_named_for_what_was_said() -> None:
    step = StepSpec.model_validate(STEPS[0])
    parent = Derived({"item_ref": "a"}, {})
    made, _ = made_of(step, 1, parent, '{"questions": ["x", "y"]}', {}, {})
    more, _ = made_of(step, 1, parent, '{"questions": ["y", "z", "x"]}', {}, {})
    assert {one.item_ref for one in made} < {one.item_ref for one in more}


def test_chrf_is_one_for_the_same_and_none_for_nothing_in_common() -> None:
    assert chrf("The same text.", "The same text.") == 1
    assert chrf("abc", "xyz") == 0
    assert 0.3 < chrf("The same text, more or less.", "Nearly the same text.") < 0.9
