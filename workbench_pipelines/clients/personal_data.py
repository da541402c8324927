"""Personal data in texts, by the pattern recognisers of presidio: kinds of it, never the values.

They know addresses, cards, accounts and numbers by their form and check digits, and no names: what a source states of its
columns is the gate, this is a second net. No language model is loaded and no network is asked: of top-level domains the list
that comes with tldextract counts.

The package brings spaCy with it, 207 MB and three seconds of import, so it is an extra (`pii`) and not part of every environment.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import polars as pl

MAX_CHARACTERS = 20_000  # of one text
# What holds nothing of this is not read by any recogniser: an `@`, seven digits, an IPv4 or IPv6 address.
_MAY_HOLD = r"@|(?:\d[^\d]{0,4}){6}\d|\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}|[0-9A-Fa-f]{0,4}:[0-9A-Fa-f]{0,4}:"


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
    may = texts.str.slice(0, MAX_CHARACTERS).str.contains(_MAY_HOLD)
    suspects = texts.filter(may).unique()
    found = {text: _kinds(text[:MAX_CHARACTERS]) for text in suspects}
    rows = [None if text is None else found.get(text, []) for text in texts]
    return pl.Series(rows, dtype=kinds)


def _kinds(text: str) -> list[str]:
    results = [
        one
        for recognizer in _recognizers()
        for one in recognizer.analyze(text, recognizer.supported_entities, None) or []
    ]
    # An IP address also looks like a telephone number: where two overlap, the surer one counts.
    sure = [
        one
        for one in results
        if not any(other.score > one.score and other.start < one.end and one.start < other.end for other in results)
    ]
    return sorted({str(one.entity_type) for one in sure})


@lru_cache(maxsize=1)
def _recognizers() -> Sequence[Any]:
    """Those whose form says what they are; bare runs of digits that some country gives to somebody are left out."""
    import tldextract
    from presidio_analyzer import predefined_recognizers as known

    offline = tldextract.TLDExtract(cache_dir=None, suffix_list_urls=())

    class Email(known.EmailRecognizer):
        def validate_result(self, pattern_text: str) -> bool:
            return bool(offline(pattern_text).fqdn)

    kinds: list[Any] = [
        Email,
        known.CreditCardRecognizer,
        known.IbanRecognizer,
        known.IpRecognizer,
        known.PhoneRecognizer,
        known.UsSsnRecognizer,
        known.NhsRecognizer,
    ]
    return [kind() for kind in kinds]
