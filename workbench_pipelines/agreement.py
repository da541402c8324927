"""Agreement: how far several people who label the same items say the same, beyond what chance would give.

Cohen's kappa for two people (Cohen 1960, A coefficient of agreement for nominal scales), Fleiss' kappa for a fixed number
of answers an item (Fleiss 1971, Measuring nominal scale agreement among many raters), Krippendorff's alpha for any number
of them (Krippendorff 2004, Content Analysis; Hayes & Krippendorff 2007, Answering the call for a standard reliability
measure for coding data). Each comes with the number of items behind it and an interval, and says why where it is undefined:
0 and 1 are findings, and "everybody always said the same one thing" is none.

They are written here since the library of alpha is under the GPL, that of Fleiss' kappa brings a statistics suite along, and
none of them has intervals; a test holds them against the published examples and against scikit-learn's Cohen's kappa.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")
Level = Literal["nominal", "interval"]
Values = Sequence[Any]
"""The answers that one item got, each by another person; an answer that is missing is left out."""

SEED = 7
DRAWS = 1_000  # what Efron and Tibshirani (1993) ask for an interval of percentiles
MANY_ITEMS, DRAWS_OF_MANY = 10_000, 200  # the interval of so many items is narrow, and each draw goes through all
CONFIDENCE = 0.95
_CHUNK_CELLS = 2_000_000  # of the draws that are in memory at one time


@dataclass(frozen=True)
class Measured:
    """A measure of agreement over `n` items, with the interval that a bootstrap of the items gives.

    `value` is None where the measure is undefined, with the reason in `undefined`; the interval is None also where no draw
    of the items gives one.
    """

    measure: str
    n: int
    value: float | None
    low: float | None = None
    high: float | None = None
    undefined: str | None = None


def raw_agreement(items: Sequence[Values], seed: int = SEED) -> Measured:
    """The share of pairs of answers that are equal, as the mean over the items that got two answers or more."""
    import numpy as np

    shared, counts = _patterns(_shared(items))
    if not shared:
        return Measured("raw", 0, None, undefined=_NOT_SHARED)
    rows = np.array([[_equal_share(values)] for values in shared])
    return _measured("raw", rows, counts, lambda s, n: s[:, 0] / n, "", seed)


def mean_agreement(shares: Sequence[float], measure: str, seed: int = SEED) -> Measured:
    """The mean over items of an agreement that was found item by item: an overlap of boxes, a likeness of texts."""
    import numpy as np

    if not shares:
        return Measured(measure, 0, None, undefined=_NOT_SHARED)
    found, counts = _counted(shares)
    return _measured(measure, np.array(found, float)[:, None], counts, lambda s, n: s[:, 0] / n, "", seed)


def cohen_kappa(pairs: Sequence[tuple[Any, Any]], seed: int = SEED) -> Measured:
    """Cohen's kappa of two people, from what the one and the other said of each item that both answered."""
    import numpy as np

    if not pairs:
        return Measured("cohen", 0, None, undefined=_NOT_SHARED)
    places = _places(value for pair in pairs for value in pair)
    size = len(places)
    if size > MOST_CATEGORIES:
        return _no_categories("cohen", len(pairs), size)
    patterns, counts = _counted([(one, other) for one, other in pairs])
    rows = np.zeros((len(patterns), 1 + 2 * size))
    for row, (one, other) in zip(rows, patterns, strict=True):
        row[0] = one == other
        row[1 + places[one]] = row[1 + size + places[other]] = 1

    def kappa(sums: np.ndarray, n: int) -> np.ndarray:
        chance = (sums[:, 1 : 1 + size] * sums[:, 1 + size :]).sum(axis=1) / n**2
        return _beyond(sums[:, 0] / n, chance)

    return _measured("cohen", rows, counts, kappa, "both people always gave the same one answer", seed)


def fleiss_kappa(items: Sequence[Values], seed: int = SEED) -> Measured:
    """Fleiss' kappa over the items with the most usual number of answers: it asks for as many of each.

    Which people answered may differ from item to item.
    """
    import numpy as np

    shared = _shared(items)
    if not shared:
        return Measured("fleiss", 0, None, undefined=_NOT_SHARED)
    numbers = [len(values) for values in shared]
    # Of two that are as usual, the one with more answers.
    usual = max(set(numbers), key=lambda number: (numbers.count(number), number))
    chosen = [values for values in shared if len(values) == usual]
    places = _places(value for values in chosen for value in values)
    if len(places) > MOST_CATEGORIES:
        return _no_categories("fleiss", len(chosen), len(places))
    patterns, counts = _patterns(chosen)
    rows = np.zeros((len(patterns), 1 + len(places)))
    for row, values in zip(rows, patterns, strict=True):
        row[0] = _equal_share(values)
        for value in values:
            row[1 + places[value]] += 1 / usual

    def kappa(sums: np.ndarray, n: int) -> np.ndarray:
        return _beyond(sums[:, 0] / n, ((sums[:, 1:] / n) ** 2).sum(axis=1))

    return _measured("fleiss", rows, counts, kappa, "everybody always gave the same one answer", seed)


