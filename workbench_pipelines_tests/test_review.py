"""What a person says in a review becomes one decision, whichever way it came, if the person may say it."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from workbench_pipelines.access import Roles, roles_of
from workbench_pipelines.decisions import DECISIONS
from workbench_pipelines.errors import DefinitionError
from workbench_pipelines.labels import CANONICAL_LABELS, fold_labels, label_history
from workbench_pipelines.pair_judgements import standing_decisions
from workbench_pipelines_tests.definition_world import make_catalog, make_document
from workbench_pipelines_tests.review_world import NO, decide, make_judgement

TWO = ("s",)


def label_of(*judgements: dict[str, Any], two_persons: tuple[str, ...] = ()) -> dict[str, Any]:
    judged = decide(*judgements)
    assert judged.refusals == []
    (label,) = fold_labels(judged.decisions, None, two_persons).to_dicts()
    return label


def reasons(*judgements: dict[str, Any]) -> list[str]:
    judged = decide(*judgements)
    assert judged.decisions.is_empty()
    return [refusal.reason for _, refusal in judged.refusals]


def test_a_judgement_becomes_a_decision_with_what_was_seen() -> None:
    judged = decide(make_judgement())
    assert judged.decisions.schema == DECISIONS
    (row,) = judged.decisions.to_dicts()
    assert (row["action"], row["label_data"], row["seen_hash"]) == ("label", '{"answer":"yes"}', "hash-of-x")
    assert (row["source"], row["by"], row["confidence"]) == ("review", "ann", "high")
    shown = make_judgement(seen_columns=["y", "x"], seen_hash="what-the-page-showed")
    assert decide(shown).decisions["seen_hash"].to_list() == ["what-the-page-showed"]


def test_an_approval_makes_the_proposed_answer_the_label_and_an_edit_keeps_it_beside() -> None:
    approved = label_of(make_judgement("approve", by="bob"))
    assert (approved["label_data"], approved["confidence"]) == (NO, "high")
    (edit,) = decide(make_judgement("edit")).decisions.to_dicts()
    assert (edit["label_data"], edit["proposed_response"]) == ('{"answer":"yes"}', NO)


def test_a_decision_is_named_by_what_it_says_and_not_by_who_brought_it() -> None:
    one = make_judgement()
    assert decide(one, one).decisions.height == 1
    assert decide(one).decisions.equals(decide(one | {"at": "2026-03-01T13:00:00+01:00"}).decisions)
    others = [make_judgement(minutes=1), make_judgement(by="rob"), make_judgement(label_data={"answer": "no"})]
    others += [make_judgement(prohibited_uses=["training"]), make_judgement(notes="look at page 2")]
    assert decide(one, *others).decisions["decision_id"].n_unique() == 6


def approval(answer: str) -> dict[str, Any]:
    return make_judgement("approve", by="bob", proposed_response=answer, response_hash=None)


@pytest.mark.parametrize(
    ("judgement", "reason"),
    [
        (make_judgement(label_data={"answer": "maybe"}), "item a: label_data: answer is none of the allowed values"),
        (make_judgement(label_data={}), "item a: label_data: the answer lacks answer"),
        (approval('{"answer":"maybe"}'), "proposed_response: answer is"),
        (approval("no json"), "proposed_response is no JSON"),
        (make_judgement("approve", by="bob", proposed_response='{"answer":"yes"}'), "is not that of proposed_response"),
        (make_judgement("approve", by="bob", label_data={"answer": "yes"}), "`label_data` goes with a label or an edit"),
        (make_judgement("reject", response_hash=None), "needs `response_hash`, the answer it saw"),
        (make_judgement("flag", pair_id=None), "action flag needs `pair_id`"),
        (make_judgement(inputs={"x": 1}), "`inputs` go with the edit of a pair"),
        (make_judgement("restrict", by="stella"), "needs allowed_uses, prohibited_uses or data_classification"),
        (make_judgement("restore", by="stella"), "action restore needs a `reason`"),
        (make_judgement(prohibited_uses=["trainning"]), "unknown use 'trainning'; did you mean 'training'?"),
        (make_judgement(item_ref="missing"), "Sheet s has no item 'missing'"),
        (make_judgement(actoin="label"), "unknown column actoin; did you mean 'action'?"),
        (make_judgement("delete"), "action: "),
        (make_judgement(by=""), "by: "),
    ],
)  # fmt: skip
def test_a_bad_judgement_is_refused_with_its_reason(judgement: dict[str, Any], reason: str) -> None:
    (said,) = reasons(judgement)
    assert reason in said


def test_the_good_ones_are_taken_beside_a_refused_one_and_no_value_is_told() -> None:
    judged = decide(make_judgement(label_data={"answer": "Jane Doe"}), make_judgement(item_ref="b"))
    assert judged.decisions["item_ref"].to_list() == ["b"]
    ((_, refusal),) = judged.refusals
    assert refusal.where == "row 1"
    assert "Jane" not in refusal.line


@pytest.mark.parametrize(
    ("person", "may", "may_not"),
    [
        ("ann", {"label", "edit", "reject", "flag"}, {"approve", "restrict", "restore"}),
        ("bob", {"label", "edit", "reject", "flag", "approve"}, {"restrict", "restore"}),
        ("stella", {"label", "edit", "reject", "flag", "approve", "restrict", "restore"}, set()),
        ("mallory", set(), {"label", "edit", "reject", "flag", "approve", "restrict", "restore"}),
    ],
)
def test_roles_say_who_may_decide_what(person: str, may: set[str], may_not: set[str]) -> None:
    more = {"restrict": {"prohibited_uses": ["training"]}, "restore": {"reason": "consent came in"}}
    for action in may:
        assert decide(make_judgement(action, by=person, **more.get(action, {}))).refusals == []
    for action in may_not:
        (said,) = reasons(make_judgement(action, by=person, **more.get(action, {})))
        assert said == f"item a: {person} may not {action}; the Access document names who may"


def test_only_a_steward_withdraws_a_label() -> None:
    withdrawal = make_judgement("reject", pair_id=None, response_hash=None, minutes=1)
    assert "ann may not withdraw a label" in reasons(withdrawal)[0]
    by_steward = withdrawal | {"by": "stella"}
    assert not label_of(make_judgement(), by_steward)["active"]
    back = make_judgement("restore", by="stella", minutes=2, reason="it was right")
    assert label_of(make_judgement(), by_steward, back)["active"]


def test_teams_stand_for_their_people_and_an_unlisted_team_for_nobody() -> None:
    access = make_document(
        "Access",
        "people",
        reviewers=["team:experts", "team:unlisted", "carl"],
        approvers=["bob"],
        see_restricted=["team:experts"],
        teams={"experts": ["ann", "rob"]},
    )
    roles = roles_of(make_catalog(access))
    assert roles.reviewers == {"ann", "rob", "carl"}
    assert roles.sees_restricted("ann")
    assert not roles.sees_restricted("bob")
    assert not roles.may("team:experts", "label")
    assert not roles.may("team:unlisted", "label")


def test_without_an_access_document_everybody_with_a_name_reviews_and_nobody_sees_what_is_restricted() -> None:
    roles = roles_of(make_catalog())
    assert roles.may("anybody", "approve")
    assert not roles.may("", "label")
    assert not roles.may("anybody", "restore")
    assert not roles.sees_restricted("anybody")


def test_a_broken_access_document_lets_nobody_in() -> None:
    with pytest.raises(DefinitionError, match="Access people"):
        roles_of(make_catalog(make_document("Access", "people", reviewer=["ann"])))


def test_what_a_reviewer_states_of_uses_narrows_and_never_lifts_what_was_stated() -> None:
    first = make_judgement(prohibited_uses=["training"])
    again = make_judgement("edit", minutes=1, by="rob", prohibited_uses=["few_shot"])
    label = label_of(first, again, make_judgement("label", minutes=2, allowed_uses=["training", "testing"]))
    assert label["prohibited_uses"] == ["few_shot", "training"]
    assert label["allowed_uses"] == ["testing", "training"]
    lifted = make_judgement("restore", minutes=3, by="stella", reason="consent came in")
    assert label_of(first, again, lifted)["prohibited_uses"] == []


def test_an_approval_keeps_the_notes_and_the_confidence_of_what_it_approves() -> None:
    said = make_judgement(label_data={"answer": "no"}, notes="see page 2", confidence="low")
    label = label_of(said, make_judgement("approve", by="bob", minutes=1))
    assert (label["notes"], label["confidence"], label["last_modified_by"]) == ("see page 2", "low", "bob")


def test_an_approved_answer_is_the_label_to_the_last_digit() -> None:
    answer = '{"answer":10000000000000000}'  # a model said 1e16
    said = make_judgement("approve", by="bob", proposed_response=answer, response_hash=None)
    whole = {"type": "object", "properties": {"answer": {"type": "integer"}}}
    judged = decide(said, schema=whole)
    assert judged.decisions["proposed_response"].to_list() == [answer]


def undo(judgement: dict[str, Any], minutes: int, **given: Any) -> dict[str, Any]:
    (name,) = decide(judgement).decisions["decision_id"]
    kept = {name: judgement.get(name) for name in ("training_sheet", "pair_id")}
    return make_judgement("restore", minutes=minutes, by=judgement["by"], undoes=name, **kept) | given


def test_an_undone_decision_counts_no_more_and_stays_in_the_history() -> None:
    yes, no = make_judgement(), make_judgement("edit", minutes=1, label_data={"answer": "no"}, by="rob")
    label = label_of(yes, no, undo(no, 2))
    assert (label["label_data"], label["last_modified_by"], label["version"]) == ('{"answer":"yes"}', "ann", 3)
    history = label_history(decide(yes, no, undo(no, 2)).decisions)
    assert history["action"].to_list() == ["label", "edit", "restore"]
    assert fold_labels(decide(yes, undo(yes, 1)).decisions, None).is_empty()


def test_an_undone_rejection_stands_no_more_and_the_flag_of_another_person_does() -> None:
    flag, reject = make_judgement("flag", by="rob"), make_judgement("reject", minutes=1)
    assert standing_decisions(decide(flag, reject).decisions)["action"].to_list() == ["reject"]
    assert standing_decisions(decide(flag, reject, undo(reject, 2)).decisions)["action"].to_list() == ["flag"]


def test_nobody_undoes_what_another_person_decided_and_no_restriction_is_undone() -> None:
    yes = make_judgement()
    assert label_of(yes, undo(yes, 1, by="rob"))["active"]
    restrict = make_judgement("restrict", by="stella", minutes=1, prohibited_uses=["training"])
    assert label_of(yes, restrict, undo(restrict, 2))["prohibited_uses"] == ["training"]


def test_a_label_waits_for_a_second_person_where_its_sheet_asks_for_two() -> None:
    said = make_judgement(label_data={"answer": "no"})
    waiting = label_of(said, two_persons=TWO)
    assert (waiting["active"], waiting["proposed_by"]) == (False, "ann")
    assert label_of(said)["active"]
    approved = label_of(said, make_judgement("approve", by="bob", minutes=1), two_persons=TWO)
    assert (approved["active"], approved["proposed_by"]) == (True, None)


@pytest.mark.parametrize(
    "later_word",
    [
        make_judgement("edit", minutes=2, by="rob"),  # another answer
        make_judgement("label", minutes=2, label_data={"answer": "no"}, seen_columns=["x"], seen_hash="other"),  # another item
    ],
)  # fmt: skip
def test_a_change_after_the_approval_waits_again(later_word: dict[str, Any]) -> None:
    said, approved = make_judgement(label_data={"answer": "no"}), make_judgement("approve", by="bob", minutes=1)
    assert not label_of(said, approved, later_word, two_persons=TWO)["active"]


def test_nobody_approves_what_is_their_own_and_a_label_that_agrees_is_no_approval() -> None:
    own = make_judgement("label", by="bob", label_data={"answer": "no"})
    approved = make_judgement("approve", by="bob", minutes=1)
    assert label_of(own, approved, two_persons=TWO)["proposed_by"] == "bob"
    agreeing = make_judgement("label", by="ann", minutes=2, label_data={"answer": "no"})
    assert label_of(own, approved, agreeing, two_persons=TWO)["proposed_by"] == "bob"
    by_another = make_judgement("approve", by="stella", minutes=3)
    assert label_of(own, approved, agreeing, by_another, two_persons=TWO)["active"]


EVENTS = st.lists(
    st.builds(
        lambda action, item, minutes, by, yes: make_judgement(
            action,
            item,
            minutes,
            by=by,
            **({"label_data": {"answer": "yes" if yes else "no"}} if action in ("label", "edit") else {}),
        ),
        action=st.sampled_from(["label", "approve", "edit", "reject", "flag"]),
        item=st.sampled_from(["a", "b"]),
        minutes=st.integers(0, 5),
        by=st.sampled_from(["bob", "stella"]),
        yes=st.booleans(),
    ),
    min_size=1,
    max_size=12,
)


@given(EVENTS, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_the_order_of_delivery_changes_nothing(judgements: list[dict[str, Any]], random: Any) -> None:
    again = judgements * 2
    random.shuffle(again)
    first, second = decide(*judgements).decisions, decide(*again).decisions
    assert first.equals(second)
    mixed = pl.concat([second.sample(fraction=1, shuffle=True, seed=1), second])
    assert fold_labels(mixed, None, TWO).equals(fold_labels(first, None, TWO))
    waiting = fold_labels(first, None, TWO).filter(pl.col("proposed_by").is_not_null())
    assert not waiting["active"].any()
    # Two persons only ever hold labels back.
    columns = [name for name in CANONICAL_LABELS if name not in ("active", "proposed_by")]
    assert fold_labels(first, None, TWO).select(columns).equals(fold_labels(first, None).select(columns))


def test_nobody_is_let_in_by_an_empty_role() -> None:
    assert Roles(frozenset()).actions_of("ann") == frozenset()
