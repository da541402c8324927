"""What is digested by columns is what `identity.digest` says of each row."""

from __future__ import annotations

import polars as pl
from hypothesis import given, settings, strategies as st

from workbench_pipelines.identity import canonical_label_id, digest, pair_hash
from workbench_pipelines.row_digests import row_digests, table_digest

# A lone surrogate is no text: neither UTF-8 nor a data frame holds one.
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
ROWS = st.lists(st.tuples(TEXT, st.none() | TEXT, st.none() | st.lists(TEXT)), max_size=5)
SCHEMA = {"name": pl.String, "maybe": pl.String, "several": pl.List(pl.String)}


@settings(max_examples=200)
@given(ROWS)
def test_the_digest_of_a_row_is_the_one_of_its_values(rows: list[tuple[str, str | None, list[str] | None]]) -> None:
    frame = pl.DataFrame(rows, schema=SCHEMA, orient="row")
    assert row_digests(frame, "kind", list(SCHEMA)).to_list() == [digest(["kind", *row]) for row in rows]


@settings(max_examples=200)
@given(ROWS)
def test_the_digest_of_a_table_is_the_one_of_its_rows(rows: list[tuple[str, str | None, list[str] | None]]) -> None:
    assert table_digest(pl.DataFrame(rows, schema=SCHEMA, orient="row")) == digest([list(row) for row in rows])


def test_every_character_is_written_the_way_canonical_json_writes_it() -> None:
    characters = [chr(code) for code in range(0x11000) if not 0xD800 <= code < 0xE000]
    frame = pl.DataFrame({"character": characters})
    assert row_digests(frame, "k", ["character"]).to_list() == [digest(["k", one]) for one in characters]


def test_a_column_of_nothing_is_null_in_every_row() -> None:
    assert row_digests(pl.DataFrame({"x": [None]}), "k", ["x"]).to_list() == [digest(["k", None])]


def test_pairs_and_labels_are_named_as_one_by_one() -> None:
    frame = pl.DataFrame({"a": ["p"], "b": ['{"answer":"\\"é\\""}'], "c": ["t"], "d": [None]})
    assert row_digests(frame, "pair", list("abcd"))[0] == pair_hash("p", frame["b"][0], "t", None)
    assert row_digests(frame, "label", list("abc"))[0] == canonical_label_id("p", frame["b"][0], "t")
