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

from workbench_pipelines.compared_words import words_in, words_of

_MARK = re.compile(r"\W")


def compared_texts(pairs: pl.DataFrame) -> pl.Series:
    """The words of each pair in small letters (`compared_words`), a space between them; null for one that binds none.

    Input columns: inputs (JSON texts).
    """
    bound = pairs["inputs"].drop_nulls().unique()
    words = words_in(pl.Series([_said(inputs) for inputs in bound], dtype=pl.String)).list.join(" ")
    said = {inputs: text or None for inputs, text in zip(bound, words, strict=True)}
    return pl.Series("text", [said.get(inputs) for inputs in pairs["inputs"]], dtype=pl.String)


def text_of(inputs: str) -> str:
    """The words that stand in the values of a JSON text."""
    return " ".join(words_of(_said(inputs)))


def _said(inputs: str) -> str:
    """The values of a JSON text, a line each; a number as one word."""
    said: list[str] = []
    _say(orjson.loads(inputs), said)
    return "\n".join(said)


def _say(value: Any, said: list[str]) -> None:
    if isinstance(value, str):
        said.append(value)
    elif isinstance(value, dict):
        for name in sorted(value):
            _say(value[name], said)
    elif isinstance(value, list):
        for one in value:
            _say(one, said)
    elif value is not None:
        said.append(_MARK.sub("_", str(value)))
