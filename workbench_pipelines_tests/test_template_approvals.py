"""Who approved a template is on record: the one who published it, or the author of the lock's line that git brought."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    collection,
    define,
    one_line,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)

ACCESS = make_document("Access", "who", reviewers=["ann"], approvers=["grace"])


def approvals(project: Project) -> list[tuple[str, ...]]:
    return project.table("records", "template_approvals").select("template", "version", "approved_by").rows()


def git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", "-C", str(folder), *arguments], check=True, capture_output=True)


def test_whoever_publishes_approves_and_a_second_time_changes_nothing(project: Project) -> None:
    define(project, sheet(), template())
    put(project, tickets(2))
    for added in (1, 0):
        assert project("publish").out == f"templates/published.lock: {added} versions added\n"
        assert approvals(project) == [("team", "1.0.0", "ann")]


def test_only_an_approver_publishes_where_access_is_given(project: Project) -> None:
    define(project, sheet(), template(), ACCESS)
    put(project, tickets(2))
    ran = project("publish")
    assert ran.code == 2
    assert one_line(ran) == "workbench: ann may not approve templates; an Access document names who may"
    assert not (project.folder / "templates" / "published.lock").exists()


def test_a_lock_that_git_brought_was_approved_by_the_author_of_its_line(project: Project) -> None:
    define(project, sheet(), template())
    put(project, tickets(2))
    assert project("publish").code == 0
    git(project.folder, "init", "-q")
    git(project.folder, "add", "templates")
    git(project.folder, "-c", "user.name=Grace", "-c", "user.email=g@x", "commit", "-qm", "approved")
    # Another clone has the lock and not the lake.
    shutil.rmtree(project.settings.lake)
    define(project, template(), template(name="other"))
    assert project("publish").code == 0
    assert sorted(approvals(project)) == [("other", "1.0.0", "ann"), ("team", "1.0.0", "Grace")]


def test_a_run_writes_down_who_approved_what_it_uses(project: Project) -> None:
    define(project, sheet(), template(), training_sheet(column="team"), collection("c", "drafted"))
    put(project, tickets(4))
    assert project("publish").code == 0
    shutil.rmtree(project.settings.lake)
    assert project("run").code in (0, 1)
    assert approvals(project) == [("team", "1.0.0", "ann")]
