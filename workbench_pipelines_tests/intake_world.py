"""A folder of prompt/enhancement files and a Sheet over it: the world of tests of the intake."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from workbench_pipelines.catalog import Sheet
from workbench_pipelines.clients.file_intake import FileIntake, Taken
from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.clients.source_folder import SourceFolder
from workbench_pipelines.intake import content_ref
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import USAGE, collection, define, template, training_sheet

CONTENT = {"content_of": ["prompt", "enhancement"]}
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


def row(number: int, **more: Any) -> dict[str, Any]:
    return {"prompt": f"Question {number}?", "enhancement": f"Answer {number}.", **more}


def ref(number: int) -> str:
    return content_ref(row(number))


def jsonl(*rows: Mapping[str, Any] | str) -> str:
    """Lines of a file; a text stands there as it is."""
    return "".join((one if isinstance(one, str) else json.dumps(one)) + "\n" for one in rows)


def make_sheet(**spec: Any) -> Sheet:
    given = {"primary_table": "batches", "item_ref": CONTENT, "intake": {}, "usage": USAGE, **spec}
    return Sheet.model_validate(make_document("Sheet", "prompts", **given))


class World:
    """A folder, a lake, and the intake between them."""

    def __init__(self, folder: Path, **intake: Any) -> None:
        self.folder = folder / "batches"
        self.folder.mkdir(parents=True)
        self.lake = Lake(str(folder / "lake"))
        source = SourceFolder(self.folder, "prompts")
        self.intake = FileIntake(make_sheet(intake=intake), source, self.lake, folder / "state")

    def write(self, name: str, *rows: Mapping[str, Any] | str) -> Path:
        return self.put(name, jsonl(*rows).encode())

    def put(self, name: str, content: bytes) -> Path:
        file = self.folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
        return file

    def take(self, now: dt.datetime = NOON) -> Taken:
        return self.intake.take(by="ann", now=now)

    @property
    def items(self) -> pl.DataFrame:
        return self.intake.rows()

    @property
    def refused(self) -> list[tuple[str | None, int | None, str]]:
        """File, line and reason of every refused row."""
        return list(self.intake.refusals().select("source_file", "source_line", "reason").iter_rows())


def plant(project: Project, *sheets: dict[str, Any], **spec: Any) -> Path:
    """A Sheet over `sheets/batches`, a TrainingSheet whose answers are the enhancements, and its Collection; gives the folder."""
    folder = project.folder / "sheets/batches"
    folder.mkdir(parents=True, exist_ok=True)
    own = {"primary_table": "batches", "item_ref": CONTENT, "intake": {}, "usage": USAGE, **spec}
    asked = {"input_schema": [{"name": "prompt"}], "output_schema": [{"name": "enhancement", "max_length": 8000}]}
    define(
        project,
        make_document("Sheet", "prompts", **own),
        *sheets,
        training_sheet("enhanced", sheet="prompts", template="enhance", column="enhancement"),
        collection("enhancements", "enhanced"),
        template("Enhance: {{ prompt }}", "enhance", label_type="enhance", **asked),
    )
    return folder


def write_rows(folder: Path, name: str, *rows: Mapping[str, Any] | str) -> Path:
    file = folder / name
    file.write_text(jsonl(*rows), encoding="utf-8")
    return file
