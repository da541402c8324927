"""Quality in a project that is run: what is looked at without a call, what is kept of it, and what a person is told."""

from __future__ import annotations

import json

import polars as pl
import pytest

from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    define,
    error_lines,
    make_document,
    provider,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)

__all__ = ["provider"]

RULES = [{"name": "access-is-urgent", "when": "team = 'access'", "then": '"urgency.level" >= 2'}]


def urgency() -> dict[str, object]:
    return make_document("LabelType", "urgency", kind="classification", fields=[{"name": "level", "type": "integer"}])


def import_labels(project: Project, *rows: tuple[str, str, dict[str, object]]) -> None:
    lines = [
        {"sheet": "tickets", "item_ref": ref, "label_type": label_type, "label_data": data}
        for ref, label_type, data in rows
    ]
    project.write("labels.jsonl", "\n".join(map(json.dumps, lines)))
    assert project("label", "import", str(project.folder / "labels.jsonl")).code == 0


def test_a_plain_training_sheet_is_looked_at_without_a_call(project: Project, provider: ScriptedProvider) -> None:
    rows = tickets(8)
    subjects = rows["subject"].to_list()
    subjects[1] = subjects[3]  # the same invoice twice
    put(project, rows.with_columns(pl.Series("subject", subjects)))
    define(project, sheet(), training_sheet(column="team"), template())
    ran = project("run", "drafted", "--json")
    assert ran.code == 0, ran.err
    assert provider.calls == ran.json["llm_calls"] == 0
    made = {(one["asset"], one["rows"]) for one in ran.json["partitions"]}
    assert {("label/pair_quality", 8), ("label/labeled_pairs", 8)} <= made
    pairs = project.table("label", "labeled_pairs")
    assert set(pairs["quality_score"]) == {1.0}
    copies = pairs.filter(pl.col("duplicate_of").is_not_null())
    assert copies["item_ref"].to_list() in (["T-001"], ["T-003"])
    # A copy is a warning: nothing is held back for it.
    from workbench_pipelines.defs.label.quality_checks import no_duplicate_is_labeled_twice

    warned = no_duplicate_is_labeled_twice(pairs)
    assert (warned.passed, warned.severity.value) == (False, "WARN")
    assert warned.description == "8 labeled pairs, 1 say what another one says"
    assert no_duplicate_is_labeled_twice(pairs.with_columns(status=pl.lit("unlabeled"))).passed


def test_labels_that_contradict_each_other_are_named(project: Project, provider: ScriptedProvider) -> None:
    put(project, tickets(4))
    define(project, sheet(), training_sheet(column="team", consistency=RULES), template(), urgency())
    import_labels(project, ("T-000", "urgency", {"level": 1}), ("T-002", "urgency", {"level": 3}))
    ran = project("run", "drafted", "--json")
    assert ran.code == 0, ran.err
    found = project.table("label", "pair_quality").filter(pl.col("inconsistent").is_not_null())
    assert found.select("item_ref", "inconsistent", "needs").rows() == [
        ("T-000", ["access-is-urgent"], ["inconsistent"])
    ]
    from workbench_pipelines.defs.label.pair_quality import no_answer_contradicts_a_related_label

    warned = no_answer_contradicts_a_related_label(project.table("label", "pair_quality"))
    assert (warned.passed, warned.severity.value, warned.description) == (False, "WARN", "access-is-urgent: 1")


def test_an_answer_that_an_expert_gave_is_looked_at_as_it_stands(project: Project, provider: ScriptedProvider) -> None:
    put(project, tickets(3))
    define(project, sheet(), training_sheet(column="team", consistency=RULES), template(), urgency())
    import_labels(project, ("T-001", "team", {"team": "access"}), ("T-001", "urgency", {"level": 1}))
    project("run", "drafted")
    found = dict(project.table("label", "pair_quality").select("item_ref", "inconsistent").iter_rows())
    assert found == {"T-000": None, "T-001": ["access-is-urgent"], "T-002": None}


def test_what_was_found_can_be_asked_for_and_is_masked_where_it_is_restricted(
    project: Project, provider: ScriptedProvider
) -> None:
    pytest.importorskip("presidio_analyzer")
    subjects = ["Write to ann.smith@example.org about it", "Nothing of the kind"]
    put(project, tickets(2).with_columns(pl.Series("subject", subjects)))
    define(project, sheet(), training_sheet(column="team"), template())
    project("run", "drafted")
    pairs = project.table("label", "labeled_pairs").sort("item_ref")
    assert pairs["pii"].to_list() == [["EMAIL_ADDRESS"], []]
    asked = project("sql", "SELECT item_ref, pii, needs FROM pair_quality ORDER BY item_ref", "--json")
    assert [row["needs"] for row in asked.json] == [["pii"], []]
    closed = {"allowed_uses": ["training"], "data_classification": "restricted"}
    define(project, sheet(usage=closed), training_sheet(column="team"), template())
    asked = project("sql", "SELECT pii FROM pair_quality", "--json")
    assert all(row["pii"] is None for row in asked.json)


def test_an_answer_in_the_wrong_language_is_flagged_and_not_refused(
    project: Project, provider: ScriptedProvider
) -> None:
    said = "Die Rechnung wurde zweimal bezahlt und niemand weiss warum."
    provider.answer_by(lambda body: json.dumps({"reason": said}))
    put(project, tickets(2))
    free = template(output_schema=[{"name": "reason", "type": "string"}], label_type="why")
    define(project, sheet(), training_sheet(quality={"language": {"is": "en"}}), free)
    assert project("run", "drafted").code in (0, 5)
    pairs = project.table("label", "labeled_pairs")
    assert (pairs["language"].to_list(), pairs["status"].to_list()) == (["de"] * 2, ["unlabeled"] * 2)
    needs = project.table("label", "pair_quality")["needs"].to_list()
    assert all("wrong_language" in one for one in needs)


def test_validate_names_what_quality_can_not_mean(project: Project) -> None:
    put(project, tickets(2))
    wrong = {
        "consistency": [{"name": "odd", "when": "tean = 'access'", "then": "TRUE"}],
        "quality": {
            "language": {"is": "en", "fields": ["reason"]},
            "judge": {"model": "openai/judge", "usage": {"prohibited_uses": ["trainig"]}},
        },
    }
    define(project, sheet(), training_sheet(**wrong), template())
    ran = project("validate")
    assert ran.code == 2
    lines = error_lines(ran)
    assert any("spec.consistency.odd.when: unknown column 'tean'; did you mean 'team'?" in line for line in lines)
    assert any("spec.quality.language.fields: template 'team' answers with no 'reason'" in line for line in lines)
    assert any("spec.quality.judge.usage: unknown use 'trainig'; did you mean 'training'?" in line for line in lines)
    define(project, sheet(), training_sheet(labeling_mode="manual", quality={"judge": {"model": "x/y"}}), template())
    assert any("`quality.judge` judges answers" in line for line in error_lines(project("validate")))
