"""A project in a temporary folder, driven through the real command line: what a user has, without another process."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from workbench_pipelines.settings import CHECKOUT, Settings, settings_from
from workbench_pipelines.workbench import Workbench


@dataclass(frozen=True)
class Ran:
    """How a command ended and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


class Project:
    """A folder with sheets/ and templates/, its lake beside it, and a Dagster instance of its own."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.home = folder / "dagster_home"
        self.home.mkdir(parents=True)
        for name in ("sheets", "templates"):
            (folder / name).mkdir(exist_ok=True)
        self.environ = {
            "WORKBENCH_PROJECT": str(folder),
            "DAGSTER_HOME": str(self.home),
            "WORKBENCH_USER": "ann",
        }
        for name in (
            "WORKBENCH_LAKE",
            "WORKBENCH_ROOTS",
            "WORKBENCH_MODEL",
            "MLFLOW_TRACKING_URI",
            "WORKBENCH_BUDGET_USD",
        ):
            monkeypatch.delenv(name, raising=False)
        for name, value in self.environ.items():
            monkeypatch.setenv(name, value)

    def write(self, path: str, text: str) -> Path:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def copy(self, *names: str) -> None:
        """Takes starter files of the checkout over, by path."""
        for name in names:
            target = self.folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (CHECKOUT / name).is_dir() else shutil.copy)(CHECKOUT / name, target)

    def __call__(self, *arguments: str) -> Ran:
        """Runs `workbench` with these arguments, as a new process would find the project."""
        from workbench_pipelines.cli import main

        forget_definitions()
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main(list(arguments))
        return Ran(int(ended.value.code or 0), out.getvalue(), err.getvalue())

    @property
    def settings(self) -> Settings:
        return settings_from(self.environ)

    @property
    def workbench(self) -> Workbench:
        return Workbench(self.settings)

    def table(self, *parts: str) -> pl.DataFrame:
        return self.workbench.lake.read(*parts)


class Kept:
    """A project as it stands at a moment that several tests go on from; each of them finds it as it was then.

    It is put back where it was, since much of what a run leaves names paths.
    """

    def __init__(self, project: Project) -> None:
        self._project, self._copy = project, project.folder.with_name(f"{project.folder.name}.kept")
        shutil.copytree(project.folder, self._copy, symlinks=True)

    def put_back(self) -> Project:
        # MLflow holds its database open: what a test registered would be there for the next one.
        assert not (self._project.settings.state / "mlflow.db").exists()
        shutil.rmtree(self._project.folder)
        shutil.copytree(self._copy, self._project.folder, symlinks=True)
        return self._project


def forget_definitions() -> None:
    """The partition sets are read when the rooms are imported: another project needs them imported again."""
    for name in list(sys.modules):
        if name.startswith(("workbench_pipelines.defs", "workbench_pipelines.definitions")):
            del sys.modules[name]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    yield Project(tmp_path / "project", monkeypatch)
    forget_definitions()
