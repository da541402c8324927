"""What a definition states counts from when it is written: no door opens for pairs that were judged by what it stated before."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from workbench_pipelines.asking import Asked
from workbench_pipelines.catalog import Sheet, TagPolicy
from workbench_pipelines.catalog.training_sheet_specs import GenerationSpec
from workbench_pipelines.errors import ExportError, SourceError
from workbench_pipelines.example_search import list_examples
from workbench_pipelines.export_preview import preview_export
from workbench_pipelines.export_taints import refuse_tainted
from workbench_pipelines.exporting import publish_export
from workbench_pipelines.stated_policies import UNKNOWN, first_outdated, sheet_policy
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    USAGE,
    collection,
    define,
    project_at,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)

PHI = TagPolicy(prohibited_uses=("training", "few_shot"), data_classification="restricted", reason="health data")


def policy(tags: dict[str, TagPolicy] | None = None, **spec: Any) -> str:
    document = Sheet.model_validate(sheet(**spec))
    return sheet_policy(document, tags or {"PHI": PHI})


def test_a_policy_is_what_counts_of_a_sheet_and_not_how_it_is_written() -> None:
    uses = {**USAGE, "allowed_uses": ["training", "testing"]}
    known = policy(usage=uses)
    assert known.startswith("Sheet tickets ")
    assert known == policy(usage={**uses, "allowed_uses": ["testing", "training"], "reason": "it was agreed"})
    assert known == policy(usage=uses, filter_condition="team = 'billing'")
    tagged = policy(usage=uses, columns={"note": {"tags": ["PHI"]}})
    others = [
        policy(usage={**uses, "prohibited_uses": ["testing"]}),
        policy(usage={**uses, "rows": [{"when": "team = 'billing'", "tags": ["PHI"]}]}),
        policy(usage={**uses, "rows": [{"when": "team = 'access'", "tags": ["PHI"]}]}),
        policy(usage=uses, source_tags=["PHI"]),
        policy(usage=uses, columns={"subject": {"tags": ["PHI"]}}),
        policy({"PHI": PHI.model_copy(update={"prohibited_uses": ("training",)})}, usage=uses, source_tags=["PHI"]),
        policy({"PHI": PHI.model_copy(update={"data_classification": "public"})}, usage=uses, source_tags=["PHI"]),
        tagged,
    ]
    assert len({known, *others}) == 1 + len(others)
    said_otherwise = {"PHI": PHI.model_copy(update={"reason": "another reason"})}
    assert tagged == policy(said_otherwise, usage=uses, columns={"note": {"tags": ["PHI"]}})


class Routed:
    """Tickets with a model and a store of examples, and what they state."""

    def __init__(self, project: Project) -> None:
        self.project = project
        put(project, tickets(30))
        labels = [
            f'{{"sheet": "tickets", "item_ref": "T-{n:03d}", "label_type": "team", "label_data": {{"team": "access"}}}}'
            for n in range(0, 10, 2)
        ]
        self.labels = project.write("labels.jsonl", "\n".join(labels) + "\n")

    def define(self, **stated: Any) -> None:
        trainers = [{"name": "fast", "target": "team", "features": "text"}]
        define(
            self.project,
            sheet(usage=USAGE | {"allowed_uses": [*USAGE["allowed_uses"], "few_shot"]} | stated),
            training_sheet("told", column="team"),
            template(),
            make_document("ExampleStore", "default"),
            make_document("Access", "people", reviewers=["ann"], stewards=["ann"]),
            collection("routing", "told", trainers=trainers, evaluation={"base_model_items": 0, "promote_if": None}),
        )


@pytest.fixture(scope="module")
def routed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Routed]:
    with project_at(tmp_path_factory.mktemp("routed")) as project:
        world = Routed(project)
        world.define()
        assert project("label", "import", str(world.labels)).code == 0
        assert project("run").code == 0
        yield world


TIGHTER = r"sheets/all\.yaml: Sheet tickets states other uses than when its pairs were judged"


def test_what_a_run_saw_is_what_pairs_were_judged_by(routed: Routed) -> None:
    routed.define()
    pairs = routed.project.table("label", "labeled_pairs")
    catalog = routed.project.workbench.catalog()
    assert first_outdated(catalog, pairs["policies"]) is None
    assert first_outdated(catalog, [[]]) == first_outdated(catalog, [None]) == UNKNOWN
    (export,) = routed.project.table("records", "export_versions").to_dicts()
    assert export["version"] == 1


def test_a_tighter_sheet_closes_training_evaluation_and_pushing_before_any_run(routed: Routed) -> None:
    routed.define(prohibited_uses=["training"])
    rows = routed.project.table("train", "governed_export")
    with pytest.raises(ExportError, match=f"holds {rows.height} pairs that may not be used any more: {TIGHTER}"):
        refuse_tainted(routed.project.workbench, "routing", rows)


def test_a_tighter_sheet_closes_the_export_and_its_preview_before_any_run(routed: Routed) -> None:
    routed.define(prohibited_uses=["training"])
    workbench = routed.project.workbench
    pairs = routed.project.table("label", "labeled_pairs")
    collection = workbench.catalog().collection("routing")
    with pytest.raises(ExportError, match=f"Collection routing: {TIGHTER}; run `workbench run routing`"):
        publish_export(workbench, collection, pairs)
    with pytest.raises(ExportError, match=UNKNOWN):
        publish_export(workbench, collection, pairs.drop("policies"))
    with pytest.raises(ExportError, match=TIGHTER):
        preview_export(workbench, "routing", "openai", 5)
    said = routed.project("status")
    assert "TrainingSheet told: sheets/all.yaml: Sheet tickets states other uses" in said.err
    routed.define()
    assert "states other uses" not in routed.project("status").err


def test_a_tighter_sheet_closes_the_store_of_examples_before_any_run(routed: Routed) -> None:
    routed.define()
    workbench = routed.project.workbench
    assert list_examples(workbench, "default").height == 5
    routed.define(rows=[{"when": "team = 'access'", "tags": ["PHI"]}])
    assert list_examples(routed.project.workbench, "default").is_empty()


def test_a_sheet_that_is_restricted_by_now_is_not_shown_to_a_model_outside(routed: Routed) -> None:
    routed.define(data_classification="restricted")
    prompts = routed.project.table("generate", "rendered_prompts")

    def withheld(model: str, **how: Any) -> Any:
        # What is asked of models beside their names does not matter here.
        models = (SimpleNamespace(name=model),)
        asked = Asked.__new__(Asked)
        asked.__dict__.update(models=models, workbench=routed.project.workbench, how=GenerationSpec(**how))
        return asked.withheld(prompts)

    with pytest.raises(SourceError, match=f"{TIGHTER}; make its snapshot and its prompts anew before openai/gpt"):
        withheld("openai/gpt-4o-mini")
    assert withheld("local/smollm2").is_empty()
    assert withheld("openai/gpt-4o-mini", allow_restricted=True).is_empty()


def test_ground_truth_that_is_declared_later_closes_training_before_any_run(routed: Routed) -> None:
    routed.define()
    measured = collection("measured", "told", evaluation={"ground_truth": True})
    define(routed.project, measured, file="truth.yaml")
    with pytest.raises(ExportError, match="its item is ground truth of Collection measured"):
        refuse_tainted(routed.project.workbench, "routing", routed.project.table("train", "governed_export"))
    (routed.project.folder / "sheets/truth.yaml").unlink()


def test_what_people_close_is_closed_before_any_run(routed: Routed) -> None:
    routed.define()
    project = routed.project
    rows = project.table("train", "governed_export")
    refuse_tainted(project.workbench, "routing", rows)
    assert (
        project("label", "restrict", "tickets", "T-002", "team", "--why", "a word", "--prohibit", "training").code == 0
    )
    with pytest.raises(
        ExportError, match=r"v1 holds 1 pairs .*: its label prohibits training; run `workbench run routing`"
    ):
        refuse_tainted(project.workbench, "routing", rows.with_columns(split=pl.lit("train")))
    pairs = project.table("label", "labeled_pairs")
    collection = project.workbench.catalog().collection("routing")
    with pytest.raises(ExportError, match="its label prohibits training"):
        publish_export(project.workbench, collection, pairs)
    counted = preview_export(project.workbench, "routing", "openai", 50)
    assert (counted.counts["prohibited"], dict(counted.prohibited_by)) == (1, {"its label prohibits training": 1})
    assert (
        project("label", "restrict", "tickets", "T-004", "team", "--why", "a word", "--prohibit", "few_shot").code == 0
    )
    shown = list_examples(project.workbench, "default")["item_ref"]
    assert ("T-004" in shown, "T-006" in shown) == (False, True)
    assert project("label", "withdraw", "tickets", "T-006", "team", "--why", "a word").code == 0
    with pytest.raises(ExportError, match=r"v1 holds 2 pairs"):
        refuse_tainted(project.workbench, "routing", rows.with_columns(split=pl.lit("train")))
    assert "T-006" not in list_examples(project.workbench, "default")["item_ref"]
    seen = project("sql", "select * from decisions where action = 'restrict'", "--json").out
    assert "a word" in seen  # an open Sheet hides no reason


def test_a_run_judges_them_anew(routed: Routed) -> None:
    routed.define(prohibited_uses=["few_shot"])
    assert routed.project("run", "routing").code == 0
    routed.define(prohibited_uses=["few_shot"], reason="agreed with the client")
    rows = routed.project.table("train", "governed_export")
    refuse_tainted(routed.project.workbench, "routing", rows)
    pairs = routed.project.table("label", "labeled_pairs")
    catalog = routed.project.workbench.catalog()
    assert first_outdated(catalog, pairs["policies"]) is None
