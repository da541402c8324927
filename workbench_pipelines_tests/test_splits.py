"""Groups of items get a split once: nothing moves them, and no item is ever in two."""

from __future__ import annotations

import json
import random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from workbench_pipelines.catalog import SplitSpec
from workbench_pipelines.errors import ExportError
from workbench_pipelines.identity import canonical_text, digest
from workbench_pipelines.splits import SPLIT_ASSIGNMENTS, Assigned, assign_splits
from workbench_pipelines_tests.export_world import EVERY_SPLIT, NO_LEDGER, frame_of, make_pair

BY_G = SplitSpec(group_by="g", seed=13)


def item(ref: str, g: Any = None, training_sheet: str = "ts", **given_: Any) -> dict[str, Any]:
    return make_pair(ref, training_sheet, attributes=canonical_text({"g": g}), **given_)


def assign(*pairs: dict[str, Any], spec: SplitSpec = BY_G, ledger: pl.DataFrame = NO_LEDGER) -> Assigned:
    return assign_splits(frame_of(*pairs), spec, ledger, assigned_by="c")


def where(assigned: Assigned, *pairs: dict[str, Any]) -> list[str | None]:
    found = dict(assigned.splits.select("pair_id", "split").iter_rows())
    return [found[pair["pair_id"]] for pair in pairs]


def pinned(**split_by_token: str) -> pl.DataFrame:
    rows = [(token, 13, split, "earlier") for token, split in split_by_token.items()]
    return pl.DataFrame(rows, schema=SPLIT_ASSIGNMENTS, orient="row")


def test_shares_come_out_as_asked_for() -> None:
    splits = assign(*(item(str(at)) for at in range(2_000)), spec=SplitSpec()).splits["split"].to_list()
    assert [round(splits.count(name) / 2_000, 1) for name in EVERY_SPLIT] == [0.8, 0.1, 0.1]


def test_a_split_with_no_share_gets_nothing() -> None:
    only = SplitSpec(train=0.7, val=0.3, test=0.0)
    assert set(assign(*(item(str(at)) for at in range(500)), spec=only).splits["split"]) == {"train", "val"}


def test_pairs_of_one_item_stay_together_whatever_their_training_sheet() -> None:
    pairs = [item(str(at), training_sheet=sheet) for at in range(50) for sheet in ("one", "two")]
    assigned = assign(*pairs)
    for first, second in zip(pairs[::2], pairs[1::2], strict=True):
        assert len(set(where(assigned, first, second))) == 1


def test_items_of_one_group_stay_together_and_items_without_a_value_stand_alone() -> None:
    grouped = assign(*(item(str(at), g=7) for at in range(30)))
    assert grouped.splits["group"].n_unique() == 1
    assert grouped.splits["split"].n_unique() == 1
    assert assign(*(item(str(at), g=None) for at in range(30))).splits["group"].n_unique() == 30


def test_a_group_is_found_in_the_inputs_where_attributes_do_not_name_it() -> None:
    pairs = [make_pair(ref, attributes="{}", inputs=canonical_text({"g": "x"})) for ref in "abc"]
    assert assign(*pairs).splits["group"].n_unique() == 1


def test_the_ledger_holds_no_value_and_a_tag_changes_no_token() -> None:
    plain = assign(item("a", g="Jane Roe")).new_ledger_rows["group"].to_list()
    tagged = assign(item("a", g=f"sha256:{digest('Jane Roe')}")).new_ledger_rows["group"].to_list()
    bound = assign(make_pair("a", inputs=canonical_text({"g": "Jane Roe"}))).new_ledger_rows["group"].to_list()
    assert plain == tagged == bound == [f"by:g:sha256:{digest('Jane Roe')}", "item:s:a"]


def test_a_new_item_joins_the_split_of_its_group() -> None:
    for split in EVERY_SPLIT:
        ledger = pinned(**{f"by:g:sha256:{digest('x')}": split})
        assert where(assign(item("new", g="x"), ledger=ledger), item("new")) == [split]


def test_a_pair_that_would_bridge_two_splits_is_quarantined_and_nobody_moves() -> None:
    ledger = pinned(**{"item:s:a": "train", "item:s:b": "test"})
    pairs = [item("a", g="x"), item("b", g="x"), item("new", g="x")]
    assigned = assign(*pairs, ledger=ledger)
    assert where(assigned, *pairs) == ["train", None, None]
    apart, bridges = assigned.splits["quarantine"].drop_nulls()
    assert apart == "it stands in test and its group is used in train; nobody moves"
    assert "would bridge test and train" in bridges
    assert assigned.new_ledger_rows["split"].to_list() == ["train"]  # of the group alone: no item moves


def test_a_group_by_that_comes_later_tears_no_group_apart() -> None:
    pairs = [item(str(at), g=str(at % 5)) for at in range(60)]
    before = assign(*pairs, spec=SplitSpec(seed=13))
    after = assign(*pairs, ledger=before.new_ledger_rows)
    used = after.splits.filter(pl.col("split").is_not_null()).join(frame_of(*pairs), on="pair_id")
    values = used.with_columns(pl.col("attributes").str.json_path_match("$.g").alias("g"))
    assert values.group_by("g").agg(pl.col("split").n_unique())["split"].max() == 1
    own = before.splits.join(after.splits, on="pair_id").filter(pl.col("split_right").is_not_null())
    assert (own["split"] == own["split_right"]).all()
    again = assign(*pairs, ledger=pl.concat([before.new_ledger_rows, after.new_ledger_rows]))
    assert again.splits.equals(after.splits)
    assert again.new_ledger_rows.is_empty()


