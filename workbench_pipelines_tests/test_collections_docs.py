"""What docs/collections.md shows: its project runs as written, and comes to what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from workbench_pipelines.settings import CHECKOUT
from workbench_pipelines_tests.project_world import Project, forget_definitions
from workbench_pipelines_tests.ticket_world import quiet

DOCS = (CHECKOUT / "docs/collections.md").read_text()
FILES = dict(re.findall(r"`([\w./]+)`:\n\n```\w+\n(.*?)```", DOCS, re.S))
FIRST, LATER = re.findall(r"```sh\n(.*?)```", DOCS, re.S)
(ROW,) = re.findall(r"comes:\n\n```csv\n(.*?)```", DOCS, re.S)
(DIFF,) = re.findall(r"```\n(desk v1.*?)```", DOCS, re.S)


def run_all(project: Project, block: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """What the last of these commands prints."""
    out = ""
    for user, line in re.findall(r"^(?:WORKBENCH_USER=(\w+) )?\.venv/bin/workbench (.*)$", block, re.M):
        monkeypatch.setenv("WORKBENCH_USER", user or "ann")
        ran = project(*shlex.split(line, comments=True))
        assert ran.code == 0, ran.err
        out = ran.out
    monkeypatch.setenv("WORKBENCH_USER", "ann")
    return out


def told(project: Project, instance: dg.DagsterInstance, cursor: str | None = None) -> str | None:
    """Looks once with the sensor that tells subscribers, and gives its cursor."""
    forget_definitions()
    from workbench_pipelines.defs.train.sensors import notify_subscribers

    with dg.build_sensor_context(instance, cursor=cursor, resources={"workbench": project.workbench}) as context:
        result = notify_subscribers(context)
    assert isinstance(result, dg.SensorResult)
    return result.cursor


def test_the_example_comes_to_what_the_text_says(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet(project)
    for path, text in FILES.items():
        project.write(path, text)
    assert project("validate").code == 0
    run_all(project, FIRST, monkeypatch)
    members = project.table("records", "collection_members")
    assert sorted(members["weight"]) == [0.5] * 6 + [1.0] * 5
    assert set(members["added_by"]) == {"ann"}
    rows = project.table("train", "governed_export")
    assert "T-3" not in rows.filter(pl.col("training_sheet") == "routed")["item_ref"].to_list()
    copies = rows.filter(pl.col("item_ref").is_in(["T-1", "T-5"]))
    assert copies.height == 4
    assert copies["split"].n_unique() == 1
    events = project.table("records", "collection_versions").sort("number")
    assert events.select("status", "by").rows() == [
        ("draft", "ann"),
        ("in_review", "ann"),
        ("approved", "bob"),
        ("released", "rita"),
    ]
    with dg.DagsterInstance.ephemeral() as instance:
        cursor = told(project, instance)
        assert told(project, instance, cursor) == cursor
        told(project, instance)  # a cursor that was lost tells nobody twice
    alerts = project.table("records", "alerts")
    assert sorted(alerts["person"]) == ["carol", "dan", "eve"]
    assert set(alerts["message"]) == {"Collection desk v1 is released by rita: for the router"}

    folder = project.workbench.lake.uri
    before = {path: path.read_bytes() for path in Path(folder, "exports/desk/v1").rglob("*") if path.is_file()}
    table = FILES["sheets/data/tickets.csv"].replace("contract,billing,high", "contract,billing,low") + ROW
    project.write("sheets/data/tickets.csv", table)
    assert run_all(project, LATER, monkeypatch).startswith(DIFF)
    assert before == {path: path.read_bytes() for path in before}
    shown = project("collection", "status", "desk", "--json").json["versions"]
    assert [(one["version"], one["status"]) for one in shown] == [(1, "released"), (2, "draft")]
    found = project("collection", "diff", "desk", "v1", "2", "--json").json
    assert {(one["change"], one["training_sheet"], one["item_ref"]) for one in found["pairs"]} == {
        ("added", "ranked", "T-7"),
        ("added", "routed", "T-7"),
        ("changed", "ranked", "T-2"),
    }
