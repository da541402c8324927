"""What came of an item, a label, a person or a source is found in full and nothing else is; a way leads back from each."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.recall_world import LABEL_A, Planted, plant
from workbench_pipelines_tests.ticket_world import project_at


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with project_at(tmp_path_factory.mktemp("recall") / "project") as project:
        yield plant(project)


def recalled(planted: Planted, *asked: str) -> Any:
    ran = planted.project("recall", *asked, "--json")
    assert ran.code == 0, ran.err
    return ran.json


def ways(planted: Planted, found: Any) -> dict[str, str]:
    return {next(iter(planted.called([one["pair_id"]]))): one["how"] for one in found["pairs"]}


def held(found: Any) -> dict[int, int]:
    return {one["version"]: one["pairs"] for one in found["exports"]}


def models(found: Any) -> dict[str, int]:
    return {one["model_version"]: one["pairs"] for one in found["models"]}


def test_an_item_is_recalled_with_what_showed_it_now_and_when_it_was_exported(planted: Planted) -> None:
    found = recalled(planted, "--item", "s/a")
    assert ways(planted, found) == {"drafted/a": "item", "known/a": "item", "drafted/c": "example"}
    assert held(found) == {1: 4, 2: 3}  # b showed it when v1 was made
    assert found["exports"][0]["splits"] == {"test": 2, "train": 2}
    assert models(found) == {"1": 4}
    assert [one["example_id"] for one in found["examples"]] == ["ex-a"]
    assert found["labels"] == [LABEL_A]
    # v2 has it in the test split, by which its model was measured and not taught.
    assert [(one["model_version"], one["model_is_touched"], one["test_pairs"]) for one in found["evaluations"]] == [
        ("1", True, 2),
        ("2", False, 2),
    ]


def test_an_item_that_left_its_source_is_counted_with_the_pairs_that_exports_hold(project: Project) -> None:
    planted = plant(project)
    before = recalled(planted, "--item", "s/d")
    rows = project.table("label", "labeled_pairs").filter(pl.col("training_sheet") == "drafted")
    left = rows.filter(pl.col("item_ref") != "d")
    project.workbench.lake.replace_partition(
        "label", "labeled_pairs", frame=left, partition_by="training_sheet", keys=["drafted"]
    )
    found = recalled(planted, "--item", "s/d")
    assert ways(planted, found) == {"drafted/d": "item", "drafted/f": "example"}
    assert (held(found), models(found)) == (held(before), models(before))
    assert [one["item_ref"] for one in found["pairs"] if one["how"] == "item"] == ["d"]


def test_what_was_derived_of_an_item_is_recalled_with_it_and_with_the_prompts_that_showed_it(planted: Planted) -> None:
    found = recalled(planted, "--item", "s/e")
    assert ways(planted, found) == {"drafted/e": "item", "drafted/e#1": "derived", "drafted/f": "example"}
    assert (held(found), models(found)) == ({1: 3, 2: 3}, {"1": 2, "2": 1})


def test_an_item_that_was_derived_does_not_call_its_parent_back(planted: Planted) -> None:
    assert ways(planted, recalled(planted, "--item", "s/e#1")) == {"drafted/e#1": "item", "drafted/f": "example"}


def test_a_label_is_recalled_with_the_pairs_it_vouches_for(planted: Planted) -> None:
    found = recalled(planted, "--label", LABEL_A)
    assert ways(planted, found) == {"drafted/a": "label", "known/a": "label", "drafted/c": "example"}
    assert held(found) == {1: 4, 2: 3}


def test_a_person_is_recalled_by_labels_and_by_decisions_on_pairs(planted: Planted) -> None:
    assert ways(planted, recalled(planted, "--annotator", "ann")) == {
        "drafted/a": "label",
        "known/a": "label",
        "drafted/c": "example",
    }
    # What bob said of d bound to its pair; the example of d has the label of d, which his decision names.
    assert ways(planted, recalled(planted, "--annotator", "bob")) == {"drafted/d": "decision", "drafted/f": "example"}


def test_a_source_is_recalled_with_all_items_of_its_sheets(planted: Planted) -> None:
    for name in ("data/s.csv", "s.csv", "s"):
        found = recalled(planted, "--source", name)
        assert ways(planted, found) == dict.fromkeys(planted.names, "item")
        assert held(found) == {1: 8, 2: 8}


def test_a_rebuild_has_its_calls_and_what_they_cost(planted: Planted) -> None:
    plan = recalled(planted, "--item", "s/a")["plan"]
    assert plan == {
        "training_sheets": ["drafted", "known"],
        "collections": ["c"],
        "models": ["c.fast/1"],
        "calls": 1,  # c asks something else without the example; the pairs of the item itself go
        "cost_usd": 0.5,
    }
    # a has no draft of its own: without its label it is asked for.
    assert recalled(planted, "--label", LABEL_A)["plan"]["calls"] == 2


def test_traces_are_found_by_the_pairs_they_speak_of(planted: Planted) -> None:
    file = planted.project.settings.state / "mlflow.db"
    with sqlite3.connect(file) as database:
        database.execute("CREATE TABLE IF NOT EXISTS trace_tags (key TEXT, value TEXT, request_id TEXT)")
        rows = [("pair_id", planted.names["drafted/c"], "tr-c"), ("pair_id", planted.names["drafted/d"], "tr-d")]
        database.executemany("INSERT INTO trace_tags VALUES (?, ?, ?)", rows)
    assert recalled(planted, "--item", "s/a")["traces"] == ["tr-c"]


def test_a_name_of_nothing_is_an_error_and_no_empty_answer(planted: Planted) -> None:
    for asked in (["--item", "s/zz"], ["--item", "t/a"], ["--item", "a"], ["--label", "x"], ["--annotator", "eve"], []):
        ran = planted.project("recall", *asked)
        assert (ran.code, ran.out) == (2, ""), asked
    assert "did you mean 's'" in planted.project("recall", "--source", "s.csvv").err


def test_no_value_of_an_item_is_printed(planted: Planted) -> None:
    for asked in (["recall", "--item", "s/a"], ["trace", planted.names["drafted/c"]], ["trace", "c.fast"]):
        for more in ([], ["--json"]):
            out = planted.project(*asked, *more).out
            assert "right?" not in out
            assert '"answer' not in out.replace('"answered_at"', "")


def test_an_export_whose_files_are_gone_is_named_and_is_no_green_answer(project: Project) -> None:
    plant(project)
    path = project.table("records", "export_versions").filter(pl.col("version") == 1)["path"][0]
    Path(path, "train.parquet").unlink()
    ran = project("recall", "--item", "s/a", "--json")
    assert (ran.code, ran.json["ok"]) == (1, False)
    assert ran.json["unread"][0].startswith("export c v1: the pairs of the export can not be read")


def test_a_pair_is_traced_from_its_parents_to_the_models_that_learned_it(planted: Planted) -> None:
    pair_id = planted.names["drafted/c"]
    found = planted.project("trace", pair_id[:12], "--json").json
    assert (found["kind"], found["pair"]["pair_id"], found["examples"]) == ("pair", pair_id, ["ex-a"])
    assert [one["cost_usd"] for one in found["requests"]] == [0.75]
    assert [(one["version"], one["split"], one["unchanged_since"]) for one in found["exports"]] == [
        (1, "train", True),
        (2, "train", True),
    ]
    assert [one["model_version"] for one in found["models"]] == ["1"]
    changed = planted.project("trace", planted.names["drafted/b"], "--json").json
    assert [one["unchanged_since"] for one in changed["exports"]] == [False, True]
    derived = planted.project("trace", planted.names["drafted/e#1"], "--json").json
    assert derived["derived_from"] == ["e"]
    labeled = planted.project("trace", planted.names["known/a"], "--json").json
    assert labeled["label"]["labeled_by"] == "ann"
    assert [one["decision_id"] for one in labeled["decisions"]] == ["1"]


def test_a_model_is_traced_to_its_training_sheets_and_figures(planted: Planted) -> None:
    (one,) = planted.project("trace", "c.fast/1", "--json").json["models"]
    assert (one["train_pair_count"], one["collection"], one["export_version"]) == (7, "c", 1)
    assert [(of["training_sheet"], of["pairs"]) for of in one["pairs_of"]] == [("drafted", 6), ("known", 1)]
    assert [figure["metric"] for figure in one["evaluation"]] == ["accuracy"]
    assert len(planted.project("trace", "c.fast", "--json").json["models"]) == 2
    assert planted.project("trace", "c.fats").code == 2