def test_ledger_rows_are_new_once_and_name_the_collection() -> None:
    first = assign(item("a", g="x"))
    assert first.new_ledger_rows["assigned_by"].to_list() == ["c", "c"]
    assert first.new_ledger_rows.schema == SPLIT_ASSIGNMENTS
    assert assign(item("a", g="x"), ledger=first.new_ledger_rows).new_ledger_rows.is_empty()


def test_collections_with_one_seed_agree_and_other_seeds_draw_anew() -> None:
    pairs = [item(str(at)) for at in range(200)]
    one, other = (assign_splits(frame_of(*pairs), BY_G, NO_LEDGER, assigned_by=name).splits for name in ("a", "b"))
    assert one["split"].equals(other["split"])
    third = assign(*pairs, spec=SplitSpec(seed=14), ledger=assign(*pairs).new_ledger_rows)
    assert where(third, *pairs) != one["split"].to_list()


def test_a_membership_may_ask_for_a_split_and_its_group_follows() -> None:
    pairs = [item("a", g="x", override="test"), item("b", g="x", training_sheet="other")]
    assigned = assign(*pairs)
    assert where(assigned, *pairs) == ["test", "test"]
    assert set(assigned.new_ledger_rows["split"]) == {"test"}


def test_a_membership_that_asks_for_another_split_than_the_ledgers_is_quarantined() -> None:
    pairs = [item("a", override="test"), item("a", training_sheet="other")]
    assigned = assign(*pairs, ledger=pinned(**{"item:s:a": "train"}))
    assert where(assigned, *pairs) == [None, "train"]
    assert "asks for test, its item stands in train" in assigned.splits["quarantine"][0]


def test_members_that_ask_for_two_splits_for_one_item_get_none() -> None:
    pairs = [item("a", override="test"), item("a", training_sheet="other", override="train")]
    assigned = assign(*pairs)
    assert where(assigned, *pairs) == [None, None]
    assert assigned.new_ledger_rows.is_empty()


def test_a_ledger_with_a_token_in_two_splits_is_refused() -> None:
    twice = pl.concat([pinned(**{"item:s:a": "train"}), pinned(**{"item:s:a": "test"})])
    with pytest.raises(ExportError, match="'item:s:a' stands in two splits under seed 13"):
        assign(item("a"), ledger=twice)


def test_deviation_is_reported_per_stratum_and_moves_nobody() -> None:
    pairs = [item(str(at), g="even" if at % 2 == 0 else None) for at in range(100)]
    plain = assign(*pairs, spec=SplitSpec(seed=13))
    spread = assign(*pairs, spec=SplitSpec(seed=13, stratify_by="g"))
    assert where(plain, *pairs) == where(spread, *pairs)
    assert spread.deviation["strata"].keys() == {"even", "(none)"}
    assert spread.deviation["strata"]["even"]["pairs"] == 50
    assert sum(spread.deviation["overall"][split] for split in EVERY_SPLIT) == pytest.approx(0)


def test_a_stratum_of_restricted_rows_is_named_by_its_digest() -> None:
    hidden = assign(item("a", g="oncology", data_classification="restricted"), spec=SplitSpec(stratify_by="g"))
    assert list(hidden.deviation["strata"]) == [f"sha256:{digest('oncology')}"]


ROW = st.tuples(st.integers(0, 12), st.sampled_from([None, "x", "y", "z"]), st.sampled_from(["one", "two"]))
ROWS = st.lists(ROW, max_size=14, unique_by=lambda row: (row[0], row[2]))


def built(rows: list[tuple[int, str | None, str]], override: str | None = None) -> list[dict[str, Any]]:
    return [item(str(ref), g=g, training_sheet=sheet, override=override) for ref, g, sheet in rows]


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(ROWS, min_size=1, max_size=4), override=st.sampled_from([None, "train", "test"]))
def test_adding_rows_never_moves_a_pair_and_no_item_is_ever_in_two_splits(
    batches: list[list[tuple[int, str | None, str]]], override: str | None
) -> None:
    ledger = NO_LEDGER
    seen: dict[str, dict[str, Any]] = {}
    split_of_item: dict[str, str] = {}
    placed: set[str] = set()
    for number, batch in enumerate(batches):
        for pair in built(batch, override if number % 2 else None):
            seen.setdefault(pair["pair_id"], pair)
        before = ledger
        assigned = assign(*seen.values(), ledger=ledger)
        split_of_value: dict[str, str] = {}
        for pair, split in zip(seen.values(), assigned.splits["split"], strict=True):
            if split is not None:
                placed.add(pair["pair_id"])
                assert split_of_item.setdefault(pair["item_ref"], split) == split
                if (value := json.loads(pair["attributes"]).get("g")) is not None:
                    assert split_of_value.setdefault(value, split) == split
            else:
                assert pair["pair_id"] not in placed  # who has a place keeps it
        ledger = pl.concat([ledger, assigned.new_ledger_rows])
        assert ledger.head(before.height).equals(before)
        assert not ledger["group"].is_duplicated().any()


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, later=ROWS, seed=st.integers(0, 99))
def test_the_order_of_rows_does_not_matter(
    rows: list[tuple[int, str | None, str]], later: list[tuple[int, str | None, str]], seed: int
) -> None:
    ledger = assign(*built(rows)).new_ledger_rows
    pairs = built(later)
    shuffled = random.Random(seed).sample(pairs, len(pairs))
    one, other = (
        assign(*pairs, ledger=ledger),
        assign(*shuffled, ledger=ledger.sample(fraction=1, shuffle=True, seed=seed)),
    )
    assert one.splits.sort("pair_id").equals(other.splits.sort("pair_id"))
    assert one.new_ledger_rows.equals(other.new_ledger_rows)
    assert one.deviation == other.deviation
