"""Few-shot examples through the real command line: what is shown and paid, what a pin holds, and what is never shown."""

from __future__ import annotations

import datetime as dt
import json

import polars as pl

from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.decisions import DECISIONS
from workbench_pipelines_tests.example_world import (
    documents,
    few_shot,
    label,
    plant,
    prompts,
    run,
    shown_refs,
    snapshots,
    store,
    tickets,
)
from workbench_pipelines_tests.pair_world import make_decision
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import collection, define, one_line, provider, put, sheet, template

__all__ = ["provider"]
LABELED = tuple(range(8))
LATER = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)  # than any label that is imported now


def decide(project: Project, number: int, action: str, **given: str) -> None:
    """Writes a decision on the label of a ticket into the ledger, as a review would."""
    decision = make_decision(f"T-{number:03d}", action, None, sheet="tickets", label_type="team", at=LATER, **given)
    frame = pl.DataFrame([decision], schema=DECISIONS)
    project.workbench.lake.append_new("label", "decisions", frame=frame, key=["decision_id"], partition_by="sheet")


def test_examples_stand_as_turns_before_the_question_and_are_written_into_the_trace(
    project: Project, provider: ScriptedProvider
) -> None:
    own = [{"inputs": {"subject": "Where is my parcel?"}, "output": {"team": "other"}}]
    plant(project)
    define(project, template(system_prompt="You route tickets.", examples=own))
    label(project, *LABELED)
    assert run(project).json["llm_calls"] == 24 - len(LABELED)
    row = prompts(project)["T-010"]
    shown = shown_refs(project, row["example_ids"])
    assert len(shown) == 2
    texts = dict(store(project).select("item_ref", "input").iter_rows())
    answers = dict(store(project).select("item_ref", "expected_output").iter_rows())
    assert [(m["role"], m["content"]) for m in row["messages"]] == [
        ("system", "You route tickets."),
        ("user", "Which team? Where is my parcel?"),
        ("assistant", '{"team":"other"}'),
        *[turn for ref in shown for turn in (("user", texts[ref]), ("assistant", answers[ref]))],
        ("user", f"Which team? {tickets(11)['subject'][10]}"),
    ]
    asked = [body["messages"] for body in provider.bodies]
    assert [{"role": m["role"], "content": m["content"]} for m in row["messages"]] in asked
    pairs = project.table("label", "labeled_pairs").filter(pl.col("item_ref") == "T-010").to_dicts()
    (step, *_) = pairs[0]["trace"]["steps"]
    assert (step["name"], json.loads(step["params"])) == ("examples", {"example_ids": row["example_ids"]})
    assert run(project).json["llm_calls"] == 0


def test_no_item_is_shown_itself_and_what_it_shows_of_itself_stays(
    project: Project, provider: ScriptedProvider
) -> None:
    plant(project, count=10, asked={})
    label(project, *range(10))
    run(project)
    assert not project.workbench.lake.exists("label", "example_store")  # nobody asked for one
    before = prompts(project)
    define(project, *documents(few_shot(9)))
    assert run(project).json["llm_calls"] == 0  # every item is labeled
    for ref, row in prompts(project).items():
        assert sorted(shown_refs(project, row["example_ids"])) == sorted(set(before) - {ref})
        assert {name: row[name] for name in ("seen_columns", "seen_hash", "pair_id", "inputs")} == {
            name: before[ref][name] for name in ("seen_columns", "seen_hash", "pair_id", "inputs")
        }


def test_a_pin_holds_and_moving_it_asks_only_where_the_examples_changed(
    project: Project, provider: ScriptedProvider
) -> None:
    plant(project, asked=few_shot(snapshot=1))
    label(project, *LABELED)
    run(project)
    calls = provider.calls
    assert calls == 24 - len(LABELED)
    before = prompts(project)
    label(project, 8, 9)
    assert project("plan", "--json").json["calls"] == 0
    assert run(project).json["llm_calls"] == 0
    assert (provider.calls, snapshots(project)) == (calls, [1, 2])
    assert {ref: row["prompt_hash"] for ref, row in prompts(project).items()} == {
        ref: row["prompt_hash"] for ref, row in before.items()
    }

    define(project, *documents(few_shot(snapshot=2)))
    planned = project("plan", "--json").json["calls"]
    moved = run(project).json["llm_calls"]
    after = prompts(project)
    changed = {ref for ref in after if after[ref]["prompt_hash"] != before[ref]["prompt_hash"]}
    assert changed == {ref for ref in after if after[ref]["example_ids"] != before[ref]["example_ids"]}
    covered = {f"T-{number:03d}" for number in (*LABELED, 8, 9)}
    assert 0 < moved == planned == len(changed - covered) < 24 - len(covered)
    assert provider.calls == calls + moved

    define(project, *documents(few_shot(snapshot=1)))  # and back, which was paid before
    assert run(project).json["llm_calls"] == 0


