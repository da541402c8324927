"""Classifiers: what a Collection's export teaches, from the bound variables of its pairs to a label.

Two kinds. `tabular` (every variable is a number): a random forest. `text` (anything else): a logistic regression over
the embedding of the texts, beside hashed words and character n-grams. On 7,908 scored reviews and tweets, five
group-safe splits, test accuracy / macro F1 were .643 / .544 for the embedding alone, .674 / .561 for TF-IDF of words,
.699 / .602 for the n-grams alone and .709 / .621 for embedding and n-grams together, which is why both are there. The
words are hashed, so a trained model holds no text of its rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

import orjson
import polars as pl

from workbench_pipelines.errors import nearest
from workbench_pipelines.evaluation import score
from workbench_pipelines.features import (
    CHARACTERS,
    EMBEDDING_SCALE,
    HASHED,
    MAX_CHARACTERS,
    MIN_ROWS,
    WORDS,
    Embed,
    Features,
    InputColumn,
    TrainingError,
    feature_matrix,
    fit_features,
    input_columns,
)
from workbench_pipelines.identity import canonical_text

if TYPE_CHECKING:
    import numpy as np

TRAINER_VERSION = "1"  # part of every configuration: raised when the same settings would give another model
FOREST: Mapping[str, Any] = {
    "n_estimators": 300,  # on iris 300 and 1,000 are alike over five splits, 100 loses .015; 0.5 s
    "max_features": "sqrt",  # the usual choice for classification
    "min_samples_leaf": 1,  # full trees: the forest averages their variance away
    "bootstrap": True,
}
REGRESSION: Mapping[str, Any] = {
    "C": 1.0,  # over five splits 0.3 loses .04 macro F1 on validation, 3 is alike and slower
    "max_iter": 1000,  # it needs about 60
    "class_weight": None,  # "balanced" gains .03 macro F1, loses .01 accuracy and skews the probabilities
}


@dataclass(frozen=True)
class TrainingTable:
    """The pairs of an export as a classifier reads them, ordered by pair_id; those it can not read are in `skipped`."""

    target: str
    features: Features
    columns: tuple[InputColumn, ...]
    pair_ids: tuple[str, ...]
    inputs: tuple[Mapping[str, Any], ...]
    labels: tuple[str, ...]
    splits: tuple[str, ...]
    weights: tuple[float, ...]
    prompts: tuple[str, ...]
    skipped: tuple[tuple[str, str], ...] = ()

    def part(self, split: str) -> TrainingTable:
        """The pairs of one split."""
        kept = [place for place, name in enumerate(self.splits) if name == split]
        return replace(
            self,
            pair_ids=tuple(self.pair_ids[place] for place in kept),
            inputs=tuple(self.inputs[place] for place in kept),
            labels=tuple(self.labels[place] for place in kept),
            splits=tuple(self.splits[place] for place in kept),
            weights=tuple(self.weights[place] for place in kept),
            prompts=tuple(self.prompts[place] for place in kept),
        )


@dataclass(frozen=True)
class TrainedClassifier:
    """A fitted classifier: from bound variables to labels; `parts` are its fitted arrays and its estimator."""

    target: str
    features: Features
    columns: tuple[InputColumn, ...]
    classes: tuple[str, ...]
    config: Mapping[str, Any]
    parts: Mapping[str, Any] = field(repr=False)
    embed: Embed | None = field(default=None, repr=False, compare=False)
    metrics: Mapping[str, float] = field(default_factory=dict)
    train_pair_ids: tuple[str, ...] = field(default=(), repr=False)
    val_pair_ids: tuple[str, ...] = field(default=(), repr=False)
    skipped: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def predict(self, inputs: Sequence[Mapping[str, Any]]) -> tuple[list[str], np.ndarray]:
        """The most probable class of each item, and the probabilities of all `classes`, one row an item.

        Raises:
            TrainingError: an item lacks an input, or has text where a number is read.
        """
        import numpy as np

        if not inputs:
            return [], np.zeros((0, len(self.classes)))
        matrix = feature_matrix(inputs, self.columns, self.features, self.parts, self.embed)
        probabilities = self.parts["model"].predict_proba(matrix)
        return [self.classes[place] for place in probabilities.argmax(axis=1)], probabilities


def training_table(
    rows: pl.DataFrame, *, target: str, features: Literal["auto", "text", "tabular"] = "auto"
) -> TrainingTable:
    """The export's rows as a classifier reads them; `auto` is tabular where every bound variable is a number.

    Input columns: pair_id, inputs, response, split, weight, and messages where a prompt baseline is wanted.
    A pair without a usable target, or with weight 0, is left out and named in `skipped`.

    Raises:
        TrainingError: no rows, a target that no response holds, an input that some pairs lack, text where `tabular` is
            asked.
    """
    lacking = [name for name in ("pair_id", "inputs", "response", "split") if name not in rows.columns]
    if lacking or rows.is_empty():
        raise TrainingError(f"no training rows: the export {'lacks ' + ', '.join(lacking) if lacking else 'is empty'}")
    rows = rows.sort("pair_id")
    responses = [_object(text) for text in rows["response"]]
    if not any(target in response for response in responses):
        known = {name for response in responses for name in response}
        raise TrainingError(f"target '{target}' is not in the output{nearest(target, known)}")
    weights = rows["weight"].fill_null(1.0).to_list() if "weight" in rows.columns else [1.0] * rows.height
    messages = rows["messages"].to_list() if "messages" in rows.columns else [[]] * rows.height
    kept: list[tuple[str, dict[str, Any], str, str, float, str]] = []
    skipped: list[tuple[str, str]] = []
    inputs = rows["inputs"].to_list()
    for place, (pair_id, split) in enumerate(rows.select("pair_id", "split").iter_rows()):
        label, reason = class_name(responses[place].get(target))
        reason = reason or (None if weights[place] > 0 else "weight is 0")
        if reason is not None:
            skipped.append((pair_id, f"{target}: {reason}"))
            continue
        # The turns before the last one are examples, and speak of other items.
        said = next((m["content"] or "" for m in reversed(messages[place] or []) if m["role"] == "user"), "")
        kept.append((pair_id, _object(inputs[place]), label, split, float(weights[place]), said))
    if not kept:
        raise TrainingError(f"no training rows: {skipped[0][1]} (the first of {len(skipped)} pairs, all left out)")
    pair_ids, bound, labels, splits, used, prompts = zip(*kept, strict=True)
    columns = input_columns(pair_ids, bound)
    chosen: Features = (
        ("tabular" if all(c.kind == "number" for c in columns) else "text") if features == "auto" else features
    )
    if chosen == "tabular" and (texts := [column.name for column in columns if column.kind == "text"]):
        raise TrainingError(f"tabular features need numbers, and {', '.join(texts)} holds text: use features: text")
    if chosen == "text" and all(column.kind == "number" for column in columns):
        columns = tuple(InputColumn(column.name, "text") for column in columns)
    return TrainingTable(target, chosen, columns, pair_ids, bound, labels, splits, used, prompts, tuple(skipped))


def training_config(table: TrainingTable, seed: int) -> dict[str, Any]:
    """Every setting that a fitted model depends on, besides its rows; known before anything is fitted."""
    import sklearn

    config: dict[str, Any] = {
        "trainer_version": TRAINER_VERSION,
        "scikit_learn": sklearn.__version__,
        "target": table.target,
        "features": table.features,
        "columns": {column.name: column.kind for column in table.columns},
        "seed": seed,
    }
    if table.features == "tabular":
        return {**config, "forest": dict(FOREST)}
    return {
        **config,
        "regression": dict(REGRESSION),
        "embedding_scale": EMBEDDING_SCALE,
        "words": dict(WORDS),
        "characters": dict(CHARACTERS),
        "hashed": dict(HASHED),
        "min_rows": dict(MIN_ROWS),
        "max_characters": MAX_CHARACTERS,
    }


def train_classifier(
    rows: pl.DataFrame | TrainingTable,
    *,
    target: str,
    features: Literal["auto", "text", "tabular"] = "auto",
    seed: int = 0,
    embed: Embed | None = None,
) -> TrainedClassifier:
    """Fit the train split of an export and score the val split; the same rows in any order give the same classifier.

    Raises:
        TrainingError: see `training_table`; or there is no train pair, or only one class.
    """
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier
    from sklearn.linear_model import LogisticRegression

    table = rows if isinstance(rows, TrainingTable) else training_table(rows, target=target, features=features)
    train, val = table.part("train"), table.part("val")
    if not train.pair_ids:
        raise TrainingError(f"no training rows: none of {len(table.pair_ids)} pairs is in the train split")
    classes = tuple(sorted(set(train.labels)))
    if len(classes) < 2:
        raise TrainingError(f"one class only: all {len(train.labels)} train pairs say the same of {table.target}")
    parts = fit_features(train.inputs, train.columns, train.features)
    matrix = feature_matrix(train.inputs, train.columns, train.features, parts, embed)
    codes = np.array([classes.index(label) for label in train.labels])
    model: Any = (
        RandomForestClassifier(random_state=seed, n_jobs=1, **FOREST)
        if table.features == "tabular"
        else LogisticRegression(random_state=seed, **REGRESSION)
    )
    parts["model"] = model.fit(matrix, codes, sample_weight=np.array(train.weights))
    trained = TrainedClassifier(
        target=table.target,
        features=table.features,
        columns=table.columns,
        classes=classes,
        config=training_config(table, seed),
        parts=parts,
        embed=embed if table.features == "text" else None,
        train_pair_ids=train.pair_ids,
        val_pair_ids=val.pair_ids,
        skipped=table.skipped,
    )
    if not val.pair_ids:
        return trained
    labels, _ = trained.predict(val.inputs)
    found = score("val", val.labels, labels, classes).metrics()
    return replace(trained, metrics={f"val_{name}": value for name, value in found.items()})


def class_name(value: Any) -> tuple[str, str | None]:
    """The class a target value names (text as it is, true, 3), and why it names none."""
    if value is None:
        return "", "no value"
    if isinstance(value, str):
        return value, None if value else "empty text"
    if isinstance(value, (bool, int)):
        return canonical_text(value), None
    return "", f"a {type(value).__name__} is no class"


def _object(text: str | None) -> dict[str, Any]:
    try:
        value = orjson.loads(text) if text else {}
    except orjson.JSONDecodeError:
        raise TrainingError("the export holds inputs or a response that are no JSON") from None
    return value if isinstance(value, dict) else {}
