"""No text of a cell is run or read as something else, and every one comes back as it was."""

from __future__ import annotations

import csv
import io
import re

import pytest
from hypothesis import given, settings, strategies as st

from workbench_pipelines.spreadsheet_text import CELL_LIMIT, neutralised, pieces, restored

ODD = st.text(alphabet="'=+-@\t\r\n;,\"| a1.eE/:T＝＋😀", max_size=14)


@settings(max_examples=2000, deadline=None)
@given(st.one_of(ODD, st.text(max_size=20)))
def test_every_text_comes_back_and_no_cell_of_it_begins_a_formula(text: str) -> None:
    cell = neutralised(text)
    assert restored(cell) == text
    # Whichever of these a program splits cells at, none of them begins with a sign that runs.
    for part in re.split('[;,\t\n\r"|]', cell):
        assert not part.startswith(("=", "+", "-", "@", "＝", "＋"))


@settings(max_examples=300, deadline=None)
@given(st.lists(ODD, min_size=1, max_size=4))
def test_a_row_of_csv_comes_back_through_any_separator(texts: list[str]) -> None:
    for separator in (",", ";", "\t"):
        out = io.StringIO(newline="")
        csv.writer(out, delimiter=separator).writerow([neutralised(text) for text in texts])
        (row,) = csv.reader(io.StringIO(out.getvalue(), newline=""), delimiter=separator)
        assert [restored(cell) for cell in row] == texts


@pytest.mark.parametrize(
    "text",
    ["007", "9223372036854775808", "1e5", "2024-01-05", "10:30", "3/4", "TRUE", "MARCH1", "1-Mar", "5 %", "'007"],
)
def test_what_would_be_read_as_another_type_is_marked_as_text(text: str) -> None:
    assert neutralised(text) == "'" + text


@pytest.mark.parametrize("text", ["T-001", "Invoice number 1", "a 'quoted' word", "'tis", "", "1 of 3 items"])
def test_words_stay_as_they_are(text: str) -> None:
    assert neutralised(text) == text


def test_a_command_hidden_behind_a_separator_is_harmless() -> None:
    assert neutralised('hello";=HYPERLINK("http://evil")') == 'hello";\'=HYPERLINK("http://evil")'


@given(st.text(alphabet="a😀", max_size=60), st.integers(2, 9))
def test_pieces_fit_and_make_the_text_again(text: str, limit: int) -> None:
    cut = pieces(text, limit)
    assert "".join(cut) == text
    assert all(len(one.encode("utf-16-le")) // 2 <= limit for one in cut)


def test_a_text_of_many_cells_is_cut_where_a_cell_ends() -> None:
    assert [len(one) for one in pieces("x" * 70_000)] == [CELL_LIMIT, CELL_LIMIT, 70_000 - 2 * CELL_LIMIT]
