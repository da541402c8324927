"""Reviews through a Label Studio that is started for it (`make test-label-studio`): what the scripted one is faithful to."""

from __future__ import annotations

import base64
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from workbench_pipelines.clients.label_studio import LabelStudio
from workbench_pipelines.label_studio_config import controls_of, labeling_config, look_of, task_data
from workbench_pipelines.label_studio_regions import is_same, regions_of, said_by
from workbench_pipelines.review_tasks import Picture
from workbench_pipelines.settings import CHECKOUT
from workbench_pipelines_tests.browser_world import MISSING, chromium
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.file_world import make_image
from workbench_pipelines_tests.page_world import AREAS, BOXES
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.test_label_studio_config import MANY, SPANS, make_task
from workbench_pipelines_tests.ticket_world import define, provider, put, sheet, template, tickets, training_sheet

__all__ = ["provider"]

FOLDER = os.environ.get("WORKBENCH_LABEL_STUDIO")
pytestmark = pytest.mark.skipif(not FOLDER, reason="`make test-label-studio` installs Label Studio and starts it")
RED = {"photo": Picture(f"data:image/png;base64,{base64.b64encode(make_image(size=300)).decode()}", 300, 300)}
START_S = 500  # a first start migrates its database for one to three minutes
HOME: list[Path] = []
COUNTS = ("added", "updated", "unchanged", "removed", "kept")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """The address and the token of a Label Studio with nothing in it."""
    home = tmp_path_factory.mktemp("label-studio")
    HOME.append(home)
    (home / "venv").symlink_to(Path(str(FOLDER)).resolve() / "venv")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    with (home / "log").open("w") as log:
        begun = time.monotonic()
        started = subprocess.Popen([CHECKOUT / "label-studio/start", home, str(port)], stdout=log, stderr=log)
        try:
            while not _is_up(url):
                assert started.poll() is None, (home / "log").read_text()[-2000:]
                assert time.monotonic() - begun < START_S
                time.sleep(0.5)
            print(f"\nfirst start: {time.monotonic() - begun:.0f} s")
            token = (home / "token").read_text()
            # Neither the secrets nor the keys of this environment are seen by others.
            assert token not in Path(f"/proc/{started.pid}/cmdline").read_text()
            assert "WORKBENCH_" not in Path(f"/proc/{started.pid}/environ").read_text()
            assert (home / "token").stat().st_mode & 0o077 == 0
            yield url, token
        finally:
            started.send_signal(signal.SIGINT)
            try:
                started.wait(timeout=20)
            except subprocess.TimeoutExpired:
                started.kill()


