"""The same content has the same name on every machine, and different content another."""

from __future__ import annotations

import datetime as dt
import hashlib
import math
from decimal import Decimal
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings, strategies as st

from workbench_pipelines.identity import (
    MAX_SAFE_INTEGER,
    canonical_json,
    canonical_label_id,
    canonical_text,
    canonical_value,
    digest,
    item_hash,
    item_ref_of,
    pair_hash,
    pair_id,
    prompt_hash,
    request_hash,
    response_hash,
    seen_hash,
    unit_interval,
)

settings.register_profile("no deadline", deadline=None)  # a busy machine is no failure
settings.load_profile("no deadline")

texts = st.text(st.characters(exclude_categories=["Cs"]))
scalars = (
    st.none()
    | st.booleans()
    | st.integers(-MAX_SAFE_INTEGER, MAX_SAFE_INTEGER)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts
)
values = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(texts, inner), max_leaves=20)
MESSAGES = [{"role": "user", "content": "How long?", "parts": None}]
REQUEST: dict[str, Any] = {
    "model": "local/smollm2",
    "revision": "abc",
    "endpoint": None,
    "parameters": {"temperature": 0.0, "max_tokens": 40},
    "schema": None,
}

PINNED = {
    "pair_id": "ab539e3fa7d3acf6333147115b105b2255d747c9c7112ceed25426d1ebba2ab2",
    "pair_hash": "c73c31efbfa99e3d5d1cab0238b5c202d6dddb74148a007a827863ed56b9b11c",
    "prompt_hash": "a3919500edbda5d2ecc95fd6cda9c99982aada15737567353a8cc61d7434a665",
    "request_hash": "67fe22ea39826c7dc9b207db024a175ab8a430aea524372cce1323e8e899d6a9",
    "canonical_label_id": "fc5336c8a4fedf0a63d94891afc375d5c46505f80d264af6953b67118b06ee74",
    "response_hash": "4deb964ad30d463f318fbcb7023e338d245cf58e6de1d6b661ac1a0ff5f2bc53",
    "item_hash": "36a70a63a6b750d989225308a8640147a8a5960e026524bc99ba1b2611aaab30",
}


@given(values)
def test_canonical_json_is_rfc_8785(value: Any) -> None:
    assert canonical_json(value) == rfc8785.dumps(value)


@given(values)
def test_canonical_json_reads_back_as_it_was_written(value: Any) -> None:
    assert canonical_text(canonical_value(canonical_text(value))) == canonical_text(value)


def test_a_float_past_the_integers_stays_a_number_and_an_integer_of_that_size_a_text() -> None:
    assert canonical_text(canonical_value(canonical_text({"x": 1e16}))) == '{"x":10000000000000000}'
    assert canonical_text(canonical_value(canonical_text({"x": 10**16}))) == '{"x":"10000000000000000"}'


@given(st.dictionaries(texts, scalars))
def test_the_order_of_keys_does_not_matter(row: dict[str, Any]) -> None:
    assert digest(row) == digest(dict(reversed(row.items())))