def test_without_a_pin_the_newest_snapshot_is_shown_and_an_unchanged_store_makes_none(
    project: Project, provider: ScriptedProvider
) -> None:
    plant(project)
    label(project, 0, 1)
    run(project)
    run(project)
    assert snapshots(project) == [1]
    label(project, 10)
    run(project)
    assert snapshots(project) == [1, 2]
    assert set(store(project)["snapshot"]) == {2}
    assert "T-010" in shown_refs(project, prompts(project)["T-016"]["example_ids"])
    states = project("status", "--json").json["example_stores"]
    assert [(one["store"], one["snapshot"], one["examples"]) for one in states] == [("default", 2, 3)]
    first = project.workbench.record("example_snapshots", pl.Schema()).sort("snapshot").row(0, named=True)
    assert sorted(shown_refs(project, first["example_ids"])) == ["T-000", "T-001"]


def test_a_changed_label_is_another_example_and_the_pinned_one_stays_as_it_was(
    project: Project, provider: ScriptedProvider
) -> None:
    plant(project, asked=few_shot(snapshot=1))
    label(project, 0, 2)
    run(project)
    before = prompts(project)["T-004"]["messages"]
    label(project, 0, label_data={"team": "other"})
    assert run(project).json["llm_calls"] == 0
    assert prompts(project)["T-004"]["messages"] == before
    assert store(project)["expected_output"][0] == '{"team":"other"}'
    assert project.table("records", "examples").height == 3


def test_what_was_pinned_and_is_restricted_or_withdrawn_since_is_shown_no_more(
    project: Project, provider: ScriptedProvider
) -> None:
    plant(project, asked=few_shot(3, snapshot=1))
    label(project, 0, 1, 2)
    run(project)
    assert sorted(shown_refs(project, prompts(project)["T-005"]["example_ids"])) == ["T-000", "T-001", "T-002"]
    decide(project, 0, "restrict", uses='{"prohibited_uses":["few_shot"],"usage_reason":"its customer asked"}')
    decide(project, 1, "reject")
    run(project)
    assert shown_refs(project, prompts(project)["T-005"]["example_ids"]) == ["T-002"]
    refused = project.table("label", "example_store_refusals").sort("item_ref")
    assert refused.select("item_ref", "reason", "detail").rows() == [
        ("T-000", "few_shot_not_permitted", "its label prohibits few_shot"),
        ("T-001", "label_withdrawn", "a person withdrew the label"),
    ]


def test_a_tag_that_comes_later_holds_for_a_pinned_example_whose_own_template_shows_less_by_now(
    project: Project, provider: ScriptedProvider
) -> None:
    asked = few_shot(snapshot=1)
    plant(project, asked=asked)
    define(project, template("Which team? {{ subject }} of {{ customer }}"))
    label(project, 0, 1)
    run(project)
    assert prompts(project)["T-005"]["example_ids"]
    define(project, *documents(asked, columns={"customer": {"tags": ["PHI"]}}))
    define(project, template("Which team? {{ subject }} of {{ customer }}"), template(version="2.0.0"))
    run(project)
    assert store(project).height == 2  # as they are shown now they may be shown
    assert prompts(project)["T-005"]["example_ids"] == []  # as they were pinned they may not


def test_an_example_that_may_not_train_makes_the_pairs_that_show_it_untrainable_and_is_named(
    project: Project, provider: ScriptedProvider
) -> None:
    usage = {"allowed_uses": ["few_shot"], "data_classification": "internal"}
    archive = sheet("archive", "data/archive.csv", usage=usage)
    plant(project, archive, asked=few_shot(8), count=6)
    put(project, tickets(3, start=40), "sheets/data/archive.csv")
    label(project, 40, 41, 42, sheet_name="archive")
    label(project, *range(6))
    ran = project("run", "--json")
    pairs = project.table("label", "labeled_pairs")
    assert pairs["status"].to_list() == ["labeled"] * 6
    assert pairs["allowed_uses"].to_list() == [["few_shot"]] * 6
    witness = "few-shot example of archive: sheet archive does not allow training"
    assert pairs["usage_reason"].str.contains(witness, literal=True).all()
    assert ran.code == 1
    assert (
        f"none of 6 approved pairs may be exported: 6 are not permitted, 0 are quarantined; most common: train needs "
        f"training: {witness}" in one_line(ran)
    )


def test_the_examples_behind_a_model_can_be_asked_for(project: Project, provider: ScriptedProvider) -> None:
    learns = collection(
        "drafted",
        "drafted",
        splits={"train": 0.6, "val": 0.0, "test": 0.4, "seed": 1},
        trainers=[{"name": "fast", "target": "team", "features": "text"}],
        evaluation={"promote_if": None, "base_model_items": 0},
    )
    plant(project, asked=few_shot(1))
    define(project, *[one for one in documents(few_shot(1)) if one["kind"] != "Collection"], learns)
    label(project, *range(24))
    ran = run(project)
    assert [model["name"] for model in ran.json["models"]] == ["drafted.fast"]
    asked = project("sql", "--query", "examples_of_model", "-p", "model=drafted.fast/1", "--json")
    assert asked.code == 0, asked.err
    trained = project.table("train", "governed_export").filter(pl.col("split") == "train")["item_ref"]
    shown = [ref for item in trained for ref in shown_refs(project, prompts(project)[item]["example_ids"])]
    assert {row["item_ref"]: row["pairs"] for row in asked.json} == {ref: shown.count(ref) for ref in shown}
    assert set(shown) <= set(trained)
