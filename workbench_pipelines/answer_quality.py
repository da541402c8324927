"""The quality of an answer by what can be seen of it, without a model: each fault by its name, and one score.

The score is a product: 1 less the weight of a fault, for every fault that is found. So an answer without a fault has 1, one
fault that makes it useless gives 0 whatever else is right, and two small ones weigh more than either, whichever comes first.
Weights are no probabilities: they order what a person looks at. What an answer is worth is what a judge measures, against
experts' labels (`judge_calibration.py`).
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from workbench_pipelines.duplicates import texts_of
from workbench_pipelines.fields import is_closed, schema_violation

FAULTS: Mapping[str, float] = {
    "empty": 1.0,  # nothing to learn from
    "not_in_schema": 1.0,  # whatever it says, nobody asked for that
    "declines": 1.0,  # "As an AI I can not": an answer in form only
    "echoes_the_prompt": 1.0,  # teaches to repeat the question
    "repeats_itself": 0.7,  # a model in a loop; a list that is meant to repeat exists, and is rare
    "placeholder": 0.7,  # `[your name]`, `lorem ipsum`: a form that nobody filled in
    "cut_off": 0.5,  # ends within a sentence: often cut, at times only without its full stop
    "odd_length": 0.2,  # much shorter or longer than its peers; mostly sound
}
"""The faults and how much of the score each takes away."""

PROSE = 60  # characters from which on a text is a sentence or more, and ends like one
LOOP_WORDS = 20  # fewer words repeat by chance
LOOP_SHARE = 0.5  # different runs of three words of all: good prose has over 0.9, a loop of ten words in fifty 0.2
ECHO = 20  # characters: what is shorter may be a value that was asked for
PEERS = 30  # answers from which on their lengths say what is usual
FAR = 4.0  # robust deviations of the logarithm of the length: one in 16,000 if lengths are log-normal

_WORD = re.compile(r"\w+")
_DECLINES = re.compile(
    r"\bas an? (?:ai|artificial intelligence|(?:large )?language model)\b"
    r"|\Ai(?:['’]m| am) (?:sorry|unable|not able)\b|\Asorry,? (?:but )?i\b"
    r"|\Ai can(?:not|['’]t| not) (?:help|assist|answer|provide)\b",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(
    r"lorem ipsum|\[(?:your|insert|name|date|company|todo|placeholder)\b[^\]]{0,40}\]"
    r"|<(?:your|insert)\b[^>]{0,40}>|\{\{\s*\w[^{}]{0,40}\}\}",
    re.IGNORECASE,
)
_ENDS = frozenset(".!?…:;)]}\"”’'»*`|>。！？」』")


@dataclass(frozen=True)
class Usual:
    """How long the answers of a TrainingSheet are: the median and the robust deviation of the logarithms of their lengths."""

    median: float
    deviation: float

    def is_far(self, length: int) -> bool:
        return abs(math.log1p(length) - self.median) > FAR * self.deviation


def usual_length(answers: Sequence[str], schema: Mapping[str, Any]) -> Usual | None:
    """The usual length of these answers (JSON texts); None where they are too few to say, or answer from a list."""
    if is_closed(schema) or len(answers) < PEERS:
        return None
    lengths = [math.log1p(len(texts_of([orjson.loads(answer)]))) for answer in answers]
    median = statistics.median(lengths)
    spread = statistics.median(abs(one - median) for one in lengths) * 1.4826  # of a normal distribution, its deviation
    return Usual(median, max(spread, 0.25))  # answers that are all alike: a quarter longer is not far


def faults_of(response: str, shown: str, schema: Mapping[str, Any], usual: Usual | None = None) -> list[str]:
    """The faults of an answer, in the order of `FAULTS`.

    Args:
        response: the answer, as JSON text.
        shown: what was asked about, the texts of the bound variables (`duplicates.texts_of`).
        schema: the template's output schema.
        usual: the usual length of such answers.
    """
    answer = orjson.loads(response)
    said = texts_of([answer]).strip()
    found = set()
    if not said:
        found.add("empty")
    if schema_violation(answer, schema) is not None:
        found.add("not_in_schema")
    if said and not is_closed(schema):
        found |= _faults_of_text(said, shown)
        if usual is not None and usual.is_far(len(said)):
            found.add("odd_length")
    return [name for name in FAULTS if name in found]


def score_of(faults: Sequence[str]) -> float:
    """The score of an answer with these faults: the product of what each leaves of it."""
    return math.prod(1 - FAULTS[name] for name in faults)


def _faults_of_text(said: str, shown: str) -> set[str]:
    found = set()
    if _DECLINES.search(said):
        found.add("declines")
    if _PLACEHOLDER.search(said):
        found.add("placeholder")
    if len(said) >= ECHO and _plain(said) == _plain(shown):
        found.add("echoes_the_prompt")
    words = _plain(said).split()
    if len(words) >= LOOP_WORDS:
        runs = list(zip(words, words[1:], words[2:], strict=False))
        if len(set(runs)) < LOOP_SHARE * len(runs):
            found.add("repeats_itself")
    last = said.rsplit("\n", 1)[-1].rstrip()
    # A text in marks or without spaces (code, a list of ids) ends as it likes.
    if len(last) >= PROSE and last[-1] not in _ENDS and " " in last and said.count("\n") < len(said) / PROSE:
        found.add("cut_off")
    return found


def _plain(text: str) -> str:
    return " ".join(_WORD.findall(text.lower()))
