"""An erased item leaves review back ends, the inbox of reviews and an MLflow server; what could not be asked is named."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import polars as pl
import pytest

from workbench_pipelines.clients.judge_traces import Judgement, log_judgements
from workbench_pipelines.clients.model_registry import ModelRegistry
from workbench_pipelines.clients.scripted_label_studio import ScriptedLabelStudio
from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.clients.trace_names import delete_traces, traces_of
from workbench_pipelines.review_inbox import receive
from workbench_pipelines_tests.project_world import Project, project
from workbench_pipelines_tests.test_review_loop import say
from workbench_pipelines_tests.ticket_world import (
    define,
    error_lines,
    provider,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)

__all__ = ["project", "provider"]

SECRET = "Quillfeather of 12 Elm Street can not log in since the operation on his left knee"
ITEM = "T-003"
ERASE = ("erase", f"tickets/{ITEM}", "--reason", "asked for it", "--json")


def test_reviews_of_an_erased_item_are_gone_from_label_studio_and_the_inbox(
    project: Project, provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    define(project, sheet(), training_sheet(), template())
    own = pl.col("ticket") == ITEM
    put(project, tickets(6).with_columns(subject=pl.when(own).then(pl.lit(SECRET)).otherwise("subject")))
    assert project("run", "drafted").code == 5
    rows = {row["item_ref"]: row for row in project.table("label", "review_queue").to_dicts()}
    with ScriptedLabelStudio(["ann"]) as studio:
        monkeypatch.setenv("LABEL_STUDIO_URL", studio.url)
        monkeypatch.setenv("LABEL_STUDIO_TOKEN", studio.token)
        project.environ |= {"LABEL_STUDIO_URL": studio.url, "LABEL_STUDIO_TOKEN": studio.token}
        assert project("review", "push", "drafted", "--to", "label-studio").code == 0
        assert len(studio.tasks) == 6
        of_item = next(number for number, task in studio.tasks.items() if SECRET in json.dumps(task))
        studio.annotate(of_item, [], by="ann", skipped=True)  # what a person worked on goes as well
        receive(project.workbench, [say(rows[ITEM], "approve"), say(rows["T-001"], "approve")], "test")
        looked = project(*ERASE, "--dry-run")
        assert (looked.json["elsewhere"], len(studio.tasks)) == (1, 6)
        studio.fails = [500, 500]  # of the look before, and of the erasure
        failed = project(*ERASE, "--yes")
        assert failed.code == 1
        assert "Label Studio: not every task was reached, erase again" in error_lines(failed)[-1]
        done = project(*ERASE, "--yes")
        assert (done.code, done.json["left"], done.json["hits"], done.json["elsewhere"]) == (0, [], [], 1), done.err
        assert len(studio.tasks) == 5
        assert SECRET not in json.dumps(list(studio.tasks.values()))
        inbox = project.table("records", "review_inbox")["judgement"].to_list()
        assert [json.loads(said)["item_ref"] for said in inbox] == ["T-001"]
        assert ITEM not in "".join(inbox)
        monkeypatch.delenv("LABEL_STUDIO_TOKEN")
        unreached = project(*ERASE, "--yes")
        assert unreached.code == 1
        assert "LABEL_STUDIO_TOKEN is not set" in error_lines(unreached)[-1]


def test_the_traces_of_pairs_are_deleted_over_the_api_of_mlflow(tmp_path: Path) -> None:
    registry = ModelRegistry(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path / "artifacts")
    at = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    judged = [
        Judgement(f"{number}" * 64, f"p{number}", f"i{number}", "j", "q", "a", 0.9, 1.0, True, "held_out", at)
        for number in (1, 2)
    ]
    log_judgements(registry, "drafted", judged)
    assert delete_traces(registry, {"p1", "p9"}, dry_run=True) == 1
    assert traces_of(registry, {"p1", "p2"}) == [one.trace_id for one in judged]
    assert delete_traces(registry, {"p1", "p9"}) == 1
    assert traces_of(registry, {"p1", "p2"}) == [judged[1].trace_id]
