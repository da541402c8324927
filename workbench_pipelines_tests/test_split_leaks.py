"""The last look at an export finds near-copies in two splits, whoever put them there."""

from __future__ import annotations

import polars as pl

from workbench_pipelines.identity import canonical_text
from workbench_pipelines.split_leaks import crossing_pairs

LONG = "the tall grey heron stood quite still in the shallow water of the pond until a fish came near enough"


def export_of(*rows: tuple[str, str]) -> pl.DataFrame:
    inputs = [canonical_text({"note": text}) for _, text in rows]
    schema = {"split": pl.String(), "inputs": pl.String()}
    return pl.DataFrame({"split": [split for split, _ in rows], "inputs": inputs}, schema=schema)


def test_a_near_copy_in_another_split_is_found() -> None:
    pairs, worst = crossing_pairs(export_of(("train", LONG), ("test", LONG + " too"), ("val", "nothing like it")), 0.7)
    assert (pairs, round(worst, 2)) == (1, 0.95)


def test_a_text_that_stands_in_two_splits_is_found() -> None:
    assert crossing_pairs(export_of(("train", LONG), ("test", LONG.upper())), 0.7) == (1, 1.0)


def test_copies_in_one_split_are_no_leak() -> None:
    assert crossing_pairs(export_of(("train", LONG), ("train", LONG + " too"), ("test", "else")), 0.7) == (0, 0.0)
    assert crossing_pairs(export_of(), 0.7) == (0, 0.0)
