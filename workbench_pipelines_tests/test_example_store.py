"""Snapshots of a store: numbered once, never changed, complete or not there, whoever makes them and however they end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl

from workbench_pipelines.example_store import (
    keep_snapshot,
    next_snapshot,
    numbered,
    read_snapshot,
    snapshots_of,
    stored,
)
from workbench_pipelines.examples import EXAMPLE_REFUSALS, EXAMPLES, KEPT_EXAMPLES, Examples
from workbench_pipelines.identity import digest
from workbench_pipelines_tests.project_world import Project


def make_content(*names: str, store: str = "default", **given: Any) -> Examples:
    """A store that holds an example for each of these items."""
    rows = [
        dict.fromkeys(EXAMPLES)
        | {"store": store, "example_id": digest([name, store]), "sheet": "s", "item_ref": name, "label_type": "l"}
        | {"input": f"Is {name} right?", "embedding": [1.0, 0.5], "search_keys": ["l"], **given}
        for name in names
    ]
    return Examples(pl.DataFrame(rows, schema=EXAMPLES), EXAMPLE_REFUSALS.to_frame())


def items(project: Project, number: int, store: str = "default") -> list[str]:
    found = read_snapshot(project.workbench, store, number)
    assert found is not None
    assert found.schema == EXAMPLES
    assert set(found["snapshot"]) <= {number}
    return sorted(found["item_ref"])


def test_a_change_makes_a_new_number_and_the_older_ones_stay_readable(project: Project) -> None:
    workbench = project.workbench
    assert keep_snapshot(workbench, "default", make_content()) == (0, False)  # nothing was ever there
    assert keep_snapshot(workbench, "default", make_content("a")) == (1, True)
    assert keep_snapshot(workbench, "default", make_content("a")) == (1, False)
    assert keep_snapshot(workbench, "default", make_content("b", "a")) == (2, True)
    assert keep_snapshot(workbench, "default", make_content("a")) == (3, True)  # as it was, and yet a change
    assert keep_snapshot(workbench, "default", make_content()) == (4, True)
    assert [items(project, number) for number in (1, 2, 3, 4)] == [["a"], ["a", "b"], ["a"], []]
    assert read_snapshot(workbench, "default", 5) is None
    assert project.table("records", "examples").height == 2  # each is kept once
    assert snapshots_of(workbench, "default")["examples"].to_list() == [1, 2, 1, 0]


def test_stores_count_for_themselves(project: Project) -> None:
    workbench = project.workbench
    keep_snapshot(workbench, "default", make_content("a"))
    assert keep_snapshot(workbench, "other", make_content("b", store="other")) == (1, True)
    assert (items(project, 1), items(project, 1, "other")) == (["a"], ["b"])


def test_what_is_only_stated_of_an_example_makes_no_snapshot(project: Project) -> None:
    workbench = project.workbench
    keep_snapshot(workbench, "default", make_content("a", allowed_uses=["few_shot"]))
    assert next_snapshot(workbench, "default", make_content("a", allowed_uses=[])) == (1, False)
    assert "allowed_uses" not in project.table("records", "examples").columns


def test_a_run_that_was_killed_between_the_examples_and_their_snapshot_is_made_up_for(project: Project) -> None:
    workbench, content = project.workbench, make_content("a", "b")
    kept = content.frame.select(list(KEPT_EXAMPLES))
    workbench.lake.append_new("records", "examples", frame=kept, key=["store", "example_id"], partition_by="store")
    assert snapshots_of(workbench, "default").is_empty()
    assert keep_snapshot(workbench, "default", content) == (1, True)
    assert project.table("records", "examples").height == 2
    assert items(project, 1) == ["a", "b"]


def test_runs_at_one_time_never_share_a_number_for_different_content(project: Project) -> None:
    contents = [make_content("a", f"b{n % 3}") for n in range(4)]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda content: keep_snapshot(project.workbench, "default", content), contents))
    rows = snapshots_of(project.workbench, "default")
    assert rows["snapshot"].to_list() == list(range(1, rows.height + 1))
    for (number, _), content in zip(made, contents, strict=True):
        assert items(project, number) == sorted(content.frame["item_ref"])


def test_a_store_is_read_in_the_columns_of_today(project: Project) -> None:
    workbench = project.workbench
    frame = numbered(make_content("a"), 1).frame.drop("grouped_by")
    workbench.lake.replace_partition("label", "example_store", frame=frame, partition_by="store", keys=["default"])
    found = stored(workbench, "default")
    assert (found.frame.schema, found.frame["grouped_by"].to_list()) == (EXAMPLES, [None])
    assert found.refusals.is_empty()
