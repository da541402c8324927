"""Training: from the rows of an export to a classifier."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import polars as pl
import pytest

from workbench_pipelines.clients.embeddings import DIMENSIONS, embed
from workbench_pipelines.training import (
    TrainedClassifier,
    TrainingError,
    train_classifier,
    training_config,
    training_table,
)

GLAD = ("great phone, I love it", "what a lovely day", "works well, very happy", "best gift ever", "I enjoy this book")
SAD = ("terrible phone, I hate it", "what an awful day", "broken again, very sad", "worst gift ever", "I regret this")


def make_row(
    pair_id: str, inputs: dict[str, Any], response: dict[str, Any], split: str = "train", weight: float = 1.0
) -> dict[str, Any]:
    said = {"role": "user", "content": " ".join(map(str, inputs.values())), "parts": None}
    return {
        "pair_id": pair_id,
        "inputs": json.dumps(inputs),
        "response": json.dumps(response),
        "messages": [said],
        "split": split,
        "weight": weight,
    }


def make_iris() -> pl.DataFrame:
    from sklearn.datasets import load_iris

    data = load_iris()
    names = ("sepal_length", "sepal_width", "petal_length", "petal_width")
    splits = ("train", "train", "train", "train", "train", "train", "train", "val", "test", "test")
    return pl.DataFrame(
        [
            make_row(
                f"{place:03}",
                dict(zip(names, numbers, strict=True)),
                {"species": str(data.target_names[kind])},
                splits[place % 10],
            )
            for place, (numbers, kind) in enumerate(zip(data.data.tolist(), data.target, strict=True))
        ]
    )


def make_texts(times: int = 4) -> pl.DataFrame:
    rows = []
    for turn in range(times):
        split = "test" if turn == times - 1 else "train"
        for mood, texts in (("glad", GLAD), ("sad", SAD)):
            rows += [
                make_row(f"{mood}-{turn}-{n}", {"text": f"{text} {turn}"}, {"mood": mood}, split)
                for n, text in enumerate(texts)
            ]
    return pl.DataFrame(rows)


def fake_embed(texts: list[str]) -> np.ndarray:
    return np.array([[len(text), text.count("a")] for text in texts], dtype=np.float32)


def predictions(trained: TrainedClassifier, rows: pl.DataFrame) -> tuple[list[str], np.ndarray]:
    return trained.predict([json.loads(text) for text in rows["inputs"]])


def test_numbers_alone_make_a_random_forest_that_knows_iris() -> None:
    trained = train_classifier(make_iris(), target="species")
    assert trained.features == "tabular"
    assert trained.classes == ("setosa", "versicolor", "virginica")
    assert trained.metrics["val_accuracy"] >= 0.9
    assert (len(trained.train_pair_ids), len(trained.val_pair_ids)) == (105, 15)


def test_texts_make_a_regression_over_embeddings() -> None:
    rows = make_texts()
    trained = train_classifier(rows, target="mood", embed=embed)
    labels, probabilities = predictions(trained, rows.filter(split="test"))
    assert trained.features == "text"
    assert labels == ["glad"] * 5 + ["sad"] * 5
    assert np.allclose(probabilities.sum(axis=1), 1)


def test_rows_in_another_order_give_the_same_model() -> None:
    for rows, target in ((make_iris(), "species"), (make_texts(), "mood")):
        first, second = (
            train_classifier(order, target=target, seed=3, embed=fake_embed)
            for order in (rows, rows.sample(fraction=1.0, shuffle=True, seed=1))
        )
        assert first.config == second.config
        assert np.array_equal(predictions(first, rows)[1], predictions(second, rows)[1])


def test_only_the_train_split_is_fitted() -> None:
    rows = make_iris()
    test_labels_wrong = rows.with_columns(
        response=pl.when(pl.col("split") == "train").then("response").otherwise(pl.lit('{"species":"setosa"}'))
    )
    first, second = (train_classifier(one, target="species") for one in (rows, test_labels_wrong))
    assert np.array_equal(predictions(first, rows)[1], predictions(second, rows)[1])


def test_a_weight_moves_the_model() -> None:
    rows = [make_row(f"{n}", {"x": 1.0}, {"y": "a" if n % 2 else "b"}, weight=5.0 if n % 2 else 1.0) for n in range(20)]
    labels, _ = train_classifier(pl.DataFrame(rows), target="y").predict([{"x": 1.0}])
    assert labels == ["a"]


def test_a_pair_of_no_weight_or_no_target_is_left_out_with_its_reason() -> None:
    rows = [
        make_row("a", {"x": 1}, {"y": "one"}),
        make_row("b", {"x": 2}, {"y": "two"}),
        make_row("c", {"x": 3}, {"y": None}),
        make_row("d", {"x": 4}, {"y": "two"}, weight=0.0),
        make_row("e", {"x": 5}, {"y": [1]}),
    ]
    table = training_table(pl.DataFrame(rows), target="y")
    assert table.pair_ids == ("a", "b")
    assert table.skipped == (("c", "y: no value"), ("d", "y: weight is 0"), ("e", "y: a list is no class"))


def test_whole_numbers_and_truth_values_are_classes_by_their_json_text() -> None:
    rows = [make_row(f"{n}", {"x": n}, {"y": n % 2 == 0}) for n in range(6)]
    assert training_table(pl.DataFrame(rows), target="y").labels[:2] == ("true", "false")


def test_null_and_nan_and_infinity_are_numbers_a_forest_can_hold() -> None:
    values = (None, "NaN", float("1e300"), "Infinity", -1, True)
    rows = [
        make_row(f"{n}", {"x": value, "empty": None}, {"y": "ab"[n % 2]})
        for n, value in enumerate(values[:3] + values[4:])
    ]
    trained = train_classifier(pl.DataFrame(rows), target="y")
    assert trained.features == "tabular"
    assert len(trained.predict([{"x": None, "empty": None}])[0]) == 1


def test_numbers_beside_texts_are_standardised_and_kept() -> None:
    rows = pl.DataFrame(
        [
            make_row(f"{n:02}", {"note": "same", "total": n * 1000}, {"y": "low" if n < 20 else "high"})
            for n in range(40)
        ]
    )
    trained = train_classifier(rows, target="y", embed=fake_embed)
    assert {column.name: column.kind for column in trained.columns} == {"note": "text", "total": "number"}
    labels, _ = trained.predict(
        [{"note": "same", "total": 0}, {"note": "same", "total": 39000}, {"note": None, "total": None}]
    )
    assert labels[:2] == ["low", "high"]


def test_a_trained_model_holds_no_text_of_its_rows() -> None:
    import skops.io

    rows = pl.DataFrame([make_row(f"{n}", {"text": f"Zebrafinch{n} secret"}, {"y": "ab"[n % 2]}) for n in range(8)])
    stored = skops.io.dumps(dict(train_classifier(rows, target="y", embed=fake_embed).parts))
    assert b"ebrafinch" not in stored
    assert b"secret" not in stored


def test_the_configuration_is_known_before_anything_is_fitted() -> None:
    table = training_table(make_iris(), target="species")
    assert train_classifier(table, target="species", seed=5).config == training_config(table, 5)
    assert training_config(table, 5) != training_config(table, 6)


@pytest.mark.parametrize(
    ("rows", "options", "line"),
    [
        ([], {}, "no training rows: the export lacks pair_id"),
        (
            [make_row("a", {"x": 1}, {"specie": "s"})],
            {"target": "species"},
            "'species' is not in the output; did you mean 'specie'?",
        ),
        ([make_row("a", {"x": 1}, {"y": "s"}, "test")], {}, "none of 1 pairs is in the train split"),
        (
            [make_row("a", {"x": 1}, {"y": "s"}), make_row("b", {"x": 2}, {"y": "s"})],
            {},
            "one class only: all 2 train pairs say the same of y",
        ),
        ([make_row("a", {}, {"y": "s"})], {}, "missing inputs: no pair binds a variable"),
        (
            [make_row("a", {"scan": "sha256:" + "0" * 64}, {"y": "s"})],
            {},
            "missing inputs: scan: images alone, which a classifier does not look at",
        ),
        (
            [make_row("a", {"x": 1, "z": 1}, {"y": "s"}), make_row("b", {"x": 2}, {"y": "t"})],
            {},
            "'z' is not bound in 1 of 2 pairs",
        ),
        (
            [make_row("a", {"x": "one"}, {"y": "s"})],
            {"features": "tabular"},
            "tabular features need numbers, and x holds text",
        ),
        (
            [make_row("a", {"x": "one"}, {"y": "s"}), make_row("b", {"x": "two"}, {"y": "t"})],
            {},
            "text features need an embedding model",
        ),
    ],
)
def test_what_can_not_be_trained_says_why_in_one_line(
    rows: list[dict[str, Any]], options: dict[str, Any], line: str
) -> None:
    with pytest.raises(TrainingError) as caught:
        train_classifier(pl.DataFrame(rows), **{"target": "y", **options})
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_item_without_an_input_is_named() -> None:
    trained = train_classifier(make_iris(), target="species")
    with pytest.raises(TrainingError, match="item 1 lacks petal_length, petal_width, sepal_width"):
        trained.predict([{"sepal_length": 5.0}])
    assert trained.predict([])[0] == []


def test_the_embedding_of_a_text_does_not_depend_on_its_neighbours() -> None:
    alone = embed(["a short text"])
    among = embed(["a short text", "", "\ud800 lone surrogate", "long " * 20_000])
    assert alone.shape == (1, DIMENSIONS)
    assert alone.dtype == np.float32
    assert np.array_equal(alone[0], among[0])
    assert not among[1].any()
    assert among[2].any()
