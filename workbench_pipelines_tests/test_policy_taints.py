"""What was exported with tokens or masks is tainted where its kind is held back more strictly by now, and nothing else is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from workbench_pipelines.errors import ExportError
from workbench_pipelines.export_taints import refuse_tainted, tainted_exports
from workbench_pipelines.exporting import publish_export
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import collection, define, put, sheet, template, tickets, training_sheet

CUSTOMERS = {1: "Mary Quillfeather", 5: "Anna Brannigill", 7: "Tom Ashdownly"}
# Somebody else's mask, that nothing of this project stands behind.
LITERAL = 9


def house(action: str) -> list[dict[str, Any]]:
    return [
        make_document("UsagePolicy", "house", personal_data={"entities": {"KNOWN_VALUE": action}}),
        sheet(columns={"customer": {"tags": ["PII"]}}),
        training_sheet(column="team"),
        collection("routing", "drafted", formats=["openai"], splits={"train": 0.6, "val": 0.2, "test": 0.2}),
        template(),
    ]


def planted() -> pl.DataFrame:
    rows = tickets(20)
    said = [f"{text}, says {CUSTOMERS.get(n, 'nobody')}" for n, text in enumerate(rows["subject"])]
    said[LITERAL] = f"{rows['subject'][LITERAL]}, says <KNOWN_VALUE>"
    names = [CUSTOMERS.get(n) for n in range(rows.height)]
    return rows.with_columns(pl.Series("subject", said), pl.Series("customer", names, pl.String))


def run_under(project: Project, action: str) -> None:
    define(project, *house(action))
    ran = project("run", "routing", "--json")
    assert ran.code == 0, ran.err


def tainted(project: Project) -> list[tuple[int, int]]:
    return [(one["version"], one["pairs"]) for one in tainted_exports(project.workbench, "routing")]


def texts_of(project: Project, version: int) -> str:
    (path,) = project.table("records", "export_versions").filter(version=version)["path"]
    return "".join(file.read_text() for file in Path(path).glob("*.openai.jsonl"))


def test_tokens_of_a_kind_that_is_masked_or_blocked_by_now_taint_their_export(project: Project) -> None:
    put(project, planted())
    run_under(project, "pseudonymise")
    assert texts_of(project, 1).count("<KNOWN_VALUE_") == len(CUSTOMERS)
    rows = project.table("train", "governed_export")
    refuse_tainted(project.workbench, "routing", rows)

    define(project, *house("block"))
    # Before anything is made anew: neither is it trained on, nor does an export alone let the tokens through.
    with pytest.raises(
        ExportError, match=r"holds 3 pairs that may not be used .*KNOWN_VALUE in messages: the policy says block"
    ):
        refuse_tainted(project.workbench, "routing", rows)
    workbench = project.workbench
    alone = publish_export(
        workbench, workbench.catalog().collection("routing"), project.table("label", "labeled_pairs")
    )
    assert (alone.figures["export_version"], alone.excluded) == (2, len(CUSTOMERS))

    run_under(project, "block")
    assert tainted(project) == [(1, len(CUSTOMERS))]
    (state,) = tainted_exports(workbench, "routing")
    assert state["reason"] == "personal_data: KNOWN_VALUE in messages: the policy says block"
    assert "KNOWN_VALUE_" not in texts_of(project, 2)

    run_under(project, "mask")
    assert tainted(project) == [(1, len(CUSTOMERS))]
    with pytest.raises(ExportError, match="the policy says mask; the pair is older than that"):
        refuse_tainted(workbench, "routing", rows)
    run_under(project, "pseudonymise")
    assert tainted(project) == []


def test_masks_of_a_kind_that_is_blocked_by_now_taint_their_export(project: Project) -> None:
    put(project, planted())
    run_under(project, "mask")
    assert texts_of(project, 1).count("<KNOWN_VALUE>") == len(CUSTOMERS) + 1
    rows = project.table("train", "governed_export")

    run_under(project, "block")
    # The mask that stood in the source itself stands there still: its pair may leave now as it did then.
    assert tainted(project) == [(1, len(CUSTOMERS))]
    (state,) = tainted_exports(project.workbench, "routing")
    assert state["reason"] == "personal_data: KNOWN_VALUE is masked in messages: the policy says block"
    assert texts_of(project, 2).count("<KNOWN_VALUE>") == 1
    with pytest.raises(ExportError, match=r"holds 3 pairs that may not be used .*is masked in messages"):
        refuse_tainted(project.workbench, "routing", rows)
    refuse_tainted(project.workbench, "routing", project.table("train", "governed_export"))

    run_under(project, "pseudonymise")
    assert tainted(project) == []
