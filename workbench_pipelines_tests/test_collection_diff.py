"""What changed between two versions is named pair by pair, with the reason."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench_pipelines.clients.published_export import read_published
from workbench_pipelines.collection_diff import Diff, Version, compare
from workbench_pipelines.errors import ExportError
from workbench_pipelines.export_formats import parquet_rows
from workbench_pipelines.exports import Export
from workbench_pipelines_tests.export_world import make_collection, make_export, make_pair


def version(number: int, export: Export) -> Version:
    return Version(number, parquet_rows(export.rows), export.exclusions)


def diff(before: Export, after: Export) -> Diff:
    return compare(version(1, before), version(2, after))


def said(found: Diff) -> list[tuple[str, str, str]]:
    return found.changes.select("change", "item_ref", "why").rows()


def test_what_came_and_went_has_its_reason() -> None:
    stays = make_pair("stays")
    before = make_export(stays, make_pair("waited", status="unlabeled"), make_pair("goes"), make_pair("gone"))
    after = make_export(stays, make_pair("waited"), make_pair("goes", status="rejected"), make_pair("new"))
    found = diff(before, after)
    assert found.counts == {"added": 2, "removed": 2, "changed": 0, "same": 1}
    assert {item: why for _, item, why in said(found)} == {
        "new": "it was no pair of v1",
        "waited": "v1 left it out: status is unlabeled: it waits for a person",
        "gone": "it is no pair of v2: its item, its membership or the filter of it is another",
        "goes": "status is rejected: a person refused this answer",
    }


def test_what_is_different_says_in_what() -> None:
    before = make_export(make_pair("a"), make_pair("b"), collection=make_collection("ts"))
    asked = [{"role": "user", "content": "Another question?", "parts": None}]
    changed = make_pair("a", answer="no", messages=asked, canonical_label_id="l")
    heavier = make_export(changed, make_pair("b"), collection=make_collection({"training_sheet": "ts", "weight": 2}))
    assert said(diff(before, heavier)) == [
        ("changed", "a", "its prompt, its answer, the label behind it, its weight was 1.0 and is 2.0"),
        ("changed", "b", "its weight was 1.0 and is 2.0"),
    ]


def test_one_version_is_the_same_as_itself() -> None:
    export = make_export(make_pair("a"), make_pair("b", status="flagged"))
    found = diff(export, export)
    assert found.counts == {"added": 0, "removed": 0, "changed": 0, "same": 1}
    assert found.reasons == []


def test_reasons_are_counted() -> None:
    before = make_export(make_pair("a"))
    after = make_export(*(make_pair(ref) for ref in "abc"))
    assert diff(before, after).reasons == [("added", "it was no pair of v1", 2)]


def test_files_that_are_gone_are_said(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="Collection c v1: its files are gone"):
        read_published("c", 1, str(tmp_path / "v1"))
