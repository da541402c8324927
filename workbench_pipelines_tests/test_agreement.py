"""Measures of agreement give the figures of the books, say when they mean nothing, and come with an honest interval."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from workbench_pipelines.agreement import (
    cohen_kappa,
    fleiss_kappa,
    krippendorff_alpha,
    mean_agreement,
    raw_agreement,
)  # fmt: skip

# Krippendorff 2011, Computing Krippendorff's Alpha-Reliability: four observers, twelve units, some not seen by all.
OBSERVERS = [
    "1 2 3 3 2 1 4 1 2 * * *",
    "1 2 3 3 2 2 4 1 2 5 * 3",
    "* 3 3 3 2 3 4 2 2 5 1 *",
    "1 2 3 3 2 4 4 1 2 5 1 *",
]
UNITS = [[int(value) for value in unit if value != "*"] for unit in zip(*(o.split() for o in OBSERVERS), strict=True)]

# Fleiss 1971, table 1: six psychiatrists diagnose thirty patients (1 depression, 2 personality disorder, 3 schizophrenia,
# 4 neurosis, 5 other).
_TOLD = (
    "444444222555233335555555222444113333333355113334114444555555144444124444222333144444224445"
    "333335111455111112224444133555555555244444224555114444144445222224111155224444133333555555"
)
DIAGNOSES = [_TOLD[start : start + 6] for start in range(0, len(_TOLD), 6)]


def crossed(*rows: list[int]) -> list[tuple[int, int]]:
    """Pairs of answers from a table of counts: a row for each answer of the one, a column for each of the other."""
    return [(one, other) for one, row in enumerate(rows) for other, count in enumerate(row) for _ in range(count)]


def test_cohen_s_own_example() -> None:
    # Cohen 1960: two hundred patients; agreement .70, by chance .30 + .09 + .02 = .41, so .29 / .59.
    found = cohen_kappa(crossed([88, 14, 18], [10, 40, 10], [2, 6, 12]))
    assert found.value == pytest.approx(0.29 / 0.59)
    assert found.n == 200
    assert found.low is not None
    assert found.high is not None
    # The large-sample interval of Fleiss, Cohen and Everitt (1969) is .392 to .591.
    assert found.value - found.low == pytest.approx(0.10, abs=0.02)
    assert found.high - found.value == pytest.approx(0.10, abs=0.02)


def test_a_kappa_worked_out_by_hand() -> None:
    # Fifty grants: 20 both yes, 15 both no; agreement .7, by chance .5 * .6 + .5 * .4 = .5.
    assert cohen_kappa(crossed([20, 5], [10, 15])).value == pytest.approx(0.4)
    assert cohen_kappa(crossed([0, 5], [5, 0])).value == pytest.approx(-1)
    assert cohen_kappa(crossed([5, 0], [0, 5])).value == pytest.approx(1)


def test_fleiss_own_example() -> None:
    found = fleiss_kappa(DIAGNOSES)
    assert (found.n, round(found.value or 0, 3)) == (30, 0.430)
    assert raw_agreement(DIAGNOSES).value == pytest.approx(0.556, abs=5e-4)


def test_krippendorff_s_own_example() -> None:
    assert krippendorff_alpha(UNITS).value == pytest.approx(0.743, abs=5e-4)
    assert krippendorff_alpha(UNITS, "interval").value == pytest.approx(0.849, abs=5e-4)
    assert krippendorff_alpha(UNITS).n == 11  # the last unit has one answer, and says nothing


def test_alpha_worked_out_by_hand() -> None:
    # Three units of two: aa, ab, bb. Observed 2/6 apart; expected 2 * 3 * 3 / (6 * 5) = .6.
    assert krippendorff_alpha(["aa", "ab", "bb"]).value == pytest.approx(1 - (2 / 6) / 0.6)
    # Numbers 1 1, 1 3, 3 3: observed 8/6, expected 2 * 9 * 4 / 30.
    assert krippendorff_alpha([[1, 1], [1, 3], [3, 3]], "interval").value == pytest.approx(1 - (8 / 6) / 2.4)


@pytest.mark.parametrize(
    ("measured", "why"),
    [
        (cohen_kappa([]), "no item was answered by two people"),
        (cohen_kappa([("a", "a")] * 9), "both people always gave the same one answer"),
        (fleiss_kappa(["a", "b"]), "no item was answered by two people"),
        (fleiss_kappa(["aaa"] * 9), "everybody always gave the same one answer"),
        (krippendorff_alpha(["a", "b", "c"]), "no item was answered by two people"),
        (krippendorff_alpha(["aa", "aaa"]), "all answers are the same"),
        (krippendorff_alpha([[0.1, 0.1], [0.1, 0.1, 0.1]], "interval"), "all answers are the same"),
        (raw_agreement([]), "no item was answered by two people"),
        (mean_agreement([], "iou"), "no item was answered by two people"),
    ],
)
def test_what_can_not_be_told_says_so_and_is_no_number(measured: Any, why: str) -> None:
    assert (measured.value, measured.low, measured.high, measured.undefined) == (None, None, None, why)


def test_fleiss_takes_the_items_with_the_most_usual_number_of_answers() -> None:
    assert fleiss_kappa(["aab", "bbb", "ab", "abb"]).n == 3
    assert fleiss_kappa(["aab", "ab"]).n == 1


def test_one_item_has_a_value_and_no_interval() -> None:
    found = krippendorff_alpha(["ab"])
    assert found.value == pytest.approx(0)
    assert (found.low, found.high) == (None, None)


def test_the_same_answers_give_the_same_interval_and_more_of_them_a_narrower_one() -> None:
    drawn = random.Random(1)
    few = [("yes" if drawn.random() < 0.6 else "no", "yes" if drawn.random() < 0.5 else "no") for _ in range(40)]
    once, again, many = cohen_kappa(few), cohen_kappa(few), cohen_kappa(few * 25)
    assert once == again
    assert (many.high or 0) - (many.low or 0) < ((once.high or 0) - (once.low or 0)) / 4


ANSWERS = st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=1, max_size=30)


@given(ANSWERS)
@settings(max_examples=60, deadline=None)
def test_cohen_s_kappa_is_that_of_scikit_learn(pairs: list[tuple[str, str]]) -> None:
    import warnings

    from sklearn.metrics import cohen_kappa_score

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where it is undefined, and gives no number
        expected = cohen_kappa_score(*zip(*pairs, strict=True))
    found = cohen_kappa(pairs).value
    assert (expected != expected) if found is None else found == pytest.approx(expected)


@given(st.lists(st.lists(st.integers(0, 4), max_size=4), max_size=12), st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_who_answered_first_and_what_the_answers_are_called_changes_nothing(
    items: list[list[int]], shuffled: Any
) -> None:
    mixed = [shuffled.sample(values, len(values)) for values in shuffled.sample(items, len(items))]
    renamed = [[f"class {value}" for value in values] for values in mixed]
    moved = [[value * 10 + 1_000_000.0 for value in values] for values in mixed]
    for first, second in (
        (krippendorff_alpha(items), krippendorff_alpha(renamed)),
        (fleiss_kappa(items), fleiss_kappa(renamed)),
        (krippendorff_alpha(items, "interval"), krippendorff_alpha(moved, "interval")),
    ):
        assert (first.n, first.undefined) == (second.n, second.undefined)
        assert first.value == (None if second.value is None else pytest.approx(second.value))
        assert first.value is None or first.value <= 1 + 1e-12
