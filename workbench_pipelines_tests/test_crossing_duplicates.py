"""Near-duplicates on two sides are all found: held against the comparison of all with all."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from workbench_pipelines import crossing_duplicates
from workbench_pipelines.crossing_duplicates import crossing_near_duplicates
from workbench_pipelines.duplicates import jaccard, shingles_of
from workbench_pipelines.errors import ExportError

WORDS = st.lists(st.sampled_from("abcdef"), min_size=0, max_size=14).map(" ".join)
TEXTS = st.lists(st.tuples(WORDS, st.sampled_from([1, 2, 3, 4])), max_size=12)


def texts_of(rows: list[tuple[str, int]]) -> pl.DataFrame:
    named = [(str(at), text, sides) for at, (text, sides) in enumerate(rows)]
    return pl.DataFrame(named, schema={"name": pl.String, "text": pl.String, "sides": pl.Int64}, orient="row")


def all_with_all(texts: pl.DataFrame, threshold: float) -> set[tuple[str, str]]:
    rows = texts.rows()
    return {
        (min(one, other), max(one, other))
        for at, (one, text, sides) in enumerate(rows)
        for other, text_2, sides_2 in rows[at + 1 :]
        if (sides != sides_2 or sides.bit_count() > 1)
        and jaccard(shingles_of(text), shingles_of(text_2)) >= threshold - 1e-12
    }


@settings(max_examples=300, deadline=None)
@given(rows=TEXTS, threshold=st.sampled_from([0.5, 0.6, 0.7, 0.75, 0.9, 1.0]))
def test_every_pair_that_crosses_is_found_and_no_other(rows: list[tuple[str, int]], threshold: float) -> None:
    texts = texts_of(rows)
    found = crossing_near_duplicates(texts, threshold)
    assert set(found.select("a", "b").iter_rows()) == all_with_all(texts, threshold)
    assert (found["jaccard"] >= threshold).all()


def test_what_stands_on_one_side_is_not_looked_at() -> None:
    assert crossing_near_duplicates(texts_of([("one and the same", 1)] * 3), 0.7).is_empty()
    assert crossing_near_duplicates(texts_of([]), 0.7).is_empty()


def test_more_than_can_be_compared_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossing_duplicates, "MAX_CANDIDATES", 1)
    with pytest.raises(ExportError, match="too many texts are alike"):
        crossing_near_duplicates(texts_of([("a b c d", 1), ("a b c d", 2), ("a b c d", 1)]), 0.7)


def test_forms_that_share_less_than_that_are_not_compared_all_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossing_duplicates, "MAX_CANDIDATES", 100)
    form = " ".join(f"word{at}" for at in range(60))
    rows = [(f"{form} " + " ".join(f"own{at}x{k}" for k in range(20)), 1 + at % 2) for at in range(200)]
    assert crossing_near_duplicates(texts_of(rows), 0.7).is_empty()  # 58 of 98 shingles are shared by all


@settings(max_examples=200, deadline=None)
@given(
    rows=TEXTS,
    taken=st.lists(st.booleans(), min_size=12, max_size=12),
    masks=st.lists(st.integers(0, 7), min_size=12, max_size=12),
)
def test_an_answer_about_more_counts_for_fewer_texts_on_no_more_sides(
    rows: list[tuple[str, int]], taken: list[bool], masks: list[int]
) -> None:
    crossing_near_duplicates(texts_of(rows), 0.5)
    fewer = [(text, sides & mask) for (text, sides), mask, is_in in zip(rows, masks, taken, strict=False) if is_in]
    asked = texts_of([one for one in fewer if one[1]])
    found = crossing_near_duplicates(asked, 0.5)
    assert set(found.select("a", "b").iter_rows()) == all_with_all(asked, 0.5)
    assert found.columns == ["a", "b", "jaccard"]


def test_the_same_texts_are_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = texts_of([("a b c d e", 1), ("a b c d e f", 2), ("x y z", 1)])
    once = crossing_near_duplicates(texts, 0.7)
    monkeypatch.setattr(crossing_duplicates, "MAX_CANDIDATES", -1)
    assert crossing_near_duplicates(texts, 0.7).equals(once)
    moved = texts.with_columns(sides=pl.lit(3))
    with pytest.raises(ExportError, match="too many texts are alike"):
        crossing_near_duplicates(moved, 0.7)
