"""The texts by which an erased item is looked for: which of its values tell it from all others, and by which pieces of them.

A long text is looked for by a few windows of it, so that one which was cut is found as well. Only windows that nothing else holds
count: what a letter of the item has in common with every other letter says nothing of the item, and is found for ever.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
import polars as pl

from workbench_pipelines.identity import digest

MIN_TEXT = 6
"""A shorter value of a source stands anywhere by chance: nothing is found by it."""
MIN_DIGITS = 9
"""Of a text that could be a piece of a digest this much is needed: a lake is full of those."""
MIN_WORDS, MIN_WORD = 12, 20
"""What people and models write must be longer, a single word most of all: `duplicate` is a reason and the name of a column."""
PIECE = 40
"""So many characters are a window; a text up to this length is looked for whole."""
_STEP = PIECE // 2
_DIGITS = re.compile("[0-9a-f]*")
_MOST_WINDOWS = 200  # of a text, however long: each is held against all that other items say
MOST_PIECES = 5
ELLIPSIS = "…"
_CUT_AT = 80
"""Samples and previews show at most so many characters of a text, and an ellipsis in place of the next one."""

TOO_SHORT, SHARED, NO_TEXT = "too short", "held by other items as well", "no text"
DEFINED = "a definition says it as well"
NOT_KEPT = "an earlier try found it nowhere, and what it says was not kept"

WRITTEN: Mapping[str, tuple[str, ...] | None] = {
    **dict.fromkeys(("reason", "notes", "review_notes", "usage_reason", "explanation", "search_keys")),
    **dict.fromkeys(("label_data", "proposed_response", "response", "inputs", "answer", "expected_output")),
    **dict.fromkeys(("input", "output", "feedback_value", "correction")),
    "uses": ("usage_reason",),
    "judgement": ("reason", "notes", "usage_reason", "label_data", "proposed_response", "inputs"),
}
"""Columns of any table that hold what people and models wrote, as text or as JSON; of some JSON only these fields count."""


@dataclass(frozen=True)
class SoughtText:
    """A text that is looked for.

    Attributes:
        where: the table and column that it was found in.
        pieces: by which it is found, whole or cut.
        number: what it is called in place of itself; the same in every try.
    """

    where: str
    text: str = field(repr=False)
    pieces: tuple[str, ...] = field(repr=False)
    number: int = 0

    @property
    def key(self) -> str:
        """What it is known by where it may not stand itself."""
        return digest(["erased", self.text])


@dataclass(frozen=True)
class NotSearched:
    """How many values of a column are not looked for, and why."""

    field: str
    reason: str
    values: int


def sought(text: str, where: str = "", shared: Collection[str] = (), cuts: Sequence[str] = ()) -> SoughtText:
    """A text with its pieces: windows from its beginning to its end that are not among those which others hold, and the whole
    where it has none.

    Args:
        cuts: further pieces, by `cuts_of`.
    """
    distinct = [one for one in windows(text) if one not in shared]
    last = len(distinct) - 1
    chosen = distinct if last < MOST_PIECES else [distinct[at * last // (MOST_PIECES - 1)] for at in range(MOST_PIECES)]
    return SoughtText(where, text, tuple(dict.fromkeys([*(chosen or [text]), *cuts])))


def beginnings(text: str) -> list[str]:
    """What a sample may show of a text that it cuts, the shortest first."""
    return [text[:length] for length in range(MIN_TEXT, min(len(text), _CUT_AT))]


def cuts_of(text: str, shared: Collection[str] = (), *, of_source: bool) -> list[str]:
    """The pieces by which a text is found that was cut before its first window ends: as a cell of a sample ends.

    A beginning that others hold says nothing of the item. A short one counts only where an ellipsis follows; one as long as a
    window is looked for as it stands.
    """
    own = [one for one in beginnings(text) if one not in shared and tells(one, of_source=of_source)]
    long = next((one for one in own if len(one) >= PIECE), None)
    return [*(one + ELLIPSIS for one in own if len(one) < PIECE), *([long] if long else [])]


def windows(text: str) -> list[str]:
    """The windows of a text, in their order; the last one ends where it does."""
    last = len(text) - PIECE
    if last <= 0:
        return [text]
    step = max(_STEP, last // _MOST_WINDOWS)
    cut = (text[at : at + PIECE] for at in (*range(0, last, step), last))
    return [one for one in dict.fromkeys(cut) if len(one.strip()) >= PIECE // 2]


def tells(text: str, *, of_source: bool) -> bool:
    """Whether a text is long enough to mean its item wherever it stands."""
    plain = text.strip()
    if _DIGITS.fullmatch(plain) and len(plain) < MIN_DIGITS:
        return False
    if of_source:
        return len(plain) >= MIN_TEXT
    return len(plain) >= (MIN_WORDS if " " in plain else MIN_WORD)


def leaves(value: Any, column: str) -> Iterable[Any]:
    """What a value of a column in `WRITTEN` says: itself, or each value within its JSON."""
    if isinstance(value, str):
        value = _parsed(value)
    fields = WRITTEN.get(column)
    if fields is not None:
        value = [value.get(name) for name in fields] if isinstance(value, dict) else []
    yield from values_in(value)


def forms(text: str) -> set[str]:
    """A text as it stands, as JSON writes it, and as a JSON text within another one does."""
    once = orjson.dumps(text)[1:-1].decode()
    return {text, once, json.dumps(once, ensure_ascii=False)[1:-1]}


def standing_in(rows: pl.LazyFrame, texts: Iterable[str]) -> set[str]:
    """Those of some texts that stand in a value of these rows, however deep, as they are or as JSON writes them."""
    of_form: dict[str, set[str]] = {}
    for text in texts:
        for form in forms(text):
            of_form.setdefault(form, set()).add(text)
    needles = sorted(of_form)
    if not needles:
        return set()
    held = [
        value.str.extract_many(needles, overlapping=True).explode(empty_as_null=False, keep_nulls=False).unique()
        for name, dtype in rows.collect_schema().items()
        for value in _texts_of(pl.col(name), dtype)
    ]
    if not held:
        return set()
    found = rows.select(one.implode().alias(str(at)) for at, one in enumerate(held)).collect(engine="streaming")
    return {text for column in found for form in column[0].drop_nulls() for text in of_form[form]}


def counted(left: Iterable[tuple[str, str, Any]]) -> list[NotSearched]:
    """Where, why and value of what is left out, as counts; a value that stands in a column twice is one."""
    counts: dict[tuple[str, str], set[Any]] = {}
    for where, reason, value in left:
        counts.setdefault((where, reason), set()).add(value)
    return [NotSearched(where, reason, len(values)) for (where, reason), values in sorted(counts.items())]


def numbered(texts: Sequence[SoughtText], known: Mapping[str, int]) -> list[SoughtText]:
    """The texts in the order of their numbers; those that had one before keep it.

    Args:
        known: number by `key`.
    """
    following = max(known.values(), default=0) + 1
    given = []
    for one in texts:
        number = known.get(one.key)
        if number is None:
            number, following = following, following + 1
        given.append(SoughtText(one.where, one.text, one.pieces, number))
    return sorted(given, key=lambda one: one.number)


def _texts_of(value: pl.Expr, dtype: Any) -> Iterable[pl.Expr]:
    """The texts of a column, one expression for each place in its type."""
    if dtype == pl.String:
        yield value
    elif isinstance(dtype, pl.List):
        yield from _texts_of(value.explode(empty_as_null=False, keep_nulls=False), dtype.inner)
    elif isinstance(dtype, pl.Struct):
        for one in dtype.fields:
            yield from _texts_of(value.struct.field(one.name), one.dtype)


def _parsed(value: str) -> Any:
    if not value.startswith(("{", "[", '"')):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value


def values_in(value: Any) -> Iterable[Any]:
    """A value, or each one within a list or an object; no nulls."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from values_in(one)
    elif value is not None:
        yield value
