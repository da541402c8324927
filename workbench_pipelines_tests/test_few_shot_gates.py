"""What few-shot examples must never be: of a held-out item, shown to whom the rows are hidden from, or past a gate that failed."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import polars as pl
import pytest

from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.identity import digest
from workbench_pipelines.launching import run_job
from workbench_pipelines.split_tokens import item_token
from workbench_pipelines_tests.example_world import (
    ALL_USES,
    documents,
    few_shot,
    label,
    plant,
    prompts,
    run,
    shown_refs,
    store,
    tickets,
)
from workbench_pipelines_tests.project_world import Project, forget_definitions
from workbench_pipelines_tests.ticket_world import (
    collection,
    define,
    error_lines,
    one_line,
    project_at,
    provider,
    put,
    sheet,
    template,
    training_sheet,
)  # fmt: skip

__all__ = ["project_at", "provider"]
HALVES = {"train": 0.5, "val": 0.0, "test": 0.5, "seed": 3}
ALL_TRAIN = {"train": 1.0, "val": 0.0, "test": 0.0}


def shown(project: Project, training_sheet_name: str = "drafted") -> set[str]:
    """The items of all examples that prompts show."""
    rows = prompts(project, training_sheet_name).values()
    return {ref for row in rows for ref in shown_refs(project, row["example_ids"])}


def test_examples_stand_in_train_of_every_collection_before_and_after_the_first_export(
    project: Project, provider: ScriptedProvider
) -> None:
    halves = [collection("one", "drafted", splits=HALVES), collection("two", "drafted", splits={**HALVES, "seed": 4})]
    plant(project, *halves, asked=few_shot(20))
    label(project, *range(24))
    ran = run(project, "one", "two")
    ledger = project.table("records", "split_assignments")
    in_test = ledger.filter(pl.col("split") == "test")["group"].to_list()
    held_out = {f"T-{number:03d}" for number in range(24) if item_token("tickets", f"T-{number:03d}") in in_test}
    assert 8 <= len(held_out) < 24
    assert shown(project) == {f"T-{number:03d}" for number in range(24)} - held_out
    before = {ref: row["prompt_hash"] for ref, row in prompts(project).items()}
    again = run(project, "one", "two")  # now the ledger says what the hash said
    assert {ref: row["prompt_hash"] for ref, row in prompts(project).items()} == before
    assert again.json["exports"] == ran.json["exports"]


def test_items_of_one_group_are_held_out_together(project: Project, provider: ScriptedProvider) -> None:
    grouped = collection("one", "drafted", splits={**HALVES, "group_by": "customer"})
    plant(project, grouped, asked=few_shot(20))
    label(project, *range(24))
    run(project, "one")
    rows = project.table("train", "governed_export").filter(pl.col("collection") == "one")
    in_train = set(rows.filter(pl.col("split") == "train")["item_ref"])
    assert 0 < len(in_train) < 24
    assert shown(project) == in_train


def test_a_membership_that_asks_for_test_holds_its_items_out(project: Project, provider: ScriptedProvider) -> None:
    members = [{"training_sheet": "drafted"}, {"training_sheet": "held", "split": "test"}]
    held = training_sheet("held", labeling_mode="manual", sheet="archive")
    archive = sheet("archive", "data/archive.csv", usage={"allowed_uses": ALL_USES, "data_classification": "internal"})
    one = {**collection("one", "drafted"), "spec": {"members": members, "splits": ALL_TRAIN}}
    plant(project, archive, held, one, asked=few_shot(20))
    put(project, tickets(4, start=40), "sheets/data/archive.csv")
    label(project, 40, 41, sheet_name="archive")
    label(project, 0, 1)
    run(project, "one")
    assert store(project).height == 4
    assert shown(project) == {"T-000", "T-001"}


def test_near_duplicates_of_an_item_are_not_shown_to_it(project: Project, provider: ScriptedProvider) -> None:
    plant(project, count=4, asked=few_shot(5))
    text = "The lift in the north wing has been stuck on the third floor since early this morning"
    rows = pl.DataFrame(
        {"ticket": ["T-000", "T-001", "T-002", "T-003"], "subject": [text, text.upper() + "!", "Late", text[:40]]}
    )
    put(project, rows.with_columns(customer=pl.lit("c")))
    label(project, 0, 2)
    run(project)
    by_item = {ref: shown_refs(project, row["example_ids"]) for ref, row in prompts(project).items()}
    assert by_item == {"T-000": ["T-002"], "T-001": ["T-002"], "T-002": ["T-000"], "T-003": ["T-002", "T-000"]}


def test_an_item_that_does_not_permit_it_never_enters_the_store(project: Project, provider: ScriptedProvider) -> None:
    usage = {
        "allowed_uses": ALL_USES,
        "data_classification": "internal",
        "rows": [{"when": "ticket = 'T-003'", "tags": ["CONFIDENTIAL"]}],
    }
    houses = {"name": "houses", "path": "data/houses.csv", "join_keys": ["customer"]}
    houses["usage"] = {"allowed_uses": ["training"], "rows": []}
    asked = few_shot(5)
    plant(project, asked=asked)
    define(
        project,
        *documents(asked, usage=usage, secondary_sources=[houses], columns={"customer": {"tags": ["PHI"]}}),
        training_sheet("by_customer", template="customers"),
        training_sheet("by_house", template="houses", labeling_mode="manual"),
    )
    routed = {"label_type": "house", "output_schema": [{"name": "team", "enum": ["access", "billing"]}]}
    define(
        project,
        template(),
        template("Who? {{ subject }} {{ customer }}", "customers"),
        template("Whose? {{ subject }} {{ house }}", "houses", **routed),
    )
    project.write("sheets/data/houses.csv", "customer,house\n" + "".join(f"Customer {n},H{n}\n" for n in range(5)))
    label(project, 0, 3)
    label(project, 1, prohibited_uses=["few_shot"], usage_reason="asked not to")
    label(project, 2, label_type="house")
    run(project, "drafted")
    assert store(project)["item_ref"].to_list() == ["T-000"]  # as `drafted` shows it: not its customer
    assert "Customer" not in store(project)["input"][0]
    refused = project.table("label", "example_store_refusals").sort("item_ref").select("item_ref", "reason", "detail")
    assert refused.rows() == [
        ("T-001", "few_shot_not_permitted", "its label prohibits few_shot"),
        ("T-002", "few_shot_not_permitted", "source houses does not allow few_shot"),
        (
            "T-003",
            "few_shot_not_permitted",
            "tag CONFIDENTIAL by row rule 1 prohibits few_shot: confidential to its owner",
        ),
    ]
    assert shown(project) == {"T-000"}


def test_prompts_that_show_a_restricted_example_are_masked_wherever_they_can_be_asked_for(
    project: Project, provider: ScriptedProvider
) -> None:
    usage = {"allowed_uses": ALL_USES, "data_classification": "restricted"}
    secret = sheet("secret", "data/secret.csv", usage=usage)
    plant(project, secret, count=4, asked=few_shot(8))
    rows = tickets(2, start=40).with_columns(subject=pl.format("Quillfeather of {} lost a key", "ticket"))
    put(project, rows, "sheets/data/secret.csv")
    label(project, 40, 41, sheet_name="secret")
    label(project, 0, 1, 2, 3)
    ran = project("run", "--json")
    assert any("Quillfeather" in (m["content"] or "") for m in prompts(project)["T-000"]["messages"])
    said = ran.out + ran.err
    for table in (
        "rendered_prompts",
        "generated_pairs",
        "labeled_pairs",
        "governed_export",
        "example_store",
        "records.examples",
    ):
        asked = project("sql", f"select * from {table}", "--json")
        assert (asked.code, asked.err) == (0, ""), table
        said += asked.out
    said += project("examples", "list", "--json").out + project("examples", "search", "lost a key").out
    said += project("preview", "drafted").out
    assert "Quillfeather" not in said
    with dg.DagsterInstance.from_config(str(project.home)) as instance:
        for key in instance.all_asset_keys():
            event = instance.get_latest_materialization_event(key)
            assert event is not None
            assert "Quillfeather" not in str(event.asset_materialization)


def test_a_training_sheet_without_examples_does_not_wait_for_a_store(
    project: Project, provider: ScriptedProvider
) -> None:
    plant(project, training_sheet("plain", labeling_mode="manual"), count=4)
    forget_definitions()
    from workbench_pipelines.definitions import definitions

    with dg.DagsterInstance.ephemeral() as instance:
        for job, key in (("templates", "team"), ("sheets", "tickets"), ("training_sheets", "plain")):
            assert run_job(instance, definitions(), job, key).failures == ()
        (failure,) = run_job(instance, definitions(), "training_sheets", "drafted").failures
    assert failure.line.startswith("label/example_store [default] was never written; run `dg launch")
    assert {row["training_sheet"] for row in project.table("generate", "rendered_prompts").to_dicts()} == {"plain"}


def test_a_sheet_that_fails_holds_the_stores_it_feeds_back_and_what_shows_them(
    project: Project, provider: ScriptedProvider
) -> None:
    plant(project, sheet("archive", "data/archive.csv"), training_sheet("plain", labeling_mode="manual"), count=4)
    ran = project("run", "drafted", "plain", "--json")
    assert ran.code == 2
    assert ran.json["skipped"] == [
        "ExampleStore default: not made, since Sheet archive was not",
        "TrainingSheet drafted: not made, since ExampleStore default was not",
        "Collection drafted: not made, since TrainingSheet drafted was not",
    ]
    assert {row["training_sheet"] for row in project.table("generate", "rendered_prompts").to_dicts()} == {"plain"}


def test_an_empty_store_is_no_reason_to_stop(project: Project, provider: ScriptedProvider) -> None:
    plant(project, count=3)
    run(project)
    assert [row["example_ids"] for row in prompts(project).values()] == [[]] * 3
    assert not project.workbench.lake.exists("records", "example_snapshots")
    define(project, *documents(few_shot(snapshot=1)))
    assert project("validate").code == 0
    ran = project("run", "--json")
    assert ran.code == 2
    assert one_line(ran).endswith(
        "TrainingSheet drafted: spec.few_shot.snapshot: ExampleStore default has no snapshot 1; it has none yet"
    )


def test_a_pin_that_can_not_hold_is_found_before_a_run(project: Project, provider: ScriptedProvider) -> None:
    plant(project)
    label(project, 0, 1, 2)
    run(project)
    where = "sheets/all.yaml: TrainingSheet drafted: spec.few_shot"
    for asked, said in [
        (few_shot(snapshot=7), ".snapshot: ExampleStore default has no snapshot 7; the newest is 1"),
        (
            few_shot(4, snapshot=1),
            ".k: 4 examples are asked for, and snapshot 1 of ExampleStore default holds 3 of label_type 'team'",
        ),
        (few_shot(store="defaults"), ".store: there is no ExampleStore 'defaults'; did you mean 'default'?"),
    ]:
        define(project, *documents(asked))
        found = project("validate")
        assert (found.code, one_line(found)) == (2, where + said)


def test_an_export_refuses_prompts_that_show_what_a_newer_collection_holds_out(
    project: Project, provider: ScriptedProvider
) -> None:
    plant(project, asked=few_shot(20))
    label(project, *range(24))
    run(project)
    assert len(shown(project)) == 24
    define(project, *documents(few_shot(20)), collection("newer", "drafted", splits=HALVES))
    forget_definitions()
    from workbench_pipelines.definitions import definitions

    with dg.DagsterInstance.from_config(str(project.home)) as instance:
        (failure,) = run_job(instance, definitions(), "collections", "newer").failures
    assert failure.line == (
        "Collection newer: 12 pairs of drafted show examples that stand in val or test here; their prompts are older than "
        "its splits: run `workbench run drafted`"
    ).replace("12", failure.line.split()[2])
    assert not project.table("records", "export_versions")["collection"].is_in(["newer"]).any()
    run(project)
    exported = project.table("train", "governed_export").filter(pl.col("collection") == "newer")
    in_test = set(exported.filter(pl.col("split") == "test")["item_ref"])
    assert in_test
    assert shown(project).isdisjoint(in_test)


def test_a_prompt_that_was_tampered_with_fails_its_check_and_goes_no_further(
    project: Project, provider: ScriptedProvider
) -> None:
    plant(project, count=6)
    label(project, 0, 1, 2)
    run(project)
    own = store(project).filter(pl.col("item_ref") == "T-000")["example_id"][0]
    rows = project.table("generate", "rendered_prompts").with_columns(
        pl.lit([own, digest("no such example")]).alias("example_ids")
    )
    from workbench_pipelines.example_rendering import wrongly_shown
    from workbench_pipelines.example_store import stored

    workbench = project.workbench
    catalog = workbench.catalog()
    found = wrongly_shown(workbench, catalog, catalog.training_sheet("drafted"), rows, stored(workbench, "default"))
    assert found == ["6 times: an example that no snapshot holds", "1 times: an item is shown its own answer"]


def test_feedback_that_quotes_a_question_means_its_own_item_and_not_those_it_is_shown_to(
    project: Project, provider: ScriptedProvider
) -> None:
    plant(project, count=6, asked=few_shot(5))
    label(project, *range(6), labeled_at="2026-01-01T00:00:00Z")
    run(project)
    question = prompts(project)["T-003"]["messages"][-1]["content"]
    line: dict[str, Any] = {"feedback_id": "f", "feedback_type": "correction", "created_at": "2026-03-01T12:00:00Z"}
    line |= {"input": question, "correction": {"team": "access"}}
    assert project("feedback", "import", str(project.write("f.jsonl", json.dumps(line)))).code == 0
    assert project("feedback", "approve", "--json").json["rows"] == 1
    assert error_lines(project("run", "--json")) == []
    assert store(project).filter(pl.col("item_ref") == "T-003")["expected_output"].to_list() == ['{"team":"access"}']


@pytest.mark.parametrize("k", [0, 101])
def test_k_has_bounds(project: Project, k: int) -> None:
    define(project, *documents(few_shot(k)))
    put(project, tickets(1))
    assert "spec.few_shot.k" in one_line(project("validate"))