def krippendorff_alpha(items: Sequence[Values], level: Level = "nominal", seed: int = SEED) -> Measured:
    """Krippendorff's alpha over the items that got two answers or more, however many each of them got.

    Args:
        level: `interval` takes the answers for numbers, and a disagreement by how far they are apart.
    """
    name = f"alpha_{level}"
    shared = _shared(items)
    if not shared:
        return Measured(name, 0, None, undefined=_NOT_SHARED)
    categories = len({value for values in shared for value in values}) if level == "nominal" else 0
    if categories > MOST_CATEGORIES:
        return _no_categories(name, len(shared), categories)
    patterns, counts = _patterns(shared)
    rows = _interval_rows(patterns) if level == "interval" else _nominal_rows(patterns)

    def alpha(sums: np.ndarray, n: int) -> np.ndarray:
        import numpy as np

        observed, answers = sums[:, 0], sums[:, 1]
        if level == "interval":
            apart = 2 * answers * sums[:, 3] - 2 * sums[:, 2] ** 2
        else:
            apart = answers**2 - (sums[:, 2:] ** 2).sum(axis=1)
        expected = apart / (answers - 1)
        # What is left of equal numbers by rounding is no spread.
        spread = expected > 1e-12 * np.maximum(answers, 1)
        return np.where(spread, 1 - observed / np.where(spread, expected, 1), np.nan)

    return _measured(name, rows, counts, alpha, "all answers are the same", seed)


_NOT_SHARED = "no item was answered by two people"
# Answers of which nearly each is another one are no categories, and chance agreement among them means nothing.
MOST_CATEGORIES = 500


def _no_categories(name: str, n: int, found: int) -> Measured:
    return Measured(name, n, None, undefined=f"{found} different answers are no categories")


def _nominal_rows(shared: Sequence[Values]) -> np.ndarray:
    """Of each item its disagreement, its number of answers, and how many of each value there are."""
    import numpy as np

    places = _places(value for values in shared for value in values)
    rows = np.zeros((len(shared), 2 + len(places)))
    for row, values in zip(rows, shared, strict=True):
        row[0] = len(values) * (1 - _equal_share(values))
        row[1] = len(values)
        for value in values:
            row[2 + places[value]] += 1
    return rows


def _interval_rows(shared: Sequence[Values]) -> np.ndarray:
    """Of each item its disagreement, its number of answers, their sum and the sum of their squares."""
    import numpy as np

    # Alpha does not depend on where zero is; near the middle squares lose no digits.
    middle = float(np.mean([float(value) for values in shared for value in values]))
    rows = np.zeros((len(shared), 4))
    for row, values in zip(rows, shared, strict=True):
        numbers = np.array([float(value) - middle for value in values])
        total, squares = numbers.sum(), (numbers**2).sum()
        row[:] = (2 * len(values) * squares - 2 * total**2) / (len(values) - 1), len(values), total, squares
    return rows


def _measured(
    name: str,
    rows: np.ndarray,
    counts: Sequence[int],
    statistic: Callable[[np.ndarray, int], np.ndarray],
    undefined: str,
    seed: int,
) -> Measured:
    """A statistic of column sums, of all items and of as many drawn with replacement; `counts` items have each row."""
    import numpy as np

    n = sum(counts)
    value = float(statistic((np.array(counts, float) @ rows)[None, :], n)[0])
    if not np.isfinite(value):
        return Measured(name, n, None, undefined=undefined)
    random = np.random.default_rng(seed)
    draws = DRAWS if n <= MANY_ITEMS else DRAWS_OF_MANY
    step = max(1, _CHUNK_CELLS // n)
    found = []
    for start in range(0, draws, step):
        size = min(step, draws - start)
        if 2 * len(rows) < n:
            weights = random.multinomial(n, np.array(counts) / n, size=size)
        else:  # of rows that hardly any two items share, drawing the items one by one is faster
            of_item = np.repeat(np.arange(len(rows)), counts)
            picks = of_item[random.integers(n, size=(size, n))]
            weights = np.stack([np.bincount(pick, minlength=len(rows)) for pick in picks])
        found.append(statistic(weights.astype(float) @ rows, n))
    drawn = np.concatenate(found)
    drawn = drawn[np.isfinite(drawn)]
    if n < 2 or not drawn.size:
        return Measured(name, n, value)
    low, high = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Measured(name, n, value, float(low), float(high))


def _beyond(observed: np.ndarray, chance: np.ndarray) -> np.ndarray:
    """How much of what chance leaves open is agreed on; not a number where it leaves nothing."""
    import numpy as np

    open_ = 1 - chance
    some = open_ > 1e-12
    return np.where(some, (observed - chance) / np.where(some, open_, 1), np.nan)


def _counted(values: Sequence[T]) -> tuple[list[T], list[int]]:
    """Each different value, and how often it is there: many items are answered alike."""
    counts = Counter(values)
    return list(counts), list(counts.values())


def _patterns(items: Sequence[Values]) -> tuple[list[tuple[Any, ...]], list[int]]:
    """The different sets of answers that items got, whoever gave them, and how many items got each."""
    return _counted([tuple(sorted(values, key=lambda value: (str(type(value)), value))) for values in items])


def _shared(items: Sequence[Values]) -> list[Values]:
    return [values for values in items if len(values) > 1]


def _equal_share(values: Values) -> float:
    counts: dict[Any, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    return sum(count * (count - 1) for count in counts.values()) / (len(values) * (len(values) - 1))


def _places(values: Any) -> dict[Any, int]:
    return {value: place for place, value in enumerate(dict.fromkeys(values))}
