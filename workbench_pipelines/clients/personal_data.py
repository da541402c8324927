"""Personal data in texts, by pattern recognisers of presidio and own ones: where it stands, and of which kind.

They know addresses, cards, accounts and numbers by their form, their check digits and the words before them, and no names: what
a source states of its columns is the gate, this is a second net (`known_values.py` finds the names that a Sheet knows itself). No
language model is loaded and no network is asked: of top-level domains the list that comes with tldextract counts.

The package brings spaCy with it, 207 MB and three seconds of import, so it is an extra (`pii`) and not part of every environment.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import polars as pl

from workbench_pipelines.errors import MissingPart
from workbench_pipelines.personal_data import Span, surest
from workbench_pipelines.personal_data_patterns import PATTERNS, Pattern

INSTALL = "install the extra: .venv/bin/uv pip install -e '.[pii]'"

# Below it presidio calls its own patterns very weak: any nine digits are a Social Security number at 0.05.
MIN_SCORE = 0.3
# Texts are read in windows of this many characters, which overlap by more than any of these values is long.
WINDOW, OVERLAP = 20_000, 400

# What stands before a number of four parts that is none of a network.
_VERSION = re.compile(
    r"(?:\bv|\bver|\bversion|\brelease|\bfirmware|\bbuild|\brev|\brevision|\bsection|\bclause|§)[.:]?\s*$", re.I
)
# What is dialled and no order, part or account: a country code, brackets, groups of three, three and four, or a trunk's nought
# before groups. Ten digits in a row are a number of anything, unless words say that somebody is called by it.
_DIALLED = re.compile(r"\+|\(|00[1-9]|\d{3}([-. ])\d{3}\1\d{4}$|0\d{1,4}[ /]\d")

# The same for the engine of polars, anywhere in a text: eight countries are tried, a millisecond a text.
_MAY_BE_DIALLED = (
    r"\+\W{0,2}\d|\(\W?\d|(?:^|\D)00[1-9]|\d{3}-\d{3}-\d{4}|\d{3}\.\d{3}\.\d{4}|\d{3} \d{3} \d{4}"
    r"|(?:^|\D)0\d{1,4}[ /]\d"
)


@dataclass(frozen=True)
class _Recognizer:
    """What finds a kind, and what a text holds that can hold it: any other is not read."""

    may: str
    analyze: Callable[[str], Sequence[Any]]


def is_installed() -> bool:
    """Whether personal data can be looked for."""
    return importlib.util.find_spec("presidio_analyzer") is not None


def personal_data_in(texts: pl.Series) -> pl.Series:
    """The kinds of personal data in each text, sorted: `EMAIL_ADDRESS`, `PHONE_NUMBER`, ...; none is an empty list.

    Null for a null text, and for every text where the extra is not installed: that nobody looked is not that there is none.
    """
    kinds = pl.List(pl.String)
    if not is_installed():
        return pl.Series([None] * texts.len(), dtype=kinds)
    found = spans_in(texts)
    rows = [None if text is None else sorted({one.kind for one in found.get(text, ())}) for text in texts]
    return pl.Series(rows, dtype=kinds)


def spans_in(texts: pl.Series) -> dict[str, list[Span]]:
    """By text, where personal data stands in it; texts without any are left out.

    Raises:
        MissingPart: where the extra is not installed.
    """
    if not is_installed():
        raise MissingPart(f"personal data is to be looked for, and presidio is not there; {INSTALL}")
    unique = texts.drop_nulls().unique()
    found: dict[str, list[Span]] = {}
    for recognizer in _recognizers():
        for text in unique.filter(unique.str.contains(recognizer.may)):
            for at, window in _windows(text):
                results = recognizer.analyze(window)
                if results:
                    spans = found.setdefault(text, [])
                    spans += [
                        Span(str(one.entity_type), at + one.start, at + one.end, float(one.score))
                        for one in results
                        if one.score >= MIN_SCORE
                    ]
    return {text: kept for text, spans in found.items() if (kept := surest(spans))}


def _windows(text: str) -> list[tuple[int, str]]:
    if len(text) <= WINDOW:
        return [(0, text)]
    return [(at, text[at : at + WINDOW]) for at in range(0, len(text) - OVERLAP, WINDOW - OVERLAP)]


@lru_cache(maxsize=1)
def _recognizers() -> tuple[_Recognizer, ...]:
    """Those whose form says what they are; bare runs of digits that some country gives to somebody are left out."""
    import tldextract
    from presidio_analyzer import predefined_recognizers as known

    offline = tldextract.TLDExtract(cache_dir=None, suffix_list_urls=())

    class Email(known.EmailRecognizer):
        def validate_result(self, pattern_text: str) -> bool:
            return bool(offline(pattern_text).fqdn)

    digits = r"(?:\d[^\d]{0,4}){%d}\d"
    found = [
        _checked(_presidio(Email(), "@"), _address),
        _presidio(known.CreditCardRecognizer(), digits % 11),
        _presidio(known.IbanRecognizer(), r"(?i)[a-z]{2}\d{2}[ -]?[a-z0-9]{4}"),
        _checked(
            _presidio(known.IpRecognizer(), r"\d\.\d{1,3}\.\d{1,3}\.\d|[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:"), _no_version
        ),
        _checked(_presidio(known.PhoneRecognizer(), _MAY_BE_DIALLED), _dialled),
        _presidio(known.UsSsnRecognizer(), r"\d{3}[- .]\d{2}[- .]\d{4}"),
    ]
    return (*found, *map(_own, PATTERNS))


def _presidio(recognizer: Any, may: str) -> _Recognizer:
    entities = recognizer.supported_entities
    return _Recognizer(may, lambda text: recognizer.analyze(text, entities, None) or [])


def _own(pattern: Pattern) -> _Recognizer:
    """A recogniser of presidio for one of our patterns."""
    import presidio_analyzer

    class Own(presidio_analyzer.PatternRecognizer):
        def validate_result(self, pattern_text: str) -> bool | None:
            return pattern.holds(pattern_text) if pattern.holds is not None else None

    by = presidio_analyzer.Pattern(pattern.kind, pattern.regex, pattern.score)
    return _presidio(Own(supported_entity=pattern.kind, patterns=[by]), pattern.may)


def _checked(recognizer: _Recognizer, check: Callable[[str, Any], Any]) -> _Recognizer:
    """A recogniser whose findings are looked at again, in their text; None drops one."""

    def analyze(text: str) -> list[Any]:
        return [kept for one in recognizer.analyze(text) if (kept := check(text, one)) is not None]

    return _Recognizer(recognizer.may, analyze)


def _no_version(text: str, found: Any) -> Any:
    return None if _VERSION.search(text[max(0, found.start - 12) : found.start]) else found


def _address(text: str, found: Any) -> Any:
    # `mail=ann@example.org`: the sign is allowed in an address, and hardly ever part of one.
    found.start += text[found.start : found.end].rpartition("@")[0].rfind("=") + 1
    return found


def _dialled(text: str, found: Any) -> Any:
    return found if _DIALLED.match(text[found.start : found.end]) else None
