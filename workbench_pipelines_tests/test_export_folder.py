"""An export is published whole or not at all, has the same bytes wherever it is made, and proves itself."""

from __future__ import annotations

import hashlib
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from workbench_pipelines.clients.export_folder import ExportFolder, Published
from workbench_pipelines.errors import ExportError
from workbench_pipelines.export_manifest import card, manifest, manifest_bytes, sealed
from workbench_pipelines.exports import Export
from workbench_pipelines.formats.openai_chat import read_openai
from workbench_pipelines_tests.export_world import EVERY_SPLIT, make_collection, make_export, make_pair, many_pairs

COLLECTION = make_collection()
FILES = {
    *(f"{split}.{kind}" for split in EVERY_SPLIT for kind in ("parquet", "openai.jsonl")),
    "exclusions.parquet", "manifest.json", "README.md",
}  # fmt: skip


def publish(lake: Path, export: Export | None = None, version: int = 1, **given: Any) -> Published:
    export = export or make_export(*many_pairs(), make_pair("z", status="rejected"))
    made = manifest(export, COLLECTION, version, training_sheet_versions={}, policy_hash="p")
    given = {"formats": COLLECTION.spec.formats} | given
    return ExportFolder(str(lake)).publish(
        "c", version, export, manifest=made, card=card(export, COLLECTION, made), **given
    )


