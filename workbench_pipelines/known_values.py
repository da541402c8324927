"""Known values: what the tagged columns of an item hold, found again in its texts.

No pattern knows a name; but a Sheet that says which column holds the patient's name knows every name in it. A value is found as
it stands, whatever its case, its accents and the blanks in it, as whole words; in scripts that write no blanks around a word,
wherever it stands (`unbroken_scripts`). Full names, numbers and dates are found however they are written (`known_names`,
`known_dates`).
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from workbench_pipelines.known_dates import day_of, days_of, named_days
from workbench_pipelines.known_names import digits_of, is_full_name, orders_of, places_of, without_separators
from workbench_pipelines.personal_data import KNOWN_VALUE, Span
from workbench_pipelines.unbroken_scripts import characters_in, goes_on, is_mark, is_unbroken

PERSONAL_TAGS = frozenset({"PHI", "PII"})
MIN_CHARACTERS = (
    5  # of a value without its blanks: `Lee` and `1986` stand in too many words and numbers that mean something else
)
MIN_UNBROKEN = 2  # of scripts without blanks: most full names in Han and Hangul are two or three characters
MAX_CHARACTERS = 200  # a longer value is a text, and no text holds another one word by word
_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True)
class KnownValues:
    """What is known of each item of a Sheet.

    Attributes:
        items: item_ref and the tagged columns.
    """

    items: pl.DataFrame

    def of(self, item_ref: str) -> tuple[str, ...]:
        """The values of an item, or of the one that it is derived from (`<parent>#<n>`), as they are looked for."""
        name = item_ref
        while name:
            if (found := self._by_item.get(name)) is not None:
                return found
            name = name.rpartition("#")[0]
        return ()

    @cached_property
    def _by_item(self) -> dict[str, tuple[str, ...]]:
        columns = [name for name in self.items.columns if name != "item_ref"]
        rows = self.items.select("item_ref", *columns).iter_rows()
        found = {item: tuple(sorted({form for value in values for form in forms_of(value)})) for item, *values in rows}
        return {item: values for item, values in found.items() if values}

    @property
    def any(self) -> bool:
        return bool(self._by_item)


NOTHING_KNOWN = KnownValues(pl.DataFrame(schema={"item_ref": pl.String}))


def known_values(snapshot: pl.DataFrame, columns: Iterable[str]) -> KnownValues:
    """What these columns of a snapshot hold of each item; a column that is not there is passed over."""
    present = [column for column in dict.fromkeys(columns) if column in snapshot.columns and column != "item_ref"]
    return KnownValues(snapshot.select("item_ref", *present)) if present else NOTHING_KNOWN


def forms_of(value: Any) -> list[str]:
    """How a value may be written in a text, folded; nothing for what is too short to be told from other words.

    A date is written as ISO 8601 says, a number as its digits; each stands for all ways to write it.
    """
    if value is None or isinstance(value, (bool, float, bytes)):
        return []
    if isinstance(value, Mapping):
        return [form for inner in value.values() for form in forms_of(inner)]
    if isinstance(value, (list, tuple, pl.Series)):
        return [form for inner in value for form in forms_of(inner)]
    if isinstance(value, (dt.date, dt.datetime)):
        written = [value.isoformat()[:10]]
    else:
        text = folded(str(value)).strip()
        days = [day.isoformat() for day in days_of(text)]
        written = [text, *orders_of(text), *days]
        if not days and (digits := digits_of(text)):
            written = [digits]
    return [text for text in written if _can_be_told(text) and len(text) <= MAX_CHARACTERS]


def _can_be_told(text: str) -> bool:
    """Whether a value is long enough to be told from other words."""
    return (
        sum(map(str.isalnum, text)) >= MIN_CHARACTERS
        or is_full_name(text)
        or (not text.isascii() and characters_in(text) >= MIN_UNBROKEN)
    )


def folded(text: str) -> str:
    """A text as it is compared: without case, accents and invisible characters, blanks as one."""
    if not text.isascii():
        text = "".join(filter(_is_seen, unicodedata.normalize("NFKD", text)))
    return _BLANKS.sub(" ", text.casefold())


def known_spans(text: str, values: Sequence[str]) -> list[Span]:
    """Where these values stand in a text, as whole words.

    Args:
        values: as `KnownValues.of` gives them.
    """
    if not values:
        return []
    plain = folded(text)
    days = frozenset(day for value in values if (day := day_of(value)) is not None)
    bare = without_separators(plain) if any(map(str.isdecimal, values)) else plain
    there = [value for value in values if day_of(value) is None and _may_hold(plain, bare, value)]
    if not there and not any(named_days(plain, days)):
        return []
    plain, places = _with_places(text)
    found = [*named_days(plain, days)]
    for value in there:
        found += [
            (start, end)
            for start, end in places_of(value, plain)
            if not (_joins(plain, start - 1, start, value) or _joins(plain, end - 1, end, value))
        ]
    return sorted({Span(KNOWN_VALUE, places[start], _behind(text, places[end - 1]), 1.0) for start, end in found})


def _may_hold(plain: str, bare: str, value: str) -> bool:
    """A first look, that costs little beside the rest: most texts hold no value."""
    if value.isdecimal():
        return value in bare
    first, _, rest = value.partition(" ")
    return first.rstrip(",") in plain and all(word.rstrip(",") in plain for word in rest.split(" "))


def _joins(text: str, one: int, other: int, value: str) -> bool:
    """Whether the characters at two neighbouring places are of one word, at an end of this value."""
    if one < 0 or other >= len(text):
        return False
    if goes_on(text[other]):
        return True
    if is_unbroken(text[one]) or is_unbroken(text[other]):
        return False
    if "_" in (text[one], text[other]) and is_full_name(value):
        return False  # scan_mary_quill_2.pdf
    return _of_word(text[one]) and _of_word(text[other])


def _of_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _is_seen(character: str) -> bool:
    # Combining marks are the accents of what stands before them; format characters (a zero-width joiner) show nothing.
    return character.isalnum() or unicodedata.category(character) not in ("Mn", "Cf") or is_mark(character)


def _with_places(text: str) -> tuple[str, list[int]]:
    """A text folded, and of each of its characters the place of the one that it came of."""
    characters: list[str] = []
    places: list[int] = []
    for place, character in enumerate(text):
        parts = character
        if not character.isascii():
            parts = "".join(filter(_is_seen, unicodedata.normalize("NFKD", character)))
        for part in parts.casefold():
            if part.isspace():
                if characters and characters[-1] == " ":
                    continue
                part = " "
            characters.append(part)
            places.append(place)
    return "".join(characters), places


def _behind(text: str, place: int) -> int:
    """The place behind a character and the accents and invisible characters that belong to it."""
    end = place + 1
    while end < len(text) and not text[end].isascii() and not _is_seen(text[end]):
        end += 1
    return end
