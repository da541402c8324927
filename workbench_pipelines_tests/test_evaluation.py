"""Evaluation: figures, baselines, charts, and the decision whether a model may take over."""

from __future__ import annotations

import base64

import pytest

from workbench_pipelines.charts import confusion_chart, markdown_image, per_class_chart
from workbench_pipelines.evaluation import (
    OTHER,
    REPORT_SCHEMA,
    EvaluationError,
    base_model_sample,
    evaluate,
    majority_class,
    metrics_by_predictor,
    report_rows,
    score,
)
from workbench_pipelines.promotions import PromotionError, check_promotion, promotion
from workbench_pipelines.training import train_classifier, training_table
from workbench_pipelines_tests.test_training import make_iris

TRUTH = ["cat", "cat", "dog", "dog", "owl"]
GUESS = ["cat", "dog", "dog", "dog", "cat"]
METRICS = {
    "model": {"accuracy": 0.9, "macro_f1": 0.8, "n": 50.0},
    "majority": {"accuracy": 0.5, "macro_f1": 0.2, "n": 50.0},
    "tfidf_logreg": {"accuracy": 0.7, "macro_f1": 0.75, "n": 50.0},
}


def test_the_figures_are_those_of_scikit_learn() -> None:
    from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

    scores = score("model", TRUTH, GUESS)
    precision, recall, f1, support = precision_recall_fscore_support(TRUTH, GUESS, zero_division=0)
    assert scores.accuracy == accuracy_score(TRUTH, GUESS)
    assert [list(row) for row in scores.confusion] == confusion_matrix(TRUTH, GUESS).tolist()
    for place, name in enumerate(("cat", "dog", "owl")):
        one = scores.per_class[name]
        assert (one.precision, one.recall, one.f1) == pytest.approx((precision[place], recall[place], f1[place]))
        assert one.support == support[place]
    assert scores.macro_f1 == pytest.approx(f1.mean())


def test_a_refused_answer_and_an_unknown_class_count_as_wrong() -> None:
    scores = score("base_model", ["cat", "cat", "dog"], [None, "lynx", "dog"])
    assert scores.accuracy == pytest.approx(1 / 3)
    assert scores.answered == 2
    assert scores.columns == ("cat", "dog", OTHER)
    assert scores.confusion[0] == (0, 0, 2)


def test_a_class_without_rows_is_shown_and_not_averaged() -> None:
    scores = score("model", ["cat", "dog"], ["cat", "dog"], classes=["cat", "dog", "owl"])
    assert scores.macro_f1 == 1.0
    assert scores.per_class["owl"].support == 0


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(EvaluationError, match="no row to score"):
        score("model", [], [])


def test_the_majority_goes_by_weight_and_then_by_name() -> None:
    assert majority_class(["b", "a", "b"]) == "b"
    assert majority_class(["b", "a", "b"], [1, 3, 1]) == "a"
    assert majority_class(["b", "a"]) == "a"


def test_new_pairs_move_few_of_the_base_models_sample() -> None:
    pairs = [f"pair-{n}" for n in range(100)]
    first, second = (set(base_model_sample(some, 20, seed=1)) for some in (pairs, [*pairs, "pair-new"]))
    assert len(first) == 20
    assert len(first - second) <= 1


def test_iris_is_evaluated_beside_its_baselines_and_reported_with_n() -> None:
    table = training_table(make_iris(), target="species")
    trained = train_classifier(table, target="species")
    asked = base_model_sample(table.part("test").pair_ids, 10, seed=1)
    answers = {pair_id: None if place else "setosa" for place, pair_id in enumerate(asked)}
    scores = evaluate(table, trained, answers)
    assert scores["model"].accuracy >= 0.9
    assert scores["majority"].accuracy == pytest.approx(1 / 3)
    assert scores["majority"].accuracy < scores["tfidf_logreg"].accuracy < scores["model"].accuracy
    report = report_rows(
        scores, collection="iris", trainer="fast", model_name="iris.fast", model_version="1", export_version=1
    )
    assert dict(report.schema) == dict(REPORT_SCHEMA)
    accuracy = report.filter(metric="accuracy").select("predictor", "n")
    assert dict(accuracy.iter_rows()) == {"model": 30, "majority": 30, "tfidf_logreg": 30, "base_model": 10}
    assert promotion(metrics_by_predictor(scores), "macro_f1 >= baseline.macro_f1").passed


