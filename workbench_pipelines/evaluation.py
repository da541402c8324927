"""Evaluations: how often a predictor is right on the test split, beside the baselines that cost nothing to beat.

The figures are the usual ones of classification. An answer that was refused, or that names no known class, counts as
wrong; it is never left out. Whether a model may take over is decided by one expression over these figures
(`promote_if`), see `promotions.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from workbench_pipelines.errors import WorkbenchError
from workbench_pipelines.identity import unit_interval

if TYPE_CHECKING:
    from workbench_pipelines.training import TrainedClassifier, TrainingTable

MODEL, MAJORITY, TFIDF, BASE_MODEL = "model", "majority", "tfidf_logreg", "base_model"
BASELINES = (MAJORITY, TFIDF, BASE_MODEL)
# The usual pattern drops one-letter words and cuts 5.1 in two: a prompt with numbers would lose them.
WORD_PATTERN = r"(?u)\d+[.,]\d+|\w+"
OTHER = "(other)"  # the column of the confusion matrix for refused answers and for answers that name no known class

REPORT_SCHEMA: Mapping[str, pl.DataType] = {
    "collection": pl.String(),
    "trainer": pl.String(),
    "model_name": pl.String(),
    "model_version": pl.String(),
    "export_version": pl.Int64(),
    "predictor": pl.String(),
    "metric": pl.String(),
    "value": pl.Float64(),
    "n": pl.Int64(),
}


class EvaluationError(WorkbenchError):
    """An evaluation that can not be made, in one line."""


@dataclass(frozen=True)
class ClassScore:
    """Of one class: the share of its predictions that are right, the share of its rows found, F1, its rows."""

    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True)
class Scores:
    """One predictor on one set of rows.

    `confusion[i][j]` counts rows of `classes[i]` that were called `columns[j]`; `columns` are the classes, then `OTHER`
    where an answer was refused or named no known class. `answered` is the number of rows with an answer at all.
    """

    predictor: str
    n: int
    answered: int
    classes: tuple[str, ...]
    columns: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    per_class: Mapping[str, ClassScore]
    accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float

    def metrics(self) -> dict[str, float]:
        """The figures of the whole set, by the names that `promote_if` knows."""
        return {
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "macro_precision": self.macro_precision,
            "macro_recall": self.macro_recall,
            "n": float(self.n),
        }

    def figures(self) -> dict[str, float]:
        """All figures: `metrics()` without n, the share `answered`, and each class's precision, recall, f1 and support.

        Those of a class are named `precision.<class>` and so on.
        """
        figures = {name: value for name, value in self.metrics().items() if name != "n"}
        figures["answered"] = self.answered / self.n
        for name, scores in self.per_class.items():
            for part in ("precision", "recall", "f1", "support"):
                figures[f"{part}.{name}"] = float(getattr(scores, part))
        return figures


def score(predictor: str, truth: Sequence[str], predicted: Sequence[str | None], classes: Iterable[str] = ()) -> Scores:
    """The figures of predictions beside the truth; `classes` adds those that the rows happen not to hold.

    Macro figures average over the classes that occur in the truth, so predictors scored on the same rows are averaged
    over the same classes.

    Raises:
        EvaluationError: there is no row, or there are not as many predictions as rows.
    """
    if len(truth) != len(predicted):
        raise EvaluationError(f"{predictor}: {len(predicted)} predictions for {len(truth)} rows")
    if not truth:
        raise EvaluationError(f"{predictor}: no row to score; the split holds no pair")
    names = tuple(sorted({*classes, *truth}))
    known = set(names)
    cells = Counter((true, guess if guess in known else OTHER) for true, guess in zip(truth, predicted, strict=True))
    columns = (*names, OTHER) if any(column == OTHER for _, column in cells) else names
    support, called = Counter(truth), Counter(predicted)
    per_class = {name: _class_score(cells[name, name], called[name], support[name]) for name in names}
    averaged = [per_class[name] for name in names if support[name]]
    return Scores(
        predictor=predictor,
        n=len(truth),
        answered=sum(guess is not None for guess in predicted),
        classes=names,
        columns=columns,
        confusion=tuple(tuple(cells[true, column] for column in columns) for true in names),
        per_class=per_class,
        accuracy=sum(cells[name, name] for name in names) / len(truth),
        macro_precision=sum(one.precision for one in averaged) / len(averaged),
        macro_recall=sum(one.recall for one in averaged) / len(averaged),
        macro_f1=sum(one.f1 for one in averaged) / len(averaged),
    )


def _class_score(right: int, called: int, support: int) -> ClassScore:
    precision = right / called if called else 0.0
    recall = right / support if support else 0.0
    return ClassScore(precision, recall, 2 * right / (called + support) if called + support else 0.0, support)


def majority_class(labels: Sequence[str], weights: Sequence[float] | None = None) -> str:
    """The class with the most weight; of several, the first by name."""
    totals: dict[str, float] = {}
    for label, weight in zip(labels, weights if weights is not None else [1.0] * len(labels), strict=True):
        totals[label] = totals.get(label, 0.0) + weight
    if not totals:
        raise EvaluationError("majority: no training row")
    return min(totals, key=lambda label: (-totals[label], label))


def predict_tfidf(
    prompts: Sequence[str], labels: Sequence[str], weights: Sequence[float], test_prompts: Sequence[str]
) -> list[str]:
    """What TF-IDF of words and a logistic regression, fitted on the rendered prompts, say of other prompts."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    vectorizer = TfidfVectorizer(token_pattern=WORD_PATTERN)
    try:
        seen = vectorizer.fit_transform(list(prompts))
    except ValueError:  # no prompt holds a single word
        return [majority_class(labels, weights)] * len(test_prompts)
    # C=1 is the library's default: a baseline that is not tuned, as someone would write it in five minutes.
    model = LogisticRegression(C=1.0, max_iter=1000).fit(seen, list(labels), sample_weight=list(weights))
    return [str(label) for label in model.predict(vectorizer.transform(list(test_prompts)))]


