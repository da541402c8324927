"""Texts in cells: what a spreadsheet program would run, or read as a number or a date, stays the text that it is.

A CSV cell has no type. One that begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return is run as a formula when
the file is opened, and ``007`` becomes 7 when it is saved. Such a text gets an apostrophe before it, also inside, where a
program that splits at another character than the comma would begin a cell. `restored` takes away exactly those: for every
text, ``restored(neutralised(text)) == text``. An XLSX cell is typed as text and needs none of this.
"""

from __future__ import annotations

import re

CELL_LIMIT = 32_767
"""The most characters of a cell of Excel, in units of UTF-16."""

_RUNS = "=+\\-@\t\r＝＋－＠"
_STARTS = '(?:^|(?<=[;,\t\n\r"|]))'
_IN_DANGER = re.compile(f"{_STARTS}(?='*[{_RUNS}])", re.ASCII)
_NEUTRALISED = re.compile(f"{_STARTS}'(?='*[{_RUNS}])", re.ASCII)
_FORMULA = re.compile(f"[{_RUNS}]")
# A longer text is no number and no date for any program.
_LONGEST_NUMBER = 40
_MONTHS = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec"
_LOOKS_TYPED = re.compile(
    rf"\s*(?:true|false|(?=.*\d)(?:[\d\s.,:/%$€£¥()+\-]|(?<=\d)[etz]|am|pm|(?:{_MONTHS})[a-z]*)+)\s*", re.IGNORECASE
)


def neutralised(text: str) -> str:
    """A text as a CSV cell that no program runs and none reads as a number, a date or a truth value."""
    return _IN_DANGER.sub("'", f"'{text}" if _looks_typed(text) else text)


def restored(cell: str) -> str:
    """The text that `neutralised` made a cell of."""
    text = _NEUTRALISED.sub("", cell)
    return text[1:] if text.startswith("'") and _looks_typed(text[1:]) else text


def pieces(text: str, limit: int = CELL_LIMIT) -> list[str]:
    """A text cut into parts that fit into a cell each; put together they are the text."""
    if len(text) * 2 <= limit:
        return [text]
    found, begin, size = [], 0, 0
    for place, character in enumerate(text):
        units = 2 if ord(character) > 0xFFFF else 1
        if size + units > limit:
            found.append(text[begin:place])
            begin, size = place, 0
        size += units
    return [*found, text[begin:]]


def _looks_typed(text: str) -> bool:
    """Whether a program would take a text, apostrophes before it left out, for a value of another type than a formula."""
    bare = text.lstrip("'")
    return len(bare) <= _LONGEST_NUMBER and not _FORMULA.match(bare) and _LOOKS_TYPED.fullmatch(bare) is not None