@pytest.mark.parametrize(
    ("expression", "passed"),
    [
        ("macro_f1 >= baseline.macro_f1", True),
        ("macro_f1 >= baseline.macro_f1 + 0.1", False),
        ("accuracy > majority.accuracy and macro_f1 >= 0.7", True),
        ("accuracy > 0.95 or (macro_f1 > 0.7 and n >= 30)", True),
        ("0.5 < accuracy < 0.8", False),
        ("accuracy - majority.accuracy >= 2 * 0.3", False),
        ("macro_f1 >= champion.macro_f1", True),
    ],
)
def test_a_promotion_is_decided_by_its_expression(expression: str, passed: bool) -> None:
    assert promotion(METRICS, expression).passed is passed


def test_a_decision_gives_its_figures() -> None:
    passed, sentence = promotion(METRICS, "macro_f1 >= baseline.macro_f1")
    assert passed
    assert sentence == "promoted: macro_f1 0.8 >= baseline.macro_f1 0.75 (tfidf_logreg, n=50): holds"
    assert "no champion yet" in promotion(METRICS, "macro_f1 >= champion.macro_f1").sentence
    champion = {**METRICS, "champion": {"macro_f1": 0.85}}
    assert promotion(champion, "macro_f1 >= champion.macro_f1").sentence.startswith(
        "not promoted: macro_f1 0.8 >= champion"
    )


def test_the_base_model_is_a_baseline_where_it_was_asked() -> None:
    strong = {**METRICS, "base_model": {"macro_f1": 0.95, "n": 20.0}}
    assert "(base_model, n=20)" in promotion(strong, "macro_f1 >= baseline.macro_f1").sentence
    with pytest.raises(PromotionError, match=r"base_model\.macro_f1 was not measured"):
        promotion(METRICS, "macro_f1 >= base_model.macro_f1")


@pytest.mark.parametrize(
    ("expression", "line"),
    [
        ("macrof1 >= 0.5", "did you mean 'macro_f1'?"),
        ("macro_f1 >= basline.macro_f1", "did you mean 'baseline'?"),
        ("macro_f1", "is no comparison"),
        ("macro_f1 >=", "is no expression"),
        ("__import__('os').system('true') == 0", "is not allowed"),
        ("accuracy >= 9**9**9", "is not allowed"),
        ("accuracy in (1, 2)", "is not allowed"),
        ("not accuracy > 1", "is no comparison"),
        ("accuracy > True", "is not allowed"),
        ("model.accuracy.real > 1", "is not allowed"),
        ("(" * 400 + "1" + ")" * 400, "characters"),
    ],
)
def test_an_expression_of_another_form_is_refused_in_one_line(expression: str, line: str) -> None:
    with pytest.raises(PromotionError, match=r"^promote_if: ") as caught:
        check_promotion(expression)
    assert line in str(caught.value)
    assert "\n" not in str(caught.value)


def test_charts_are_png_images_and_the_same_figures_give_the_same_bytes() -> None:
    scores = score("model", [*TRUTH, "a $very$ long class name that goes on"], [*GUESS, None])
    for chart in (confusion_chart, per_class_chart):
        png = chart(scores, "Pets & owls $5")
        assert png.startswith(b"\x89PNG")
        assert png == chart(scores, "Pets & owls $5")
        assert (
            markdown_image(png, "a [chart]") == f"![a (chart)](data:image/png;base64,{base64.b64encode(png).decode()})"
        )
