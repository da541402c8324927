"""A label is asked once: it holds while its item shows the same, and the ledger's order of delivery does not matter."""

from __future__ import annotations

import random

import polars as pl
import pytest

from workbench_pipelines import identity
from workbench_pipelines.labels import CANONICAL_LABELS, fold_labels, label_history, live_labels
from workbench_pipelines_tests.pair_world import later, ledger, make_decision, make_snapshot


def seen(x: str) -> str:
    return identity.seen_hash({"x": x}, ["x"])


def test_the_last_decision_is_the_label_and_every_one_is_a_version() -> None:
    decisions = ledger(make_decision(answer="yes"), make_decision(answer="no", at=later(5), by="bob"))
    (label,) = fold_labels(decisions, None).to_dicts()
    assert label["label_data"] == '{"answer":"no"}'
    assert (label["version"], label["labeled_by"], label["last_modified_by"]) == (2, "ann", "bob")
    assert label_history(decisions)["by"].to_list() == ["ann", "bob"]


@pytest.mark.parametrize("seed", range(5))
def test_decisions_repeated_and_out_of_order_make_the_same_labels(seed: int) -> None:
    given = [make_decision(ref, answer=answer, at=later(i)) for i, (ref, answer) in enumerate(
        [("a", "yes"), ("b", "no"), ("a", "no"), ("c", "yes"), ("b", "yes")]
    )]  # fmt: skip
    again = given * 3
    random.Random(seed).shuffle(again)
    assert fold_labels(ledger(*again), None).equals(fold_labels(ledger(*given), None))


def test_a_label_is_stale_when_what_was_seen_changes_and_revives_when_it_changes_back() -> None:
    decisions = ledger(make_decision(seen_hash=seen("red")))
    assert live_labels(fold_labels(decisions, make_snapshot(a="red"))).height == 1
    assert fold_labels(decisions, make_snapshot(a="blue"))["stale"].to_list() == [True]
    assert live_labels(fold_labels(decisions, make_snapshot(a="red"))).height == 1


def test_an_unseen_change_leaves_the_label_alone() -> None:
    snapshot = make_snapshot(a="red").with_columns(unseen=pl.lit("changed"))
    assert not fold_labels(ledger(make_decision(seen_hash=seen("red"))), snapshot)["stale"][0]


def test_a_seen_column_that_vanished_makes_the_label_stale() -> None:
    assert fold_labels(ledger(make_decision(seen_hash=seen("red"))), make_snapshot(a="red").drop("x"))["stale"][0]


def test_an_item_that_left_the_sheet_keeps_its_label() -> None:
    assert not fold_labels(ledger(make_decision(seen_hash=seen("red"))), make_snapshot(b="red"))["stale"][0]


def test_a_withdrawn_label_is_inactive_until_it_is_restored() -> None:
    withdrawn = [make_decision(), make_decision(action="reject", at=later(1))]
    assert not fold_labels(ledger(*withdrawn), None)["active"][0]
    assert fold_labels(ledger(*withdrawn, make_decision(action="restore", at=later(2))), None)["active"][0]


def test_a_restriction_outlives_a_new_label_and_ends_with_a_restore() -> None:
    restricted = [
        make_decision(),
        make_decision(action="restrict", at=later(1), uses='{"prohibited_uses":["training"]}'),
        make_decision(answer="no", at=later(2)),
    ]
    assert fold_labels(ledger(*restricted), None)["prohibited_uses"].to_list() == [["training"]]
    restored = fold_labels(ledger(*restricted, make_decision(action="restore", at=later(3))), None)
    assert restored["prohibited_uses"].to_list() == [[]]


def test_approving_an_answer_makes_it_the_label() -> None:
    approved = make_decision(action="approve", proposed_response='{"answer":"no"}')
    assert fold_labels(ledger(approved), None)["label_data"].to_list() == ['{"answer":"no"}']


def test_an_empty_ledger_gives_the_columns_all_the_same() -> None:
    assert fold_labels(ledger(), None).schema == CANONICAL_LABELS
