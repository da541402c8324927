"""Items that say nearly the same stand in one split, whatever comes later; nobody moves for it."""

from __future__ import annotations

import random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from workbench_pipelines import duplicates
from workbench_pipelines.catalog import SplitSpec
from workbench_pipelines.duplicates import jaccard, shingles_of
from workbench_pipelines.identity import canonical_text
from workbench_pipelines.split_texts import text_of
from workbench_pipelines.splits import Assigned, assign_splits
from workbench_pipelines_tests.export_world import EVERY_SPLIT, NO_LEDGER, frame_of, make_pair
from workbench_pipelines_tests.test_splits import pinned, where

SPEC = SplitSpec(seed=13)
EVEN = SplitSpec(train=0.4, val=0.3, test=0.3, seed=13)
LONG = "the tall grey heron stood quite still in the shallow water of the pond until a fish came near enough"
OTHER = "please send two copies of the signed contract to our office before the end of next week by post"


def says(ref: str, text: str, g: Any = None, **given_: Any) -> dict[str, Any]:
    return make_pair(ref, inputs=canonical_text({"note": text}), attributes=canonical_text({"g": g}), **given_)


def assign(*pairs: dict[str, Any], spec: SplitSpec = SPEC, ledger: pl.DataFrame = NO_LEDGER) -> Assigned:
    return assign_splits(frame_of(*pairs), spec, ledger, assigned_by="c")


def crossing(pairs: list[dict[str, Any]], splits: list[str | None], threshold: float = 0.7) -> list[tuple[str, str]]:
    """Each two used pairs that share so much and stand in two splits, by comparing all with all."""
    known = [
        (pair["item_ref"], split, shingles_of(text_of(pair["inputs"])))
        for pair, split in zip(pairs, splits, strict=True)
    ]
    used = [one for one in known if one[1] is not None]
    return [
        (one, other)
        for at, (one, split, shingles) in enumerate(used)
        for other, split_2, shingles_2 in used[at + 1 :]
        if split != split_2 and jaccard(shingles, shingles_2) >= threshold
    ]


@pytest.mark.parametrize("split", EVERY_SPLIT)
def test_a_new_near_copy_joins_the_split_of_the_old_item(split: str) -> None:
    ledger = pinned(**{"item:s:old": split})
    pairs = [says("old", LONG), says("new", LONG.replace("enough", "by")), says("same", LONG.upper() + "!")]
    assigned = assign(*pairs, ledger=ledger)
    assert where(assigned, *pairs) == [split] * 3
    assert assigned.new_ledger_rows["group"].to_list() == ["item:s:new", "item:s:same"]
    assert assigned.near_duplicates == {"threshold": 0.7, "pairs": 3, "largest_group": 3}


def test_near_copies_fall_together_and_what_is_merely_alike_does_not() -> None:
    spec = SplitSpec(train=0.34, val=0.33, test=0.33, seed=13)
    pairs = [says(f"{at}", LONG + f" {at}") for at in range(20)]
    assert assign(*pairs, spec=spec).splits["split"].n_unique() == 1
    apart = SplitSpec(**{**spec.model_dump(), "near_duplicates": False})
    assert assign(*pairs, spec=apart).splits["split"].n_unique() == 3
    strict = SplitSpec(**{**spec.model_dump(), "near_duplicates": {"threshold": 0.95}})
    assert assign(*pairs, spec=strict).splits["split"].n_unique() == 3


def test_near_copies_that_fall_apart_stand_in_train() -> None:
    pairs = [says(f"{at}", f"{LONG} {at // 2}") for at in range(400)]
    strict = SplitSpec(**{**EVEN.model_dump(), "near_duplicates": {"threshold": 1.0}})
    by_itself = SplitSpec(**{**EVEN.model_dump(), "near_duplicates": False})
    fell, stands = where(assign(*pairs, spec=by_itself), *pairs), where(assign(*pairs, spec=strict), *pairs)
    for at in range(0, 400, 2):
        assert stands[at] == stands[at + 1]
        assert stands[at] in fell[at : at + 2]
        assert ("train" in fell[at : at + 2]) == (stands[at] == "train")


def test_numbers_are_alike_where_they_are_the_same() -> None:
    measured = [make_pair(str(at), inputs=canonical_text({"a": 5.1, "b": 3.5, "c": 1.4 + at / 10})) for at in range(30)]
    assert assign(*measured).splits["group"].n_unique() == 30
    twice = [make_pair(str(at), inputs=canonical_text({"a": 5.1, "b": 3.5, "c": 1.4})) for at in range(30)]
    assert assign(*twice).splits["group"].n_unique() == 1


def test_pairs_that_bind_nothing_stand_alone() -> None:
    assert assign(*(make_pair(str(at), inputs="{}") for at in range(30))).splits["group"].n_unique() == 30


def test_a_near_copy_of_items_in_two_splits_is_quarantined_and_nobody_moves() -> None:
    half = LONG.split()
    one, other = " ".join([*half[:18], "x", "y"]), " ".join(["a", "b", *half[2:]])
    ledger = pinned(**{"item:s:one": "train", "item:s:other": "test"})
    pairs = [says("one", one), says("other", other), says("bridge", LONG), says("aside", one + " too")]
    assert len(crossing(pairs, ["train", "test", "val", "train"])) > 1
    assigned = assign(*pairs, ledger=ledger)
    assert where(assigned, *pairs) == ["train", "test", None, "train"]
    (why,) = assigned.splits["quarantine"].drop_nulls()
    assert why.startswith("near-duplicates of it stand in test and train; nobody moves")
    assert assigned.new_ledger_rows["group"].to_list() == ["item:s:aside"]


