"""Targets are met to the row where the items can meet them, what is furthest behind is asked first, and nothing is paid twice."""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest
from hypothesis import given, strategies as st

from workbench_pipelines.catalog.variety import TargetsSpec
from workbench_pipelines.clients.scripted_provider import Reply, ScriptedProvider
from workbench_pipelines.decisions import DECISIONS
from workbench_pipelines.errors import BudgetSpent
from workbench_pipelines.generation import GENERATED_PAIRS, REFUSALS, Drafts
from workbench_pipelines.quotas import Pool, fill, goals_of
from workbench_pipelines_tests.pair_world import make_decision
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    define,
    error_lines,
    provider,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)  # fmt: skip

__all__ = ["provider"]

SIZES = st.dictionaries(st.sampled_from("abcd"), st.integers(0, 30), min_size=1)
LATER = dt.datetime(2100, 1, 1, tzinfo=dt.UTC)


def spec(**given_: Any) -> TargetsSpec:
    return TargetsSpec.model_validate(given_)


def prompts_of(sizes: Mapping[str, int]) -> pl.DataFrame:
    rows = [
        {"pair_id": f"{name}{number}", "item_ref": f"{name}{number}", "attributes": json.dumps({"kind": name})}
        for name, size in sizes.items()
        for number in range(size)
    ]
    return pl.DataFrame(rows, schema=dict.fromkeys(("pair_id", "item_ref", "attributes"), pl.String))


class Model:
    """Answers all pairs but some, and remembers in which order it was asked."""

    def __init__(self, *mute: str) -> None:
        self.mute = mute
        self.asked: list[str] = []

    def __call__(self, prompts: pl.DataFrame) -> Drafts:
        refs = prompts["pair_id"].to_list()
        self.asked += refs
        good = [ref for ref in refs if ref not in self.mute]
        rows = [{"pair_id": ref, "item_ref": ref, "response": "{}", "response_hash": "h"} for ref in good]
        frame = pl.DataFrame(
            rows, schema={name: GENERATED_PAIRS[name] for name in ("pair_id", "item_ref", "response", "response_hash")}
        )
        missing = [
            pl.lit(None, dtype).alias(name) for name, dtype in GENERATED_PAIRS.items() if name not in frame.columns
        ]
        return Drafts(frame.with_columns(missing).select(list(GENERATED_PAIRS)), REFUSALS.to_frame(), calls=len(refs))


@given(SIZES, st.integers(1, 60), st.sets(st.sampled_from([f"{s}{n}" for s in "abcd" for n in range(30)])))
def test_exactly_as_many_rows_as_asked_for_or_all_that_there_are(
    sizes: dict[str, int], wanted: int, mute: set[str]
) -> None:
    model = Model(*mute)
    prompts = prompts_of(sizes)
    drafts = fill(spec(accepted=wanted, by="kind"), prompts, (), {}, model)
    can = sum(1 for ref in prompts["pair_id"] if ref not in mute)
    assert drafts.frame.height == min(wanted, can)
    assert len(model.asked) == len(set(model.asked))
    assert sum(one.short for one in drafts.standings) == max(0, wanted - can)
    again = Model(*mute)
    assert fill(spec(accepted=wanted, by="kind"), prompts.reverse(), (), {}, again).frame.equals(drafts.frame)


@given(SIZES, st.integers(1, 60))
def test_strata_without_shares_are_filled_evenly_as_far_as_they_go(sizes: dict[str, int], wanted: int) -> None:
    drafts = fill(spec(accepted=wanted, by="kind"), prompts_of(sizes), (), {}, Model())
    counts = Counter(ref[0] for ref in drafts.frame["pair_id"])
    most = max(counts.values(), default=0)
    assert all(counts[name] in (most, most - 1) or counts[name] == size for name, size in sizes.items())


@given(st.lists(st.integers(1, 20), min_size=1, max_size=4), st.integers(1, 200))
def test_shares_become_whole_rows_that_add_up(weights: list[int], total: int) -> None:
    shares = {name: weight / sum(weights) for name, weight in zip("abcd", weights, strict=False)}
    goals = goals_of(spec(accepted=total, by="kind", shares=shares), {})
    assert sum(goals.values()) == total
    assert all(abs(goals[name] - share * total) < 1 for name, share in shares.items())


def test_what_is_furthest_behind_is_asked_first() -> None:
    pool = Pool(spec(by="kind", counts={"a": 8, "b": 2}), prompts_of({"a": 20, "b": 20, "c": 5}), labeled=())
    asked = list(pool.next().values())
    assert Counter(asked) == {"a": 8, "b": 2}
    # After any number of questions no stratum is ahead by more than a row of its own.
    for count in range(1, 11):
        shares = Counter(asked[:count])
        assert abs(shares["a"] / 8 - shares["b"] / 2) <= 0.5 + 1e-9


