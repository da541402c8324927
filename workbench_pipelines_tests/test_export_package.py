"""What lies beside the pairs of an export is read by those it is for: contract, metadata, card, plot and events."""

from __future__ import annotations

import datetime as dt
import importlib.util
import random
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from workbench_pipelines.charts import length_chart
from workbench_pipelines.clients.export_folder import ExportFolder
from workbench_pipelines.clients.openlineage_events import EVENTS, record_export
from workbench_pipelines.clients.token_counter import ENCODING, count_tokens
from workbench_pipelines.export_contract import CONTRACT, contract
from workbench_pipelines.export_croissant import CROISSANT, croissant
from workbench_pipelines.export_formats import FORMATS, PARQUET_ROWS
from workbench_pipelines.export_manifest import card, manifest
from workbench_pipelines.identity import canonical_text
from workbench_pipelines.lengths import MAX_COUNTED, histogram, measure_lengths
from workbench_pipelines_tests.export_world import make_collection, make_export, make_pair, many_pairs
from workbench_pipelines_tests.format_world import FILE_PART, decoded, images, turn
from workbench_pipelines_tests.test_export_folder import rewritten

COLLECTION = make_collection(formats=list(FORMATS))
EXPORT = make_export(*many_pairs(), collection=COLLECTION)
MADE_OF = manifest(
    EXPORT,
    COLLECTION,
    3,
    training_sheet_versions={"ts": 1},
    policy_hash="p",
    delta_versions={"label/labeled_pairs": 7},
)
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A published export in every format, with its documents."""
    lake = tmp_path_factory.mktemp("lake")
    published = ExportFolder(str(lake)).publish(
        "c",
        3,
        EXPORT,
        formats=FORMATS,
        manifest=MADE_OF,
        card="# c",
        documents=lambda files: {
            CONTRACT: contract(EXPORT, COLLECTION, MADE_OF),
            CROISSANT: croissant(EXPORT, COLLECTION, MADE_OF, files),
        },
    )
    return Path(published.path)


def test_an_export_in_every_format_verifies(folder: Path) -> None:
    assert ExportFolder.verify(folder) == []
    assert (folder / "hf/train/data-00000-of-00001.arrow").exists()
    assert (folder / "train.dpo.jsonl").read_bytes() == b""  # nobody edited anything


@pytest.mark.parametrize("name", ["train.alpaca.jsonl", "val.csv", "hf/train/data-00000-of-00001.arrow", CROISSANT])
def test_a_flipped_bit_in_any_of_them_is_found(folder: Path, name: str) -> None:
    content = (folder / name).read_bytes()
    middle = len(content) // 2
    (folder / name).write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    try:
        assert any(line.startswith(f"{name} has changed") for line in ExportFolder.verify(folder))
    finally:
        (folder / name).write_bytes(content)


def test_the_contract_is_one_of_the_open_standard(folder: Path) -> None:
    odcs = pytest.importorskip("open_data_contract_standard.model")
    found = odcs.OpenDataContractStandard.from_string((folder / CONTRACT).read_text())
    assert (found.kind, found.version) == ("DataContract", "3.0.0")
    assert [one.physicalName for one in found.schema_] == ["train.parquet", "val.parquet", "test.parquet"]
    train = found.schema_[0]
    assert [one.name for one in train.properties] == list(PARQUET_ROWS)
    assert train.quality[0].mustBe == pl.read_parquet(folder / "train.parquet").height


CROISSANT_READER = """
import json, os, sys
import mlcroissant
dataset = mlcroissant.Dataset(jsonld=sys.argv[1])
assert not dataset.metadata.ctx.issues.errors
read = [row["train/pair_id"] for row in dataset.records("train")]
print(json.dumps([one.decode() if isinstance(one, bytes) else one for one in read]), flush=True)
os._exit(0)  # its native libraries may abort where they are taken down
"""


def test_the_croissant_is_read_and_its_rows_are_those_of_the_parquet_files(folder: Path) -> None:
    if importlib.util.find_spec("mlcroissant") is None:
        pytest.skip("mlcroissant is not installed")
    # The logging that comes with it closes the standard error of its process whenever logging is set up anew.
    asked = [sys.executable, "-c", CROISSANT_READER, str(folder / CROISSANT)]
    read = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert sorted(orjson.loads(read.stdout)) == sorted(pl.read_parquet(folder / "train.parquet")["pair_id"])


def test_an_event_names_what_was_read_and_what_was_made(tmp_path: Path) -> None:
    for _ in range(2):
        record_export(tmp_path, MADE_OF, {"train.parquet": {"sha256": "0", "bytes": 5, "rows": 3}}, NOON)
    first, again = (orjson.loads(line) for line in (tmp_path / EVENTS).read_bytes().splitlines())
    assert first["run"] == again["run"]
    assert first["eventType"] == "COMPLETE"
    (read,) = first["inputs"]
    assert (read["name"], read["facets"]["version"]["datasetVersion"]) == ("label/labeled_pairs/ts", "7")
    (made,) = first["outputs"]
    assert made["facets"]["version"]["datasetVersion"] == "3"
    assert made["outputFacets"]["outputStatistics"]["rowCount"] == EXPORT.rows.height
    assert str(tmp_path) not in (tmp_path / EVENTS).read_text()


def test_tokens_are_counted_without_a_network_and_without_special_ones() -> None:
    assert count_tokens(["", "hello world", "<|endoftext|>"]) == [0, 2, 7]


def test_the_card_says_how_long_the_pairs_are_and_what_was_counted() -> None:
    lengths = measure_lengths(EXPORT.rows, count_tokens)
    assert {split: len(one.tokens) for split, one in lengths.items()} == {
        split: EXPORT.counts[split] for split in lengths
    }
    text = card(EXPORT, COLLECTION, MADE_OF, lengths, ENCODING)
    assert "Tokens (cl100k_base) of all messages and the answer" in text
    assert "![How long the pairs are, by split](lengths.png)" in text
    bins = histogram(lengths)
    assert sum(sum(counts.values()) for _, _, counts in bins) == EXPORT.rows.height
    assert decoded(length_chart(bins, "Lengths"))[0] > 500
    assert length_chart(bins, "Lengths") == length_chart(bins, "Lengths")


def test_a_large_split_is_measured_by_a_sample_and_says_so() -> None:
    rows = pl.concat([EXPORT.rows] * 60).with_row_index("n").with_columns(pair_id=pl.col("n").cast(pl.String))
    lengths = measure_lengths(rows, lambda texts: [10] * len(texts))
    train = lengths["train"]
    assert (len(train.tokens), train.is_estimate) == (min(MAX_COUNTED, train.pairs), train.pairs > MAX_COUNTED)
    assert train.total == train.pairs * 20


def test_what_an_export_holds_says_nothing_of_the_delta_versions_it_was_read_at() -> None:
    def made(versions: dict[str, int]) -> dict[str, Any]:
        return manifest(EXPORT, COLLECTION, 1, training_sheet_versions={}, policy_hash="p", delta_versions=versions)

    one, other = made({"label/labeled_pairs": 1}), made({"label/labeled_pairs": 2})
    assert one["delta_versions"] != other["delta_versions"]
    assert one["export_identity"] == other["export_identity"]


FLIPS, SEED = 40, 11


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An export in every format that can show images, with images, preferences and a plot."""
    shown = canonical_text([FILE_PART])
    pairs = [
        make_pair(f"i-{at}", messages=[turn("user", f"What is on page {at}?", shown if at % 2 else None)])
        for at in range(30)
    ]
    formats = [name for name in FORMATS if name != "chatml"]
    asked = make_collection(formats=formats, splits={"train": 0.5, "val": 0.25, "test": 0.25})
    export = make_export(*pairs, make_pair("z", status="rejected"), collection=asked)
    preferred = export.rows.select(
        "pair_id", rejected=pl.lit('{"answer":"maybe"}'), decision_id=pl.lit("d")
    ).gather_every(2)
    export = replace(export, preferences=preferred)
    made_of = manifest(export, asked, 1, training_sheet_versions={}, policy_hash="p")
    lengths = histogram(measure_lengths(export.rows, count_tokens))
    published = ExportFolder(str(tmp_path_factory.mktemp("lake"))).publish(
        "c",
        1,
        export,
        formats=formats,
        manifest=made_of,
        card="# c",
        images=images,
        documents=lambda files: {
            CONTRACT: contract(export, asked, made_of),
            CROISSANT: croissant(export, asked, made_of, files),
            "lengths.png": length_chart(lengths, "Lengths"),
        },
    )
    return Path(published.path)