def _is_up(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def test_a_thousand_tasks_pushed_twice_are_there_once_and_fifty_annotations_come_back_as_labels(
    project: Project, provider: Any, server: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    access = make_document("Access", "people", approvers=["bob"], emails={"bob": "Reviewer@localhost"})
    define(project, sheet(), training_sheet(), template(), access)
    put(project, tickets(1000))
    assert project("run", "drafted").code in (0, 5)
    monkeypatch.setenv("LABEL_STUDIO_URL", server[0])
    monkeypatch.setenv("LABEL_STUDIO_TOKEN", server[1])

    def push() -> list[int]:
        begun = time.monotonic()
        ran = project("review", "push", "drafted", "--to", "label-studio", "--json")
        assert ran.code == 0, ran.err
        counts = [ran.json[name] for name in COUNTS]
        print(f"pushed in {time.monotonic() - begun:.1f} s: {counts}")
        return counts

    assert push() == [1000, 0, 0, 0, 0]
    assert push() == [0, 0, 1000, 0, 0]
    with LabelStudio(*server) as studio:
        (found,) = studio.projects()
        tasks = list(studio.tasks(found["id"]))
        assert len(tasks) == len({task["data"]["workbench_task"] for task in tasks}) == 1000
        for number, task in enumerate(tasks[:60]):
            proposed = task["predictions"][0]["result"]
            changed = [{**proposed[0], "value": {"choices": ["billing"]}}]
            studio.annotate(task["id"], proposed if number % 2 else changed, skipped=number >= 50)
    begun = time.monotonic()
    pulled = project("review", "pull", "--json")
    print(f"pulled in {time.monotonic() - begun:.1f} s: {pulled.json}")
    assert pulled.json == {"ok": True, "decisions": 50, "repeated": 0, "undecided": 950, "refused": []}
    assert project("review", "pull", "--json").json["repeated"] == 50
    decisions = project.workbench.decisions()
    assert dict(decisions.group_by("action").len().iter_rows()) == {"approve": 25, "edit": 25}
    assert set(decisions["by"]) == {"bob"}
    assert project("run", "drafted").code in (0, 5)
    labeled = project.table("label", "labeled_pairs").filter(pl.col("status") == "labeled")
    assert labeled.group_by("response").len().sort("len").rows() in (
        [('{"team":"billing"}', 25), ('{"team":"other"}', 25)],
        [('{"team":"other"}', 25), ('{"team":"billing"}', 25)],
    )
    assert push() == [0, 0, 950, 0, 50]


EVERY_KIND = pytest.mark.parametrize(
    ("schema", "answer", "more"),
    [
        (
            MANY,
            {"team": "other", "priority": 2, "tags": ["a", "c"], "urgent": False, "count": 7, "parts": {"a": 1}},
            {},
        ),
        (SPANS, {"entities": [{"start": 9, "end": 16, "label": "drug", "text": "aspirin"}]}, {}),
        (BOXES, {"cars": [{"label": "van", "x": 33, "y": 10, "width": 7, "height": 19}]}, {"pictures": RED}),
        (AREAS, {"areas": [{"points": [[0, 0], [299, 13], [7, 199]]}]}, {"pictures": RED}),
    ],
)


@EVERY_KIND
def test_it_takes_every_config_and_gives_back_what_is_said_with_it(
    server: tuple[str, str], schema: Any, answer: Any, more: Any
) -> None:
    task = make_task(answer, **more)
    look = look_of([task])
    controls = controls_of(schema, look)
    regions = regions_of(controls, answer, task, look)
    with LabelStudio(*server) as studio:
        project = studio.create_project("every control", "", labeling_config(controls, look))
        made = {"data": task_data(task, look), "predictions": [{"model_version": "m", "result": regions}]}
        assert studio.add_tasks(project["id"], [made]) == 1
        (there,) = studio.tasks(project["id"])
        studio.annotate(there["id"], there["predictions"][0]["result"])
        (said,) = studio.tasks(project["id"])
        assert said_by(controls, said["annotations"][0]["result"], said["data"]).answer == answer
        studio.update_task(there["id"], there["data"] | {"item": "changed"})
        studio.delete_prediction(there["predictions"][0]["id"])
        studio.add_prediction(there["id"], {"model_version": "m2", "score": 0.5, "result": regions})
        (there,) = studio.tasks(project["id"])
        assert (there["data"]["item"], there["predictions"][0]["model_version"]) == ("changed", "m2")
        studio.delete_task(there["id"])
        assert list(studio.tasks(project["id"])) == []


@EVERY_KIND
@pytest.mark.skipif(MISSING is not None, reason=str(MISSING))
def test_what_its_page_submits_of_a_proposal_is_the_proposal(
    server: tuple[str, str], schema: Any, answer: Any, more: Any
) -> None:
    task = make_task(answer, **more)
    look = look_of([task])
    controls = controls_of(schema, look)
    made = {"data": task_data(task, look), "predictions": [{"result": regions_of(controls, answer, task, look)}]}
    sign_in = """
        const [email, password] = arguments
        document.querySelector("input[name=email]").value = email
        document.querySelector("input[name=password]").value = password
        document.querySelector("form").submit()"""
    submit = """
        const found = [...document.querySelectorAll("button")].find(one => /^submit/i.test(one.innerText.trim()))
        if (found && !found.disabled) found.click()
        return Boolean(found)"""
    with LabelStudio(*server) as studio, chromium() as window:
        project = studio.create_project("by hand", "", labeling_config(controls, look))
        studio.add_tasks(project["id"], [made])
        window.go(f"{server[0]}/user/login")
        window.run(sign_in, "reviewer@localhost", (HOME[-1] / "password").read_text())
        _until(lambda: "/user/login" not in window.url)
        window.go(f"{server[0]}/projects/{project['id']}/data?labeling=1")
        _until(lambda: window.run(submit))
        _until(lambda: next(studio.tasks(project["id"]))["annotations"])
        said = next(studio.tasks(project["id"]))
        assert is_same(said_by(controls, said["annotations"][0]["result"], said["data"]).answer, answer)


def _until(holds: Callable[[], Any], seconds: float = 60) -> None:
    ends = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < ends
        time.sleep(0.5)
