"""A project whose queue waits for several people, planted once and copied for each test that changes it."""

from __future__ import annotations

import datetime as dt
import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.review_inbox import receive, take_deliveries
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    define,
    planted_at,
    provider,
    provider_that_says,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)

__all__ = ["provider"]

PEOPLE = make_document(
    "Access",
    "people",
    reviewers=["team:desk"],
    approvers=["bob", "eve"],
    stewards=["stella"],
    teams={"desk": ["ann", "rob", "kim"]},
)
ITEMS = 12


def documents(**review: Any) -> list[dict[str, Any]]:
    return [sheet(review=review), training_sheet(), template(), PEOPLE]


def plant(project: Project) -> None:
    define(project, *documents())
    put(project, tickets(ITEMS))
    with provider_that_says('{"team": "other"}'):
        assert project("run", "drafted").code in (0, 5)


@pytest.fixture(scope="module")
def planted_job(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with planted_at(tmp_path_factory, "job", plant) as project:
        yield project


@pytest.fixture
def desk(planted_job: Project, project: Project, provider: ScriptedProvider) -> Project:
    """The planted project as a test's own, with bob at the command line."""
    shutil.copytree(planted_job.folder, project.folder, dirs_exist_ok=True)
    os.environ["WORKBENCH_USER"] = "bob"
    return project


def says(item: str, by: str, team: str | None = "access", minutes: int = 1, **given: Any) -> dict[str, Any]:
    """What somebody answers for a ticket, some minutes from now."""
    at = dt.datetime.now(dt.UTC) + dt.timedelta(minutes=minutes)
    said = {"sheet": "tickets", "item_ref": item, "label_type": "team", "action": "label", "by": by}
    return said | {"label_data": {"team": team}, "at": at.isoformat()} | given


def take(project: Project, *judgements: dict[str, Any]) -> None:
    receive(project.workbench, judgements, "test")
    assert take_deliveries(project.workbench).refusals == ()
