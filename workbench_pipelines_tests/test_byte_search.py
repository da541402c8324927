"""A planted text is found wherever a lake, a log, MLflow or Dagster may hold it, whole or cut; what is not there is not found."""

from __future__ import annotations

import gzip
import json
import sqlite3
import zipfile
from pathlib import Path

import polars as pl
import pytest

from workbench_pipelines.clients.byte_search import find_texts
from workbench_pipelines.clients.lake import Lake

SECRET = 'Quillfeather said "no – never" to the | twelve\nphysicians of St. Mary, and left by the garden door at seven '
LONG = SECRET + "x" * 200 + " and never came back to that house, whatever people say."


def places(folder: Path, text: str = SECRET) -> set[str]:
    return {hit.path.relative_to(folder).parts[0] for hit in find_texts([folder], [text])}


def test_it_is_found_in_every_kind_of_file(tmp_path: Path) -> None:
    Lake(str(tmp_path / "delta")).append("label", "t", frame=pl.DataFrame({"a": [SECRET], "n": [1]}))
    for codec in ("zstd", "snappy", "uncompressed"):
        rows = pl.DataFrame({"s": [[{"content": SECRET}]] * 3})
        rows.write_parquet(tmp_path / f"{codec}.parquet", compression=codec, statistics=False)
    (tmp_path / "plain.txt").write_text(SECRET)
    (tmp_path / "once.json").write_text(json.dumps({"a": SECRET}))
    (tmp_path / "raw.json").write_text(json.dumps({"a": SECRET}, ensure_ascii=False))
    (tmp_path / "twice.json").write_text(json.dumps({"a": json.dumps({"b": SECRET})}))
    (tmp_path / "log.json.gz").write_bytes(gzip.compress(SECRET.encode()))
    with zipfile.ZipFile(tmp_path / "model.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("inside.txt", SECRET)
    with sqlite3.connect(tmp_path / "rows.db") as database:
        database.execute("CREATE TABLE events (event TEXT)")
        database.execute("INSERT INTO events VALUES (?)", ("y" * 9000 + SECRET + "y" * 9000,))
    assert places(tmp_path) == {path.name for path in tmp_path.iterdir()}
    assert places(tmp_path, SECRET[::-1]) == set()


def test_a_deleted_row_is_found_in_the_pages_of_its_database_until_it_is_vacuumed(tmp_path: Path) -> None:
    file = tmp_path / "mlflow.db"
    database = sqlite3.connect(file)
    database.execute("PRAGMA secure_delete = OFF")
    database.execute("CREATE TABLE traces (preview TEXT)")
    database.execute("INSERT INTO traces VALUES (?)", (SECRET,))
    database.commit()
    database.execute("DELETE FROM traces")
    database.commit()
    assert places(tmp_path) == {"mlflow.db"}
    database.execute("VACUUM")
    database.close()
    assert places(tmp_path) == set()


@pytest.mark.parametrize("kept", [LONG[:79] + "…", LONG[-60:], LONG[100:230]], ids=["beginning", "end", "middle"])
def test_a_piece_that_was_cut_out_is_found(tmp_path: Path, kept: str) -> None:
    (tmp_path / "sample").write_text(kept)
    assert places(tmp_path, LONG) == {"sample"}


def test_a_file_that_can_not_be_looked_into_is_no_absence(tmp_path: Path) -> None:
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 and then nothing")
    (tmp_path / "torn.gz").write_bytes(gzip.compress(b"x" * 100)[:-9])
    hits = find_texts([tmp_path], [SECRET])
    assert [(hit.path.name, hit.text) for hit in hits] == [("torn.gz", -1), ("torn.parquet", -1)]


def test_what_is_too_short_to_mean_anything_is_not_looked_for(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("yes and no")
    assert find_texts([tmp_path], ["yes", "", "  no  "]) == []