@contextmanager
def disk_that_holds(size: int) -> Iterator[None]:
    """No file may grow past this size, as on a disk that runs full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_published_export_holds_its_files_and_verifies(tmp_path: Path) -> None:
    published = publish(tmp_path)
    folder = tmp_path / "exports" / "c" / "v1"
    assert published.path == str(folder)
    assert {path.name for path in folder.iterdir()} == FILES
    assert published.files.keys() == FILES - {"manifest.json"}
    assert ExportFolder.verify(folder, published.manifest_sha256) == []


def test_the_same_export_has_the_same_bytes_wherever_and_however_it_was_made(tmp_path: Path) -> None:
    one = publish(tmp_path / "one")
    export = make_export(make_pair("z", status="rejected"), *reversed(many_pairs()))
    pieces = pl.concat([export.rows[at : at + 7] for at in range(0, export.rows.height, 7)], rechunk=False)
    other = publish(tmp_path / "other", replace(export, rows=pieces.sample(fraction=1, shuffle=True, seed=1)))
    assert (one.files, one.manifest_sha256) == (other.files, other.manifest_sha256)


def test_both_formats_hold_the_same_pairs(tmp_path: Path) -> None:
    folder = Path(publish(tmp_path).path)
    for split in EVERY_SPLIT:
        rows = pl.read_parquet(folder / f"{split}.parquet")
        assert rows.height
        with (folder / f"{split}.openai.jsonl").open("rb") as file:
            assert [tuple(one) for one in read_openai(file)] == list(rows.select("messages", "response").iter_rows())


def test_exclusions_are_exported_with_their_reasons_and_attributes_never_are(tmp_path: Path) -> None:
    secret = make_export(*many_pairs(attributes='{"ward":"oncology-7"}'), make_pair("z", status="rejected"))
    folder = Path(publish(tmp_path, secret).path)
    (row,) = pl.read_parquet(folder / "exclusions.parquet").to_dicts()
    assert list(row)[:4] == ["pair_id", "item_ref", "gate", "reason"]
    assert (row["item_ref"], row["gate"]) == ("z", "approved")
    texts = [str(pl.read_parquet(path).to_dicts()) for path in folder.glob("*.parquet")]
    texts += [path.read_text() for path in folder.iterdir() if path.suffix != ".parquet"]
    assert not [text for text in texts if "oncology-7" in text]


def test_an_export_without_openai_has_parquet_alone(tmp_path: Path) -> None:
    folder = Path(publish(tmp_path, formats=["parquet"]).path)
    assert {path.name for path in folder.iterdir()} == {name for name in FILES if not name.endswith(".jsonl")}


def test_a_split_without_pairs_has_empty_files(tmp_path: Path) -> None:
    export = make_export(*many_pairs(5), collection=make_collection(splits={"train": 1, "val": 0, "test": 0}))
    folder = Path(publish(tmp_path, export).path)
    assert pl.read_parquet(folder / "test.parquet").height == 0
    assert (folder / "test.openai.jsonl").read_bytes() == b""
    assert ExportFolder.verify(folder) == []


def test_a_published_version_is_never_overwritten(tmp_path: Path) -> None:
    before = publish(tmp_path)
    with pytest.raises(ExportError, match="export c v1 is there already, and is never overwritten"):
        publish(tmp_path, make_export(*many_pairs(3)))
    assert ExportFolder.verify(before.path, before.manifest_sha256) == []


def test_the_rest_of_a_run_that_died_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "exports/c/v1").mkdir(parents=True)
    (tmp_path / "exports/c/v1/half.parquet").write_bytes(b"PAR1")
    (tmp_path / "exports/c/.writing-v7").mkdir()
    published = publish(tmp_path, replace_unpublished=lambda: True)
    assert ExportFolder.verify(published.path) == []
    assert sorted(path.name for path in (tmp_path / "exports/c").iterdir()) == [".publishing", "v1"]


def test_a_full_disk_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    export = make_export(*many_pairs(3_000))
    with disk_that_holds(20_000), pytest.raises(ExportError) as failed:
        publish(tmp_path, export)
    assert failed.value.line.startswith("export c v1 can not be written: ")
    assert [path.name for path in (tmp_path / "exports/c").iterdir()] == [".publishing"]
    assert ExportFolder.verify(publish(tmp_path, export).path) == []


def test_a_failed_replacement_leaves_what_was_there(tmp_path: Path) -> None:
    before = publish(tmp_path)
    with disk_that_holds(20_000), pytest.raises(ExportError):
        publish(tmp_path, make_export(*many_pairs(3_000)), replace_unpublished=lambda: True)
    assert ExportFolder.verify(before.path, before.manifest_sha256) == []


def test_a_lake_that_is_a_file_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "lake").write_text("")
    with pytest.raises(ExportError, match="export c v1 can not be written: "):
        publish(tmp_path / "lake")


def test_only_local_folders_hold_exports(tmp_path: Path) -> None:
    assert ExportFolder(tmp_path.as_uri()).root == ExportFolder(str(tmp_path)).root == tmp_path / "exports"
    with pytest.raises(ExportError, match="not to s3://"):
        ExportFolder("s3://bucket/lake")


@pytest.mark.parametrize(("collection", "version"), [("../c", 1), ("a/b", 1), ("c..d", 1), ("C", 1), ("c", 0)])
def test_an_export_lies_nowhere_but_under_its_collection(tmp_path: Path, collection: str, version: int) -> None:
    with pytest.raises(ExportError, match="is no name of an export"):
        ExportFolder(str(tmp_path)).path(collection, version)


def test_an_unknown_format_is_named_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="unknown format 'opena'; did you mean 'openai'"):
        publish(tmp_path, formats=["opena"])
    assert not (tmp_path / "exports").exists()


def test_every_flipped_bit_is_found(tmp_path: Path) -> None:
    folder = Path(publish(tmp_path).path)
    for path in sorted(folder.iterdir()):
        content = path.read_bytes()
        for at in range(0, len(content), max(1, len(content) // 5)):
            path.write_bytes(content[:at] + bytes([content[at] ^ 4]) + content[at + 1 :])
            assert ExportFolder.verify(folder), f"{path.name} at {at}"
        path.write_bytes(content)
    assert ExportFolder.verify(folder) == []


def test_missing_further_and_unreadable_files_are_named(tmp_path: Path) -> None:
    folder = Path(publish(tmp_path).path)
    (folder / "more.txt").write_text("")
    (folder / "README.md").unlink()
    assert ExportFolder.verify(folder) == ["more.txt is not in the manifest", "README.md is missing"]
    (folder / "manifest.json").unlink()
    (problem,) = ExportFolder.verify(folder)
    assert problem.startswith("manifest.json can not be read: ")


def rewritten(folder: Path, name: str) -> None:
    """A manifest made anew for a file that was changed on purpose."""
    said = orjson.loads((folder / "manifest.json").read_bytes())
    said["files"][name]["sha256"] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "manifest.json").write_bytes(manifest_bytes(sealed(said, said["files"])))


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("response", '{"answer":"forged"}', "is not what its pair_hash says"),
        ("pair_hash", "0" * 64, "the Merkle root of the pairs is not the one in the manifest"),
        ("weight", 9.0, "the Merkle root of the pairs is not the one in the manifest"),
        ("split", "val", "test.parquet does not hold"),
    ],
)
def test_a_forged_pair_is_found_under_a_forged_manifest(tmp_path: Path, column: str, value: Any, problem: str) -> None:
    published = publish(tmp_path)
    folder = Path(published.path)
    path = folder / "test.parquet"
    rows = pl.read_parquet(path)
    rows.with_columns(pl.lit(value).cast(rows.schema[column]).alias(column)).write_parquet(path)
    rewritten(folder, "test.parquet")
    assert any(problem in line for line in ExportFolder.verify(folder))
    assert (
        ExportFolder.verify(folder, published.manifest_sha256)[0] == "manifest.json is not the one that was published"
    )


def test_a_forged_line_is_found_under_a_forged_manifest(tmp_path: Path) -> None:
    folder = Path(publish(tmp_path).path)
    path = folder / "train.openai.jsonl"
    path.write_bytes(path.read_bytes().replace(b"yes", b"may", 1))
    rewritten(folder, path.name)
    (problem,) = ExportFolder.verify(folder)
    assert problem.startswith("train.openai.jsonl: the line of pair ")