def test_labels_count_first_and_rejected_answers_do_not() -> None:
    prompts = prompts_of({"a": 6})
    model = Model()
    labeled = ["a4"]
    drafts = fill(spec(accepted=2), prompts, labeled, {"a0": "h", "a1": "another answer"}, model)
    assert model.asked[0] == "a4"
    accepted = set(drafts.frame["pair_id"]) - {"a0"}
    assert len(accepted) == 2


def test_ten_new_items_change_at_most_ten_rows() -> None:
    few, more = prompts_of({"a": 40}), prompts_of({"a": 50})
    one = set(fill(spec(accepted=20), few, (), {}, Model()).frame["pair_id"])
    other = set(fill(spec(accepted=20), more, (), {}, Model()).frame["pair_id"])
    assert len(one - other) <= 10


def test_answers_that_a_batch_will_bring_are_waited_for() -> None:
    asked: list[str] = []

    def draft(prompts: pl.DataFrame) -> Drafts:
        asked.extend(prompts["pair_id"])
        told = prompts.select("pair_id", "item_ref").with_columns(
            training_sheet=None, reason=pl.lit("pending_batch"), detail=None
        )
        refusals = told.select(pl.col(name).cast(dtype) for name, dtype in REFUSALS.items())
        return Drafts(GENERATED_PAIRS.to_frame(), refusals)

    drafts = fill(spec(accepted=4), prompts_of({"a": 20}), (), {}, draft)
    assert len(asked) == 4
    assert [(one.accepted, one.failed, one.left, one.pending) for one in drafts.standings] == [(0, 0, 16, 4)]


def test_a_spent_budget_says_how_far_it_came() -> None:
    rounds = iter([0, 1])

    def draft(prompts: pl.DataFrame) -> Drafts:
        if next(rounds):
            raise BudgetSpent("model m: 1 USD is spent")
        return Model(*[f"a{n}" for n in range(0, 10, 2)])(prompts)

    with pytest.raises(BudgetSpent, match=r"is spent; [0-9] of 8 rows were accepted"):
        fill(spec(accepted=8), prompts_of({"a": 10}), (), {}, draft)


@pytest.mark.parametrize(
    ("given_", "line"),
    [
        ({"accepted": 5, "by": "k", "shares": {"a": 0.5, "b": 0.4}}, "`shares` add up to 0.9, not 1"),
        ({"by": "k", "counts": {"a": 5}, "accepted": 4}, "`counts` add up to 5, and `accepted` is 4"),
        ({"accepted": 5, "shares": {"a": 1}}, "`by` names the column"),
        ({"by": "k"}, "give `accepted`"),
    ],
)  # fmt: skip
def test_targets_that_contradict_themselves_are_errors(given_: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line.replace("(", r"\(")):
        spec(**given_)


def test_a_run_asks_until_the_rows_are_there_and_says_what_is_short(
    project: Project, provider: ScriptedProvider
) -> None:
    def answer(body: Mapping[str, Any]) -> Reply:
        said = str(body["messages"][-1]["content"])
        return Reply('{"team": "other"}' if "Log in" in said else "not at all")

    provider.answer_by(answer)
    put(project, tickets(20))
    counts = {"access": 6, "billing": 2}
    asked = training_sheet(targets={"by": "team", "counts": counts}, generation={"ask_once_more": False})
    define(project, sheet(), asked, template())
    planned = project("plan", "--json").json
    assert planned["calls"] == 8
    ran = project("run", "--json")
    assert ran.code in (0, 5), ran.err
    assert provider.calls == 6 + 10
    line = "TrainingSheet drafted: 0 of 2 rows accepted in billing, 2 short: 10 items gave none that stands, 0 are left to ask"
    assert line in error_lines(ran)
    assert ran.json["shortfalls"] == [line]
    pairs = project.table("generate", "generated_pairs")
    assert pairs.height == 6

    # A person refuses one: another takes its place, and nothing that was answered is asked again.
    row = pairs.to_dicts()[0]
    decision = make_decision(
        row["item_ref"], "reject", None, sheet="tickets", label_type="team", at=LATER, pair_id=row["pair_id"],
        response_hash=row["response_hash"],
    )  # fmt: skip
    frame = pl.DataFrame([decision], schema=DECISIONS)
    project.workbench.lake.append_new("label", "decisions", frame=frame, key=["decision_id"], partition_by="sheet")
    before = provider.calls
    project("run", "--json")
    assert provider.calls == before + 1 + 10  # answers that could not be used are asked for again
    statuses = Counter(project.table("label", "labeled_pairs")["status"])
    assert statuses == {"unlabeled": 6, "rejected": 1}