def test_the_example_of_the_rfc_comes_out_as_it_is_printed_there() -> None:
    value = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    assert canonical_text(value) == (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"€$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )


def test_keys_beyond_ascii_sort_by_their_utf_16_form() -> None:
    assert canonical_text({"\ufb33": 1, "😀": 2, "é": 3}) == '{"é":3,"😀":2,"\ufb33":1}'


@given(st.integers(MAX_SAFE_INTEGER + 1, 2**80))
def test_ids_past_the_doubles_are_written_as_text_and_never_rounded(number: int) -> None:
    assert canonical_text([number, -number]) == f'["{number}","-{number}"]'
    assert digest(number) != digest(number + 1)


def test_a_whole_number_is_one_number_however_it_is_written() -> None:
    assert digest(5) == digest(5.0)
    assert digest(0.0) == digest(-0.0)


def test_what_json_can_not_say_has_a_form_of_its_own() -> None:
    assert canonical_text([math.nan, math.inf, -math.inf]) == '["nan","inf","-inf"]'
    assert digest(math.nan) != digest(None)
    assert canonical_text([Decimal("1.10"), b"\x00\xff", dt.date(2024, 2, 29)]) == '["1.10","00ff","2024-02-29"]'
    with pytest.raises(TypeError, match="no JSON form for a value of type object"):
        canonical_json(object())


def test_a_moment_has_one_form_in_every_time_zone() -> None:
    berlin = dt.datetime(2024, 5, 1, 14, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    assert digest(berlin) == digest(berlin.astimezone(dt.UTC))
    assert digest(berlin) != digest(berlin.replace(tzinfo=None))


def test_a_text_with_half_a_character_has_no_form() -> None:
    for value in ("\ud800", {"\ud800": 1}, [1.5, "\ud800"]):
        with pytest.raises((TypeError, UnicodeError, ValueError)):
            canonical_json(value)


def test_a_digest_is_the_sha256_of_the_canonical_bytes() -> None:
    assert digest({"b": 1, "a": [True, None]}) == hashlib.sha256(b'{"a":[true,null],"b":1}').hexdigest()


def test_names_and_hashes_are_the_ones_that_stand_in_older_lakes() -> None:
    assert pair_id("iris_measured", "iris", "007") == PINNED["pair_id"]
    assert pair_hash(MESSAGES, '{"species":"setosa"}', "iris_species", None) == PINNED["pair_hash"]
    assert prompt_hash(MESSAGES) == PINNED["prompt_hash"]
    assert request_hash(MESSAGES, **REQUEST) == PINNED["request_hash"]
    assert canonical_label_id("iris", "007", "iris_species") == PINNED["canonical_label_id"]
    assert response_hash('{"species":"setosa"}') == PINNED["response_hash"]
    assert item_hash({"flower": "007", "length": 5.1}) == PINNED["item_hash"]


@given(st.lists(texts, min_size=4, max_size=4), st.lists(texts, min_size=4, max_size=4))
def test_two_pairs_have_one_id_only_when_they_are_one(one: list[str], other: list[str]) -> None:
    assert (pair_id(*one) == pair_id(*other)) == (one == other)


def test_parts_of_a_name_do_not_run_into_each_other() -> None:
    assert pair_id("a", "bc", "d") != pair_id("ab", "c", "d")
    assert canonical_label_id("a", "b", "c") != pair_id("a", "b", "c")


def test_a_key_is_text_and_a_composite_key_is_a_json_array() -> None:
    assert item_ref_of(["007"]) == "007"
    assert item_ref_of(["a", "1"]) == '["a","1"]'
    assert item_ref_of(["a,b", "c"]) != item_ref_of(["a", "b,c"])


def test_only_what_was_shown_counts_for_a_seen_hash() -> None:
    row = {"a": 1, "b": 2}
    assert seen_hash(row, ["a"]) == seen_hash(row | {"b": 3}, ["a", "a"])
    assert seen_hash(row, ["a"]) != seen_hash(row | {"a": 3}, ["a"])
    assert seen_hash(row, ["b", "a"]) == seen_hash(row, ["a", "b"])
    assert item_hash(row) != item_hash(row | {"b": 3})


def test_a_prompt_without_attachments_is_the_same_with_and_without_the_field() -> None:
    assert prompt_hash(MESSAGES) == prompt_hash([{"role": "user", "content": "How long?"}])


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"revision": "def"},
        {"endpoint": "x"},
        {"parameters": {"temperature": 0.1, "max_tokens": 40}},
        {"schema": {"type": "object"}},
        {"attempt": 1},
    ],
)
def test_whatever_changes_an_answer_changes_its_request_hash(change: dict[str, Any]) -> None:
    assert request_hash(MESSAGES, **(REQUEST | change)) != request_hash(MESSAGES, **REQUEST)


def test_a_pair_changes_with_its_answer_its_task_and_the_label_that_vouches_for_it() -> None:
    whole = pair_hash(MESSAGES, "a", "t", None)
    others = {
        pair_hash(MESSAGES, "b", "t", None),
        pair_hash(MESSAGES, None, "t", None),
        pair_hash(MESSAGES, "a", "u", None),
        pair_hash(MESSAGES, "a", "t", "l"),
    }
    assert len(others | {whole}) == 5


@given(st.lists(texts | st.integers(), max_size=4))
def test_a_unit_interval_holds_its_ends(parts: list[str | int]) -> None:
    assert 0 <= unit_interval(*parts) < 1


def test_a_unit_interval_is_spread_evenly() -> None:
    tenths = [int(unit_interval("seed", n) * 10) for n in range(2000)]
    assert all(150 < tenths.count(tenth) < 250 for tenth in range(10))
