"""A judge is trusted as far as labels bear out that it never saw, and only where a TrainingSheet asks for that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.identity import unit_interval
from workbench_pipelines.judge_calibration import (
    CALIBRATION,
    HELD_OUT,
    LEAST_HELD_OUT,
    Bound,
    agrees,
    bound_of,
    calibrate,
    half_of,
    measure,
    upper_bound,
)
from workbench_pipelines.pair_looking import unproven_approvals
from workbench_pipelines.pairs import judged_alone
from workbench_pipelines_tests.judge_world import JUDGE, drafted_team, judge, project_of, right_team, serve
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    USAGE,
    define,
    error_lines,
    project_at,
    provider,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)

__all__ = ["provider"]

LABELED = 460


def judgements(count: int, judge_right: float, drafts_right: float = 0.8) -> pl.DataFrame:
    rights = [unit_interval("draft", number) < drafts_right for number in range(count)]
    told = [unit_interval("judge", number) < judge_right for number in range(count)]
    scores = [0.97 if right == true else 0.04 for right, true in zip(rights, told, strict=True)]
    refs = [f"T-{number}" for number in range(count)]
    return pl.DataFrame({"sheet": "s", "item_ref": refs, "score": scores, "right": rights})


def test_the_bound_is_that_of_clopper_and_pearson() -> None:
    assert upper_bound(0, 59) == pytest.approx(1 - 0.05 ** (1 / 59))  # none wrong: in closed form
    assert upper_bound(0, 59) < 0.05 < upper_bound(0, 58)
    assert upper_bound(4, 200) == pytest.approx(0.0453, abs=5e-4)  # tables of the binomial distribution
    assert upper_bound(0, 0) == upper_bound(7, 7) == 1.0


@settings(deadline=None)
@given(st.integers(0, 300), st.integers(1, 300))
def test_more_errors_never_make_a_lower_bound_and_more_answers_no_higher_one(wrong: int, of: int) -> None:
    wrong = min(wrong, of)
    assert wrong / of <= upper_bound(wrong, of) <= upper_bound(min(wrong + 1, of), of) <= 1
    assert upper_bound(wrong, of + 1) <= upper_bound(wrong, of)


@settings(deadline=None)  # the first call imports scikit-learn
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60), st.randoms())
def test_a_calibration_rises_with_the_score_and_hangs_on_no_order(
    said: list[tuple[float, bool]], random: object
) -> None:
    found = calibrate([score for score, _ in said], [right for _, right in said])
    random.shuffle(said)  # type: ignore[attr-defined]
    again = calibrate([score for score, _ in said], [right for _, right in said])
    assert found is not None
    assert again is not None
    points = [0.0, 0.2, 0.5, 0.7, 1.0]
    likely = [found.probability(score) for score in points]
    assert likely == sorted(likely)
    assert all(0 <= one <= 1 for one in likely)
    assert likely == pytest.approx([again.probability(score) for score in points], abs=1e-9)


def test_an_item_and_what_is_derived_from_it_lie_in_one_half_and_the_halves_are_halves() -> None:
    assert half_of("s", "a") == half_of("s", "a#12") == half_of("s", "a#12#3")
    halves = [half_of("s", str(number)) for number in range(2000)]
    assert 900 < halves.count(CALIBRATION) < 1100


def test_what_was_calibrated_on_says_nothing_of_the_bound() -> None:
    measured, _, bound = measure(judgements(500, 0.99), 0.05)
    seen = measured.with_columns(right=pl.when(pl.col("half") == CALIBRATION).then(~pl.col("right")).otherwise("right"))
    assert bound_of(seen, 0.05) == bound
    assert bound.held_out == measured.filter(half=HELD_OUT).height


@pytest.mark.parametrize(
    ("count", "judge_right", "permitted"), [(440, 0.99, True), (440, 0.8, False), (150, 0.99, False), (0, 0.99, False)]
)
def test_a_judge_may_approve_where_it_is_right_and_that_is_known(
    count: int, judge_right: float, permitted: bool
) -> None:
    _, _, bound = measure(judgements(count, judge_right), 0.05)
    assert bound.permits(0.05) == permitted


def test_few_labels_are_not_made_up_for_by_a_loose_limit() -> None:
    assert not Bound(held_out=LEAST_HELD_OUT - 1, approvable=190, wrong=0, error=0.016).permits(0.4)
    assert Bound(held_out=LEAST_HELD_OUT, approvable=190, wrong=0, error=0.016).permits(0.4)


def test_an_answer_agrees_in_the_fields_that_count() -> None:
    said, label = '{"team":" Billing ","note":"x"}', '{"team":"billing","note":"y"}'
    assert agrees(said, label, ["team"])
    assert not agrees(said, label)
    assert not agrees('{"team":"billing"}', '{"team":"billing","note":"y"}')


@pytest.fixture(scope="module")
def trusted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Project, ScriptedProvider]]:
    """A project whose judge is right about 99 of 100, and may approve; every tenth ticket is confidential by a tag."""
    folder: Path = tmp_path_factory.mktemp("trusted")
    with (
        ScriptedProvider() as scripted,
        project_at(folder / "project") as project,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("OPENAI_API_BASE", scripted.url)
        patch.setenv("OPENAI_API_KEY", "test")
        serve(scripted, judge_right=0.99)
        usage = {**USAGE, "rows": [{"when": "ticket LIKE '%5'", "tags": ["CONFIDENTIAL"]}]}
        ran = project_of(project, 500, LABELED, usage=usage, **judge(auto_approve=True))
        assert ran.code == 0, ran.err
        assert ran.json["llm_calls"] == 1000  # 40 drafts that wait, 460 of labeled items, and 500 judgements
        yield project, scripted


Trusted = tuple[Project, ScriptedProvider]


def test_a_judge_within_its_bound_approves_and_says_so(trusted: Trusted) -> None:
    project, _ = trusted
    row = project.table("records", "judge_calibrations").row(0, named=True)
    assert row["may_approve"]
    assert row["held_out"] >= LEAST_HELD_OUT
    assert row["error_bound"] <= 0.05
    pairs = project.table("label", "labeled_pairs")
    alone = pairs.filter(pl.col("canonical_label_id").is_null())
    approved = alone.filter(status="labeled")
    assert approved.height > 20
    assert set(approved["labeling_mode"]) == {"ai_generated"}
    assert set(approved["reviewed_by"]) == {f"judge:{JUDGE}"}
    assert approved["reviewed_at"].null_count() == 0
    assert all(f"at most {100 * row['error_bound']:.2f}"[:12] in note for note in approved["review_notes"])
    assert all(steps[-1]["name"] == "auto_approve" for steps in approved["trace"].struct.field("steps").to_list())
    # What the judge doubts waits for a person, as it would without one.
    waiting = alone.filter(status="unlabeled")
    assert set(waiting["reviewed_by"]) == {None}
    quality = project.table("label", "pair_quality").join(waiting, on="pair_id", how="semi")
    assert all("judge_doubts" in needs for needs in quality["needs"].to_list())
    right = [
        json.loads(said)["team"] == right_team(asked[-1]["content"])
        for said, asked in approved.select("response", "messages").iter_rows()
    ]
    assert right.count(False) <= len(right) * 0.1


def test_what_a_judge_approved_is_listed_for_an_audit(trusted: Trusted) -> None:
    pairs = trusted[0].table("label", "labeled_pairs")
    listed = judged_alone(pairs)
    assert set(listed["pair_id"]) == set(pairs.filter(pl.col("reviewed_by") == f"judge:{JUDGE}")["pair_id"])
    assert set(listed["judge"]) == {JUDGE}


def test_the_scores_and_columns_of_quality_reach_the_pairs(trusted: Trusted) -> None:
    pairs = trusted[0].table("label", "labeled_pairs")
    quality = trusted[0].table("label", "pair_quality").select("pair_id", "quality_score", "judge_probability")
    both = pairs.select("pair_id", "quality_score").join(quality, on="pair_id", suffix="_looked")
    assert (both["quality_score"] == both["quality_score_looked"]).all()
    assert both.filter(pl.col("judge_probability").is_not_null())["quality_score"].n_unique() > 1


def test_mlflow_receives_the_calibration_of_cleared_rows_alone(trusted: Trusted) -> None:
    from mlflow import MlflowClient
    from mlflow.tracing.client import TracingClient

    project, _ = trusted
    uri = project.settings.mlflow_uri
    experiment = MlflowClient(tracking_uri=uri).get_experiment_by_name("judge.drafted")
    assert experiment is not None
    found = TracingClient(tracking_uri=uri).search_traces(
        experiment_ids=[experiment.experiment_id], max_results=500, include_spans=False
    )
    judged = project.table("records", "judge_judgements")
    tagged = pl.col("item_ref").str.ends_with("5")
    by_item = {one.info.tags["item_ref"]: one.info for one in found}
    assert set(by_item) == set(judged.filter(~tagged)["item_ref"])
    assert judged.filter(tagged).height > 20
    for row in judged.filter(~tagged).head(20).iter_rows(named=True):
        said, expected = sorted(by_item[row["item_ref"]].assessments, key=lambda one: one.expectation is not None)
        assert said.source.source_type == "LLM_JUDGE"
        assert said.value == pytest.approx(row["probability"])
        assert (expected.source.source_type, expected.value) == ("HUMAN", row["right"])
        assert by_item[row["item_ref"]].tags["half"] == row["half"]
    texts = " ".join(f"{one.info.request_preview} {one.info.response_preview} {one.info.tags}" for one in found)
    assert "number 15?" not in texts
    assert "T-015" not in texts


def test_an_approval_beyond_the_bound_would_be_found(trusted: Trusted) -> None:
    project, _ = trusted
    workbench = project.workbench
    approved = judged_alone(project.table("label", "labeled_pairs"))
    training_sheet_now = workbench.catalog().training_sheet("drafted")
    assert unproven_approvals(workbench, training_sheet_now, approved) is None
    quality = training_sheet_now.spec.quality
    assert quality.judge is not None
    for change, why in (
        ({"max_error": 0.001}, "at most 0.10% is asked"),
        ({"auto_approve": False}, "does not say that one may"),
        ({"model": "openai/other"}, "the judge is openai/other"),
    ):
        other = quality.model_copy(update={"judge": quality.judge.model_copy(update=change)})
        spec = training_sheet_now.spec.model_copy(update={"quality": other})
        found = unproven_approvals(workbench, training_sheet_now.model_copy(update={"spec": spec}), approved)
        assert found is not None
        assert why in found


def test_the_plan_counts_what_a_judge_takes_at_most(project: Project, provider: ScriptedProvider) -> None:
    serve(provider, judge_right=0.99)
    put(project, tickets(10))
    define(project, sheet(), training_sheet(**judge()), template())
    planned = project("plan", "drafted", "--json")
    assert planned.code == 0, planned.err
    (row,) = planned.json if isinstance(planned.json, list) else planned.json["training_sheets"]
    assert (row["calls"], row["judge_calls"]) == (10, 10)
    ran = project("run", "drafted", "--json")
    assert 20 == ran.json["llm_calls"] <= row["max_calls"]
    used = project.table("records", "requests").select(pl.col("prompt_tokens", "completion_tokens").sum()).row(0)
    assert sum(used) <= row["max_tokens"]


def test_another_run_pays_nothing_and_changes_nothing(trusted: Trusted) -> None:
    project, scripted = trusted
    before, calls = project.table("label", "labeled_pairs"), scripted.calls
    assert project("run", "drafted", "--json").json["llm_calls"] == 0
    assert scripted.calls == calls
    assert project.table("label", "labeled_pairs").drop("trace").equals(before.drop("trace"))


def test_a_person_overrules_a_judge_and_approval_is_off_by_default(trusted: Trusted) -> None:
    project, scripted = trusted
    calls = scripted.calls
    usage = {**USAGE, "rows": [{"when": "ticket LIKE '%5'", "tags": ["CONFIDENTIAL"]}]}
    define(project, sheet(usage=usage), training_sheet(**judge()), template())
    assert project("run", "drafted", "--json").json["llm_calls"] == 0
    pairs = project.table("label", "labeled_pairs")
    assert judged_alone(pairs).is_empty()
    assert set(pairs.filter(pl.col("canonical_label_id").is_null())["status"]) == {"unlabeled"}
    # The very answer that a judge approved, approved by a person: theirs is the word.
    line = {"sheet": "tickets", "item_ref": "T-470", "label_type": "team", "label_data": {"team": "other"}}
    project.write("more.jsonl", json.dumps(line))
    define(project, sheet(usage=usage), training_sheet(**judge(auto_approve=True)), template())
    assert project("label", "import", str(project.folder / "more.jsonl")).code == 0
    project("run", "drafted")
    row = project.table("label", "labeled_pairs").filter(item_ref="T-470").row(0, named=True)
    assert (row["labeling_mode"], row["reviewed_by"], json.loads(row["response"])) == (
        "canonical",
        "ann",
        {"team": "other"},
    )
    assert scripted.calls <= calls + 2


@pytest.mark.parametrize(("labeled", "judge_right"), [(LABELED, 0.8), (60, 0.99)])
def test_a_judge_that_errs_or_is_little_known_approves_nothing(
    project: Project, provider: ScriptedProvider, labeled: int, judge_right: float
) -> None:
    serve(provider, judge_right)
    ran = project_of(project, labeled + 20, labeled, **judge(auto_approve=True))
    assert ran.code == 0, ran.err
    row = project.table("records", "judge_calibrations").row(0, named=True)
    assert not row["may_approve"]
    assert row["error_bound"] > 0.05 or row["held_out"] < LEAST_HELD_OUT
    pairs = project.table("label", "labeled_pairs")
    assert judged_alone(pairs).is_empty()
    assert pairs.filter(status="unlabeled").height == 20


def test_a_judge_outside_the_house_is_shown_nothing_restricted(
    project: Project, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A provider on loopback is in the house; one of a name that leads anywhere is not.
    monkeypatch.setenv("OPENAI_API_BASE", "http://models.example.org/v1")
    put(project, tickets(6))
    closed = {**USAGE, "data_classification": "restricted"}
    define(project, sheet(usage=closed), training_sheet(column="team", trusted=False, **judge()), template())
    ran = project("run", "drafted", "--json")
    assert provider.calls == 0
    assert ran.json["llm_calls"] == 0
    refused = project.table("label", "pair_quality_refusals")
    assert set(refused["reason"]) == {"judge_withheld"}
    assert refused.height == 6
    assert set(project.table("label", "pair_quality")["judge_probability"]) == {None}


def test_what_a_rubric_states_narrows_the_pairs_that_are_judged_by_it(
    project: Project, provider: ScriptedProvider
) -> None:
    serve(provider, judge_right=0.99)
    rubric = {"usage": {"prohibited_uses": ["training"], "reason": "the rubric is licensed for evaluation"}}
    assert project_of(project, 12, 4, **judge(**rubric)).code in (0, 5)
    pairs = project.table("label", "labeled_pairs")
    judged = pairs.filter(pl.col("canonical_label_id").is_null())
    assert all("training" not in uses for uses in judged["allowed_uses"].to_list())
    assert all("judge's rubric of drafted prohibits training" in why for why in judged["usage_reason"])
    labeled = pairs.filter(pl.col("canonical_label_id").is_not_null())
    assert all("training" in uses for uses in labeled["allowed_uses"].to_list())


def test_a_spent_budget_stops_the_judge_and_what_was_answered_is_kept(
    project: Project, provider: ScriptedProvider
) -> None:
    serve(provider, judge_right=0.99)
    ran = project_of(project, 8, 4, **judge(budget_usd=0.0))
    assert ran.code == 4, ran.err
    assert any("spec.quality.judge.budget_usd" in line for line in error_lines(ran))


def test_the_embedded_model_is_no_judge_that_may_approve(project: Project, provider: ScriptedProvider) -> None:
    serve(provider, judge_right=0.99)
    ran = project_of(project, 8, 6, **judge(model="local/smollm2", auto_approve=True, max_tokens=30))
    assert ran.code in (0, 1), ran.err
    row = project.table("records", "judge_calibrations").row(0, named=True)
    assert row["judge"] == "local/smollm2"
    assert row["error_bound"] > row["max_error"]
    assert not row["may_approve"]
    assert judged_alone(project.table("label", "labeled_pairs")).is_empty()
    told = project.table("label", "pair_quality")["judge_score"].drop_nulls()
    refused = project.table("label", "pair_quality_refusals").height if told.len() < 8 else 0
    assert told.len() + refused >= 4  # it was asked, whatever it said


def test_half_of_the_drafts_are_as_they_should_be() -> None:
    wrong = [number for number in range(500) if drafted_team(f"Invoice number {number}") != "billing"]
    assert 60 < len(wrong) < 140
