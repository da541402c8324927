"""What a change of the source, the template or a label makes anew: as little as it must, and never what an expert answered."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    collection,
    define,
    one_line,
    provider,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)  # fmt: skip

__all__ = ["provider"]


def label(project: Project, *refs: str, **more: Any) -> dict[str, int]:
    """Imports one label for these tickets, that they are for billing."""
    row = {"sheet": "tickets", "label_type": "team", "label_data": {"team": "billing"}, **more}
    file = project.write("labels.jsonl", "".join(json.dumps({**row, "item_ref": ref}) + "\n" for ref in refs))
    ran = project("label", "import", str(file), "--json")
    assert ran.code == 0, ran.err
    return {name: ran.json[name] for name in ("decisions", "repeated")}


def prompts(project: Project) -> dict[str, tuple[str, str]]:
    """The pair_id and prompt_hash of each item."""
    rows = project.table("generate", "rendered_prompts").select("item_ref", "pair_id", "prompt_hash").iter_rows()
    return {ref: (pair_id, prompt_hash) for ref, pair_id, prompt_hash in rows}


def statuses(project: Project) -> dict[str, str]:
    return dict(project.table("label", "labeled_pairs").select("item_ref", "status").iter_rows())


def test_edited_rows_cost_a_call_each_unless_a_label_covers_them_and_new_rows_move_nobody(
    project: Project, provider: ScriptedProvider
) -> None:
    sampled = {"sample": {"size": 10, "method": "random", "seed": 1}}
    define(project, sheet(), training_sheet(items=sampled), collection("routing", "drafted"), template())
    rows = tickets(16)
    put(project, rows)
    assert project("run", "--json").json["llm_calls"] == 10
    before = prompts(project)
    covered, *edited = sorted(before)[:4]
    label(project, covered, seen_columns=["team"])

    other = pl.format("Other words of {}", "ticket")
    changed = pl.when(pl.col("ticket").is_in([covered, *edited])).then(other).otherwise(pl.col("subject"))
    rows = rows.with_columns(changed.alias("subject"), pl.lit("unseen").alias("note"))
    put(project, rows.sample(fraction=1.0, shuffle=True, seed=5))
    planned = project("plan", "--json").json
    second = project("run", "--json")
    after = prompts(project)
    assert [pair_id for pair_id, _ in after.values()] == [pair_id for pair_id, _ in before.values()]
    assert [ref for ref in after if after[ref] != before[ref]] == [covered, *edited]
    assert second.json["llm_calls"] == planned["calls"] == 3
    assert provider.calls == 13

    ledger = project.table("records", "split_assignments")
    put(project, pl.concat([tickets(4, start=100), rows]))
    third = project("run", "--json")
    new = set(prompts(project)) - set(after)
    assert len(set(after) - set(prompts(project))) == len(new) <= 4
    assert third.json["llm_calls"] == len(new)
    later = project.table("records", "split_assignments")
    assert ledger.join(later, on=list(later.columns), how="anti").is_empty()


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
    assert not project.workbench.lake.exists("generate", "rendered_prompts")


def test_a_label_goes_stale_with_what_it_saw_revives_with_it_and_is_flagged_where_it_no_longer_fits(
    project: Project, provider: ScriptedProvider
) -> None:
    define(project, sheet(), training_sheet(), template())
    rows = tickets(4)
    put(project, rows)
    assert label(project, "T-000", "T-001") == {"decisions": 2, "repeated": 0}
    decided = project.table("label", "decisions")
    assert label(project, "T-000", "T-001") == {"decisions": 0, "repeated": 2}
    assert project.table("label", "decisions").equals(decided)
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
    assert statuses(project) == {"T-000": "flagged", "T-001": "flagged", "T-002": "unlabeled", "T-003": "unlabeled"}
    assert provider.calls == 5
    assert flagged.code == 5
    assert one_line(flagged) == "Collection drafted: 0 of 4 pairs approved; 4 pairs of drafted wait for a reviewer"
