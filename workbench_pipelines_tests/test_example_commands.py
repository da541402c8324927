"""`workbench examples`: what may be shown is listed and found, and a run brings the stores up to date."""

from __future__ import annotations

from typing import Any

from workbench_pipelines.catalog import Catalog
from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.targets import leads_to, targets_of
from workbench_pipelines_tests.definition_world import make_catalog, make_document, template_document
from workbench_pipelines_tests.example_world import few_shot, label, plant, prompts, run, store
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import error_lines, one_line, provider

__all__ = ["provider"]


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [one["item_ref"] for one in found]


def test_examples_are_listed_with_their_snapshot_and_how_often_they_are_shown(
    project: Project, provider: ScriptedProvider
) -> None:
    plant(project, count=6, asked=few_shot(1))
    label(project, 0, 1, 2)
    label(project, 3, prohibited_uses=["few_shot"])
    run(project)
    listed = project("examples", "list", "--store", "default", "--json").json
    assert (listed["store"], listed["snapshot"], ids(listed["examples"])) == ("default", 1, ["T-000", "T-001", "T-002"])
    shown = [name for row in prompts(project).values() for name in row["example_ids"]]
    assert {one["example_id"]: one["usage_count"] for one in listed["examples"]} == {
        name: shown.count(name) for name in store(project)["example_id"]
    }
    (first, *_) = listed["examples"]
    assert (first["input"], first["expected_output"]) == (store(project)["input"][0], '{"team":"access"}')
    assert "embedding" not in first
    numbers = project("examples", "snapshots", "--json").json["snapshots"]
    assert [(one["snapshot"], one["examples"], one["created_by"]) for one in numbers] == [(1, 3, "ann")]
    assert len(project("examples", "list").out.splitlines()) == 4
    assert project("examples", "snapshots").out.splitlines()[1].startswith("1\t3\tann\t")


def test_examples_are_found_by_what_they_ask(project: Project, provider: ScriptedProvider) -> None:
    plant(project, count=12)
    label(project, *range(12))
    run(project)
    text = store(project).row(5, named=True)["input"]
    found = project("examples", "search", text, "--store", "default", "-k", "3", "--json").json["examples"]
    assert len(found) == 3
    assert (found[0]["item_ref"], found[0]["similarity"]) == ("T-005", 1.0)
    assert [one["similarity"] for one in found] == sorted((one["similarity"] for one in found), reverse=True)
    assert len(project("examples", "search", text, "--label-type", "team").out.splitlines()) == 6


def test_what_can_not_be_looked_up_is_said_in_one_line(project: Project, provider: ScriptedProvider) -> None:
    plant(project, count=3)
    label(project, 0)
    early = project("examples", "list")
    assert (early.code, one_line(early)) == (
        1,
        "workbench: label/example_store [default] was never written; run `workbench run` first",
    )
    run(project)
    for arguments, said in [
        (("list", "--store", "defaults"), "there is no ExampleStore 'defaults'; did you mean 'default'?"),
        (("list", "--label-type", "teams"), "ExampleStore default holds no example of 'teams'; did you mean 'team'?"),
        (("search", " "), "give a text to search for"),
        (("snapshots", "--store", "defaults"), "there is no ExampleStore 'defaults'; did you mean 'default'?"),
    ]:
        ran = project("examples", *arguments)
        assert (ran.code, error_lines(ran)) == (2, [f"workbench: {said}"])


def make_world(*more: dict[str, Any]) -> Catalog:
    return make_catalog(
        make_document("Sheet", "s", primary_table="s.csv", item_ref="id"),
        make_document("Sheet", "examples", primary_table="s.csv", item_ref="id"),
        make_document("Sheet", "far", primary_table="s.csv", item_ref="id"),
        make_document("TrainingSheet", "ts", sheet="s", template="t", few_shot={"store": "default"}),
        make_document("TrainingSheet", "plain", sheet="s", template="t"),
        make_document("TrainingSheet", "us", sheet="far", template="u"),
        make_document("ExampleStore", "unasked", label_types=["m"]),
        template_document(),
        template_document(name="u", label_type="m"),
        *more,
    )


def test_a_run_takes_the_stores_that_are_shown_and_the_sheets_that_feed_them() -> None:
    catalog = make_world()
    of_ts = targets_of(catalog, ["ts"])
    assert (of_ts.stores, of_ts.sheets) == (("default",), ("examples", "far", "s"))
    assert of_ts.training_sheets == ("ts",)
    assert targets_of(catalog, ["plain"]).stores == ()
    assert targets_of(catalog, ["plain"]).sheets == ("s",)
    assert targets_of(catalog, ["examples"]).stores == ("default", "unasked")  # what its labels feed
    assert targets_of(catalog).stores == ("default", "unasked")
    assert of_ts.count == len(of_ts.templates) + 1 + 3 + 1 + len(of_ts.collections)


def test_what_leads_to_a_store_and_from_it_holds_the_rest_back() -> None:
    catalog = make_world(make_document("ExampleStore", "broken", k=3))
    assert leads_to(catalog, "stores", "unasked") == {("sheets", "examples"), ("sheets", "far")}
    assert leads_to(catalog, "stores", "broken") == set()
    assert leads_to(catalog, "training_sheets", "ts") == {("templates", "t"), ("sheets", "s"), ("stores", "default")}
    assert leads_to(catalog, "training_sheets", "plain") == {("templates", "t"), ("sheets", "s")}
