"""A pair is exported only where its answer is approved and its use permitted, and every other one keeps its reason."""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from workbench_pipelines.gates import EXCLUSIONS, USE_OF_SPLIT, judge
from workbench_pipelines.usage import USES, UsageStatement, effective_use
from workbench_pipelines_tests.export_world import EVERY_SPLIT, frame_of, make_pair

PHI = UsageStatement("tag PHI on column patient_name", prohibited_uses=("training", "few_shot"), reason="health data")
SHEET = UsageStatement("sheet s", allowed_uses=USES, data_classification="confidential")


def judged(*pairs: dict[str, Any]) -> tuple[pl.DataFrame, list[dict[str, Any]]]:
    placed = [{"split": "train", "quarantine": None} | pair for pair in pairs]
    admitted, exclusions = judge(frame_of(*placed), USES)
    assert exclusions.schema == EXCLUSIONS
    return admitted, exclusions.to_dicts()


def only_refusal(**given_: Any) -> tuple[str, str]:
    admitted, (row,) = judged(make_pair(**given_))
    assert admitted.is_empty()
    return row["gate"], row["reason"]


def test_no_pairs_are_no_exclusions() -> None:
    admitted, exclusions = judge(frame_of(make_pair(split="train")).clear(), USES)
    assert (admitted.height, exclusions.schema) == (0, EXCLUSIONS)


def test_an_approved_pair_with_permission_passes_in_every_split() -> None:
    admitted, exclusions = judged(*(make_pair(split, split=split) for split in EVERY_SPLIT))
    assert (admitted.height, exclusions) == (3, [])
    assert "quarantine" not in admitted.columns


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("unlabeled", "status is unlabeled: it waits for a person"),
        ("flagged", "status is flagged: it waits for a second look"),
        ("rejected", "status is rejected: a person refused this answer"),
        ("approved", "status is approved, not labeled"),
        (None, "status is None, not labeled"),
    ],
)
def test_only_a_labeled_pair_is_approved(status: str | None, reason: str) -> None:
    assert only_refusal(status=status) == ("approved", reason)


def test_a_labeled_pair_without_an_answer_is_not_approved() -> None:
    assert only_refusal(response=None) == ("approved", "status is labeled, and there is no response")


@pytest.mark.parametrize("split", EVERY_SPLIT)
def test_each_split_needs_its_own_use(split: str) -> None:
    use = USE_OF_SPLIT[split]
    assert judged(make_pair(split=split, allowed_uses=[use]))[0].height == 1
    others = [one for one in USES if one != use]
    expected = ("permitted", f"{split} needs {use}: {use} is not in allowed_uses")
    assert only_refusal(split=split, allowed_uses=others) == expected


@pytest.mark.parametrize("allowed", [None, [], [None]])
def test_missing_permission_denies(allowed: list[str | None] | None) -> None:
    assert only_refusal(allowed_uses=allowed)[0] == "permitted"


def test_a_prohibition_counts_whatever_is_allowed() -> None:
    gate, reason = only_refusal(prohibited_uses=["training"])
    assert (gate, reason) == ("permitted", "train needs training: training is in prohibited_uses")


@pytest.mark.parametrize("column", ["allowed_uses", "prohibited_uses"])
def test_an_unknown_use_denies(column: str) -> None:
    uses = {"allowed_uses": [*USES], "prohibited_uses": []}
    uses[column].append("trainning")
    expected = ("permitted", f"train needs training: {column} names the unknown use 'trainning'")
    assert only_refusal(**uses) == expected


def test_the_reason_names_the_witness_of_this_use_alone() -> None:
    effective = effective_use([SHEET, PHI])
    gate, reason = only_refusal(
        allowed_uses=list(effective.allowed_uses),
        prohibited_uses=list(effective.prohibited_uses),
        usage_reason=effective.reason,
    )
    assert gate == "permitted"
    assert reason == "train needs training: tag PHI on column patient_name prohibits training: health data"


def test_a_refused_pair_stays_in_its_split_and_is_not_moved_to_a_permitted_one() -> None:
    admitted, exclusions = judged(make_pair(allowed_uses=["evaluation"]))
    assert (admitted.height, len(exclusions)) == (0, 1)


def test_a_pair_that_fails_every_gate_has_one_row_with_every_reason() -> None:
    gate, reason = only_refusal(status="flagged", allowed_uses=[], quarantine="it would bridge")
    assert gate == "approved"
    assert reason.count("; also ") == 2
    assert "train needs training" in reason
    assert reason.endswith("quarantined: it would bridge")


@pytest.mark.parametrize("split", [None, "holdout"])
def test_a_pair_without_a_known_split_is_refused(split: str | None) -> None:
    gate, reason = only_refusal(split=split)
    assert gate == ("split" if split is None else "permitted")
    assert ("it has no split" if split is None else "no use is known for split 'holdout'") in reason


LISTS = st.none() | st.lists(st.sampled_from([*USES, "trainning"]), max_size=4, unique=True)


@settings(max_examples=80, deadline=None)
@given(
    rows=st.lists(
        st.tuples(LISTS, LISTS, st.sampled_from(["labeled", "unlabeled", None]), st.sampled_from([*EVERY_SPLIT, None])),
        min_size=1,
        max_size=8,
    )
)
def test_every_pair_is_admitted_or_excluded_and_an_admitted_one_permits_its_use(rows: list[Any]) -> None:
    names = ("allowed_uses", "prohibited_uses", "status", "split")
    pairs = [make_pair(str(at), **dict(zip(names, row, strict=True))) for at, row in enumerate(rows)]
    admitted, exclusions = judged(*pairs)
    assert sorted([*admitted["pair_id"], *(row["pair_id"] for row in exclusions)]) == sorted(
        p["pair_id"] for p in pairs
    )
    assert all(row["reason"] for row in exclusions)
    for row in admitted.iter_rows(named=True):
        assert row["status"] == "labeled"
        assert USE_OF_SPLIT[row["split"]] in set(row["allowed_uses"]) - set(row["prohibited_uses"] or ())
        assert "trainning" not in [*row["allowed_uses"], *(row["prohibited_uses"] or ())]


@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(LISTS, LISTS), min_size=1, max_size=5), more=st.sampled_from(USES))
def test_a_further_prohibition_never_widens_what_is_admitted(pairs: list[Any], more: str) -> None:
    made = [make_pair(str(at), allowed_uses=a, prohibited_uses=p) for at, (a, p) in enumerate(pairs)]
    stricter = [pair | {"prohibited_uses": sorted({*(pair["prohibited_uses"] or ()), more})} for pair in made]
    assert set(judged(*stricter)[0]["pair_id"]) <= set(judged(*made)[0]["pair_id"])
