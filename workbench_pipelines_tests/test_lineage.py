"""The documented questions have the answers that the tables hold, from a model down to its pairs and its feedback."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.clients.lake_sql import query
from workbench_pipelines.decisions import DECISIONS
from workbench_pipelines.errors import ArgumentError, WorkbenchError
from workbench_pipelines.exports import COLLECTION_MEMBERS
from workbench_pipelines.lineage import (
    MODEL_EVALUATIONS,
    MODEL_TRAINING_LINEAGE,
    SCHEMAS,
    TRAINING_SHEETS,
    lineage_row,
)
from workbench_pipelines.lineage_queries import QUERIES, named_query
from workbench_pipelines.pairs import LABELED_PAIRS
from workbench_pipelines.restrictions import Restrictions

TRAINED = dt.datetime(2024, 5, 1, tzinfo=dt.UTC)
DAY = dt.timedelta(days=1)
DOCS = Path(__file__).parent.parent / "docs" / "lineage_queries.md"


def export_rows(*pairs: tuple[str, str, str]) -> pl.DataFrame:
    rows = [{"training_sheet": t, "pair_id": p, "pair_hash": f"{p}-v1", "split": s} for t, p, s in pairs]
    return pl.DataFrame(rows, schema=["training_sheet", "pair_id", "pair_hash", "split"])


PAIRS = export_rows(
    ("measured", "p2", "train"), ("measured", "p1", "val"), ("drafted", "p3", "train"), ("drafted", "p4", "test")
)


def model(version: str, pairs: pl.DataFrame = PAIRS, trained_at: dt.datetime = TRAINED, **given: Any) -> pl.DataFrame:
    values: dict[str, Any] = {
        "model_name": "iris",
        "collection": "iris",
        "export_version": 1,
        "training_config": {"b": 1, "a": 2.0},
        "mlflow_run_id": "run",
        "created_by": "ada",
    }
    return lineage_row(model_version=version, pairs=pairs, trained_at=trained_at, **(values | given))


def pair(pair_id: str, training_sheet: str, item_ref: str, **fields: Any) -> dict[str, Any]:
    row = {
        "training_sheet": training_sheet,
        "pair_id": pair_id,
        "pair_hash": f"{pair_id}-v1",
        "sheet": "iris",
        "item_ref": item_ref,
        "label_type": "species",
        "response": '{"species":"setosa"}',
        "status": "labeled",
        "data_classification": "public",
        "canonical_label_id": "label",
    }
    return row | fields


def decision(decision_id: str, item_ref: str, source: str, at: dt.datetime, action: str = "label") -> dict[str, Any]:
    key = {"sheet": "iris", "item_ref": item_ref, "label_type": "species"}
    return key | {"decision_id": decision_id, "action": action, "source": source, "by": "ada", "at": at}


def evaluation(version: str, predictor: str, value: float, metric: str = "accuracy") -> dict[str, Any]:
    return {
        "model_name": "iris",
        "model_version": version,
        "trainer": "forest",
        "predictor": predictor,
        "metric": metric,
        "value": value,
        "n": 30,
    }


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path))


def ask(lake: Lake, name: str, **params: str) -> list[dict[str, Any]]:
    sql = named_query(name, params).sql
    return query(lake, sql, restrictions=Restrictions({"iris": frozenset()}), params=params).to_dicts()


def record(lake: Lake, table: str, frame: pl.DataFrame) -> None:
    lake.append("records", table, frame=frame)


def put_pairs(lake: Lake, *pairs: dict[str, Any]) -> None:
    frame = pl.DataFrame(list(pairs), schema=LABELED_PAIRS)
    lake.append("label", "labeled_pairs", frame=frame, partition_by="training_sheet")


def put_decisions(lake: Lake, *decisions: dict[str, Any]) -> None:
    lake.append("label", "decisions", frame=pl.DataFrame(list(decisions), schema=DECISIONS))


def test_the_row_of_a_model_holds_its_pairs_and_what_they_said_but_not_the_test_split() -> None:
    frame = model("3")
    assert frame.schema == MODEL_TRAINING_LINEAGE
    row = frame.to_dicts()[0]
    assert row["pair_ids"] == ["p1", "p2", "p3"]
    assert row["pair_hashes"] == ["p1-v1", "p2-v1", "p3-v1"]
    assert row["training_sheets"] == ["drafted", "measured"]
    assert (row["train_pair_count"], row["val_pair_count"]) == (2, 1)
    assert row["training_config"] == '{"a":2,"b":1}'


def test_the_row_does_not_depend_on_the_order_of_the_pairs() -> None:
    assert model("1", PAIRS.reverse()).equals(model("1"))


def test_a_model_of_nothing_and_a_pair_that_stands_twice_have_no_lineage() -> None:
    with pytest.raises(WorkbenchError, match="no pair"):
        model("1", export_rows(("measured", "p1", "test")))
    with pytest.raises(WorkbenchError, match="pair p1 stands twice"):
        model("1", export_rows(("measured", "p1", "train"), ("measured", "p1", "val")))


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_every_question_has_an_answer_in_a_new_lake(lake: Lake, name: str) -> None:
    assert ask(lake, name, **dict.fromkeys(QUERIES[name].parameters, "x")) == []


def test_the_models_of_a_training_sheet_come_in_the_order_of_their_versions(lake: Lake) -> None:
    for version in ("10", "9"):
        record(lake, "model_training_lineage", model(version))
    record(lake, "model_training_lineage", model("1", PAIRS[:2], model_name="other"))
    models = ask(lake, "models_of_training_sheet", training_sheet="drafted")
    assert [(row["model_name"], row["model_version"]) for row in models] == [("iris", "9"), ("iris", "10")]
    assert ask(lake, "models_of_training_sheet", training_sheet="draft") == []


def test_the_training_sheets_of_a_model_come_with_their_pairs_and_newest_state(lake: Lake) -> None:
    record(lake, "model_training_lineage", model("1"))
    put_pairs(lake, pair("p1", "measured", "a"), pair("p2", "measured", "b"))
    states = [{"training_sheet": "measured", "version": v, "status": s} for v, s in [(1, "review"), (2, "trained")]]
    record(lake, "training_sheets", pl.DataFrame(states, schema=TRAINING_SHEETS))
    found = ask(lake, "training_sheets_of_model", model="iris/1")
    columns = ("training_sheet", "pairs", "version_now", "status_now")
    assert [tuple(row[c] for c in columns) for row in found] == [
        ("drafted", 0, None, None),
        ("measured", 2, 2, "trained"),
    ]


def test_the_pairs_of_a_model_say_whether_they_changed_since(lake: Lake) -> None:
    record(lake, "model_training_lineage", model("1"))
    put_pairs(lake, pair("p1", "measured", "a"), pair("p2", "measured", "b", pair_hash="p2-v2"))
    found = {row["pair_id"]: row for row in ask(lake, "pairs_of_model", model="iris")}
    assert {name: row["since_training"] for name, row in found.items()} == {
        "p1": "unchanged",
        "p2": "changed",
        "p3": "gone",
    }
    assert (found["p2"]["pair_hash_as_trained"], found["p2"]["pair_hash_now"]) == ("p2-v1", "p2-v2")
    assert (found["p1"]["item_ref"], found["p1"]["response"]) == ("a", '{"species":"setosa"}')


def test_a_model_is_meant_in_all_versions_or_in_one(lake: Lake) -> None:
    for version in ("1", "2"):
        record(lake, "model_training_lineage", model(version))
    assert len(ask(lake, "pairs_of_model", model="iris")) == 6
    assert {row["model_version"] for row in ask(lake, "pairs_of_model", model="iris/2")} == {"2"}


def test_models_of_one_training_sheet_are_compared_with_each_other_and_the_best_baseline(lake: Lake) -> None:
    for version in ("1", "2", "3"):
        record(lake, "model_training_lineage", model(version))
    figures = [
        evaluation("1", "model", 0.9),
        evaluation("1", "majority", 0.3),
        evaluation("1", "tfidf_logreg", 0.8),
        evaluation("2", "model", 0.95),
        evaluation("2", "model", 0.5, "recall.setosa"),
    ]
    record(lake, "model_evaluations", pl.DataFrame(figures, schema=MODEL_EVALUATIONS))
    found = ask(lake, "models_compared", training_sheet="measured")
    assert [(row["model_version"], row["metric"], row["value"], row["best_baseline"]) for row in found] == [
        ("2", "accuracy", 0.95, None),
        ("1", "accuracy", 0.9, 0.8),
        ("3", None, None, None),
    ]
    assert found[1]["ahead_by"] == pytest.approx(0.1)


def test_the_feedback_behind_a_model_is_what_set_its_labels_when_it_was_trained(lake: Lake) -> None:
    record(lake, "model_training_lineage", model("1", trained_at=TRAINED))
    record(lake, "model_training_lineage", model("2", trained_at=TRAINED + 2 * DAY))
    put_pairs(lake, pair("p1", "measured", "a"), pair("p2", "measured", "b"), pair("p3", "drafted", "a"))
    put_decisions(
        lake,
        decision("d1", "a", "import", TRAINED - DAY),
        decision("d2", "a", "feedback:f1", TRAINED + DAY),
        decision("d3", "a", "feedback:f9", TRAINED + DAY * 1.5, action="flag"),
        decision("d4", "b", "feedback:f2", TRAINED - DAY),
        decision("d5", "b", "review", TRAINED + DAY),
    )
    found = ask(lake, "feedback_behind_model", model="iris")
    assert [(row["model_version"], row["feedback_id"], row["pair_id"]) for row in found] == [
        ("1", "f2", "p2"),
        ("2", "f1", "p1"),
        ("2", "f1", "p3"),
    ]
    assert {row["used_for"] for row in found} == {"training"}


def test_feedback_in_the_test_split_is_behind_what_the_model_was_measured_on(lake: Lake) -> None:
    record(lake, "model_training_lineage", model("1", trained_at=TRAINED))
    put_pairs(lake, pair("p4", "drafted", "b"), pair("p5", "drafted", "c"))
    put_decisions(
        lake,
        decision("d1", "b", "feedback:f1", TRAINED - DAY),
        decision("d2", "c", "feedback:f2", TRAINED - DAY),
    )
    members = [("p4", "test", TRAINED - DAY), ("p5", "test", TRAINED + DAY)]  # p5 joined after the model was made
    rows = [{"collection": "iris", "pair_id": p, "split": split, "added_at": at} for p, split, at in members]
    record(lake, "collection_members", pl.DataFrame(rows, schema=COLLECTION_MEMBERS))
    found = ask(lake, "feedback_behind_model", model="iris")
    assert [(row["feedback_id"], row["pair_id"], row["used_for"]) for row in found] == [("f1", "p4", "evaluation")]


def test_restricted_pairs_are_named_but_not_shown(lake: Lake) -> None:
    record(lake, "model_training_lineage", model("1"))
    put_pairs(lake, pair("p1", "measured", "a", data_classification="restricted", inputs=json.dumps({"name": "Ada"})))
    row = next(row for row in ask(lake, "pairs_of_model", model="iris") if row["pair_id"] == "p1")
    assert (row["inputs"], row["response"], row["since_training"]) == ("•••", "•••", "unchanged")


def test_questions_and_their_parameters_are_named_when_they_are_wrong() -> None:
    with pytest.raises(ArgumentError, match="did you mean 'pairs_of_model'"):
        named_query("pair_of_model")
    with pytest.raises(ArgumentError, match="give model"):
        named_query("pairs_of_model")
    with pytest.raises(ArgumentError, match="unknown parameter 'mode'; did you mean 'model'"):
        named_query("pairs_of_model", ["model", "mode"])


def test_every_query_and_every_table_is_documented() -> None:
    text = DOCS.read_text()
    for name, one in QUERIES.items():
        assert f"`{name}`" in text
        assert one.question in text
        assert f"```sql\n{one.sql}\n```" in text
    for table in SCHEMAS:
        assert f"`{table}`" in text
