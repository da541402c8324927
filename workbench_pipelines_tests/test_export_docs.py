"""What docs/exports.md says of formats and files is what is written."""

from __future__ import annotations

import re

import yaml

from workbench_pipelines.export_contract import CONTRACT
from workbench_pipelines.export_croissant import CROISSANT
from workbench_pipelines.export_formats import FORMATS
from workbench_pipelines.formats.lines import one_line_each
from workbench_pipelines.lengths import MAX_COUNTED
from workbench_pipelines.settings import CHECKOUT

DOCS = (CHECKOUT / "docs/exports.md").read_text()


def test_the_documented_formats_are_the_ones_there_are() -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", DOCS, re.S)
    assert sorted(yaml.safe_load(block)["formats"]) == sorted(FORMATS)
    assert re.findall(r"^\| `(\w+)` \|", DOCS, re.M) == yaml.safe_load(block)["formats"]


def test_the_documented_files_and_figures_are_those_of_the_code() -> None:
    assert f"`{CONTRACT}`" in DOCS
    assert f"`{CROISSANT}`" in DOCS
    assert f"more than {MAX_COUNTED:,} pairs" in DOCS
    assert one_line_each("\u2028".encode()) == b"\\u2028"
