"""What a change of the source, the template or a label makes anew: as little as it must, and never what an expert answered."""

from __future__ import annotations

import json

import polars as pl
import pytest

from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    collection,
    define,
    error_lines,
    one_line,
    provider,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)  # fmt: skip

__all__ = ["provider"]


def label(project: Project, *refs: str, team: str = "billing") -> dict[str, int]:
    """Imports the same label for these tickets."""
    rows = [{"sheet": "tickets", "item_ref": ref, "label_type": "team", "label_data": {"team": team}} for ref in refs]
    file = project.write("labels.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    ran = project("label", "import", str(file), "--json")
    assert ran.code == 0, ran.err
    return {name: ran.json[name] for name in ("decisions", "repeated")}


def prompts(project: Project) -> dict[str, tuple[str, str]]:
    """The pair_id and prompt_hash of each item."""
    rows = project.table("generate", "rendered_prompts").select("item_ref", "pair_id", "prompt_hash").iter_rows()
    return {ref: (pair_id, prompt_hash) for ref, pair_id, prompt_hash in rows}


def statuses(project: Project) -> dict[str, str]:
    return dict(project.table("label", "labeled_pairs").select("item_ref", "status").iter_rows())


def test_an_edit_of_three_rows_costs_three_calls_and_new_rows_move_nobody(
    project: Project, provider: ScriptedProvider
) -> None:
    sampled = {"sample": {"size": 10, "method": "random", "seed": 1}}
    define(project, sheet(), training_sheet(items=sampled), collection("routing", "drafted"), template())
    rows = tickets(16)
    put(project, rows)
    project("run", "--json")
    before = prompts(project)
    labeled, edited = sorted(before)[:2], sorted(before)[2:5]
    label(project, *labeled)
    assert provider.calls == 10

    changed = pl.when(pl.col("ticket").is_in(edited)).then(pl.lit("Other words")).otherwise(pl.col("subject"))
    rows = rows.with_columns(changed.alias("subject"), pl.lit("unseen").alias("note")).sample(fraction=1.0, shuffle=True)
    put(project, rows)
    planned = project("plan", "--json").json
    second = project("run", "--json")
    after = prompts(project)
    assert {ref: pair_id for ref, (pair_id, _) in before.items()} == {ref: pair_id for ref, (pair_id, _) in after.items()}
    assert sorted(ref for ref in after if after[ref][1] != before[ref][1]) == edited
    assert second.json["llm_calls"] == planned["calls"] == 1  # three rows with one question
    assert provider.calls == 11

    ledger = project.table("records", "split_assignments")
    put(project, pl.concat([rows, tickets(4, start=100)]))
    third = project("run", "--json")
    assert third.code == 0
    assert len(set(prompts(project)) - set(after)) == len(set(after) - set(prompts(project))) <= 4
    assert provider.calls <= 11 + 4
    both = ledger.join(project.table("records", "split_assignments"), on=["token", "seed"], how="left")
    assert both["split"].equals(both["split_right"], check_names=False) if False else True
    assert (both["split"] == both["split_right"]).all()
    assert project.table("records", "export_versions").height == 1


def test_a_new_template_version_asks_again_only_where_no_expert_answered(
    project: Project, provider: ScriptedProvider
) -> None:
    define(project, sheet(), training_sheet(), template())
    put(project, tickets(8))
    label(project, "T-000", "T-001", "T-002")
    first = project("run", "--json")
    assert (first.code, first.json["llm_calls"]) == (0, 5)
    define(project, template(), template("Who takes it? {{ subject }}", version="1.1.0"))
    second = project("run", "--json")
    assert (second.code, second.json["llm_calls"], provider.calls) == (0, 5, 10)
    pairs = project.table("label", "labeled_pairs")
    assert set(pairs["template_version"]) == {"1.1.0"}
    assert pairs.filter(pl.col("status") == "labeled")["item_ref"].to_list() == ["T-000", "T-001", "T-002"]

    define(project, template(), template("Who takes this? {{ subject }}", version="1.1.0"))
    third = project("run", "--json")
    assert third.code == 2
    assert "PromptTemplate team 1.1.0 is published and was changed" in one_line(third)
    assert provider.calls == 10
    assert project.table("label", "labeled_pairs").equals(pairs)


def test_a_locked_version_is_refused_where_it_was_never_run(project: Project, provider: ScriptedProvider) -> None:
    define(project, sheet(), training_sheet(), template())
    put(project, tickets(2))
    assert project("publish").code == 0
    assert project("validate", "--strict").code == 0
    define(project, template("Which of the teams? {{ subject }}"))
    checked, ran = project("validate"), project("run")
    assert (checked.code, ran.code, provider.calls) == (2, 1, 0)
    line = one_line(checked)
    assert line.startswith("templates/all.yaml: PromptTemplate team: version 1.0.0 was published and its spec")
    assert line in one_line(ran)


def test_a_label_goes_stale_with_what_it_saw_revives_with_it_and_is_flagged_where_it_no_longer_fits(
    project: Project, provider: ScriptedProvider
) -> None:
    define(project, sheet(), training_sheet(), template())
    rows = tickets(4)
    put(project, rows)
    assert label(project, "T-000", "T-001") == {"decisions": 2, "repeated": 0}
    version = project.workbench.lake.version("label", "decisions") if hasattr(project.workbench.lake, "version") else None
    assert label(project, "T-000", "T-001") == {"decisions": 0, "repeated": 2}
    project("run")
    assert statuses(project) == {"T-000": "labeled", "T-001": "labeled", "T-002": "unlabeled", "T-003": "unlabeled"}
    assert provider.calls == 2

    seen = pl.when(pl.col("ticket") == "T-000").then(pl.lit("Something else")).otherwise(pl.col("subject"))
    put(project, rows.with_columns(seen.alias("subject"), pl.lit("unseen").alias("note")))
    project("run")
    assert statuses(project)["T-000"] == "unlabeled"
    assert statuses(project)["T-001"] == "labeled"
    notes = project.table("label", "labeled_pairs").filter(pl.col("item_ref") == "T-000")["review_notes"]
    assert "stale" in notes[0]
    assert provider.calls == 3

    put(project, rows)
    assert project("plan", "--json").json["covered"] == 2
    fields = [{"name": "team", "type": "string", "enum": ["access", "money"]}]
    define(project, template(), template(version="2.0.0", output_schema=fields))
    provider.answer_by(lambda body: '{"team": "money"}')
    flagged = project("run", "--json")
    print(flagged.err)
    assert statuses(project) == {"T-000": "flagged", "T-001": "flagged", "T-002": "unlabeled", "T-003": "unlabeled"}
    assert provider.calls == 5
    assert flagged.code == 5
    assert one_line(flagged) == "Collection drafted: 0 of 4 pairs approved; 4 pairs of drafted wait for a reviewer"
