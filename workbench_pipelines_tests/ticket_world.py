"""A project of support tickets, defined in a few lines, for tests that drive the real command line."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml

from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.project_world import Project, Ran, forget_definitions

MODEL = "openai/scripted"
USAGE = {"allowed_uses": ["training", "validation", "evaluation"], "data_classification": "internal"}
TEAMS = ("access", "billing", "other")
# What steps print goes to the test: for keeping it in files, Dagster starts four processes a run.
DAGSTER_YAML = """
telemetry: {enabled: false}
nux: {enabled: false}
compute_logs: {module: dagster._core.storage.noop_compute_log_manager, class: NoOpComputeLogManager}
"""


@contextmanager
def project_at(folder: Path) -> Iterator[Project]:
    """A project that several tests look at; the environment leads to it inside the block."""
    with pytest.MonkeyPatch.context() as patch:
        yield Project(folder, patch)
        forget_definitions()


_PLANTED: dict[str, Path] = {}


@contextmanager
def planted_at(folders: pytest.TempPathFactory, name: str, plant: Callable[[Project], None]) -> Iterator[Project]:
    """A project that several modules start from: planted once in a process, and a copy of it for each of them."""
    with project_at(folders.mktemp(name) / "project") as project:
        if name in _PLANTED:
            shutil.copytree(_PLANTED[name], project.folder, dirs_exist_ok=True)
        else:
            plant(project)
            _PLANTED[name] = folders.mktemp(name) / "kept"
            shutil.copytree(project.folder, _PLANTED[name])
        yield project


def sheet(name: str = "tickets", table: str = "data/tickets.csv", **spec: Any) -> dict[str, Any]:
    return make_document("Sheet", name, **{"primary_table": table, "item_ref": "ticket", "usage": USAGE, **spec})


def training_sheet(name: str = "drafted", **spec: Any) -> dict[str, Any]:
    """Drafted by the scripted provider, unless `column` says where the answers stand."""
    mode = {"labeling_mode": "existing_column", "trusted": True} if "column" in spec else {}
    return make_document("TrainingSheet", name, **{"sheet": "tickets", "template": "team", **mode, **spec})


def collection(name: str = "routing", *members: str, **spec: Any) -> dict[str, Any]:
    given = {"members": [{"training_sheet": member} for member in members], **spec}
    return make_document("Collection", name, **given)


def template(text: str = "Which team? {{ subject }}", name: str = "team", **spec: Any) -> dict[str, Any]:
    given = {
        "version": "1.0.0",
        "status": "published",
        "label_type": "team",
        "output_schema": [{"name": "team", "type": "string", "enum": list(TEAMS)}],
        "base_model": MODEL,
        "max_tokens": 40,
    }
    return make_document("PromptTemplate", name, user_prompt_template=text, **{**given, **spec})


def define(project: Project, *documents: Mapping[str, Any], file: str | None = None) -> None:
    """Writes documents into one file of `sheets/`, and PromptTemplates into one of `templates/`."""
    quiet(project)
    for folder, templates in (("sheets", False), ("templates", True)):
        chosen = [one for one in documents if (one["kind"] == "PromptTemplate") == templates]
        if chosen:
            project.write(f"{folder}/{file or 'all.yaml'}", yaml.safe_dump_all(chosen, sort_keys=False))


def quiet(project: Project) -> None:
    """Dagster greets whoever starts an instance without a `dagster.yaml`; a checkout has one."""
    (project.home / "dagster.yaml").write_text(DAGSTER_YAML)


def tickets(count: int, start: int = 0) -> pl.DataFrame:
    """Tickets `T-000`, `T-001`, ... of which every other goes to billing."""
    numbers = range(start, start + count)
    return pl.DataFrame(
        {
            "ticket": [f"T-{number:03d}" for number in numbers],
            "subject": [f"{'Invoice' if number % 2 else 'Log in'} number {number}" for number in numbers],
            "team": ["billing" if number % 2 else "access" for number in numbers],
            "note": [f"note {number}" for number in numbers],
        },
        schema=dict.fromkeys(("ticket", "subject", "team", "note"), pl.String),
    )


def put(project: Project, rows: pl.DataFrame, path: str = "sheets/data/tickets.csv") -> None:
    """Writes rows as a CSV file of the project."""
    project.write(path, rows.write_csv())


def error_lines(ran: Ran) -> list[str]:
    """What stands on standard error beside the progress of runs; never a traceback."""
    assert "Traceback" not in ran.err + ran.out
    return [line for line in ran.err.splitlines() if not line.startswith("… ")]


def one_line(ran: Ran) -> str:
    """The only line on standard error."""
    (line,) = error_lines(ran)
    return line


@contextmanager
def provider_that_says(answer: str) -> Iterator[ScriptedProvider]:
    """A provider on loopback with one answer for everything, and the environment that leads to it inside the block."""
    with ScriptedProvider() as scripted, pytest.MonkeyPatch.context() as patch:
        scripted.answer_by(lambda body: answer)
        patch.setenv("OPENAI_API_BASE", scripted.url)
        patch.setenv("OPENAI_API_KEY", "test")
        yield scripted


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedProvider]:
    """A provider on loopback that routes every ticket to `other`, and the environment that leads to it."""
    with ScriptedProvider() as scripted:
        scripted.answer_by(lambda body: '{"team": "other"}')
        monkeypatch.setenv("OPENAI_API_BASE", scripted.url)
        monkeypatch.setenv("OPENAI_API_KEY", "test")
        yield scripted
