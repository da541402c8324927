"""A project that waits for people, and people who are let in: the world of the tests of the review page."""

from __future__ import annotations

import re
import shutil
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
import uvicorn

from workbench_pipelines.clients.review_tokens import ReviewTokens
from workbench_pipelines.review_page.app import review_app
from workbench_pipelines.settings import settings_from
from workbench_pipelines.workbench import Workbench
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.file_world import make_image, make_pdf
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import (
    USAGE,
    collection,
    define,
    planted_at,
    provider_that_says,
    put,
    sheet,
    template,
    tickets,
    training_sheet,
)  # fmt: skip

SECRET = "Jane Doe"
BOXES = {
    "type": "object",
    "properties": {
        "cars": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "label": {"enum": ["car", "van"]},
                    **{name: {"type": "number"} for name in ("x", "y", "width", "height")},
                },
            },
        },
        "clear": {"type": "boolean"},
    },
    "required": ["cars"],
    "additionalProperties": False,
}

AREAS = {
    "type": "object",
    "properties": {
        "areas": {"type": "array", "items": {"type": "object", "properties": {"points": {"type": "array"}}}}
    },
    "required": ["areas"],
}


def plant(project: Project, count: int = 12, **of_sheet: Any) -> None:
    """Tickets that a scripted model routed to `other`, pairs that show a restricted column, and pictures to draw on."""
    access = make_document(
        "Access",
        "people",
        reviewers=["team:desk"],
        approvers=["bob", "eve"],
        stewards=["stella"],
        see_restricted=["eve"],
        teams={"desk": ["ann"]},
    )
    volume = {"name": "photo", "type": "volume", "path": "files", "join_keys": ["file"], "extract": "image"}
    paper = {"name": "paper", "type": "volume", "path": "files", "join_keys": ["pdf"], "extract": "text"}
    columns = {"note": {"tags": ["PII"]}}
    manual = {"labeling_mode": "manual", "items": {"filter_condition": "ticket = 'T-001'"}}
    define(
        project,
        sheet(columns=columns, **of_sheet),
        training_sheet(),
        training_sheet("closed", template="by_note"),
        training_sheet(
            "asked_twice", template="voiced", variants={"parameters": {"voice": ["calm", "curt"]}}, **manual
        ),
        collection("routing", "drafted", splits={"stratify_by": "team"}),
        template(input_schema=[{"name": "subject", "type": "string"}]),
        template("Which team? {{ note }}", "by_note"),
        template("Which team, in a {{ voice }} voice? {{ subject }}", "voiced", label_type="voiced"),
        make_document("UsagePolicy", "policies", tags={"PII": {"data_classification": "restricted"}}),
        make_document(
            "Sheet",
            "pictures",
            primary_table="data/pictures.csv",
            item_ref="picture",
            usage=USAGE,
            secondary_sources=[volume, paper],
        ),
        make_document("LabelType", "cars", kind="localization", schema=BOXES),
        make_document("LabelType", "areas", kind="localization", schema=AREAS),
        make_document("LabelType", "both", kind="localization", classes=["car", "van"]),
        access,
    )
    rows = tickets(count).with_columns(pl.format("{} " + SECRET, "note").alias("note"))
    put(project, rows)
    files = project.folder / "sheets/files"
    files.mkdir()
    (files / "street.png").write_bytes(make_image(size=200))
    (files / "paper.pdf").write_bytes(make_pdf("Two cars stand in the street."))
    pictures = pl.DataFrame(
        {"picture": ["p1", "p2"], "file": ["street.png"] * 2, "pdf": ["paper.pdf"] * 2, "where": ["north", "south"]}
    )
    put(project, pictures, "sheets/data/pictures.csv")
    with provider_that_says('{"team": "other"}'):
        for name in ("drafted", "closed", "asked_twice"):
            assert project("run", name).code in (0, 5)


@pytest.fixture(scope="module")
def planted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """The planted project that the tests of a module look at, or take a copy of."""
    with planted_at(tmp_path_factory, "waiting", plant) as project:
        yield project


def copied(planted: Project, folder: Path) -> Workbench:
    """The project as it was planted, for one test to change."""
    shutil.copytree(planted.folder, folder)
    return Workbench(settings_from({"WORKBENCH_PROJECT": str(folder), "WORKBENCH_USER": "ann"}))


class Person:
    """Somebody at the page with a browser that runs no script: forms and links alone."""

    def __init__(self, client: httpx.Client) -> None:
        self.client = client
        self.page: httpx.Response

    def get(self, path: str) -> str:
        self.page = self.client.get(path)
        return self.page.text

    def hidden(self) -> dict[str, str]:
        """The fields of the form as the page has them, unchecked choices left out."""
        form = self.page.text.partition('id="judge"')[2].partition("</form>")[0]
        fields = dict(re.findall(r'<input type="hidden" name="([^"]+)"[^>]*? value="([^"]*)"', form))
        fields |= dict(re.findall(r'<textarea[^>]*name="([^"]+)"[^>]*>\n?(.*?)</textarea>', form, re.DOTALL))
        fields |= dict(re.findall(r'<input type="radio" name="([^"]+)" value="([^"]*)" checked', form))
        return {name: _unescaped(value) for name, value in fields.items()}

    def send(self, action: str, path: str | None = None, **typed: Any) -> httpx.Response:
        """Presses a button of the form, with what was typed."""
        names = {name.replace("__", "."): value for name, value in typed.items()}
        target = path or str(self.page.request.url)
        self.page = self.client.post(target, data={**self.hidden(), "action": action, **names})
        return self.page

    def undo(self) -> httpx.Response:
        key = re.findall(r'name="form_key" value="([^"]+)"', self.page.text)[0]
        self.page = self.client.post("/undo", data={"form_key": key})
        return self.page


@contextmanager
def at_the_page(workbench: Workbench, *people: str) -> Iterator[list[Person]]:
    """People who entered with their tokens, all at one page."""
    tokens = ReviewTokens(workbench.settings.state)
    with served(workbench) as url, ExitStack() as clients:
        found = []
        for name in people:
            client = clients.enter_context(browser(url))
            assert client.post("/login", data={"token": tokens.issue(name)}).status_code == 200
            found.append(Person(client))
        yield found


def browser(url: str) -> httpx.Client:
    return httpx.Client(base_url=url, follow_redirects=True, timeout=30)


@contextmanager
def served(workbench: Workbench) -> Iterator[str]:
    """The page on a free port of loopback, in a thread that ends with the block."""
    listening = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(review_app(workbench), log_level="error"))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(timeout=30)
        listening.close()


def _unescaped(value: str) -> str:
    from html import unescape

    return unescape(value)
