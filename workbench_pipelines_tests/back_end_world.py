"""People who review elsewhere than on the page: a copy of a project, files to fill, and a Label Studio."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from workbench_pipelines_tests.project_world import Project, Ran


class ReviewDesk:
    """Somebody with a copy of the project and a file to fill."""

    def __init__(self, planted: Project, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        shutil.copytree(planted.folder, folder / "project")
        self.folder = folder
        self.project = Project.__new__(Project)
        self.project.folder = folder / "project"
        self.project.home = self.project.folder / "dagster_home"
        self.project.environ = {
            "WORKBENCH_PROJECT": str(self.project.folder),
            "DAGSTER_HOME": str(self.project.home),
            "WORKBENCH_USER": "bob",
        }
        for name, value in self.project.environ.items():
            monkeypatch.setenv(name, value)

    def export(self, file: str = "review.csv", *more: str, name: str = "drafted") -> Path:
        ran = self.project("review", "export", name, str(self.folder / file), *more)
        assert ran.code == 0, ran.err
        return self.folder / file

    def take(self, file: Path, *more: str) -> Ran:
        return self.project("review", "import", str(file), *more)

    def ledger(self) -> list[tuple[Any, ...]]:
        rows = self.project.workbench.decisions().sort("item_ref")
        return rows.select("item_ref", "action", "label_data", "by").rows()


Row = dict[str, Any]
Edit = Callable[[list[Row]], list[Row] | None]


def edit(file: Path, change: Edit) -> Path:
    """What a person does to the rows of a file in the program of their choice."""
    if file.suffix == ".jsonl":
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        rows = change(rows) or rows
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    elif file.suffix == ".csv":
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = list(csv.DictReader(opened))
        rows = change(rows) or rows
        with file.open("w", encoding="utf-8-sig", newline="") as opened:
            writer = csv.DictWriter(opened, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    else:
        book = openpyxl.load_workbook(file)
        sheet = book["review"]
        names = [cell.value for cell in sheet[1]]
        rows = [dict(zip(names, (cell.value for cell in line), strict=True)) for line in sheet.iter_rows(min_row=2)]
        rows = change(rows) or rows
        sheet.delete_rows(1, sheet.max_row)
        sheet.append(list(rows[0]))
        for row in rows:
            sheet.append(list(row.values()))
        for cell in (cell for line in sheet.iter_rows() for cell in line if cell.data_type == "f"):
            cell.data_type = "s"  # a cell of text stays one, whatever is typed
        book.save(file)
    return file


def decide(**by_place: Any) -> Edit:
    """Decisions by the place of their row, `r0="approve"`, or with more cells as a mapping."""

    def change(rows: list[Row]) -> None:
        for place, said in by_place.items():
            cells = (
                {"decision": said}
                if isinstance(said, str)
                else {name.replace("__", "."): v for name, v in said.items()}
            )
            rows[int(place[1:])] |= cells

    return change


def ask_two(desk: ReviewDesk) -> None:
    """Two people answer for each ticket, each on their own."""
    documents = desk.project.folder / "sheets/all.yaml"
    asked = "  review: {annotators: 2}\n  item_ref: ticket\n"
    documents.write_text(documents.read_text().replace("  item_ref: ticket\n", asked))
