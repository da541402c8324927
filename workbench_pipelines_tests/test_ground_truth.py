"""What a Collection measures with is trained on by no Collection, whatever their seeds."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from workbench_pipelines.export_preview import preview_export
from workbench_pipelines.exports import prepare_export
from workbench_pipelines.ground_truth import GroundTruth, trained_on
from workbench_pipelines.ground_truth_items import ground_truth_of
from workbench_pipelines.split_tokens import item_token
from workbench_pipelines.usage import USES
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.export_world import NO_LEDGER, frame_of, make_collection, make_pair, many_pairs
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    USAGE,
    collection,
    define,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)

TRUTH = {"ground_truth": True, "base_model_items": 0}
TRACE = {"parent_ids": ["item-1"], "steps": []}


def truth_of(*refs: str) -> GroundTruth:
    return GroundTruth({item_token("s", ref): "measures" for ref in refs})


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    held=st.sets(st.integers(0, 39).map(lambda n: f"item-{n}"), max_size=12),
    train=st.sampled_from([0.5, 0.8, 0.98]),
)
def test_whatever_the_seed_no_item_of_ground_truth_is_in_train_and_each_says_why(
    seed: int, held: set[str], train: float
) -> None:
    chosen = make_collection(splits={"train": train, "val": 0.01, "test": round(0.99 - train, 2), "seed": seed})
    truth = truth_of(*held)
    export = prepare_export(chosen, frame_of(*many_pairs()), NO_LEDGER, USES, ground_truth=truth)
    free = prepare_export(chosen, frame_of(*many_pairs()), NO_LEDGER, USES)
    assert trained_on(export.rows, truth).is_empty()
    lost = free.rows.join(export.rows, on="pair_id", how="anti")
    assert sorted(lost["item_ref"]) == sorted(trained_on(free.rows, truth)["item_ref"])
    reasons = export.exclusions.filter(pl.col("gate") == "split")
    assert sorted(reasons["item_ref"]) == sorted(lost["item_ref"])
    assert all("ground truth of Collection measures" in reason for reason in reasons["reason"])


def test_what_is_derived_of_ground_truth_is_ground_truth() -> None:
    everything = make_collection(splits={"train": 1.0, "val": 0, "test": 0})
    pairs = frame_of(make_pair("item-1#1", trace=TRACE), make_pair("item-2"))
    export = prepare_export(everything, pairs, NO_LEDGER, USES, ground_truth=truth_of("item-1"))
    assert export.rows["item_ref"].to_list() == ["item-2"]
    assert truth_of("item-1").said_by("s", "item-1#1#2") == "measures"
    assert truth_of("item-1").said_by("other", "item-1") is None


def test_of_a_sheet_that_nobody_knows_yet_every_item_is_held_back() -> None:
    assert GroundTruth(sheets={"s": "measures"}).said_by("s", "any") == "measures"


def world(project: Project, **measuring: Any) -> None:
    """Twenty of forty tickets measure, and a Collection with another seed takes all forty."""
    some = {"filter_condition": "ticket < 'T-020'"}
    define(
        project,
        sheet(usage=USAGE),
        training_sheet("told", column="team"),
        training_sheet("measured", column="team", items=some),
        template(),
        collection("routing", "told", splits={"train": 0.8, "val": 0.1, "test": 0.1, "seed": 4}),
        collection("truth", "measured", splits={"train": 0.3, "val": 0, "test": 0.7, "seed": 99}, **measuring),
    )
    put(project, tickets(40))


def in_train(project: Project, name: str) -> set[str]:
    rows = project.table("train", "governed_export").filter(
        (pl.col("collection") == name) & (pl.col("split") == "train")
    )
    return set(rows["item_ref"])


def test_items_that_one_collection_measures_with_are_left_out_of_the_training_of_all(project: Project) -> None:
    measured = {f"T-{number:03d}" for number in range(20)}
    world(project)
    assert project("run").code == 0
    assert in_train(project, "routing") & measured
    world(project, evaluation=TRUTH)
    ran = project("run", "--json")
    assert ran.code == 0
    assert in_train(project, "routing")
    assert not (in_train(project, "routing") | in_train(project, "truth")) & measured
    (path,) = (one["path"] for one in ran.json["exports"] if one["collection"] == "routing")
    excluded = pl.read_parquet(project.folder / path / "exclusions.parquet").filter(pl.col("gate") == "split")
    assert set(excluded["reason"]) == {
        "quarantined: its item is ground truth of Collection truth, and is not trained on by any"
    }
    preview = preview_export(project.workbench, "routing", "openai", 100)
    assert preview.rows
    assert not {row["item_ref"] for row in preview.rows if row["split"] == "train"} & measured


def test_before_its_sheet_was_taken_all_of_it_is_ground_truth(project: Project) -> None:
    world(project, evaluation=TRUTH)
    workbench = project.workbench
    assert ground_truth_of(workbench, workbench.catalog()).sheets == {"tickets": "truth"}


def test_a_check_finds_ground_truth_in_an_export_that_is_older(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    world(project)
    assert project("run").code == 0
    world(project, evaluation=TRUTH)
    from workbench_pipelines.defs.train.checks import no_ground_truth_is_trained_on

    rows = project.table("train", "governed_export").filter(pl.col("collection") == "routing")
    found = no_ground_truth_is_trained_on(rows, workbench=project.workbench)
    assert not found.passed
    assert "of ground truth in train: truth" in str(found.description)


def test_no_prompt_shows_an_example_of_ground_truth(project: Project) -> None:
    usage = USAGE | {"allowed_uses": [*USAGE["allowed_uses"], "few_shot"]}
    some = {"filter_condition": "ticket < 'T-005'"}
    asked = training_sheet("asked", column="team", few_shot={"store": "default", "k": 2})
    everything = {"train": 1.0, "val": 0.0, "test": 0.0}
    documents = [
        sheet(usage=usage),
        asked,
        training_sheet("measured", column="team", items=some),
        template(),
        collection("asks", "asked", splits=everything),
        collection("truth", "measured", splits={"train": 0, "val": 0, "test": 1, "seed": 99}, evaluation=TRUTH),
        make_document("ExampleStore", "default"),
    ]
    define(project, *documents)
    put(project, tickets(12))
    rows = "".join(
        f'{{"sheet": "tickets", "item_ref": "T-{n:03d}", "label_type": "team", "label_data": {{"team": "billing"}}}}\n'
        for n in range(10)
    )
    assert project("label", "import", str(project.write("labels.jsonl", rows))).code == 0
    assert project("run").code == 0
    shown = project.table("generate", "rendered_prompts").filter(pl.col("training_sheet") == "asked")
    names = set(shown["example_ids"].explode().drop_nulls())
    items = set(project.table("label", "example_store").filter(pl.col("example_id").is_in(list(names)))["item_ref"])
    assert items
    assert not items & {f"T-{n:03d}" for n in range(5)}
