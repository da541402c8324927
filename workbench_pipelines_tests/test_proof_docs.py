"""What docs/proof.md shows runs as written, on the project of the README."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import orjson
import polars as pl
import pytest

from workbench_pipelines.settings import CHECKOUT
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.test_readme import own_files
from workbench_pipelines_tests.ticket_world import quiet

DOCS = (CHECKOUT / "docs/proof.md").read_text()
BLOCKS = re.findall(r"```sh\n(.*?)```", DOCS, re.S)
LINES, ERASING = (re.findall(r"^\.venv/bin/workbench (.*)$", block, re.M) for block in BLOCKS)


def test_every_command_comes_to_what_the_text_says(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    quiet(project)
    for path, text in own_files().items():
        project.write(path, text)
    monkeypatch.chdir(project.folder)
    assert project("run", "tickets_v1").code == 0
    folder = Path(".workbench/lake/exports/tickets_v1/v1")
    pair = pl.read_parquet(folder / "train.parquet")["pair_id"][0]
    root = orjson.loads((folder / "manifest.json").read_bytes())["merkle_root"]
    said = []
    for line in LINES:
        ran = project(*shlex.split(line.replace("PAIR", pair).replace("ROOT", root), comments=True))
        assert ran.code == 0, f"{line}: {ran.err}"
        said.append(ran.out)
    assert "as it was published" in said[0]
    assert all("proved for root" in said[at] for at in (2, 3))
    assert "files identical" in said[4]
    assert "models\t1\ttickets_v1.router/1" in said[7]
    whole = orjson.loads(said[8])
    assert len(whole["pairs"]) == 20
    assert {one["how"] for one in whole["pairs"]} == {"item"}
    assert not [text for text in said if "Cannot log in" in text]
    foreseen, erased = (project(*shlex.split(line, comments=True)) for line in ERASING)
    assert (foreseen.code, erased.code) == (0, 0), erased.err
    assert "0 hits" in erased.out
    assert "superseded by erasure" in project("verify", str(folder)).err