def test_new_items_that_would_bridge_only_together_wait_and_those_beside_them_do_not() -> None:
    words = [f"word{at}" for at in range(30)]
    a, v, w, c = (" ".join(words[start : start + 20]) for start in (0, 2, 4, 6))
    ledger = pinned(**{"item:s:a": "train", "item:s:c": "test"})
    pairs = [says("a", a), says("c", c), says("v", v), says("w", w), says("u", a)]
    assigned = assign(*pairs, ledger=ledger)
    assert where(assigned, *pairs) == ["train", "test", None, None, "train"]
    assert assigned.new_ledger_rows["group"].to_list() == ["item:s:u"]


def test_of_near_copies_that_crossed_before_anyone_looked_those_in_test_are_used() -> None:
    ledger = pinned(**{"item:s:a": "train", "item:s:b": "test", "item:s:c": "val", "item:s:d": "train"})
    pairs = [says("a", LONG), says("b", LONG), says("c", LONG + " too"), says("d", OTHER)]
    assigned = assign(*pairs, ledger=ledger)
    assert where(assigned, *pairs) == [None, "test", None, "train"]
    assert assigned.new_ledger_rows.is_empty()
    assert "it stands in train and a near-duplicate of it is used in test" in assigned.splits["quarantine"][0]


def test_a_new_item_whose_group_stands_apart_from_its_near_copy_waits() -> None:
    spec = SplitSpec(seed=13, group_by="g")
    ledger = pinned(**{"item:s:a": "train", "item:s:b": "test"})
    pairs = [says("a", LONG, g="x"), says("b", OTHER, g="y"), says("new", LONG, g="y")]
    assigned = assign(*pairs, spec=spec, ledger=ledger)
    assert where(assigned, *pairs) == ["train", "test", None]
    assert "item:s:new" not in assigned.new_ledger_rows["group"].to_list()
    again = assign(*pairs, spec=spec, ledger=pl.concat([ledger, assigned.new_ledger_rows]))
    assert again.splits.equals(assigned.splits)


def test_a_membership_that_asks_for_another_split_than_its_near_copy_has_is_quarantined() -> None:
    pairs = [says("old", LONG), says("new", LONG, override="test")]
    assert where(assign(*pairs, ledger=pinned(**{"item:s:old": "train"})), *pairs) == ["train", None]
    fresh = assign(*pairs)
    assert where(fresh, *pairs) == ["test", "test"]


def test_what_no_sketch_finds_is_found_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = duplicates.NEAR_DUPLICATES.to_frame()
    monkeypatch.setattr("workbench_pipelines.alike_items.near_duplicates", lambda texts, threshold: empty)
    pairs = [says(f"{at}", LONG + f" {at}") for at in range(20)]
    assert assign(*pairs, spec=EVEN).splits["split"].n_unique() == 1


def test_an_item_whose_text_changes_does_not_move() -> None:
    before = [says("a", LONG), says("b", OTHER)]
    ledger = pinned(**{"item:s:a": "train", "item:s:b": "test"})
    after = [before[0], says("b", LONG)]
    assert where(assign(*after, ledger=ledger), *after) == [None, "test"]
    assert where(assign(*before, ledger=ledger), *before) == ["train", "test"]


WORD = st.sampled_from(["red", "green", "blue"])
TEXT = st.lists(WORD, min_size=3, max_size=7).map(" ".join)
ROW = st.tuples(st.integers(0, 25), TEXT, st.sampled_from([None, "x", "y"]))
BATCHES = st.lists(st.lists(ROW, max_size=10, unique_by=lambda row: row[0]), min_size=1, max_size=5)


@settings(max_examples=150, deadline=None)
@given(batches=BATCHES, grouped=st.booleans(), threshold=st.sampled_from([0.5, 0.7, 1.0]))
def test_adding_rows_moves_nobody_and_no_near_copy_ever_crosses(
    batches: list[list[tuple[int, str, str | None]]], grouped: bool, threshold: float
) -> None:
    spec = SplitSpec(**{**EVEN.model_dump(), "near_duplicates": {"threshold": threshold}})
    spec = spec.model_copy(update={"group_by": "g"}) if grouped else spec
    ledger, seen = NO_LEDGER, {}
    placed: dict[str, str] = {}
    for batch in batches:
        for ref, text, g in batch:
            seen.setdefault(ref, says(str(ref), text, g))
        assigned = assign(*seen.values(), spec=spec, ledger=ledger)
        splits = where(assigned, *seen.values())
        assert crossing(list(seen.values()), splits, threshold) == []
        for pair, split in zip(seen.values(), splits, strict=True):
            if pair["pair_id"] in placed or split is not None:
                assert placed.setdefault(pair["pair_id"], str(split)) == split
        ledger = pl.concat([ledger, assigned.new_ledger_rows])
        again = assign(*seen.values(), spec=spec, ledger=ledger)
        assert again.new_ledger_rows.is_empty()
        assert where(again, *seen.values()) == splits


@settings(max_examples=80, deadline=None)
@given(batches=BATCHES, seed=st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(batches: list[list[tuple[int, str, str | None]]], seed: int) -> None:
    spec = EVEN.model_copy(update={"group_by": "g"})
    pairs = list({ref: says(str(ref), text, g) for batch in batches for ref, text, g in batch}.values())
    ledger = assign(*pairs[::2], spec=spec).new_ledger_rows
    shuffled = random.Random(seed).sample(pairs, len(pairs))
    one, other = assign(*pairs, spec=spec, ledger=ledger), assign(*shuffled, spec=spec, ledger=ledger)
    assert one.splits.sort("pair_id").equals(other.splits.sort("pair_id"))
    assert one.new_ledger_rows.equals(other.new_ledger_rows)
