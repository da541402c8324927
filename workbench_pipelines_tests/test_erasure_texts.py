"""A text is looked for by what it alone says: windows that others hold count for nothing, and what is left out is counted."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
from hypothesis import given, strategies as st

from workbench_pipelines.clients.byte_search import find_texts
from workbench_pipelines.clients.text_scrubbing import scrub_file
from workbench_pipelines.erasure_texts import (
    MIN_DIGITS,
    MOST_PIECES,
    PIECE,
    counted,
    cuts_of,
    leaves,
    numbered,
    sought,
    standing_in,
    tells,
    windows,
)

BOILERPLATE = "Dear colleagues, thank you for sending this patient to our clinic, whom we saw today. "
LETTER = BOILERPLATE + "Quillfeather of 12 Elm Street fell off a ladder in the orchard. " + BOILERPLATE[::-1]


def test_windows_that_others_hold_are_no_pieces() -> None:
    rows = pl.LazyFrame({"text": [BOILERPLATE + "Another one came."], "n": [1]})
    shared = standing_in(rows, windows(LETTER))
    pieces = sought(LETTER, "t.note", shared).pieces
    assert shared
    assert 1 < len(pieces) <= MOST_PIECES
    assert not any(piece in BOILERPLATE for piece in pieces)
    assert all(piece in LETTER for piece in pieces)


def test_a_text_of_which_every_window_is_shared_is_looked_for_whole() -> None:
    assert sought(LETTER, shared=set(windows(LETTER))).pieces == (LETTER,)


@given(st.text(min_size=1, max_size=3_000))
def test_any_text_has_few_pieces_and_each_is_of_it(text: str) -> None:
    found = sought(text)
    assert 0 < len(found.pieces) <= MOST_PIECES
    assert all(piece in text for piece in found.pieces)


@given(st.text(st.characters(codec="ascii", categories=["L", "N"]), min_size=300, max_size=400), st.integers(0, 200))
def test_a_cut_of_sixty_characters_holds_a_window(text: str, at: int) -> None:
    assert any(piece in text[at : at + PIECE + PIECE // 2] for piece in windows(text))


def test_a_text_is_found_however_deep_it_stands_and_as_json_writes_it() -> None:
    said = 'she said "no" twice'
    deep = [[{"content": f"x {said} y", "n": 1}], None]
    assert standing_in(pl.LazyFrame({"messages": deep}), [said, "other"]) == {said}
    assert standing_in(pl.LazyFrame({"response": ['{"a": "she said \\"no\\" twice"}']}), [said]) == {said}
    assert standing_in(pl.LazyFrame({"n": [1]}), [said]) == set()


def test_what_people_wrote_must_be_longer_than_a_value_of_a_source() -> None:
    assert tells("Ada Vale", of_source=True)
    assert not tells("Ada", of_source=True)
    assert not tells("duplicate", of_source=False)  # a reason, and the name of a column
    assert tells("Ada Vale rang", of_source=False)
    assert not tells("20240131", of_source=True)  # stands in digests by chance
    assert tells("1" * MIN_DIGITS, of_source=True)


def test_only_what_was_said_counts_of_a_delivery() -> None:
    said = '{"sheet": "tickets", "item_ref": "T-1", "reason": "rang twice", "label_data": {"team": "x", "n": 3}}'
    assert list(leaves(said, "judgement")) == ["rang twice", "x", 3]
    assert list(leaves('{"allowed_uses": ["training"], "usage_reason": "they asked"}', "uses")) == ["they asked"]
    assert list(leaves("{no JSON", "notes")) == ["{no JSON"]


def test_what_is_left_out_is_counted_by_column_and_reason_without_its_value() -> None:
    left = counted(
        [("t.a", "too short", "x"), ("t.a", "too short", "x"), ("t.a", "too short", "y"), ("t.b", "no text", 3)]
    )
    assert [(one.field, one.reason, one.values) for one in left] == [("t.a", "too short", 2), ("t.b", "no text", 1)]


def test_a_text_keeps_its_number_whatever_else_is_found_later() -> None:
    first = numbered([sought("the first text"), sought("the second text")], {})
    again = numbered([sought("a new text"), sought("the second text")], {one.key: one.number for one in first})
    assert [(one.text, one.number) for one in again] == [("the second text", 2), ("a new text", 3)]


def test_a_text_that_a_sample_cuts_early_is_found_by_its_beginning(tmp_path: Path) -> None:
    text = 'Invoice matter 757 about teal gadget of Mr Quill\'s "best" friend | and more'
    pieces = sought(text, cuts=cuts_of(text, {"Invoice matter"[:end] for end in range(6, 15)}, of_source=True))
    for end in range(15, len(text)):
        for cell in (f"Which team? {text[:end]}…", str([{"content": text}])[: len("[{'content': '") + end] + "…"):
            (tmp_path / "event").write_text(json.dumps({"sample": f"| {cell} |"}))
            assert find_texts([tmp_path], [pieces]), end
            scrub_file(tmp_path / "event", [pieces])
            assert "matter" not in (tmp_path / "event").read_text()
    (tmp_path / "event").write_text("Invoice matter… Invoice …")  # another one begins so
    assert find_texts([tmp_path], [pieces]) == []


def test_a_short_beginning_counts_only_where_it_was_cut() -> None:
    for text in ("x" * 6, "one word", LETTER):
        for piece in cuts_of(text, of_source=True):
            assert len(piece) == PIECE or (piece.endswith("…") and piece[:-1] in text)
    assert cuts_of("The duplicate of it", of_source=False)[0] == "The duplicat…"
    assert cuts_of(LETTER, {LETTER[:end] for end in range(60)}, of_source=True) == [LETTER[:60]]
