"""Features: the numbers that stand for the bound variables of a pair, the same in training and in serving.

`tabular` takes every variable as a number (null is "not known", which a forest can hold). `text` takes the embedding of
the texts, hashed words and character n-grams weighted by inverse document frequency, and the numbers, standardised. The
words are hashed, so nothing that is fitted holds a text of its rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, cast

from workbench_pipelines.errors import WorkbenchError
from workbench_pipelines.identity import canonical_text
from workbench_pipelines.volumes import IMAGE_PREFIX

if TYPE_CHECKING:
    import numpy as np
    from scipy.sparse import csr_matrix

Features = Literal["text", "tabular"]
Embed = Callable[[list[str]], "np.ndarray"]

WORDS: Mapping[str, Any] = {"analyzer": "word", "ngram_range": (1, 2), "token_pattern": r"(?u)\d+[.,]\d+|\w+"}
CHARACTERS: Mapping[str, Any] = {"analyzer": "char_wb", "ngram_range": (2, 5)}
HASHED: Mapping[str, Any] = {
    "n_features": 2**18,
    "norm": None,
    "alternate_sign": False,
}  # 45,000 of them used: few collide
MIN_ROWS = {"words": 2, "characters": 3}  # an n-gram of one row only teaches that row
EMBEDDING_SCALE = 0.5  # beside two unit vectors of n-grams; 1 was no better over five splits
MAX_CHARACTERS = 20_000  # of one text, for the n-grams: bounds the time a book takes
LARGEST = 1e38  # what a random forest can hold (float32)


class TrainingError(WorkbenchError):
    """A classifier that can not be trained or asked, in one line."""


_IMAGE = re.compile(re.escape(IMAGE_PREFIX) + "[0-9a-f]{64}")


@dataclass(frozen=True)
class InputColumn:
    """A bound variable, and whether it is read as a number or as text."""

    name: str
    kind: Literal["number", "text"]


def number_of(value: Any) -> float | None:
    """The number a JSON value stands for (null is NaN), None where it is text."""
    if value is None:
        return math.nan
    if isinstance(value, (bool, int, float)):
        return max(-LARGEST, min(LARGEST, float(value))) if not math.isnan(value) else math.nan
    return {"nan": math.nan, "inf": LARGEST, "-inf": -LARGEST}.get(value.lower()) if isinstance(value, str) else None


def input_columns(pair_ids: Sequence[str], inputs: Sequence[Mapping[str, Any]]) -> tuple[InputColumn, ...]:
    bound_names = sorted({name for bound in inputs for name in bound})
    if not bound_names:
        raise TrainingError("missing inputs: no pair binds a variable, so there is nothing to learn from")
    # The digest of an image says nothing of what is on it.
    names = [name for name in bound_names if not any(_is_image(bound.get(name)) for bound in inputs)]
    if not names:
        raise TrainingError(
            f"missing inputs: {', '.join(bound_names)}: images alone, which a classifier does not look at"
        )
    for name in names:
        without = [pair_id for pair_id, bound in zip(pair_ids, inputs, strict=True) if name not in bound]
        if without:
            raise TrainingError(
                f"missing inputs: '{name}' is not bound in {len(without)} of {len(pair_ids)} pairs "
                f"(pair {without[0][:12]}); a classifier needs TrainingSheets that bind the same variables"
            )
    return tuple(
        InputColumn(name, "number" if all(number_of(bound[name]) is not None for bound in inputs) else "text")
        for name in names
    )


def _is_image(value: Any) -> bool:
    return isinstance(value, str) and _IMAGE.fullmatch(value) is not None


def _texts(inputs: Sequence[Mapping[str, Any]], columns: Sequence[InputColumn]) -> list[str]:
    """One text an item: the text variable itself, or a line a variable where there are several."""

    def said(value: Any) -> str:
        return "" if value is None else value if isinstance(value, str) else canonical_text(value)

    names = [column.name for column in columns if column.kind == "text"]
    if len(names) == 1:
        return [said(bound[names[0]]) for bound in inputs]
    return ["\n".join(f"{name}: {said(bound[name])}" for name in names) for bound in inputs]


def _numbers(inputs: Sequence[Mapping[str, Any]], columns: Sequence[InputColumn]) -> np.ndarray:
    import numpy as np

    names = [column.name for column in columns if column.kind == "number"]
    values = np.empty((len(inputs), len(names)), dtype=np.float64)
    for row, bound in enumerate(inputs):
        for place, name in enumerate(names):
            value = number_of(bound[name])
            if value is None:
                raise TrainingError(f"item {row + 1}: input '{name}' is a number in training and text here")
            values[row, place] = value
    return values


def _hashed(texts: Sequence[str], kind: str) -> csr_matrix:
    import numpy as np
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(**(WORDS if kind == "words" else CHARACTERS), **HASHED, dtype=np.float64)
    return cast("csr_matrix", vectorizer.transform([text[:MAX_CHARACTERS] for text in texts]))


def _documents_weight(hashed: csr_matrix, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """The hash buckets that occur in enough rows, and their inverse document frequency."""
    import numpy as np

    rows, buckets = hashed.shape
    frequency = np.bincount(hashed.indices, minlength=buckets)
    kept = np.flatnonzero(frequency >= MIN_ROWS[kind])
    return kept, np.log((1 + rows) / (1 + frequency[kept])) + 1


def _weighted(hashed: csr_matrix, kept: np.ndarray, idf: np.ndarray) -> csr_matrix:
    """Sublinear TF-IDF of the kept buckets, rows of length one."""
    import numpy as np
    from scipy.sparse import diags
    from sklearn.preprocessing import normalize

    chosen = hashed[:, kept].tocsr()
    chosen.data = 1 + np.log(chosen.data)
    return cast("csr_matrix", normalize(chosen @ diags(idf)))


def fit_features(
    inputs: Sequence[Mapping[str, Any]], columns: Sequence[InputColumn], features: Features
) -> dict[str, Any]:
    """The fitted arrays that `feature_matrix` needs, of the train split; none for tabular features."""
    import numpy as np

    if features == "tabular":
        return {}
    texts, numbers = _texts(inputs, columns), _numbers(inputs, columns)
    parts: dict[str, Any] = {}
    for kind in MIN_ROWS:
        parts[f"{kind}_kept"], parts[f"{kind}_idf"] = _documents_weight(_hashed(texts, kind), kind)
    known = np.isfinite(numbers)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, numbers, 0).sum(axis=0) / count
    spread = np.sqrt((np.where(known, numbers - mean, 0) ** 2).sum(axis=0) / count)
    return {**parts, "mean": mean, "spread": np.where(spread > 0, spread, 1.0)}


def feature_matrix(
    inputs: Sequence[Mapping[str, Any]],
    columns: Sequence[InputColumn],
    features: Features,
    parts: Mapping[str, Any],
    embed: Embed | None,
) -> np.ndarray | csr_matrix:
    """One row of features an item, in the order of the items.

    Raises:
        TrainingError: an item lacks an input or has text where a number is read; no embedding model for texts.
    """
    import numpy as np
    from scipy.sparse import csr_matrix, hstack
    from sklearn.preprocessing import normalize

    for row, bound in enumerate(inputs):
        if lacking := [column.name for column in columns if column.name not in bound]:
            raise TrainingError(f"missing inputs: item {row + 1} lacks {', '.join(lacking)}")
    numbers = _numbers(inputs, columns)
    if features == "tabular":
        return numbers
    if embed is None:
        raise TrainingError("text features need an embedding model, and none was given")
    texts = _texts(inputs, columns)
    blocks = [csr_matrix(normalize(np.asarray(embed(texts), dtype=np.float64)) * EMBEDDING_SCALE)]
    blocks += [_weighted(_hashed(texts, kind), parts[f"{kind}_kept"], parts[f"{kind}_idf"]) for kind in MIN_ROWS]
    # A value that is not known counts as the mean, one far outside as ten spreads.
    scaled = np.clip(np.nan_to_num((numbers - parts["mean"]) / parts["spread"]), -10, 10)
    return cast("csr_matrix", hstack([*blocks, csr_matrix(scaled)], format="csr"))
