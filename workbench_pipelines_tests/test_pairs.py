"""A pair is labeled only where its answer stands, and may be used only where everything that reached it agrees."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest

from workbench_pipelines import pairs as pairs_module
from workbench_pipelines.identity import pair_id, response_hash
from workbench_pipelines.labels import fold_labels
from workbench_pipelines.pairs import LABELED_PAIRS, label_pairs, pairs_digest, status_counts
from workbench_pipelines.usage import USES, UsageStatement
from workbench_pipelines_tests.pair_world import (
    OPEN,
    SCHEMA,
    later,
    ledger,
    make_decision,
    make_generated,
    make_rendered,
)  # fmt: skip


def pairs_of(
    *decisions: dict[str, Any],
    answers: dict[str, str | None] | None = None,
    statements: tuple[UsageStatement, ...] = (OPEN,),
    mode: str = "ai_generated",
    trusted: bool = False,
    schema: dict[str, Any] | None = None,
) -> pl.DataFrame:
    answers = {"a": "no"} if answers is None else answers
    rendered = make_rendered(*(answers or {"a": None}), statements=statements)
    taken = ledger(*decisions)
    return label_pairs(
        rendered,
        make_generated(rendered, answers, mode),
        fold_labels(taken, None),
        taken,
        schema=schema or SCHEMA,
        trusted=trusted,
        vocabulary=USES,
    )


def test_a_draft_waits_for_a_person() -> None:
    pairs = pairs_of()
    assert pairs.schema == LABELED_PAIRS
    assert pairs["status"].to_list() == ["unlabeled"]


def test_a_label_replaces_the_draft_and_approves_the_pair() -> None:
    (pair,) = pairs_of(make_decision(answer="yes")).to_dicts()
    assert (pair["status"], pair["response"], pair["labeling_mode"]) == ("labeled", '{"answer":"yes"}', "canonical")
    assert pair["reviewed_by"] == "ann"


def test_a_label_that_breaks_the_output_schema_flags_its_pair() -> None:
    stricter = {**SCHEMA, "required": ["answer", "why"]}
    (pair,) = pairs_of(make_decision(), schema=stricter).to_dicts()
    assert pair["status"] == "flagged"
    assert "why" in pair["review_notes"]


def test_only_a_trusted_column_approves_by_itself() -> None:
    assert pairs_of(mode="existing_column", trusted=True)["status"].to_list() == ["labeled"]
    assert pairs_of(mode="existing_column", trusted=False)["status"].to_list() == ["unlabeled"]


def test_a_rejection_binds_to_the_answer_it_saw() -> None:
    saw_no = make_decision(
        action="reject", pair_id=pair_id("ts", "s", "a"), response_hash=response_hash('{"answer":"no"}'), reason="wrong"
    )
    assert pairs_of(saw_no)["status"].to_list() == ["rejected"]
    assert pairs_of(saw_no, answers={"a": "yes"})["status"].to_list() == ["unlabeled"]


def test_a_judge_approves_nothing_that_a_steward_withdrew_and_stands_for_nobody() -> None:
    rendered = make_rendered("a")
    generated = make_generated(rendered, {"a": "yes"})
    said = ledger(make_decision(), make_decision(action="reject", label_data=None, at=later(1), by="stella"))
    found = pl.DataFrame(
        {
            "pair_id": rendered["pair_id"],
            "response_hash": [response_hash('{"answer":"yes"}')],
            "judge": ["m"],
            "auto_approved": [True],
            "judge_probability": [0.99],
            "error_bound": [0.01],
            **{
                key: [None]
                for key in ("quality_score", "language", "duplicate_of", "pii", "judged_at", "judge_statements")
            },
        }
    )
    given = {"schema": SCHEMA, "trusted": False, "vocabulary": USES, "quality": found}
    for ledger_now, status in ((said, "unlabeled"), (said.clear(), "labeled")):
        labels = fold_labels(ledger_now, None)
        (pair,) = label_pairs(rendered, generated, labels, ledger_now, **given).to_dicts()
        assert pair["status"] == status, pair["review_notes"]


def test_a_later_label_overrules_a_rejection() -> None:
    rejected = make_decision(action="reject", pair_id=pair_id("ts", "s", "a"))
    assert pairs_of(rejected, make_decision(at=later(1)))["status"].to_list() == ["labeled"]
    assert pairs_of(make_decision(), rejected | {"at": later(1)})["status"].to_list() == ["rejected"]


def test_a_pair_whose_label_waits_for_a_second_person_is_not_approved_and_says_who_proposed_it() -> None:
    said = ledger(make_decision(answer="yes"))
    rendered = make_rendered("a")
    labels = fold_labels(said, None, ("s",))
    given = {"schema": SCHEMA, "trusted": False, "vocabulary": USES}
    (pair,) = label_pairs(rendered, make_generated(rendered, {"a": "no"}), labels, said, **given).to_dicts()
    assert (pair["status"], pair["response"]) == ("unlabeled", '{"answer":"no"}')
    assert pair["review_notes"] == "proposed by ann, waits for a second person"
    of_old = label_pairs(rendered, make_generated(rendered, {"a": "no"}), labels.drop("proposed_by"), said, **given)
    assert of_old["status"].to_list() == ["unlabeled"]


def test_a_label_narrows_the_uses_of_its_pair_and_never_widens_them() -> None:
    narrow = UsageStatement("sheet s", allowed_uses=("training", "testing"), data_classification="internal")
    wide = make_decision(uses='{"allowed_uses":["training","evaluation"],"prohibited_uses":["few_shot"]}')
    (pair,) = pairs_of(wide, statements=(narrow,)).to_dicts()
    assert pair["allowed_uses"] == ["training"]
    assert pair["prohibited_uses"] == ["few_shot"]


def test_a_label_without_constraints_inherits_the_sheets() -> None:
    assert pairs_of(make_decision())["allowed_uses"].to_list() == [sorted(USES)]


def test_a_shown_column_with_a_tag_prohibits_with_its_reason() -> None:
    phi = UsageStatement("tag PHI on column x", prohibited_uses=("training",), reason="health data")
    (pair,) = pairs_of(statements=(OPEN, phi)).to_dicts()
    assert "training" not in pair["allowed_uses"]
    assert "tag PHI on column x prohibits training: health data" in pair["usage_reason"]


def test_an_item_without_an_answer_and_without_a_label_makes_an_empty_pair_that_waits() -> None:
    (pair,) = pairs_of(answers={"a": None}, mode="manual").to_dicts()
    assert (pair["status"], pair["response"]) == ("unlabeled", None)


def test_the_counts_tell_pre_approved_from_labeled() -> None:
    pairs = pairs_of(make_decision("a"), answers={"a": None, "b": "yes", "c": "no"})
    assert status_counts(pairs) == {"labeled": 1, "unlabeled": 2, "rejected": 0, "flagged": 0, "pre_approved": 1}


def test_the_same_pairs_have_the_same_digest_whatever_their_times() -> None:
    early, late = pairs_of(make_decision()), pairs_of(make_decision(at=later(60)))
    assert pairs_digest(early) == pairs_digest(late)
    assert pairs_digest(early) != pairs_digest(pairs_of(make_decision(answer="no")))


def test_pairs_worked_out_in_parts_are_the_same_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: dict[str, str | None] = {"b": "no", "a": "yes", "d": None, "c": "no"}
    decisions = [make_decision("a"), make_decision("c", action="flag", pair_id=pair_id("ts", "s", "c"), at=later(1))]
    whole = pairs_of(*decisions, answers=answers)
    monkeypatch.setattr(pairs_module, "_PART", 2)
    assert pairs_of(*decisions, answers=answers).equals(whole)
    assert whole["item_ref"].to_list() == ["a", "b", "c", "d"]


def test_the_trace_tells_the_draft_then_the_label_then_the_flag() -> None:
    flagged = make_decision(action="flag", pair_id=pair_id("ts", "s", "a"), at=later(1))
    (pair,) = pairs_of(make_decision(), flagged).to_dicts()
    assert [step["name"] for step in pair["trace"]["steps"]] == ["draft", "label", "flag"]
    assert json.loads(pair["trace"]["steps"][0]["params"]) == {"model": "local/smollm2"}
    (untouched,) = pairs_of(mode="existing_column").to_dicts()
    assert untouched["trace"] == {"parent_ids": [], "steps": []}


def test_the_trace_begins_with_the_examples_that_the_prompt_shows() -> None:
    shown = pl.Series("example_ids", [["e1", "e2"], [], None], dtype=pl.List(pl.String))
    rendered = make_rendered("a", "b", "c").with_columns(shown)
    generated = make_generated(rendered, {"a": "no", "b": "no", "c": "no"})
    given = {"schema": SCHEMA, "trusted": False, "vocabulary": USES}
    pairs = label_pairs(rendered, generated, fold_labels(ledger(), None), ledger(), **given)
    steps = [[step["name"] for step in trace["steps"]] for trace in pairs["trace"]]
    assert steps == [["examples", "draft"], ["draft"], ["draft"]]
    assert json.loads(pairs["trace"][0]["steps"][0]["params"]) == {"example_ids": ["e1", "e2"]}
    before = label_pairs(rendered.drop("example_ids"), generated, fold_labels(ledger(), None), ledger(), **given)
    assert before.drop("trace").equals(pairs.drop("trace"))  # prompts of a lake from before there were examples


def test_lazy_frames_make_the_same_pairs() -> None:
    rendered, taken = make_rendered("a", "b"), ledger(make_decision())
    generated, labels = make_generated(rendered, {"a": "no", "b": "no"}), fold_labels(taken, None)
    given = {"schema": SCHEMA, "trusted": False, "vocabulary": USES}
    eager = label_pairs(rendered, generated, labels, taken, **given)
    assert label_pairs(rendered.lazy(), generated.lazy(), labels.lazy(), taken, **given).equals(eager)
