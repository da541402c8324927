"""A label file becomes decisions; a bad row is named with its file and line, and the others are taken."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl

from workbench_pipelines.decisions import Decided, LabelRow, Seen, decide_labels, deliveries
from workbench_pipelines.errors import ArgumentError
from workbench_pipelines.identity import canonical_text
from workbench_pipelines.label_files import read_label_file
from workbench_pipelines.labels import fold_labels, label_contents
from workbench_pipelines.usage import USES
from workbench_pipelines_tests.pair_world import NOON, SCHEMA, later

GOOD: dict[str, Any] = {"sheet": "s", "item_ref": "a", "label_type": "t", "label_data": {"answer": "yes"}}


def seen(row: LabelRow) -> Seen:
    if row.item_ref == "missing":
        raise ArgumentError("sheet s has no item missing")
    return Seen(("x",), "hash-of-x")


def decide(
    text: str,
    name: str = "labels.jsonl",
    current: pl.DataFrame | None = None,
    now: dt.datetime = NOON,
    several: bool = False,
) -> Decided:
    return decide_labels(
        read_label_file(name, text),
        schema_of=lambda _: SCHEMA,
        seen=seen,
        vocabulary=USES,
        by="ann",
        now=now,
        source=f"import:{name}",
        current={} if current is None else label_contents(fold_labels(current, None)),
        delivered=() if current is None else deliveries(current),
        several=lambda key: several,
    )


def jsonl(*rows: dict[str, Any]) -> str:
    return "\n".join(canonical_text(row) for row in rows) + "\n"


def test_a_good_row_becomes_one_decision() -> None:
    decisions, refusals, _ = decide(jsonl(GOOD))
    assert not refusals
    assert decisions.select("item_ref", "action", "by", "seen_hash").to_dicts() == [
        {"item_ref": "a", "action": "label", "by": "ann", "seen_hash": "hash-of-x"}
    ]


def test_several_annotators_of_one_item_may_say_the_same_or_something_else_in_one_file() -> None:
    rows = [GOOD | {"labeled_by": name} for name in ("ann", "bob")]
    rows += [rows[0] | {"labeled_by": "rob", "label_data": {"answer": "no"}}]
    made = decide(jsonl(*rows), several=True)
    assert sorted(made.decisions["by"]) == ["ann", "bob", "rob"]
    assert decide(jsonl(*rows), current=made.decisions, several=True).decisions.is_empty()
    # Nobody says two things at one time; where one answer is enough, no two people do.
    twice = decide(jsonl(*rows, rows[2] | {"labeled_by": "ann"}), several=True)
    assert len(twice.refusals) == 2
    assert len(decide(jsonl(*rows)).refusals) == 3


def test_each_bad_row_is_named_with_its_line_and_the_good_ones_are_taken() -> None:
    rows = [
        GOOD | {"label_data": {"answer": "maybe"}},
        GOOD,
        GOOD | {"item_ref": "missing"},
        GOOD | {"alowed_uses": []},
        GOOD | {"item_ref": "b", "prohibited_uses": ["trainning"]},
    ]
    decisions, refusals, _ = decide(jsonl(*rows) + "{not json\n")
    assert decisions.height == 1
    assert [refusal.where for refusal in refusals] == [f"labels.jsonl line {n}" for n in (1, 3, 4, 5, 6)]
    assert "none of the allowed values" in refusals[0].reason
    assert "no item missing" in refusals[1].reason
    assert "did you mean 'allowed_uses'" in refusals[2].reason
    assert "unknown use 'trainning'; did you mean 'training'" in refusals[3].reason


def test_a_restricted_value_does_not_reach_the_message() -> None:
    _, refusals, _ = decide(jsonl(GOOD | {"label_data": {"answer": "Jane Doe, MRN 12345"}}))
    assert "Jane" not in refusals[0].line


def test_the_same_file_twice_makes_the_same_decisions_once() -> None:
    dated = GOOD | {"labeled_at": "2026-02-01T10:00:00+01:00"}
    first, again = decide(jsonl(dated)), decide(jsonl(dated))
    assert first[0].equals(again[0])
    undated, _, _ = decide(jsonl(GOOD))
    assert decide(jsonl(GOOD), current=undated)[0].is_empty()


def test_a_label_said_again_after_another_one_counts() -> None:
    yes, _, _ = decide(jsonl(GOOD))
    changed, _, _ = decide(jsonl(GOOD | {"label_data": {"answer": "no"}}), current=yes)
    assert changed.height == 1


def test_a_file_that_comes_again_overrules_nothing_that_was_decided_since() -> None:
    yes = decide(jsonl(GOOD)).decisions
    no = decide(jsonl(GOOD | {"label_data": {"answer": "no"}}), "later.jsonl", current=yes, now=later(1)).decisions
    ledger = pl.concat([yes, no])
    again = decide(jsonl(GOOD), current=ledger)
    assert again.decisions.is_empty()
    assert [row.item_ref for row in again.repeated] == ["a"]
    # Said anew, in another file or with a time, it counts.
    assert decide(jsonl(GOOD), "new.jsonl", current=ledger).decisions.height == 1
    assert decide(jsonl(GOOD | {"labeled_at": "2026-04-01T00:00:00Z"}), current=ledger).decisions.height == 1


def test_of_rows_that_contradict_each_other_none_is_taken() -> None:
    no = GOOD | {"label_data": {"answer": "no"}}
    decisions, refusals, _ = decide(jsonl(GOOD, no, GOOD | {"item_ref": "b"}))
    assert decisions["item_ref"].to_list() == ["b"]
    assert [one.line for one in refusals] == [
        "labels.jsonl line 1: item a: labels.jsonl line 2 says something else of it; keep one, or date them",
        "labels.jsonl line 2: item a: labels.jsonl line 1 says something else of it; keep one, or date them",
    ]
    dated = [GOOD | {"labeled_at": "2026-01-01T00:00:00Z"}, no | {"labeled_at": "2026-01-02T00:00:00Z"}]
    assert decide(jsonl(*dated)).decisions.height == 2


def test_csv_says_the_same_as_jsonl() -> None:
    text = 'sheet,item_ref,label_type,label_data,prohibited_uses\ns,007,t,"{""answer"": ""yes""}",training;few_shot\n'
    decisions, refusals, _ = decide(text, "labels.csv")
    assert not refusals
    (row,) = decisions.to_dicts()
    assert row["item_ref"] == "007"
    assert '"prohibited_uses":["few_shot","training"]' in row["uses"]


def test_a_dated_label_that_comes_again_is_no_second_look_at_an_item_that_changed_meanwhile() -> None:
    row = GOOD | {"labeled_at": NOON.isoformat()}
    first = decide(jsonl(row)).decisions
    elsewhere = first.with_columns(pl.lit("hash-of-another-x").alias("seen_hash"))
    again = decide(jsonl(row), "copied.jsonl", elsewhere)
    assert again.decisions.is_empty()
    assert len(again.repeated) == 1
    assert decide(jsonl(row | {"seen_columns": ["x"]}), current=elsewhere).decisions.is_empty()

    said_more = row | {"notes": "after a second look"}
    corrected = row | {"labeled_at": later(1).isoformat()}
    other_columns = elsewhere.with_columns(pl.lit(["y"]).cast(pl.List(pl.String)).alias("seen_columns"))
    for new, ledger in (said_more, first), (corrected, first), (row | {"seen_columns": ["x"]}, other_columns):
        assert decide(jsonl(new), current=ledger).decisions.height == 1
