"""What docs/labeling-jobs.md shows: its project runs as written, and comes to what it says."""

from __future__ import annotations

import datetime as dt
import re
import shlex

import pytest
from click.testing import CliRunner

from workbench_pipelines.cli.commands import workbench
from workbench_pipelines.settings import CHECKOUT
from workbench_pipelines_tests.job_world import take
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import quiet

DOCS = (CHECKOUT / "docs/labeling-jobs.md").read_text()
FILES = dict(re.findall(r"`([\w./]+)`:\n\n```\w+\n(.*?)```", DOCS, re.S))
BLOCKS = re.findall(r"```sh\n(.*?)```", DOCS, re.S)


def commands(block: str) -> list[tuple[str, list[str]]]:
    """Who runs a command, and its arguments."""
    found = re.findall(r"^(?:WORKBENCH_USER=(\w+) )?\.venv/bin/workbench (.*)$", block, re.M)
    return [(user or "bob", shlex.split(line, comments=True)) for user, line in found]


def test_the_example_comes_to_what_the_text_says(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet(project)
    for path, text in FILES.items():
        project.write(path, text)
    monkeypatch.setenv("WORKBENCH_USER", "bob")
    monkeypatch.chdir(project.folder)
    assert project("validate").code == 0
    for user, arguments in commands(BLOCKS[0]):
        monkeypatch.setenv("WORKBENCH_USER", user)
        ran = project(*arguments)
        assert ran.code in (0, 5), ran.err
    listed = project("tasks", "list", "--json").json["tasks"]
    assert [(one["assignee"], one["status"], one["progress"]) for one in listed] == [
        ("ann", "completed", "4 / 4"),
        ("rob", "in_progress", "3 / 4"),
    ]
    pairs = {row["item_ref"]: row for row in project.table("label", "labeled_pairs").to_dicts()}
    assert [pairs[f"T-{n}"]["status"] for n in (1, 2, 3, 4)] == ["labeled", "labeled", "unlabeled", "unlabeled"]
    assert pairs["T-3"]["review_notes"] == "ann and rob disagree, waits for a third person"
    assert pairs["T-4"]["review_notes"] == "answered by ann, waits for another annotator"
    queue = project.table("label", "review_queue").sort("rank")
    assert queue.select("item_ref", "need").rows() == [("T-3", "adjudication"), ("T-4", "another_annotator")]
    found = project("tasks", "agreement", "tickets", "--json").json["agreement"]
    (cohen,) = [one for one in found if one["measure"] == "cohen"]
    assert f"{cohen['value']:.3f}" == "0.400"
    assert cohen["n"] == 3
    decided = {"action": "label", "label_data": {"team": "billing"}, "adjudicates": True, "by": "eve"}
    key = {"sheet": "tickets", "item_ref": "T-3", "label_type": "ticket_team"}
    take(project, {**key, **decided, "at": dt.datetime.now(dt.UTC).isoformat()})
    assert project("run", "routed").code in (0, 5)
    (pair,) = [row for row in project.table("label", "labeled_pairs").to_dicts() if row["item_ref"] == "T-3"]
    assert (pair["status"], pair["response"]) == ("labeled", '{"team":"billing"}')


@pytest.mark.parametrize("arguments", [one for block in BLOCKS for _, one in commands(block)], ids=" ".join)
def test_every_command_there_is_one(arguments: list[str]) -> None:
    group, names = workbench, []
    for argument in arguments:
        command = getattr(group, "commands", {}).get(argument)
        if command is None:
            break
        group, names = command, [*names, argument]
    helped = CliRunner().invoke(workbench, [*names, "--help"])
    assert helped.exit_code == 0
    assert all(option in helped.output for option in arguments if option.startswith("--"))
