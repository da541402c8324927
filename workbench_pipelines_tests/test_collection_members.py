"""What a Collection takes: by filter, each equal pair once, with weight and split, in as many Collections as want it."""

from __future__ import annotations

from typing import Any

import pytest

from workbench_pipelines.errors import ExportError, FilterError
from workbench_pipelines.identity import canonical_text, digest
from workbench_pipelines.member_filters import chosen_pairs, filter_columns
from workbench_pipelines_tests.export_world import frame_of, make_collection, make_export, make_pair, many_pairs

ASKED = [{"role": "user", "content": "Is it right?", "parts": None}]


def about(ref: str, training_sheet: str = "ts", **attributes: Any) -> dict[str, Any]:
    return make_pair(ref, training_sheet, attributes=canonical_text(attributes))


def chosen(condition: str, *pairs: dict[str, Any]) -> list[str]:
    collection = make_collection({"training_sheet": "ts", "filter": condition}, "other")
    return chosen_pairs(collection, frame_of(*pairs))["item_ref"].to_list()


def test_a_membership_takes_the_pairs_whose_items_meet_its_condition() -> None:
    pairs = [
        about("a", total=5, ward="x"),
        about("b", total=12.5, ward=None),
        about("c", "other"),
        about("d", total=20),
    ]
    assert chosen("total > 10", *pairs) == ["b", "c", "d"]
    assert chosen("total > 10 AND ward IS NULL", *pairs) == ["b", "c", "d"]
    assert chosen("ward = 'x'", *pairs) == ["a", "c"]
    assert chosen("item_ref IN ('a', 'd')", *pairs) == ["a", "c", "d"]


def test_what_is_not_chosen_is_no_pair_of_the_collection() -> None:
    pairs = [about(str(at), total=at) for at in range(20)]
    export = make_export(*pairs, collection=make_collection({"training_sheet": "ts", "filter": "total < 15"}))
    assert export.counts["pairs"] == export.rows.height == 15
    with pytest.raises(ExportError, match="refused, left out or not chosen"):
        make_export(*pairs, collection=make_collection({"training_sheet": "ts", "filter": "total < 0"}))


def test_nothing_is_chosen_by_what_is_tagged_or_not_there() -> None:
    hidden = about("a", patient=f"sha256:{digest('Jane Roe')}")
    with pytest.raises(ExportError, match="the column 'patient' is tagged"):
        chosen("patient = 'Jane Roe'", hidden)
    with pytest.raises(ExportError, match="no pair knows a column 'ward'"):
        chosen("ward = 'x'", hidden)
    with pytest.raises(FilterError, match="filter of ts: "):
        chosen("total >", about("a", total=1))


def test_the_columns_of_a_filter_are_known_before_anything_is_rendered() -> None:
    collection = make_collection({"training_sheet": "ts", "filter": "total > 1 AND lower(\"Ward\") = 'x'"}, "other")
    assert filter_columns(collection, "ts") == {"total", "Ward"}
    assert filter_columns(collection, "other") == set()


def test_equal_pairs_of_two_training_sheets_are_exported_once() -> None:
    same = [make_pair("a", sheet, messages=ASKED) for sheet in ("one", "two")]
    apart = [make_pair("b", "one", messages=ASKED), make_pair("b", "two", messages=ASKED, answer="no")]
    export = make_export(*same, *apart, collection=make_collection("one", "two"))
    assert sorted(export.rows["item_ref"]) == ["a", "b", "b"]
    kept, copy = sorted(same, key=lambda pair: pair["pair_id"])
    (excluded,) = export.exclusions.to_dicts()
    assert (excluded["pair_id"], excluded["gate"]) == (copy["pair_id"], "split")
    said = f"duplicate: TrainingSheet {kept['training_sheet']} asks and answers the same of its item"
    assert excluded["reason"] == said
    assert export.counts["excluded"] == 1


def test_the_copy_stays_where_the_other_may_not_be_used() -> None:
    pairs = [make_pair("a", sheet, messages=ASKED) for sheet in ("one", "two")]
    first = min(pairs, key=lambda pair: pair["pair_id"])
    first["allowed_uses"] = []
    export = make_export(*pairs, collection=make_collection("one", "two"))
    assert export.rows["pair_id"].to_list() == [max(pair["pair_id"] for pair in pairs)]


def test_two_items_that_say_the_same_are_two_pairs() -> None:
    pairs = [make_pair(ref, messages=ASKED) for ref in "ab"]
    assert make_export(*pairs).rows.height == 2


def test_a_pair_stands_in_many_collections_with_its_own_weight_in_each() -> None:
    pairs = many_pairs(20)
    light = make_export(*pairs, collection=make_collection({"training_sheet": "ts", "weight": 0.5}))
    heavy = make_export(*pairs, collection=make_collection({"training_sheet": "ts", "weight": 3}))
    assert light.rows["pair_id"].equals(heavy.rows["pair_id"])
    assert (set(light.rows["weight"]), set(heavy.rows["weight"])) == ({0.5}, {3.0})
    assert light.merkle_root != heavy.merkle_root
