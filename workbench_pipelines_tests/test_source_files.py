"""A file is read whole or not at all, keys are text, and no path leads out of the project."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import xlsxwriter

from workbench_pipelines.catalog import ReadOptions
from workbench_pipelines.clients.source_files import columns_of, read_table, resolve
from workbench_pipelines.errors import DefinitionError, SourceError, WorkbenchError

WHERE = "sheets/a.yaml: Sheet a"
DOCUMENT = "sheets/a.yaml"


def read(path: Path, **options: Any) -> pl.DataFrame:
    frame = read_table(path, ReadOptions(**options), ["id"], WHERE)
    assert columns_of(path, ReadOptions(**options), ["id"], WHERE) == dict(frame.schema)
    return frame


def file(folder: Path, name: str, content: bytes | str) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path: Path, kind: type[WorkbenchError] = SourceError, **options: Any) -> str:
    with pytest.raises(kind) as error:
        read_table(path, ReadOptions(**options), ["id"], WHERE)
    assert str(error.value).startswith(f"{WHERE}: {path.name}")
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{WHERE}: {path.name}: ")


def workbook(path: Path, **worksheets: list[list[Any]]) -> Path:
    with xlsxwriter.Workbook(path, {"default_date_format": "yyyy-mm-dd"}) as book:
        for name, rows in worksheets.items():
            sheet = book.add_worksheet(name)
            for number, row in enumerate(rows):
                sheet.write_row(number, 0, row)
    return path


# Formats ------------------------------------------------------------------------------------------------------------


def test_a_csv_key_keeps_its_zeros(tmp_path: Path) -> None:
    frame = read(file(tmp_path, "a.csv", "id,n\n007,1\n8,2\n"))
    assert frame.rows() == [("007", 1), ("8", 2)]


def test_the_type_of_a_csv_column_is_that_of_all_its_values(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", "id,n\n" + "".join(f"{i},1\n" for i in range(20_000)) + "x,y\n")
    assert read(path).schema["n"] == pl.String


def test_a_byte_order_mark_and_blank_lines_are_no_data(tmp_path: Path) -> None:
    assert read(file(tmp_path, "a.csv", "\ufeffid,n\n1,2\n\n3,4\n\n")).rows() == [("1", 2), ("3", 4)]
    assert read(file(tmp_path, "a.ndjson", '\ufeff{"id":1}\n\n{"id":2}\n')).rows() == [("1",), ("2",)]


def test_text_with_line_ends_of_every_kind_stays_whole(tmp_path: Path) -> None:
    text = "one\u2028two\u0085three\r\nfour"
    assert read(file(tmp_path, "a.csv", f'id,t\r\n1,"{text}"\r\n'))["t"].to_list() == [text]
    row = json.dumps({"id": 1, "t": text}, ensure_ascii=False)
    assert read(file(tmp_path, "a.ndjson", row + "\n"))["t"].to_list() == [text]


def test_another_encoding_and_separator_can_be_named(tmp_path: Path) -> None:
    path = file(tmp_path, "a.csv", "id;größe\n1;2,5\n".encode("latin-1"))
    assert read(path, encoding="latin-1", separator=";").columns == ["id", "größe"]
    assert "unknown encoding" in refusal(path, DefinitionError, encoding="utf-80")
    assert "one character" in refusal(path, DefinitionError, separator=";;")


def test_ndjson_keys_are_text_whatever_they_are(tmp_path: Path) -> None:
    assert read(file(tmp_path, "a.jsonl", '{"id":7}\n{"id":"007"}\n'))["id"].to_list() == ["7", "007"]
    assert read(file(tmp_path, "b.jsonl", '{"id":7.0}\n'))["id"].to_list() == ["7"]


def test_a_long_integer_keeps_its_digits(tmp_path: Path) -> None:
    number = "99999999999999999999"
    assert read(file(tmp_path, "a.csv", f"id,n\n{number},{number}\n")).rows() == [(number, number)]
    assert read(file(tmp_path, "a.ndjson", f'{{"id":{number},"n":{number}}}\n')).rows() == [(number, number)]


@pytest.mark.parametrize("kind", ["csv", "ndjson", "parquet"])
def test_a_folder_of_files_is_one_table_in_the_order_of_their_names(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    for name, row in (("b", {"id": 2, "n": 1.5}), ("a", {"id": 1, "n": 0.5})):
        getattr(pl.DataFrame([row]), f"write_{kind}")(folder / f"{name}.{kind}")
    file(folder, ".hidden.txt", "x")
    file(folder, "_SUCCESS", "")
    assert read(folder).rows() == [("1", 0.5), ("2", 1.5)]


def test_the_files_of_a_folder_agree_on_a_type(tmp_path: Path) -> None:
    file(tmp_path, "rows/a.csv", "id,n\n1,1\n")
    file(tmp_path, "rows/b.csv", "id,n\n2,1.5\n")
    assert read(tmp_path / "rows")["n"].to_list() == [1.0, 1.5]


def test_the_partitions_of_a_parquet_folder_are_columns(tmp_path: Path) -> None:
    for year in (2023, 2024):
        folder = tmp_path / "rows" / f"year={year}"
        folder.mkdir(parents=True)
        pl.DataFrame({"id": [year]}).write_parquet(folder / "a.parquet")
    assert read(tmp_path / "rows").rows() == [("2023", 2023), ("2024", 2024)]


def test_a_delta_folder_is_a_table(tmp_path: Path) -> None:
    pl.DataFrame({"id": [1, 2], "n": [1.5, None]}).write_delta(str(tmp_path / "rows"))
    assert read(tmp_path / "rows").rows() == [("1", 1.5), ("2", None)]


def test_an_xlsx_key_keeps_its_zeros_and_types_are_found(tmp_path: Path) -> None:
    day = dt.date(2024, 5, 1)
    path = workbook(tmp_path / "a.xlsx", one=[["id", "n", "day"], ["007", 1, day], [8, 2, day]])
    assert read(path).rows() == [("007", 1, day), ("8", 2, day)]


def test_a_worksheet_is_chosen_by_name(tmp_path: Path) -> None:
    path = workbook(tmp_path / "a.xlsx", one=[["id"], ["1"]], two=[["id"], ["2"]], empty=[])
    assert read(path)["id"].to_list() == ["1"]
    assert read(path, worksheet="two")["id"].to_list() == ["2"]
    assert refusal(path, DefinitionError, worksheet="tow") == "there is no worksheet 'tow'; did you mean 'two'?"
    assert "is empty" in refusal(path, worksheet="empty")


def test_types_a_delta_table_can_not_hold_become_text(tmp_path: Path) -> None:
    frame = pl.DataFrame({"id": ["a"], "at": [dt.time(1, 2)], "took": [dt.timedelta(hours=1)], "none": [None]})
    frame.with_columns(kind=pl.lit("x").cast(pl.Categorical)).write_parquet(tmp_path / "a.parquet")
    assert set(read(tmp_path / "a.parquet").dtypes) == {pl.String}


# What is broken -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"id,n\n1,2\n3,caf\xe9\n", b"id,n\n1,2\n3,4\n5,\xff\n"])
def test_a_byte_that_is_no_text_is_named_with_its_offset_and_line(tmp_path: Path, content: bytes) -> None:
    at = next(i for i, byte in enumerate(content) if byte > 127)
    found = refusal(file(tmp_path, "a.csv", content))
    assert found.startswith(f"byte 0x{content[at]:02X} at offset {at} (line {content[:at].count(10) + 1}) is not utf-8")


def test_a_header_in_another_encoding_is_refused(tmp_path: Path) -> None:
    assert "offset 3 (line 1)" in refusal(file(tmp_path, "a.csv", b"id,\xe9\n1,2\n"))
    assert "offset 0 (line 1)" in refusal(file(tmp_path, "b.csv", "id,n\n1,2\n".encode("utf-16")))


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("id,n\n1,2\n3", "line 3 has 1 fields, the header has 2"),
        ("id,n\n1,2\n3,4,5\n", "line 3 has 3 fields, the header has 2"),
        ('id,n\n1,"2\n3,4\n', "line 3: a quote is not closed, or text follows it"),
        ("id,id\n1,2\n", "the column 'id' stands twice; rename one of them"),
        (",id\n1,2\n", "column 1 has no name; give it one in the header"),
        ("id,*\n1,2\n", "the column name '*' would be read as a pattern; rename it"),
        ("", "the file is empty; its first line has to name the columns"),
    ],
)
def test_a_broken_csv_is_refused_with_its_line(tmp_path: Path, content: str, line: str) -> None:
    assert refusal(file(tmp_path, "a.csv", content)) == line


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b'{"id":1}\n{"id":', "line 2, the last one, is not JSON from column 7 on; is it cut short?"),
        (b'{"id":1}\n{"id":1,"x":"secr', "line 2, the last one, is not JSON"),
        (b'{"id":1}\nnope\n{"id":2}\n', "line 2 is not JSON from column 1 on"),
        (b'{"id":1}\n[1]\n', "line 2 is JSON but no object"),
        (b'{"id":1}\n{"id":"secr\xe9"}\n', "byte 0xE9 at offset 20 (line 2) is not utf-8"),
        (b'{"id":1}\n{"id":"\\ud800"}\n', "line 2 is not JSON"),
        (b'{"id":1}\n{"id":NaN}\n', "line 2 is not JSON"),
        (b'{"id":1,"a":1}\n{"id":2,"a":["secr"]}\n', "the table can not be read as ndjson"),
        (b"", "the file is empty"),
    ],
)
def test_a_broken_ndjson_is_refused_with_its_line(tmp_path: Path, content: bytes, line: str) -> None:
    found = refusal(file(tmp_path, "a.ndjson", content))
    assert found.startswith(line[:40])
    assert "secr" not in found


def test_a_file_of_a_folder_is_named_where_it_is_broken(tmp_path: Path) -> None:
    file(tmp_path, "rows/a.ndjson", '{"id":1}\n')
    file(tmp_path, "rows/b.ndjson", '{"id":1}\n{"id"\n')
    with pytest.raises(SourceError, match=r"^sheets/a.yaml: Sheet a: rows/b.ndjson: line 2 is not JSON"):
        read_table(tmp_path / "rows", ReadOptions(), ["id"], WHERE)


def test_a_csv_of_a_folder_that_lacks_a_column_is_named(tmp_path: Path) -> None:
    file(tmp_path, "rows/a.csv", "id,n\n1,2\n")
    file(tmp_path, "rows/b.csv", "id,m\n1,2\n")
    with pytest.raises(SourceError, match=r"rows/b.csv: the file adds the column 'm', against a.csv$"):
        read_table(tmp_path / "rows", ReadOptions(), ["id"], WHERE)


def test_a_truncated_parquet_file_is_an_error_and_no_crash(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pl.DataFrame({"id": range(10_000), "text": ["x" * 10] * 10_000}).write_parquet(path)
    data = path.read_bytes()
    for broken in (data[: len(data) // 2], data[:1000] + data[2000:], data[:3], b""):
        assert "can not be read as parquet" in refusal(file(tmp_path, "a.parquet", broken))


def test_what_is_no_workbook_is_refused(tmp_path: Path) -> None:
    assert refusal(file(tmp_path, "a.xlsx", "hello")) == "the file can not be read as XLSX; is it whole?"


def test_a_folder_without_a_delta_log_that_can_be_read_is_refused(tmp_path: Path) -> None:
    (tmp_path / "rows" / "_delta_log").mkdir(parents=True)
    assert "can not be read as delta" in refusal(tmp_path / "rows")


def test_a_folder_is_of_one_kind(tmp_path: Path) -> None:
    (tmp_path / "rows").mkdir()
    assert "holds no file" in refusal(tmp_path / "rows")
    file(tmp_path, "rows/a.csv", "id\n1\n")
    file(tmp_path, "rows/a.ndjson", '{"id":1}\n')
    assert "holds csv and ndjson files" in refusal(tmp_path / "rows")


def test_an_unknown_ending_is_answered_with_the_known_ones(tmp_path: Path) -> None:
    assert "'.txt' are not read; known: .csv" in refusal(file(tmp_path, "a.txt", "x"), DefinitionError)


def test_a_key_of_fractions_is_refused(tmp_path: Path) -> None:
    pl.DataFrame({"id": [7.0, 7.5]}).write_parquet(tmp_path / "a.parquet")
    assert "'id' holds 1 numbers that are not whole" in refusal(tmp_path / "a.parquet")


def test_a_link_out_of_a_folder_is_not_followed(tmp_path: Path) -> None:
    secret = file(tmp_path, "secret.csv", "id\nsecret\n")
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.csv").symlink_to(secret)
    assert "'a.csv' leads outside its folder" in refusal(tmp_path / "rows")


@pytest.mark.parametrize("form", ["../secret.parquet", "{folder}/secret.parquet", "file://{folder}/secret.parquet"])
def test_a_delta_log_that_names_a_file_outside_is_not_followed(tmp_path: Path, form: str) -> None:
    pl.DataFrame({"id": ["secret"]}).write_parquet(tmp_path / "secret.parquet")
    pl.DataFrame({"id": ["a"]}).write_delta(str(tmp_path / "rows"))
    (log,) = (tmp_path / "rows" / "_delta_log").glob("*.json")
    actions = [json.loads(line) for line in log.read_text().splitlines()]
    for action in actions:
        if "add" in action:
            action["add"]["path"] = form.format(folder=tmp_path)
            action["add"]["size"] = (tmp_path / "secret.parquet").stat().st_size
    log.write_text("\n".join(map(json.dumps, actions)))
    with pytest.raises(SourceError):
        read_table(tmp_path / "rows", ReadOptions(), ["id"], WHERE)


# Places -------------------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path) -> Path:
    file(tmp_path, "outside/secret.csv", "id\nsecret\n")
    file(tmp_path, "root/b.csv", "id\n1\n")
    file(tmp_path, "project/sheets/data/a.csv", "id\n1\n")
    (tmp_path / "project/sheets/data/out").symlink_to(tmp_path / "outside")
    (tmp_path / "project/sheets/data/link.csv").symlink_to(tmp_path / "outside/secret.csv")
    (tmp_path / "project/sheets/data/own.csv").symlink_to(tmp_path / "project/sheets/data/a.csv")
    return tmp_path / "project"


@pytest.mark.parametrize("path", ["data/a.csv", "./data/../data/a.csv", "../sheets/data/a.csv", "data/own.csv"])
def test_a_path_is_relative_to_the_folder_of_its_document(project: Path, path: str) -> None:
    assert resolve(project, [], DOCUMENT, path) == project / "sheets/data/a.csv"
    assert resolve(project, [], DOCUMENT, f"file://{project}/sheets/data/a.csv") == project / "sheets/data/a.csv"


def test_a_root_may_hold_files_too(project: Path) -> None:
    root = project.parent / "root"
    assert resolve(project, [root], DOCUMENT, "../../root/b.csv") == root / "b.csv"
    assert resolve(project, [root], DOCUMENT, str(root / "b.csv")) == root / "b.csv"
    with pytest.raises(DefinitionError, match="leads outside"):
        resolve(project, [], DOCUMENT, "../../root/b.csv")


def test_cloud_storage_is_given_back_as_it_is(project: Path) -> None:
    assert resolve(project, [], DOCUMENT, "s3://bucket/a.parquet") == "s3://bucket/a.parquet"


@pytest.mark.parametrize(
    "path",
    [
        "../../outside/secret.csv",
        "data/../../../outside/secret.csv",
        "data/a.csv/../../../../outside/secret.csv",
        "data/out/secret.csv",
        "data/link.csv",
        "{outside}/secret.csv",
        "file://{outside}/secret.csv",
        "FILE://{outside}/secret.csv",
        "file:{outside}/secret.csv",
        "file://localhost{outside}/secret.csv",
        "file:///../../../../../../../../{outside}/secret.csv",
        "file://elsewhere/secret.csv",
        "file://{outside}/%73ecret.csv",
        "http://elsewhere/secret.csv",
        "https://elsewhere/secret.csv",
        "ftp://elsewhere/secret.csv",
        "s3:///secret.csv",
        "/dev/zero",
        "/dev/stdin",
        "/proc/self/environ",
        "~/secret.csv",
        "data/missing.csv",
        "data/a.csv\0.png",
        "",
    ],
)
def test_a_path_that_leads_elsewhere_is_refused(project: Path, path: str) -> None:
    with pytest.raises(DefinitionError) as error:
        resolve(project, [project.parent / "root"], DOCUMENT, path.format(outside=project.parent / "outside"))
    assert str(error.value).startswith(f"{DOCUMENT}: ")
    assert "\n" not in str(error.value)


def test_a_missing_file_is_answered_with_the_nearest(project: Path) -> None:
    with pytest.raises(DefinitionError, match=r"path 'data/aa.csv': there is no such file; did you mean 'a.csv'\?$"):
        resolve(project, [], DOCUMENT, "data/aa.csv")


def test_a_pipe_is_no_file(project: Path) -> None:
    os.mkfifo(project / "sheets/data/pipe.csv")
    with pytest.raises(DefinitionError, match="is a device or pipe"):
        resolve(project, [], DOCUMENT, "data/pipe.csv")
