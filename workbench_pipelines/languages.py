"""Languages: what an answer is to be written in, and whether it is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import polars as pl

from workbench_pipelines.answers import Parsed, Read
from workbench_pipelines.catalog.variety import AnswerLanguageSpec
from workbench_pipelines.requests import Completion, Request

WRONG_LANGUAGE = "wrong_language"
Identify = Callable[[str], Mapping[str, float]]
"""How likely a text is in each language (ISO 639-1), the most likely first."""
# A short text with a name or a loan word may be in several: refused is only what is hardly in the wanted language, and more
# likely than not in one other.
HARDLY, RATHER = 0.05, 0.5


def wanted_languages(spec: AnswerLanguageSpec, prompts: pl.DataFrame) -> dict[str, str]:
    """By pair, the language its answer is to be in; a pair that names none is not looked at.

    Input columns: pair_id, inputs and attributes (JSON).
    """
    if spec.of is None:
        return dict.fromkeys(prompts["pair_id"], spec.is_ or "")
    found = {}
    for pair_id, inputs, attributes in prompts.select("pair_id", "inputs", "attributes").iter_rows():
        value = {**json.loads(attributes), **json.loads(inputs)}.get(spec.of)
        if value:
            found[pair_id] = str(value).lower().partition("-")[0].partition("_")[0]
    return found


def language_reader(read: Read, spec: AnswerLanguageSpec, wanted: Mapping[str, str], identify: Identify) -> Read:
    """A reader that refuses an answer in another language than the wanted one, and says which it is in.

    A text that is too short to tell, or could be in either, passes.
    """

    def in_its_language(request: Request, completion: Completion) -> Parsed:
        parsed = read(request, completion)
        language = wanted.get(request.pair_id)
        if parsed.response is None or language is None:
            return parsed
        text = text_of(parsed.response, spec)
        if len(text) < spec.min_characters:
            return parsed
        found = other_language(identify(text), language)
        if found is None:
            return parsed
        return Parsed(None, WRONG_LANGUAGE, f"the answer is in '{found}', and is to be in '{language}'")

    return in_its_language


def other_language(ranked: Mapping[str, float], wanted: str) -> str | None:
    """The language a text is in where that is hardly the wanted one; None where it may be."""
    found, likely = next(iter(ranked.items()))
    return None if ranked.get(wanted, 0.0) >= HARDLY or likely <= RATHER else found


def languages_of(responses: Iterable[str | None], spec: AnswerLanguageSpec, identify: Identify) -> list[str | None]:
    """The most likely language of each answer; None for one that is too short to tell."""
    found: list[str | None] = []
    for response in responses:
        text = "" if response is None else text_of(response, spec)
        found.append(next(iter(identify(text))) if len(text) >= spec.min_characters else None)
    return found


def text_of(response: str, spec: AnswerLanguageSpec) -> str:
    """The texts of an answer whose language counts."""
    answer = json.loads(response)
    chosen = [answer.get(name) for name in spec.fields] if spec.fields else [answer]
    return "\n".join(text for value in chosen for text in _texts(value)).strip()


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in _texts(one)]
