"""What of a pair is compared with others to find near-duplicates: what is asked about, not how it is asked.

The text of a pair is what its prompt binds (`inputs`): words that every prompt of a template has make no two items alike. A
number is one word, so that two rows of measurements are alike where their numbers are the same and not where their digits
are. Answers do not count: many items have the same one.
"""

from __future__ import annotations

import re
from typing import Any

import orjson
import polars as pl

_WORD = re.compile(r"\w+")
_MARK = re.compile(r"\W")


def compared_texts(pairs: pl.DataFrame) -> pl.Series:
    """The words of each pair in small letters, a space between them; null for one that binds none.

    Input columns: inputs (JSON texts).
    """
    said = {inputs: text_of(inputs) or None for inputs in pairs["inputs"].unique() if inputs is not None}
    return pl.Series("text", [said.get(inputs) for inputs in pairs["inputs"]], dtype=pl.String)


def text_of(inputs: str) -> str:
    """The words that stand in the values of a JSON text."""
    said: list[str] = []
    _say(orjson.loads(inputs), said)
    return " ".join(said)


def _say(value: Any, said: list[str]) -> None:
    if isinstance(value, str):
        said.extend(_WORD.findall(value.lower()))
    elif isinstance(value, dict):
        for name in sorted(value):
            _say(value[name], said)
    elif isinstance(value, list):
        for one in value:
            _say(one, said)
    elif value is not None:
        said.append(_MARK.sub("_", str(value).lower()))
