"""A label file becomes decisions; a bad row is named with its file and line, and the others are taken."""

from __future__ import annotations

from typing import Any

import polars as pl

from workbench_pipelines.decisions import LabelRow, Refusal, Seen, decide_labels, read_label_file
from workbench_pipelines.errors import ArgumentError
from workbench_pipelines.identity import canonical_text
from workbench_pipelines.labels import fold_labels, label_contents
from workbench_pipelines.usage import USES
from workbench_pipelines_tests.pair_world import NOON, SCHEMA

GOOD: dict[str, Any] = {"sheet": "s", "item_ref": "a", "label_type": "t", "label_data": {"answer": "yes"}}


def seen(row: LabelRow) -> Seen:
    if row.item_ref == "missing":
        raise ArgumentError("sheet s has no item missing")
    return Seen(("x",), "hash-of-x")


def decide(
    text: str, name: str = "labels.jsonl", current: pl.DataFrame | None = None
) -> tuple[pl.DataFrame, list[Refusal]]:
    return decide_labels(
        read_label_file(name, text),
        schema_of=lambda _: SCHEMA,
        seen=seen,
        vocabulary=USES,
        by="ann",
        now=NOON,
        source=f"import:{name}",
        current={} if current is None else label_contents(fold_labels(current, None)),
    )


def jsonl(*rows: dict[str, Any]) -> str:
    return "\n".join(canonical_text(row) for row in rows) + "\n"


def test_a_good_row_becomes_one_decision() -> None:
    decisions, refusals = decide(jsonl(GOOD))
    assert not refusals
    assert decisions.select("item_ref", "action", "by", "seen_hash").to_dicts() == [
        {"item_ref": "a", "action": "label", "by": "ann", "seen_hash": "hash-of-x"}
    ]


def test_each_bad_row_is_named_with_its_line_and_the_good_ones_are_taken() -> None:
    rows = [
        GOOD | {"label_data": {"answer": "maybe"}},
        GOOD,
        GOOD | {"item_ref": "missing"},
        GOOD | {"alowed_uses": []},
        GOOD | {"item_ref": "b", "prohibited_uses": ["trainning"]},
    ]
    decisions, refusals = decide(jsonl(*rows) + "{not json\n")
    assert decisions.height == 1
    assert [refusal.where for refusal in refusals] == [f"labels.jsonl line {n}" for n in (1, 3, 4, 5, 6)]
    assert "none of the allowed values" in refusals[0].reason
    assert "no item missing" in refusals[1].reason
    assert "did you mean 'allowed_uses'" in refusals[2].reason
    assert "unknown use 'trainning'; did you mean 'training'" in refusals[3].reason


def test_a_restricted_value_does_not_reach_the_message() -> None:
    _, refusals = decide(jsonl(GOOD | {"label_data": {"answer": "Jane Doe, MRN 12345"}}))
    assert "Jane" not in refusals[0].line


def test_the_same_file_twice_makes_the_same_decisions_once() -> None:
    dated = GOOD | {"labeled_at": "2026-02-01T10:00:00+01:00"}
    first, again = decide(jsonl(dated)), decide(jsonl(dated))
    assert first[0].equals(again[0])
    undated, _ = decide(jsonl(GOOD))
    assert decide(jsonl(GOOD), current=undated)[0].is_empty()


def test_a_label_said_again_after_another_one_counts() -> None:
    yes, _ = decide(jsonl(GOOD))
    changed, _ = decide(jsonl(GOOD | {"label_data": {"answer": "no"}}), current=yes)
    assert changed.height == 1


def test_csv_says_the_same_as_jsonl() -> None:
    text = 'sheet,item_ref,label_type,label_data,prohibited_uses\ns,007,t,"{""answer"": ""yes""}",training;few_shot\n'
    decisions, refusals = decide(text, "labels.csv")
    assert not refusals
    (row,) = decisions.to_dicts()
    assert row["item_ref"] == "007"
    assert '"prohibited_uses":["few_shot","training"]' in row["uses"]
