"""`workbench review`: a token per person, and a page on loopback that a signal ends."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx

from workbench_pipelines.clients.review_tokens import ReviewTokens
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import define, one_line, put, sheet, template, tickets, training_sheet


def plant(project: Project) -> None:
    define(project, sheet(), training_sheet(), template(), make_document("Access", "people", reviewers=["ann"]))
    put(project, tickets(3))


def test_a_token_is_printed_once_and_says_what_its_person_may(project: Project) -> None:
    plant(project)
    made = project("review", "token", "ann", "--json").json
    assert (made["person"], made["actions"]) == ("ann", ["edit", "flag", "label", "reject"])
    assert ReviewTokens(project.settings.state).person_of(made["token"]) == "ann"
    stranger = project("review", "token", "mallory")
    assert "mallory has no role" in one_line(stranger)
    assert len(stranger.out.strip()) > 40
    assert project("review", "token", "team:desk").code == 2


def test_the_page_is_served_on_loopback_until_it_is_stopped(project: Project) -> None:
    plant(project)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "workbench"), "review", "serve", "--port", str(port)]
    served = subprocess.Popen(command, env={**os.environ}, stderr=subprocess.PIPE, text=True)
    try:
        for _ in range(300):
            try:
                assert "Your token" in httpx.get(f"http://127.0.0.1:{port}/login").text
                break
            except httpx.TransportError:
                time.sleep(0.1)
        else:
            raise AssertionError("the page did not come up")
        taken = subprocess.run(command, env={**os.environ}, capture_output=True, text=True, timeout=60, check=False)
        assert taken.returncode == 3
        assert f"port {port} is taken" in taken.stderr
    finally:
        served.send_signal(signal.SIGINT)
        served.wait(timeout=30)
    assert "Traceback" not in (served.stderr.read() if served.stderr else "")
