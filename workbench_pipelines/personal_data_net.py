"""The net of a Sheet: what it finds in values, and the same values masked, with tokens, or refused, as the policy says.

What comes out is a fixed point: the net finds nothing more in it to act on. So a mask that was made at one door is left alone at
the next one, and the same value and policy give the same bytes wherever and whenever they are looked at. A token that was made
under another policy is found where this one masks or blocks its kind.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from workbench_pipelines.known_dates import numbers_of
from workbench_pipelines.known_names import normal_name
from workbench_pipelines.known_values import NOTHING_KNOWN, KnownValues, folded, known_spans
from workbench_pipelines.personal_data import (
    BLOCK,
    FLAG,
    KINDS,
    KNOWN_VALUE,
    MASK,
    PATTERN_KINDS,
    PSEUDONYMISE,
    Policy,
    Span,
    regions,
    surest,
)  # fmt: skip
from workbench_pipelines.personal_data_patterns import NAMES_THAT_SAY, SURE

Detect = Callable[[Iterable[str]], Mapping[str, list[Span]]]
"""Where personal data stands in each of many texts; texts without any may be left out."""
Token = Callable[[str, str], str]
"""The eight characters that stand for a value of a kind, the same wherever the value stands."""

# A token of digits alone is never made, so that a number in angle brackets can not pass for one.
_STANDS_FOR = re.compile(rf"<({'|'.join(KINDS)})(_(?=[0-9a-f]*[a-f])[0-9a-f]{{8}})?>")
_ROUNDS = 8  # of masking one text: what is left after one is seldom anything, and after two nothing was ever seen
_MEMO = 200_000  # texts whose findings are kept at one time
# Of these kinds, marks between the characters mean nothing: two ways to write a number are one number.
_NUMBERS = frozenset(PATTERN_KINDS) - {"DATE_OF_BIRTH", "EMAIL_ADDRESS", "IP_ADDRESS"}


class Blocked(Exception):
    """A value that holds what may not leave; the text names kind and field and never the value."""

    def __init__(self, kind: str, name: str, why: str = "its policy blocks it") -> None:
        super().__init__(f"{kind} in {name or 'the text'}: {why}")
        self.kind = kind


@dataclass(frozen=True)
class Net:
    """What is looked for in what is shown of the items of one Sheet, and what is done with it.

    Attributes:
        known: what the tagged columns of each item hold.
    """

    policy: Policy
    detect: Detect
    token: Token
    known: KnownValues = NOTHING_KNOWN
    _memo: dict[str, list[Span]] = field(default_factory=dict, repr=False, compare=False)

    def prime(self, texts: Iterable[tuple[str, str]]) -> None:
        """Looks at many texts at once, each with the name of its field, which is much faster than one after the other."""
        if len(self._memo) > _MEMO:
            self._memo.clear()
        spoken = {_spoken(name) + _without_tokens(text) for text, name in texts} - self._memo.keys()
        if spoken:
            found = self.detect(spoken)
            self._memo.update({text: found.get(text, []) for text in spoken})

    def spans(self, text: str, item_ref: str, name: str = "") -> list[Span]:
        """What stands in a text of an item.

        Args:
            name: of the field or column that holds the text; it may say what the value is, as `mrn` does.
        """
        plain, before = _without_tokens(text), _spoken(name)
        spoken = before + plain
        if spoken not in self._memo:
            self.prime([(text, name)])
        found = self._memo[spoken]
        at = len(before)
        if at and found:
            found = [one._replace(start=max(0, one.start - at), end=one.end - at) for one in found if one.end > at]
        also = [*known_spans(plain, self.known.of(item_ref)), *self._tokens_in(text)]
        return surest([*found, *also]) if also else found

    def _tokens_in(self, text: str) -> list[Span]:
        """The tokens of kinds that more is done with by now: a token still tells which texts speak of one person."""
        if "<" not in text:
            return []
        return [
            Span(one[1], *one.span(), 1.0)
            for one in _STANDS_FOR.finditer(text)
            if one[2] and self.policy.action(one[1]) in (MASK, BLOCK)
        ]

    def blocked_masks(self, text: str) -> list[str]:
        """The kinds of which a mask or token stands in a text, and that are blocked by now.

        A mask says nothing of who made it: a source may hold one of its own.
        """
        if "<" not in text:
            return []
        return sorted({one[1] for one in _STANDS_FOR.finditer(text) if self.policy.action(one[1]) == BLOCK})

    def acting(self, value: Any, item_ref: str, name: str = "") -> list[tuple[str, str]]:
        """The kinds in a value that are not only flagged, each with the name of its field; values within values included."""
        if isinstance(value, Mapping):
            return [one for key, inner in value.items() for one in self.acting(inner, item_ref, str(key))]
        if isinstance(value, (list, tuple)):
            return [one for inner in value for one in self.acting(inner, item_ref, name)]
        found = self.spans(value, item_ref, name) if isinstance(value, str) else self._in_number(value, item_ref, name)
        return sorted({(one.kind, name) for one in found if self.policy.action(one.kind) != FLAG})

    def text(self, text: str, item_ref: str, name: str = "") -> str:
        """A text as it may leave.

        Raises:
            Blocked: where it holds what is blocked.
        """
        for _ in range(_ROUNDS):
            found = regions(self.spans(text, item_ref, name), self.policy)
            if not found:
                return text
            for region in reversed(found):
                stands = self.stands_for(region.kind, text[region.start : region.end], name)
                text = text[: region.start] + stands + text[region.end :]
        raise Blocked(found[0].kind, name, "it is left after masking")

    def value(self, value: Any, item_ref: str, name: str = "") -> Any:
        """A value as it may leave; a number or date that is masked becomes a text.

        Raises:
            Blocked: where it holds what is blocked.
        """
        if isinstance(value, str):
            return self.text(value, item_ref, name)
        if isinstance(value, Mapping):
            return {key: self.value(inner, item_ref, str(key)) for key, inner in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.value(inner, item_ref, name) for inner in value]
        found = regions(self._in_number(value, item_ref, name), self.policy)
        return self.stands_for(found[0].kind, _written(value), name) if found else value

    def piece(self, piece: str, text: str, start: int, end: int, item_ref: str, name: str = "") -> str:
        """A piece of a text in which nothing is left of what was cut through at its ends; the rest of it is as it was.

        Args:
            piece: `text[start:end]`, with what was shown before it: what stands there in the text, or the head of a table.

        Raises:
            Blocked: where what was cut through is blocked.
        """
        offset = len(piece) - (end - start)
        if offset < 0 or piece[offset:] != text[start:end]:
            return piece  # it is made of the piece, and no part of the text any more
        begin = start - offset if text[:start].endswith(piece[:offset]) else start
        # The place in the piece of a place in the text; from behind, so that what comes before keeps its place.
        at = len(piece) - end
        for one in reversed(regions(self.spans(text, item_ref, name), self.policy)):
            if one.start < begin < one.end or one.start < end < one.end:
                stands = self.stands_for(one.kind, text[one.start : one.end], name)
                piece = piece[: max(one.start, begin) + at] + stands + piece[min(one.end, end) + at :]
        return piece

    def _in_number(self, value: Any, item_ref: str, name: str) -> list[Span]:
        """What a value that is no text holds as a whole: a known value, or what the name of its field says that it is.

        The form of a number alone says nothing: amounts look like telephone numbers.
        """
        text = _written(value)
        if not text:
            return []
        whole = (0, len(text))
        found = [one for one in self.spans(text, item_ref, name) if (one.start, one.end) == whole]
        return [one for one in found if one.kind == KNOWN_VALUE or (one.score >= SURE and _spoken(name))]

    def stands_for(self, kind: str, value: str, name: str = "") -> str:
        """What is shown in place of a value.

        Raises:
            Blocked: where nothing may be.
        """
        action = self.policy.action(kind)
        if action == BLOCK:
            raise Blocked(kind, name)
        return f"<{kind}_{self.token(kind, normal_value(kind, value))}>" if action == PSEUDONYMISE else f"<{kind}>"


def spoken_name(column: str, variable: str) -> str:
    """What a bound value is called: its column and its variable may each say what it is."""
    return column if column == variable else f"{column} {variable}"


def normal_value(kind: str, value: str) -> str:
    """A value as its token is made of it, however it is written."""
    plain = folded(value).strip()
    if kind == KNOWN_VALUE:
        return numbers_of(plain) or normal_name(plain)
    return re.sub(r"[\W_]", "", plain) if kind in _NUMBERS else plain


def _written(value: Any) -> str:
    """A number or date as text; empty for what is none."""
    if isinstance(value, (dt.date, dt.datetime)):
        return value.isoformat()[:10]
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else ""


def _without_tokens(text: str) -> str:
    """A text of the same length in which nothing is found where a token or mask stands."""
    return _STANDS_FOR.sub(lambda found: f"<{'·' * (len(found[0]) - 2)}>", text) if "<" in text else text


def _spoken(name: str) -> str:
    return f"{name.replace('_', ' ').replace('-', ' ')}: " if NAMES_THAT_SAY.search(name) else ""
