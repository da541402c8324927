"""A label that is restricted itself, in a Sheet where everything else is open, is shown to nobody who may not see it."""

from __future__ import annotations

import json
from typing import Any

import dagster as dg
import polars as pl
import pytest

from workbench_pipelines.closed_labels import closed_items, restrictions_in
from workbench_pipelines.defs.reporting import sample_table
from workbench_pipelines.restrictions import MASK, Restrictions, mask_of
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import collection, define, put, sheet, template, tickets, training_sheet

SECRET, OPEN = "Quillfeather", "Nightingale"
WHO = [{"name": "who", "type": "string"}]


@pytest.fixture
def labeled(project: Project) -> Project:
    """Ten tickets with who wrote them, as a text; who wrote the third is restricted, and may be learned from."""
    put(project, tickets(10))
    define(
        project,
        sheet(),
        training_sheet("told", labeling_mode="manual"),
        collection("routing", "told", splits={"train": 1.0, "val": 0.0, "test": 0.0}),
        template(output_schema=WHO, label_type="who"),
        make_document("Access", "people", reviewers=["ann"], stewards=["stella"], see_restricted=["bob"]),
    )
    rows: list[dict[str, Any]] = [
        {"sheet": "tickets", "item_ref": f"T-00{n}", "label_type": "who", "label_data": {"who": f"{OPEN} {n}"}}
        for n in range(10)
    ]
    rows[3] |= {"label_data": {"who": SECRET}, "data_classification": "restricted", "usage_reason": "a patient"}
    file = project.write("labels.jsonl", "\n".join(map(json.dumps, rows)))
    assert project("label", "import", str(file)).code == 0
    assert project("run", "routing").code == 0
    return project


def test_no_table_and_no_sample_shows_it(labeled: Project) -> None:
    assert SECRET in str(labeled.table("train", "governed_export").to_dicts())
    for table in ("decisions", "label_history", "canonical_labels", "labeled_pairs", "governed_export"):
        shown = labeled("sql", f"select * from {table}", "--json")
        assert shown.code == 0, shown.err
        assert OPEN in shown.out, table
        assert SECRET not in shown.out, table
    with dg.DagsterInstance.from_config(str(labeled.home)) as instance:
        for key in instance.all_asset_keys():
            event = instance.get_latest_materialization_event(key)
            assert SECRET not in str(event), key


def test_its_history_is_for_whoever_may_see_it(labeled: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    def history(ref: str) -> str:
        return labeled("label", "history", "tickets", ref, "--json").out

    assert OPEN in history("T-002")
    assert SECRET not in history("T-003")
    assert MASK in history("T-003")
    monkeypatch.setenv("WORKBENCH_USER", "bob")
    assert SECRET in history("T-003")


def test_the_items_are_found_by_what_was_ever_said(labeled: Project) -> None:
    assert closed_items(labeled.workbench) == {"tickets": frozenset({"T-003"})}
    assert labeled("label", "restrict", "tickets", "T-005", "who", "--why", "x", "--classification", "restricted").code
    assert restrictions_in(labeled.workbench).items == {"tickets": frozenset({"T-003"})}  # ann is no steward


def test_a_sample_masks_the_rows_of_a_closed_item_alone() -> None:
    rows = pl.DataFrame({"sheet": ["s", "s"], "item_ref": ["a", "b"], "response": ["one", "two"]})
    known = Restrictions({"s": frozenset()}, items={"s": frozenset({"b"})})
    shown = sample_table(rows, mask_of("governed_export", rows.columns, known))
    assert "one" in shown
    assert "two" not in shown