def base_model_sample(pair_ids: Iterable[str], n: int, seed: int) -> list[str]:
    """The n pairs on which the base model is asked: the lowest hashes of (seed, pair_id), so new pairs move few."""
    return sorted(set(pair_ids), key=lambda pair_id: (unit_interval("base_model", seed, pair_id), pair_id))[:n]


def evaluate(
    table: TrainingTable, trained: TrainedClassifier, base_answers: Mapping[str, str | None] | None = None
) -> dict[str, Scores]:
    """The model and its baselines on the test split, by predictor.

    `base_answers` are the base model's parsed answers (None: refused) by pair_id, for the pairs on which it was asked;
    it is scored on those alone and its `n` says how many. Without answers it has no scores.

    Raises:
        EvaluationError: the test split is empty.
    """
    train, test = table.part("train"), table.part("test")
    if not test.pair_ids:
        raise EvaluationError("no test row: the Collection's test split is empty, so nothing can be evaluated")
    labels, _ = trained.predict(test.inputs)
    baseline = majority_class(train.labels, train.weights)
    tfidf = predict_tfidf(train.prompts, train.labels, train.weights, test.prompts)
    found = {
        MODEL: score(MODEL, test.labels, labels, trained.classes),
        MAJORITY: score(MAJORITY, test.labels, [baseline] * len(test.labels), trained.classes),
        TFIDF: score(TFIDF, test.labels, tfidf, trained.classes),
    }
    answers = base_answers or {}
    asked = {pair: true for pair, true in zip(test.pair_ids, test.labels, strict=True) if pair in answers}
    if asked:
        found[BASE_MODEL] = score(BASE_MODEL, list(asked.values()), [answers[pair] for pair in asked], trained.classes)
    return found


def metrics_by_predictor(scores: Mapping[str, Scores]) -> dict[str, dict[str, float]]:
    """What `promotion` reads: the metrics of each predictor."""
    return {predictor: one.metrics() for predictor, one in scores.items()}


def renamed(scores: Scores, names: Mapping[str, str]) -> Scores:
    """The same scores with classes under other names."""
    return replace(
        scores,
        classes=tuple(names.get(name, name) for name in scores.classes),
        columns=tuple(names.get(name, name) for name in scores.columns),
        per_class={names.get(name, name): one for name, one in scores.per_class.items()},
    )


def report_rows(
    scores: Mapping[str, Scores],
    *,
    collection: str,
    trainer: str,
    model_name: str,
    model_version: str,
    export_version: int,
) -> pl.DataFrame:
    """One row per predictor and figure, with the number of rows it was measured on.

    Output columns: collection, trainer, model_name, model_version, export_version, predictor, metric, value, n.
    """
    about = (collection, trainer, model_name, str(model_version), export_version)
    rows = [
        (*about, predictor, metric, value, one.n)
        for predictor, one in scores.items()
        for metric, value in one.figures().items()
    ]
    return pl.DataFrame(rows, schema=dict(REPORT_SCHEMA), orient="row")
