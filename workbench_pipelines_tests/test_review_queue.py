"""Who needs a person comes first, and of those the one whose answer mends or teaches most."""

from __future__ import annotations

import random
from typing import Any

import polars as pl

from workbench_pipelines.auto_approvals import AUTO_APPROVALS, auto_approvals
from workbench_pipelines.clients.embeddings import embed
from workbench_pipelines.consensus import Panels
from workbench_pipelines.identity import canonical_text, response_hash
from workbench_pipelines.label_coverage import LABELSET_COVERAGE, labelset_coverage
from workbench_pipelines.labels import CANONICAL_LABELS, fold_labels
from workbench_pipelines.pairs import LABELED_PAIRS
from workbench_pipelines.review_queue import NEEDS, REVIEW_QUEUE, review_queue
from workbench_pipelines.uncertainty import PREDICTED, predict_waiting
from workbench_pipelines_tests.pair_world import NOON, later, ledger, make_decision, make_snapshot


def make_pair(item: str, status: str = "unlabeled", answer: str | None = "yes", **given: Any) -> dict[str, Any]:
    return dict.fromkeys(LABELED_PAIRS) | {
        "training_sheet": "ts",
        "pair_id": f"pair-{item}",
        "sheet": "s",
        "item_ref": item,
        "label_type": "t",
        "status": status,
        "response": None if answer is None else canonical_text({"answer": answer}),
        "inputs": canonical_text({"x": item}),
        "attributes": "{}",
        "labeling_mode": "canonical" if status == "labeled" else "ai_generated",
        **given,
    }


def queue(
    *pairs: dict[str, Any],
    labels: pl.DataFrame | None = None,
    predicted: dict[str, tuple[str, float]] | None = None,
    **given: Any,
) -> pl.DataFrame:
    said = [(f"pair-{item}", *one) for item, one in (predicted or {}).items()]
    return review_queue(
        pl.DataFrame(list(pairs), schema=LABELED_PAIRS),
        CANONICAL_LABELS.to_frame() if labels is None else labels,
        pl.DataFrame(said, schema=PREDICTED, orient="row"),
        target="answer",
        **given,
    )


def test_every_pair_that_needs_a_person_is_there_once_in_the_order_of_need() -> None:
    said = [make_decision("stale", seen_hash="was"), make_decision("proposed", answer="no")]
    said += [make_decision("disputed"), make_decision("disputed", answer="no", by="rob"), make_decision("begun")]
    asked = Panels(asked={("s", "disputed", "t"): 2, ("s", "begun", "t"): 2})
    labels = fold_labels(ledger(*said), make_snapshot(stale="is", proposed="p"), ("s",), asked)
    labels = labels.with_columns(
        pl.when(pl.col("item_ref") == "stale").then(None).otherwise("proposed_by").alias("proposed_by"),
        (pl.col("item_ref") == "stale").alias("active"),
    )
    names = ["rest", "unsure", "contradicted", "begun", "disputed", "proposed", "stale", "flagged"]
    pairs = [make_pair(name) for name in names[:-1]]
    pairs += [
        make_pair("flagged", "flagged", review_notes="look again"),
        make_pair("done", "labeled"),
        make_pair("no", "rejected"),
    ]
    predicted = {"unsure": ("yes", 0.9), "contradicted": ("no", 0.1), "rest": ("yes", 0.1)}
    found = queue(*pairs, labels=labels, predicted=predicted, changes={"stale": "x"}, waits_for="team:experts")
    assert found.schema == REVIEW_QUEUE
    assert found["item_ref"].to_list() == names[::-1]
    assert found["need"].to_list() == [need for need in NEEDS if need != "quality"]  # of that below
    assert found["rank"].to_list() == [1, 2, 3, 4, 5, 6, 7, 8]
    assert found["detail"].to_list()[:5] == [
        "look again",
        "the label of ann is stale: x changed",
        "proposed by ann, waits for a second person",
        "ann and rob disagree, waits for a third person",
        "answered by ann, waits for another annotator",
    ]
    assert found["waits_for"].to_list()[1:5] == [
        "team:experts",
        "somebody other than ann",
        "an approver other than ann, rob",
        "somebody other than ann",
    ]
    (proposed,) = found.filter(pl.col("need") == "second_person").to_dicts()
    assert proposed["response"] == '{"answer":"no"}'  # the proposal, not the draft
    assert proposed["response_hash"] == response_hash('{"answer":"no"}')


def test_pairs_that_ask_the_same_and_are_answered_otherwise_disagree() -> None:
    same = {"inputs": '{"x":"same"}'}
    found = queue(make_pair("a", **same), make_pair("b", "labeled", "no", **same), make_pair("c"))
    assert found.select("item_ref", "need").rows() == [("a", "disagreement"), ("c", "coverage")]


def test_the_less_sure_the_model_the_sooner_a_person_is_asked() -> None:
    predicted = {"a": ("yes", 0.6), "b": ("no", 0.99), "c": ("yes", 0.8)}
    found = queue(*(make_pair(name) for name in "abc"), predicted=predicted)
    assert found["item_ref"].to_list() == ["b", "c", "a"]


def test_a_model_that_doubts_its_own_answer_is_looked_after() -> None:
    found = queue(make_pair("a"), make_pair("b", ai_confidence=0.2))
    assert found.select("item_ref", "need").rows() == [("b", "uncertain"), ("a", "coverage")]


