"""One table of decisions, whichever back ends they come from, in whichever order and however often."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from workbench_pipelines.clients.label_studio_reviews import LabelStudioReviews
from workbench_pipelines.clients.review_files import FORMATS
from workbench_pipelines.clients.scripted_label_studio import ScriptedLabelStudio
from workbench_pipelines.identity import canonical_text, digest
from workbench_pipelines.label_studio_review import open_label_studio, pull_reviews, push_reviews
from workbench_pipelines.labels import fold_labels
from workbench_pipelines.review_exchange import ReviewFile, deliver
from workbench_pipelines.review_page.desk import Desk
from workbench_pipelines.review_questions import ask
from workbench_pipelines.review_tasks import Asked, ReviewBackEnd, ReviewTask
from workbench_pipelines.settings import settings_from
from workbench_pipelines.workbench import Workbench
from workbench_pipelines_tests.back_end_world import ReviewDesk, edit
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    TEAMS,
    define,
    project_at,
    provider_that_says,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)

PAIRS = 50
STARTED = dt.datetime(2026, 3, 1, tzinfo=dt.UTC)
Decision = tuple[ReviewTask, str, str | None, dt.datetime]
"""What bob decides of a pair: an approval, or an edit with a team, and when."""


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with project_at(tmp_path_factory.mktemp("planted") / "project") as project:
        define(project, sheet(), training_sheet(), template(), make_document("Access", "people", approvers=["bob"]))
        put(project, tickets(PAIRS))
        with provider_that_says('{"team": "other"}'):
            assert project("run", "drafted").code in (0, 5)
        yield project


@pytest.fixture
def desk(planted: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ReviewDesk:
    return ReviewDesk(planted, tmp_path, monkeypatch)


def a_hundred(asked: Asked) -> list[Decision]:
    """Every pair is approved, and edited before or after that."""
    found: list[Decision] = []
    for number, task in enumerate(asked.tasks):
        found.append((task, "approve", None, STARTED + dt.timedelta(minutes=number)))
        found.append((task, "edit", TEAMS[number % 2], STARTED + dt.timedelta(minutes=100 - 3 * number, seconds=30)))
    return found


def by_file(workbench: Workbench, file: Path, asked: Asked, decisions: list[Decision]) -> None:
    """The decisions as rows of a file, and the file taken in."""
    back_end = ReviewFile(file, by="bob", catalog=workbench.catalog())
    back_end.push(asked)

    def change(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
        by_pair = {row["pair_id"]: row for row in rows}
        return [
            by_pair[task.pair_id] | {"decision": action, "answer.team": team, "decided_at": at.isoformat()}
            for task, action, team, at in decisions
        ]

    exchanged = deliver(workbench, ReviewFile(edit(file, change), by="bob", catalog=workbench.catalog()))
    assert exchanged.refusals == ()


def by_label_studio(workbench: Workbench, studio: ScriptedLabelStudio, decisions: list[Decision]) -> None:
    """The decisions as annotations, and all annotations there are taken in."""
    tasks = {task["data"]["workbench_task"]: number for number, task in studio.tasks.items()}
    for task, _, team, at in decisions:
        choice = {"from_name": "answer.team", "type": "choices", "value": {"choices": [team or "other"]}}
        studio.annotate(tasks[task.name], [choice], by="bob", at=at)
    with open_label_studio(workbench) as server:
        (exchanged,) = pull_reviews(workbench, server)
    assert exchanged.refusals == ()


def by_page(workbench: Workbench, decisions: list[Decision]) -> None:
    """The decisions as the own page delivers them, one by one."""
    page = Desk(workbench)
    for task, action, team, at in decisions:
        said = {**task.identity, "action": action, "by": "bob", "at": at.isoformat()}
        said |= {"label_data": {"team": team}} if team else {}
        page.decide(said, page.items.state(task.sheet, task.item_ref, task.label_type, "bob"))


def hashes(workbench: Workbench) -> tuple[str, str]:
    """The hash of the ledger, and of the labels it amounts to."""
    ledger = workbench.decisions().sort("decision_id")
    tables = (ledger, fold_labels(ledger, None))
    made = [digest([canonical_text(row) for row in table.to_dicts()]) for table in tables]
    return made[0], made[1]


def test_files_and_label_studio_are_back_ends(desk: ReviewDesk) -> None:
    workbench = desk.project.workbench
    one: ReviewBackEnd = ReviewFile(desk.folder / "a.csv", by="bob", catalog=workbench.catalog())
    other: type[ReviewBackEnd] = LabelStudioReviews
    assert (one.name, other.name) == ("files", "label-studio")


def test_a_hundred_decisions_shuffled_and_delivered_three_times_by_every_back_end_are_the_same_table(
    planted: Project, desk: ReviewDesk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_order = desk.project.workbench
    asked = ask(in_order, "drafted", "bob")
    decisions = a_hundred(asked)
    assert len(decisions) == 100
    by_file(in_order, tmp_path / "in_order.jsonl", asked, decisions)
    expected = hashes(in_order)
    assert in_order.decisions().height == 100

    mixed = random.Random(7)
    desk = ReviewDesk(planted, tmp_path / "other", monkeypatch)
    with ScriptedLabelStudio(["bob"]) as studio:
        environ = {**desk.project.environ, "LABEL_STUDIO_URL": studio.url, "LABEL_STUDIO_TOKEN": studio.token}
        other = Workbench(settings_from(environ))
        with open_label_studio(other) as server:
            assert push_reviews(other, server, "drafted", asked).added == PAIRS
        mixed.shuffle(decisions)
        by_page(other, decisions[:15])
        for turn in range(3):
            mixed.shuffle(decisions)
            for kind, begin in zip(FORMATS, (0, 40, 70), strict=True):
                by_file(other, tmp_path / f"{turn}.{kind}", asked, decisions[begin : begin + 40])
                by_label_studio(other, studio, mixed.sample(decisions, 40))
        by_label_studio(other, studio, decisions)
    assert other.decisions().height == 100
    assert hashes(other) == expected
    inbox = other.lake.read("records", "review_inbox")
    assert set(inbox["back_end"]) == {"page", "files", "label-studio"}
