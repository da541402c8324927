"""Labelled texts for the net of personal data, and how they are counted (`benchmarks/personal_data_set.py` wrote them)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import sqrt
from pathlib import Path

from workbench_pipelines.personal_data import KINDS, Span

FILE = Path(__file__).with_suffix(".tsv")
_MARKED = re.compile(r"\[\[([A-Z_]+)\|(.*?)\]\]")


@dataclass(frozen=True)
class Labelled:
    """A text with what is to be found in it.

    Attributes:
        half: dev or held_out.
        spans: kind, start and end.
        known: what the tagged columns of its item hold.
    """

    half: str
    text: str
    spans: frozenset[tuple[str, int, int]]
    known: str | None


def labelled() -> Iterator[Labelled]:
    known = None
    for line in FILE.read_text(encoding="utf-8").splitlines():
        half, text = line.split("\t", 1)
        if half == "known":
            known = text
            continue
        plain, spans, end = "", set(), 0
        for found in _MARKED.finditer(text):
            plain += text[end : found.start()]
            spans.add((found[1], len(plain), len(plain) + len(found[2])))
            plain += found[2]
            end = found.end()
        yield Labelled(half, plain + text[end:], frozenset(spans), known)
        known = None


@dataclass(frozen=True)
class Counted:
    """What was found of a kind: rightly, wrongly, and not at all."""

    right: int
    wrong: int
    missed: int

    @property
    def precision(self) -> tuple[float, float, float]:
        return wilson(self.right, self.right + self.wrong)

    @property
    def recall(self) -> tuple[float, float, float]:
        return wilson(self.right, self.right + self.missed)


def count(texts: Sequence[Labelled], find: Callable[[Labelled], Sequence[Span]]) -> dict[str, Counted]:
    """By kind, how many spans are found; one is right where it is of the kind and covers exactly what is marked."""
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for one in texts:
        found = {(span.kind, span.start, span.end) for span in find(one)}
        right.update(kind for kind, _, _ in found & one.spans)
        wrong.update(kind for kind, _, _ in found - one.spans)
        missed.update(kind for kind, _, _ in one.spans - found)
    return {kind: Counted(right[kind], wrong[kind], missed[kind]) for kind in KINDS}


def wilson(hits: int, of: int, z: float = 1.96) -> tuple[float, float, float]:
    """A share with its 95 % interval by Wilson's score."""
    if not of:
        return 0.0, 0.0, 1.0
    share = hits / of
    middle = (share + z * z / (2 * of)) / (1 + z * z / of)
    half = z * sqrt(share * (1 - share) / of + z * z / (4 * of * of)) / (1 + z * z / of)
    return share, max(0.0, middle - half), min(1.0, middle + half)