def test_strata_take_turns_and_those_with_the_fewest_labels_come_first() -> None:
    def of(stratum: str, *items: str, status: str = "unlabeled") -> list[dict[str, Any]]:
        return [make_pair(item, status, attributes=canonical_text({"house": stratum})) for item in items]

    pairs = [*of("north", "n1", "n2", "n3"), *of("south", "s1", "s2"), *of("north", "n8", "n9", status="labeled")]
    found = queue(*pairs, strata=["house"])
    assert found["stratum"].to_list() == ["south", "south", "north", "north", "north"]
    assert found["detail"].to_list()[0] == "0 labeled in its stratum"
    assert queue(*pairs).filter(pl.col("stratum").is_not_null()).is_empty()


def test_what_was_found_in_an_answer_is_looked_at_the_worst_first() -> None:
    yes, no = (response_hash(canonical_text({"answer": answer})) for answer in ("yes", "no"))
    found = pl.DataFrame(
        {
            "pair_id": ["pair-a", "pair-b", "pair-c"],
            "response_hash": [yes, yes, no],
            "needs": [["toxic"], ["odd_length", "pii"], ["toxic"]],
            "quality_score": [0.9, 0.2, 0.1],
        }
    )
    made = queue(*(make_pair(item) for item in "abc"), quality=found)
    assert made.select("item_ref", "need", "detail").rows() == [
        ("b", "quality", "found: odd_length, pii"),
        ("a", "quality", "found: toxic"),
        ("c", "coverage", None),  # another answer was looked at
    ]


def test_the_order_of_the_rows_changes_nothing() -> None:
    pairs = [make_pair(f"{number:02}", attributes=canonical_text({"h": str(number % 3)})) for number in range(20)]
    mixed = pairs.copy()
    random.Random(1).shuffle(mixed)
    assert queue(*mixed, strata=["h"]).equals(queue(*pairs, strata=["h"]))


def test_nothing_waits_where_everything_is_labeled() -> None:
    assert queue(make_pair("a", "labeled")).schema == REVIEW_QUEUE


def flowers(count: int, start: int = 0) -> pl.DataFrame:
    rows = [
        {
            "pair_id": f"p{number:03}",
            "inputs": canonical_text({"width": (number % 10) + (0.0 if number % 2 else 20.0)}),
            "response": canonical_text({"kind": "small" if number % 2 else "large"}),
        }
        for number in range(start, start + count)
    ]
    return pl.DataFrame(rows)


def test_a_classifier_of_the_labeled_pairs_is_least_sure_between_the_classes() -> None:
    between = pl.DataFrame({"pair_id": ["between"], "inputs": ['{"width": 14.6}']})
    waiting = pl.concat([flowers(6, 100).drop("response"), between])
    found = predict_waiting(flowers(60), waiting, target="kind", embed=embed)
    assert found.sort("uncertainty")["pair_id"][-1] == "between"
    assert found.filter(pl.col("pair_id") == "p101")["predicted"].to_list() == ["small"]
    again = predict_waiting(flowers(60).reverse(), waiting.reverse(), target="kind", embed=embed)
    assert again.equals(found)


def test_without_enough_labels_or_with_one_class_nothing_is_predicted() -> None:
    waiting = flowers(3, 100).drop("response")
    assert predict_waiting(flowers(9), waiting, target="kind", embed=embed).is_empty()
    alike = flowers(40).filter(pl.col("response").str.contains("small"))
    assert predict_waiting(alike, waiting, target="kind", embed=embed).schema == PREDICTED
    unread = pl.DataFrame({"pair_id": ["odd"], "inputs": ['{"height": 1}']})
    assert predict_waiting(flowers(40), unread, target="kind", embed=embed).is_empty()


def test_coverage_counts_live_stale_and_waiting_labels_by_task_and_stratum() -> None:
    said = [make_decision("a"), make_decision("b", seen_hash="was"), make_decision("c", label_type="other")]
    snapshot = make_snapshot(a="1", b="2", c="3", d="4").with_columns(house=pl.Series(["n", "n", "s", None]))
    labels = fold_labels(ledger(*said), snapshot)
    found = labelset_coverage("s", snapshot, labels, tasks=["t", "unasked"], strata=["house", "no such"])
    assert found.schema == LABELSET_COVERAGE
    whole = found.filter(pl.col("stratum_column").is_null())
    assert whole.select("label_type", "items", "live", "stale", "share").rows() == [
        ("other", 4, 1, 0, 0.25),
        ("t", 4, 1, 1, 0.25),
        ("unasked", 4, 0, 0, 0.0),
    ]
    of_t = found.filter((pl.col("label_type") == "t") & pl.col("stratum_column").is_not_null())
    assert of_t.select("stratum", "items", "live", "stale").rows() == [(None, 1, 0, 0), ("n", 2, 1, 1), ("s", 1, 0, 0)]
    waiting = labelset_coverage("s", snapshot, fold_labels(ledger(*said), snapshot, ("s",)), tasks=["t"], strata=[])
    assert waiting["waiting"].to_list() == [1, 2]


def test_what_a_label_approved_by_itself_is_told_apart_from_what_a_person_looked_at() -> None:
    decisions = ledger(make_decision("a"), make_decision("b", pair_id="pair-b", at=later(1)))
    labels = fold_labels(decisions, None)
    name = dict(labels.select("item_ref", "canonical_label_id").iter_rows())
    pairs = [make_pair(item, "labeled", canonical_label_id=name[item]) for item in "ab"] + [make_pair("c")]
    found = auto_approvals(pl.DataFrame(pairs, schema=LABELED_PAIRS), labels, decisions, NOON)
    assert found.schema == AUTO_APPROVALS
    assert found.select("pair_id", "canonical_label_id", "version").rows() == [("pair-a", name["a"], 1)]
    assert found["response_hash"].to_list() == [response_hash('{"answer":"yes"}')]
