"""Full names and numbers as people write them: `Quill, Mary`, `mary.quill`, `Mary A. Quill`; `+49 170 1234567` for 491701234567.

All texts are folded (`known_values.folded`): small letters without accents, single blanks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from workbench_pipelines.unbroken_scripts import MARKS, is_mark, is_unbroken

_MIN_LETTERS = 4  # of a full name: `Wu Li`
_MIN_DIGITS = 7  # fewer are years, amounts and short numbers, which mean something else when they are written apart
_NUMBER = re.compile(r"\+?[\d \-./()\u2010-\u2015]+")
# 192.168.1.10 is not 192.168.11.0, and 123.4567 not 1234.567.
_OTHER_NUMBER = re.compile(r"\d+(?:\.\d+|(?:\.\d{1,3}){3})")
_SEPARATORS = str.maketrans("", "", "+ -./()\u2010\u2011\u2012\u2013\u2014\u2015")


def words_of_name(text: str) -> list[str]:
    """The two or three words of a full name, letters alone; none for what is no full name."""
    words = text.replace(", ", " ").split(" ")
    return words if 2 <= len(words) <= 3 and all(map(_is_word, words)) else []


def is_full_name(text: str) -> bool:
    """Whether a value is a name of two words or more, long enough to be told from other words."""
    return len(text.replace(",", "").replace(" ", "")) >= _MIN_LETTERS and bool(words_of_name(text))


def orders_of(text: str) -> list[str]:
    """`Quill, Mary` as `Mary Quill`, and the other way round, for full names."""
    last, comma, first = text.partition(", ")
    words = words_of_name(text)
    if not words:
        return []
    if comma:
        return [f"{first} {last}", f"{last} {first}"]
    return [f"{words[-1]}, {' '.join(words[:-1])}", f"{words[-1]} {' '.join(words[:-1])}"]


def digits_of(text: str) -> str | None:
    """The digits of a value that is a number of seven digits or more, be it a telephone's; None for any other."""
    if not _NUMBER.fullmatch(text) or _OTHER_NUMBER.fullmatch(text):
        return None
    digits = without_separators(text)
    return digits if len(digits) >= _MIN_DIGITS else None


def without_separators(text: str) -> str:
    """A text without what separates the digits of a number."""
    return text.translate(_SEPARATORS)


def normal_name(text: str) -> str:
    """A name or number as its token is made of it: its words in the order of letters, or its digits."""
    if digits := digits_of(text):
        return digits
    words = re.findall(rf"(?:[^\W_]|[{MARKS}])+", text)
    if words and all(is_unbroken(word[0]) for word in words):
        return "".join(words)  # without a blank nobody can tell which of them stands first
    if len(words) == 3 and len(words[1]) == 1:
        del words[1]  # an initial, with or without which a name is found
    return " ".join(sorted(words))


def places_of(value: str, text: str) -> Iterator[tuple[int, int]]:
    """Where a value stands, whole or not: the places of its first character and behind its last."""
    pattern = _pattern(value)
    found = pattern.search(text)
    while found:
        yield found.span()
        found = pattern.search(text, found.start() + 1)


@lru_cache(maxsize=4096)
def _pattern(value: str) -> re.Pattern[str]:
    if value.isdecimal() and len(value) >= _MIN_DIGITS:
        return re.compile(r"(?:[+(]|(?<![+(]))" + r"[ \-./()\u2010-\u2015]{0,2}".join(value))
    if not words_of_name(value):
        return re.compile(re.escape(value))
    return re.compile(", ?".join(map(_joined, value.split(", "))))


def _joined(part: str) -> str:
    """A pattern of the words of a name that no comma parts, however they are joined."""
    words = part.split(" ")
    between = "[ ・]?" if all(is_unbroken(word[0]) for word in words) else r"(?:[ \-_.]| [a-z]\.? )"
    return between.join(map(re.escape, words))


def _is_word(word: str) -> bool:
    letters = word.replace("-", "").replace("'", "")
    return letters != "" and all(one.isalpha() or is_mark(one) for one in letters)
