"""How much personal data the net finds, and how much of what it finds is some, on labelled texts; and how fast it looks.

`python benchmarks/personal_data.py [dev]` prints the table of docs/personal_data.md: of the held-out half, or of `dev`, with the
sentences that went wrong. The extra `pii` has to be installed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence

import polars as pl

from workbench_pipelines.clients.personal_data import spans_in
from workbench_pipelines.known_values import forms_of, known_spans
from workbench_pipelines.personal_data import Span, surest
from workbench_pipelines_tests.personal_data_sentences import Counted, Labelled, count, labelled


def measured(half: str) -> tuple[dict[str, Counted], list[Labelled]]:
    """By kind what is found in a half, and its texts."""
    texts = [one for one in labelled() if one.half == half]
    return count(texts, finder(texts)), texts


def finder(texts: Sequence[Labelled]):
    found = spans_in(pl.Series([one.text for one in texts]))

    def find(one: Labelled) -> list[Span]:
        known = known_spans(one.text, forms_of(one.known)) if one.known else []
        return surest([*found.get(one.text, []), *known])

    return find


def table(counts: dict[str, Counted]) -> list[str]:
    """The lines of the table in the docs."""

    def share(of: tuple[float, float, float]) -> str:
        return f"{of[0]:.2f} ({of[1]:.2f} to {of[2]:.2f})"

    every = Counted(*(sum(getattr(one, name) for one in counts.values()) for name in ("right", "wrong", "missed")))
    rows = [("kind", "spans", "precision (95 %)", "recall (95 %)"), ("---",) * 4]
    rows += [
        (f"`{kind}`" if kind != "all" else kind, str(one.right + one.missed), share(one.precision), share(one.recall))
        for kind, one in [*counts.items(), ("all", every)]
    ]
    return ["| " + " | ".join(row) + " |" for row in rows]


def main(half: str) -> None:
    counts, texts = measured(half)
    print("\n".join(table(counts)))
    clean = [one for one in texts if not one.spans]
    find = finder(texts)
    print(f"\n{len(clean)} texts without any; something was found in {sum(bool(find(one)) for one in clean)} of them")
    if half == "dev":
        for one in texts:
            found = {(span.kind, span.start, span.end) for span in find(one)}
            if found != one.spans:
                print(sorted(found - one.spans), sorted(one.spans - found), one.text)
    speed(texts)


def speed(texts: Sequence[Labelled]) -> None:
    suspects = pl.Series([f"{one.text} ({number})" for number in range(10) for one in texts if one.spans])
    clean = pl.Series(
        [f"The pump of line {number} stops by itself, and the valve is closed" for number in range(1_000_000)]
    )
    for name, series in (("texts that hold some", suspects), ("clean texts", clean)):
        begun = time.perf_counter()
        spans_in(series)
        print(f"{name}: {series.len() / (time.perf_counter() - begun):,.0f} a second")


if __name__ == "__main__":
    main(*(sys.argv[1:] or ["held_out"]))