def test_forty_bits_flipped_anywhere_in_an_export_are_forty_found(rich: Path) -> None:
    drawn = random.Random(SEED)
    files = sorted(path for path in rich.rglob("*") if path.is_file() and path.stat().st_size)
    kinds = {".json", ".md", ".parquet", ".jsonl", ".png", ".csv", ".arrow", ".yaml"}
    assert {path.suffix for path in files} == kinds
    assert ExportFolder.verify(rich) == []
    # Every file once, and the rest anywhere.
    chosen = [*files, *drawn.choices(files, k=FLIPS)][: max(FLIPS, len(files))]
    found = 0
    for path in chosen:
        content = bytearray(path.read_bytes())
        at, bit = drawn.randrange(len(content)), drawn.randrange(8)
        path.write_bytes(content[:at] + bytes([content[at] ^ 1 << bit]) + content[at + 1 :])
        found += bool(ExportFolder.verify(rich))
        path.write_bytes(content)
    assert found == len(chosen) >= FLIPS
    assert ExportFolder.verify(rich) == []


def test_every_line_of_every_format_is_held_against_its_pair(rich: Path, tmp_path: Path) -> None:
    """A file that was changed with its hash is still not what the Parquet file holds; dpo lines are among them."""
    copy = tmp_path / "v1"
    shutil.copytree(rich, copy)
    for path in sorted(copy.glob("train.*")):
        if path.suffix == ".parquet":
            continue
        content = path.read_bytes()
        said = b"on page" if b"on page" in content else b"i-"  # dspy lines show the inputs, not the prompt
        path.write_bytes(content.replace(said, said.upper(), 1))
        rewritten(copy, path.name)
        assert any(line.startswith(path.name) for line in ExportFolder.verify(copy)), path.name
        lines = content.splitlines(keepends=True)
        path.write_bytes(b"".join([*lines[:1], *reversed(lines[1:])]))
        rewritten(copy, path.name)
        assert any(line.startswith(path.name) for line in ExportFolder.verify(copy)), path.name
        path.write_bytes(content)
        rewritten(copy, path.name)
    assert ExportFolder.verify(copy) == []
