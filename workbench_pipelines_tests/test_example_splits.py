"""An example that is not in train says where: what it is told before the first export is what the export then assigns."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, strategies as st

from workbench_pipelines.catalog import SplitSpec
from workbench_pipelines.errors import DefinitionError
from workbench_pipelines.example_splits import Taker, held_out, taker_of, takers_of
from workbench_pipelines.identity import canonical_text
from workbench_pipelines.split_tokens import group_token, item_token
from workbench_pipelines.splits import SPLIT_ASSIGNMENTS, assign_splits
from workbench_pipelines_tests.definition_world import make_catalog, make_document
from workbench_pipelines_tests.export_world import make_collection

NOTHING = SPLIT_ASSIGNMENTS.to_frame()


def rows(*items: tuple[str, str | None], grouped_by: tuple[str, ...] = ("ward",)) -> pl.DataFrame:
    """Items with the ward they are grouped by, or none."""
    return pl.DataFrame(
        [
            {
                "sheet": "s",
                "item_ref": ref,
                "group_tokens": [group_token("ward", ward)] if ward is not None else [],
                "grouped_by": list(grouped_by),
            }
            for ref, ward in items
        ],
        schema={
            "sheet": pl.String,
            "item_ref": pl.String,
            "group_tokens": pl.List(pl.String),
            "grouped_by": pl.List(pl.String),
        },
    )


def taker(overrides: dict[str, set[str]] | None = None, **splits: Any) -> Taker:
    return Taker(make_collection(splits=splits), {s: frozenset(o) for s, o in (overrides or {}).items()})


def ledger(**splits: str) -> pl.DataFrame:
    found = [{"group": item_token("s", ref), "seed": 0, "split": split} for ref, split in splits.items()]
    return pl.DataFrame(found, schema=SPLIT_ASSIGNMENTS)


ITEMS = st.dictionaries(
    st.text("abc", min_size=1, max_size=3),
    st.one_of(st.none(), st.sampled_from(["n", "w", "sha"])),
    min_size=1,
    max_size=9,
)


@given(items=ITEMS, known=st.integers(0, 9), seed=st.integers(0, 3), grouped=st.booleans())
def test_what_is_told_before_an_export_is_what_it_assigns(
    items: dict[str, str | None], known: int, seed: int, grouped: bool
) -> None:
    spec = SplitSpec(train=0.4, val=0.3, test=0.3, seed=seed, group_by="ward" if grouped else None)
    pairs = pl.DataFrame(
        [
            {
                "pair_id": ref,
                "sheet": "s",
                "item_ref": ref,
                "attributes": canonical_text({"ward": ward}),
                "inputs": "{}",
            }
            for ref, ward in items.items()
        ]
    )
    # An earlier export of some of the items, which the ledger remembers.
    assigned = assign_splits(pairs.head(known), spec, NOTHING).new_ledger_rows if known else NOTHING
    told = held_out(rows(*items.items()), [Taker(make_collection(splits=spec.model_dump()), {})], assigned)
    placed = dict(assign_splits(pairs, spec, assigned).splits.select("pair_id", "split").iter_rows())
    assert [one is None for one in told] == [placed[ref] == "train" for ref in items]


def test_what_the_ledger_says_of_an_item_or_its_group_decides() -> None:
    group = pl.DataFrame([{"group": group_token("ward", "7b"), "seed": 0, "split": "test"}], schema=SPLIT_ASSIGNMENTS)
    told = pl.concat([ledger(a="train", b="val", c="train"), group])
    asked = rows(("a", None), ("b", None), ("c", "7b"), ("d", "7b"))
    assert held_out(asked, [taker(train=1, val=0, test=0, group_by="ward")], told) == [None, "c", "c", "c"]
    assert held_out(asked, [taker(train=1, val=0, test=0)], told) == [None, "c", None, None]
    assert held_out(asked, [taker(train=1, val=0, test=0, seed=5)], told) == [None] * 4


def test_memberships_count_and_in_doubt_an_example_is_out() -> None:
    asked = rows(("a", None), ("b", "7b"))
    all_train = {"train": 1, "val": 0, "test": 0, "group_by": "ward"}
    assert held_out(asked, [taker({"s": {"test"}}, **all_train)], NOTHING) == ["c", "c"]
    assert held_out(asked, [taker({"s": {"train", "val"}}, **all_train)], ledger(a="train")) == ["c", "c"]
    # A group may follow a member of another Sheet; an item without a group can not.
    assert held_out(asked, [taker({"other": {"test"}}, **all_train)], NOTHING) == [None, "c"]
    nowhere = {"train": 0, "val": 0, "test": 1, "group_by": "ward"}
    assert held_out(asked, [taker({"s": {"train"}}, **nowhere)], NOTHING) == [None, None]


def test_one_collection_of_several_is_enough() -> None:
    told = held_out(rows(("a", None)), [taker(train=1, val=0, test=0), taker(train=0, val=1, test=0)], NOTHING)
    assert told == ["c"]


def test_a_store_older_than_a_grouping_says_so() -> None:
    with pytest.raises(DefinitionError, match="groups by 'ward', and its example store was made before that"):
        held_out(rows(("a", None), grouped_by=()), [taker(group_by="ward")], NOTHING)


def test_every_collection_that_takes_the_pairs_is_asked_the_own_one_too() -> None:
    members = [{"training_sheet": "ts", "split": "val"}, {"training_sheet": "gone", "split": "test"}]
    catalog = make_catalog(
        make_document("TrainingSheet", "ts", sheet="s", template="t"),
        make_document("TrainingSheet", "other", sheet="s", template="t"),
        make_document("Collection", "c", members=members),
        make_document("Collection", "d", members=[{"training_sheet": "other"}]),
        make_document("Collection", "broken", members=[{"training_sheet": "ts"}], splits={"train": 2}),
    )
    assert [one.collection.name for one in takers_of(catalog, "ts")] == ["c", "ts"]
    assert taker_of(catalog, catalog.collection("c")).overrides == {"s": frozenset({"val"})}
