"""Samples do not depend on row order, and n new rows replace at most n items."""

from __future__ import annotations

import random

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from workbench_pipelines.catalog import SampleSpec
from workbench_pipelines.errors import DefinitionError
from workbench_pipelines.samples import sample_items

strata = st.sampled_from(["a", "b", "c", "d", None])
sheets = st.lists(strata, min_size=1, max_size=60)


def items(groups: list[str | None], start: int = 0) -> pl.DataFrame:
    refs = [str(start + n) for n in range(len(groups))]
    return pl.DataFrame({"item_ref": refs, "group": groups}, schema={"item_ref": pl.String, "group": pl.String})


def chosen(frame: pl.DataFrame, sample: SampleSpec) -> set[str]:
    return set(sample_items(frame, sample, "sheets/a.yaml")["item_ref"])


def by_group(size: int, seed: int = 0) -> SampleSpec:
    return SampleSpec(size=size, method="stratified", by="group", seed=seed)


def test_no_sample_takes_every_row() -> None:
    assert sample_items(items(["a", "b"]), None, "x").height == 2


def test_head_takes_the_first_rows_in_source_order() -> None:
    taken = sample_items(items(["a"] * 5), SampleSpec(size=2, method="head"), "x")
    assert taken["item_ref"].to_list() == ["0", "1"]


def test_a_sample_keeps_the_source_order() -> None:
    frame = items(["a"] * 50)[::-1]
    taken = sample_items(frame, SampleSpec(size=20), "x")["item_ref"].to_list()
    assert taken == [ref for ref in frame["item_ref"] if ref in set(taken)]


def test_another_seed_takes_other_items() -> None:
    frame = items(["a"] * 100)
    assert chosen(frame, SampleSpec(size=10, seed=1)) != chosen(frame, SampleSpec(size=10, seed=2))


def test_strata_get_their_share() -> None:
    frame = items(["a"] * 60 + ["b"] * 30 + [None] * 10)
    counts = sample_items(frame, by_group(10), "x")["group"].value_counts()
    assert dict(counts.iter_rows()) == {"a": 6, "b": 3, None: 1}


def test_a_missing_stratum_column_is_named_with_the_nearest() -> None:
    with pytest.raises(
        DefinitionError, match=r"^sheets/a.yaml: sample.by: unknown column 'grop'; did you mean 'group'\?$"
    ):
        sample_items(items(["a"]), SampleSpec(size=9, method="stratified", by="grop"), "sheets/a.yaml")


def test_a_list_is_no_stratum() -> None:
    frame = items(["a", "b"]).with_columns(pl.concat_list("group").alias("groups"))
    with pytest.raises(DefinitionError, match="'groups' holds lists"):
        sample_items(frame, SampleSpec(size=1, method="stratified", by="groups"), "x")


@given(sheets, st.integers(1, 40), st.integers(0, 3), st.randoms(use_true_random=False))
@settings(max_examples=60)
def test_a_sample_does_not_depend_on_row_order(
    groups: list[str | None], size: int, seed: int, shuffle: random.Random
) -> None:
    frame = items(groups)
    order = list(range(frame.height))
    shuffle.shuffle(order)
    for sample in (SampleSpec(size=size, seed=seed), by_group(size, seed)):
        assert chosen(frame[order], sample) == chosen(frame, sample)
        assert len(chosen(frame, sample)) == min(size, frame.height)


@given(sheets, st.lists(strata, min_size=1, max_size=10), st.integers(1, 60), st.integers(0, 3))
@settings(max_examples=150)
def test_new_rows_replace_at_most_as_many_items(
    groups: list[str | None], new: list[str | None], size: int, seed: int
) -> None:
    before = items(groups)
    after = pl.concat([before, items(new, start=1000)])
    for sample in (SampleSpec(size=size, seed=seed), by_group(size, seed)):
        assert len(chosen(after, sample) - chosen(before, sample)) <= len(new)
        assert len(chosen(before, sample) - chosen(after, sample)) <= len(new)


@given(sheets, st.integers(1, 60))
@settings(max_examples=60)
def test_the_items_of_a_stratum_are_those_a_random_sample_of_it_would_take(groups: list[str | None], size: int) -> None:
    frame = items(groups)
    taken = sample_items(frame, by_group(size), "x")
    for group in set(groups):
        alone = frame.filter(pl.col("group").eq_missing(pl.lit(group)))
        seats = taken.filter(pl.col("group").eq_missing(pl.lit(group)))
        if seats.height:
            assert set(seats["item_ref"]) == chosen(alone, SampleSpec(size=seats.height))
