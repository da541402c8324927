"""Several people answer on their own: those who agree make the label, and a third person decides between those who do not."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from workbench_pipelines import identity
from workbench_pipelines.consensus import Panel, Panels, typical
from workbench_pipelines.errors import LabelError
from workbench_pipelines.identity import canonical_text
from workbench_pipelines.labels import CANONICAL_LABELS, fold_labels, label_history
from workbench_pipelines.review import parse_judgement
from workbench_pipelines_tests.definition_world import make_catalog, make_document
from workbench_pipelines_tests.page_world import BOXES
from workbench_pipelines_tests.pair_world import SCHEMA, later, ledger, make_decision, make_snapshot
from workbench_pipelines_tests.review_world import decide, make_judgement

TEXT = {"type": "object", "properties": {"answer": {"type": "string"}}}
SCHEMAS = {"t": SCHEMA, "boxes": BOXES, "text": TEXT}


def panels(annotators: int = 2, agreement: float = 0.7, **asked: int) -> Panels:
    return Panels(
        {"s": Panel(annotators, agreement)}, {("s", item, "t"): number for item, number in asked.items()}, SCHEMAS
    )


def says(by: str, answer: Any = "yes", minutes: int = 0, **given: Any) -> dict[str, Any]:
    said = answer if isinstance(answer, dict) else {"answer": answer}
    shown = canonical_text(said)
    return make_decision(
        label_data=shown,
        by=by,
        at=later(minutes),
        decision_id=f"{by}-{minutes}-{shown}" + given.get("item_ref", ""),
        notes=f"note of {by}",
        **given,
    )


def between(by: str, answer: str, minutes: int = 9, **given: Any) -> dict[str, Any]:
    return says(by, answer, minutes, adjudicates=True, **given)


def label(*decisions: dict[str, Any], of: Panels | None = None, snapshot: pl.DataFrame | None = None) -> dict[str, Any]:
    (found,) = fold_labels(ledger(*decisions), snapshot, (), panels() if of is None else of).to_dicts()
    return found


def stand(found: dict[str, Any]) -> tuple[bool, str | None, list[str] | None]:
    return found["active"], found["awaits"], found["annotators"]


def answer(found: dict[str, Any]) -> str:
    return str(found["label_data"])


def test_one_answer_of_two_is_no_label_yet() -> None:
    assert stand(label(says("ann"))) == (False, "annotator", ["ann"])
    assert stand(label(says("ann"), says("ann", "no", 1))) == (False, "annotator", ["ann"])  # twice is once


def test_people_who_agree_make_the_label() -> None:
    found = label(says("ann"), says("bob", minutes=1))
    assert stand(found) == (True, None, ["ann", "bob"])
    assert (found["agreement"], found["notes"], found["proposed_by"]) == (1, "note of ann", None)
    assert (found["labeled_by"], found["last_modified_by"], found["version"]) == ("ann", "bob", 2)


def test_people_who_disagree_wait_for_a_third_person_whose_word_is_the_label() -> None:
    said = says("ann"), says("bob", "no", 1)
    waiting = label(*said)
    assert stand(waiting) == (False, "adjudicator", ["ann", "bob"])
    assert waiting["agreement"] == 0.5
    decided = label(*said, between("eve", "no"))
    assert stand(decided) == (True, None, ["ann", "bob"])
    assert (answer(decided), decided["notes"]) == ('{"answer":"no"}', "note of eve")
    history = label_history(ledger(*said, between("eve", "no")))
    assert history.select("by", "label_data").rows() == [
        ("ann", '{"answer":"yes"}'),
        ("bob", '{"answer":"no"}'),
        ("eve", '{"answer":"no"}'),
    ]


def test_nobody_decides_between_their_own_answer_and_another_one() -> None:
    assert stand(label(says("ann"), says("bob", "no", 1), between("ann", "yes")))[1] == "adjudicator"


def test_nobody_decides_before_there_is_anything_to_decide_between() -> None:
    assert stand(label(between("eve", "no", 0))) == (False, "annotator", [])
    assert stand(label(says("ann"), between("eve", "no", 1)))[1] == "annotator"


def test_a_third_answer_of_their_own_is_no_decision_between_the_others() -> None:
    said = says("ann"), says("bob", "no", 1), says("rob", "no", 2)
    assert stand(label(*said))[1] == "adjudicator"  # two of three are .67
    assert stand(label(*said, of=panels(agreement=0.6))) == (True, None, ["ann", "bob", "rob"])
    assert answer(label(*said, of=panels(agreement=0.6))) == '{"answer":"no"}'


def test_somebody_who_comes_to_another_view_is_counted_with_that_one() -> None:
    assert stand(label(says("ann"), says("bob", "no", 1), says("ann", "no", 2))) == (True, None, ["ann", "bob"])
    undone = make_decision(action="restore", undoes="bob-1-" + canonical_text({"answer": "no"}), by="bob", at=later(3))
    assert stand(label(says("ann"), says("bob", "no", 1), undone)) == (False, "annotator", ["ann"])


def test_a_decision_between_answers_outlives_them_until_the_item_changes() -> None:
    def seen(value: str) -> dict[str, str]:
        return {"seen_hash": identity.seen_hash({"x": value}, ["x"])}

    old = says("ann", **seen("red")), says("bob", "no", 1, **seen("red")), between("eve", "no", 2, **seen("red"))
    late = says("ann", "no", 3, **seen("red"))
    red, blue = make_snapshot(a="red"), make_snapshot(a="blue")
    assert stand(label(*old, late, snapshot=red)) == (True, None, ["ann", "bob"])
    assert label(*old, snapshot=blue)["stale"]
    anew = says("ann", minutes=4, **seen("blue"))
    waiting = label(*old, anew, snapshot=blue)
    assert (stand(waiting), waiting["stale"]) == ((False, "annotator", ["ann"]), False)
    again = label(*old, anew, says("rob", minutes=5, **seen("blue")), snapshot=blue)
    assert (stand(again), answer(again), again["stale"]) == ((True, None, ["ann", "rob"]), '{"answer":"yes"}', False)
    # As it was before, so is its label.
    assert answer(label(*old, anew, snapshot=red)) == '{"answer":"no"}'


def test_answers_that_wait_for_another_are_asked_for_anew_when_the_item_changes() -> None:
    seen = {"seen_hash": identity.seen_hash({"x": "red"}, ["x"])}
    said = says("ann", **seen), says("bob", "no", 1, **seen)
    assert stand(label(*said, snapshot=make_snapshot(a="red"))) == (False, "adjudicator", ["ann", "bob"])
    changed = label(*said, snapshot=make_snapshot(a="blue"))
    assert (stand(changed), changed["stale"]) == ((False, "annotator", []), True)


def test_after_a_withdrawal_a_panel_begins_anew() -> None:
    said = says("ann"), says("bob", minutes=1)
    withdrawn = make_decision(action="reject", by="stella", at=later(2))
    assert not label(*said, withdrawn)["active"]
    assert stand(label(*said, withdrawn, says("rob", minutes=3))) == (False, "annotator", ["rob"])
    restored = make_decision(action="restore", by="stella", at=later(4))
    assert stand(label(*said, withdrawn, restored)) == (True, None, ["ann", "bob"])


def test_people_who_agree_are_two_persons_and_one_alone_still_waits_for_an_approval() -> None:
    two = ("s",)
    (found,) = fold_labels(ledger(says("ann"), says("bob", minutes=1)), None, two, panels()).to_dicts()
    assert (found["active"], found["proposed_by"]) == (True, None)
    (alone,) = fold_labels(ledger(says("ann")), None, two, panels(1)).to_dicts()
    assert (alone["active"], alone["proposed_by"], alone["awaits"]) == (False, "ann", None)


def test_a_task_that_asks_more_people_of_an_item_makes_a_panel_of_it_alone() -> None:
    said = [says("ann"), says("ann", item_ref="b")]
    folded = fold_labels(ledger(*said), None, (), panels(1, a=2))
    assert folded.select("item_ref", "active", "awaits").rows() == [("a", False, "annotator"), ("b", True, None)]


def test_where_nobody_asks_for_several_everything_is_as_it_was() -> None:
    said = ledger(says("ann"), says("bob", "no", 1), between("eve", "yes", 2))
    assert fold_labels(said, None, (), panels(1)).equals(fold_labels(said, None))
    assert fold_labels(said, None)["label_data"].to_list() == ['{"answer":"yes"}']


def test_answers_are_compared_as_what_they_are_and_the_most_typical_one_is_taken() -> None:
    def car(x: int) -> dict[str, Any]:
        return {"cars": [{"label": "car", "x": x, "y": 0, "width": 100, "height": 100}]}

    near = label(says("ann", car(0), label_type="boxes"), says("bob", car(5), 1, label_type="boxes"))
    assert near["active"]
    assert near["agreement"] == pytest.approx(95 / 105)
    far = label(says("ann", car(0), label_type="boxes"), says("bob", car(50), 1, label_type="boxes"))
    assert (far["awaits"], round(far["agreement"], 2)) == ("adjudicator", 0.33)
    three = [canonical_text({"answer": text}) for text in ("a b c d", "a b c", "a b c e")]
    assert typical(three, TEXT)[0] == 1
    assert typical(three[:1] * 2, TEXT) == (0, 1)


def test_deciding_between_annotators_takes_an_approver_and_an_answer() -> None:
    decided = decide(make_judgement("label", by="bob", adjudicates=True))
    assert decided.decisions["adjudicates"].to_list() == [True]
    refused = decide(make_judgement("label", by="ann", adjudicates=True)).refusals[0][1]
    assert "ann may not adjudicate" in refused.reason
    with pytest.raises(LabelError, match="`adjudicates` goes with"):
        parse_judgement(make_judgement("flag", adjudicates=True))
    plain = parse_judgement(make_judgement("label"))
    assert plain.decision_id != parse_judgement(make_judgement("label", adjudicates=True)).decision_id


def test_a_sheet_says_how_many_people_answer_and_how_far_they_must_agree() -> None:
    sheet = make_document(
        "Sheet", "new", primary_table="a.csv", item_ref="id", review={"annotators": 3, "agreement": 0.6}
    )
    sheet["metadata"]["formerly"] = ["old"]
    found = make_catalog(sheet).panels({("old", "a", "t"): 4})
    assert found.of(("new", "a", "t")) == found.of(("old", "b", "t")) == Panel(3, 0.6)
    assert found.of(("old", "a", "t")) == Panel(4, 0.6)
    assert not found.asks_several(("another", "a", "t"))
    broken = make_document(
        "Sheet", "s", primary_table="a.csv", item_ref="id", review={"annotators": 2, "agreement": 0.5}
    )
    assert "agreement" in make_catalog(broken).problems[0].line


EVENTS = st.lists(
    st.builds(
        lambda action, item, minutes, by, yes, adjudicates: make_judgement(
            action,
            item,
            minutes,
            by=by,
            **({"label_data": {"answer": "yes" if yes else "no"}} if action in ("label", "edit") else {}),
            **({"adjudicates": True} if adjudicates and action in ("label", "edit", "approve") else {}),
        ),
        action=st.sampled_from(["label", "approve", "edit", "reject", "flag"]),
        item=st.sampled_from(["a", "b"]),
        minutes=st.integers(0, 5),
        by=st.sampled_from(["bob", "stella", "ann"]),
        yes=st.booleans(),
        adjudicates=st.booleans(),
    ),
    min_size=1,
    max_size=14,
)


@given(EVENTS, st.randoms(use_true_random=False), st.integers(1, 3))
@settings(max_examples=80, deadline=None)
def test_the_order_of_delivery_makes_no_other_label(judgements: list[dict[str, Any]], random: Any, asked: int) -> None:
    again = judgements * 2
    random.shuffle(again)
    first, second = decide(*judgements).decisions, decide(*again).decisions
    mixed = pl.concat([second.sample(fraction=1, shuffle=True, seed=1), second])
    folded = fold_labels(mixed, None, (), panels(asked))
    assert folded.equals(fold_labels(first, None, (), panels(asked)))
    assert not folded.filter(pl.col("awaits").is_not_null())["active"].any()
    if asked > 1:
        # A panel that stands has its people, and what they agree on or somebody else decided.
        standing = folded.filter("active")
        assert (standing["annotators"].list.len() >= asked).all()
    rest = [name for name in CANONICAL_LABELS if name in ("item_ref", "version", "labeled_by", "prohibited_uses")]
    assert folded.select(rest).equals(fold_labels(first, None).select(rest))
