"""The lake keeps what it was given: other partitions, other writers' rows, types, quotes and nested values."""

from __future__ import annotations

import multiprocessing
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl
import pytest

from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.errors import LakeError

MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))
# Threads would share deltalake's runtime; processes are what two runs are. Spawned, as a fork copies its locks.
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def rows(sheet: str, *refs: str, **columns: object) -> pl.DataFrame:
    return pl.DataFrame({"sheet": [sheet] * len(refs), "item_ref": list(refs)}).with_columns(
        pl.lit(value).alias(name) for name, value in columns.items()
    )


def put(lake: Lake, frame: pl.DataFrame | pl.LazyFrame, *keys: str) -> None:
    lake.replace_partition("data", "items", frame=frame, partition_by="sheet", keys=keys)


def refs(lake: Lake, *sheets: str) -> list[str]:
    frame = lake.read("data", "items", partition={"sheet": sheets} if sheets else None)
    return sorted(frame["item_ref"].to_list())


def test_a_range_in_one_write_keeps_the_third_partition(lake: Lake) -> None:
    for sheet in "abc":
        put(lake, rows(sheet, f"{sheet}1"), sheet)
    put(lake, pl.concat([rows("a", "a2"), rows("b", "b2")]), "a", "b")
    assert refs(lake) == ["a2", "b2", "c1"]
    assert refs(lake, "a", "c") == ["a2", "c1"]


def test_the_same_write_twice_gives_the_same_rows(lake: Lake) -> None:
    put(lake, rows("a", "a1", "a2"), "a")
    put(lake, rows("a", "a1", "a2"), "a")
    assert refs(lake) == ["a1", "a2"]
    assert lake.partition_column("data", "items") == "sheet"


def test_an_empty_frame_empties_its_partition_and_keeps_the_columns(lake: Lake) -> None:
    put(lake, pl.concat([rows("a", "a1"), rows("b", "b1")]), "a", "b")
    put(lake, rows("a"), "a")
    assert refs(lake) == ["b1"]
    assert lake.read("data", "items", partition={"sheet": ["a"]}).columns == ["sheet", "item_ref"]


def test_an_empty_first_write_makes_the_table(lake: Lake) -> None:
    put(lake, rows("a"), "a")
    assert lake.read("data", "items").is_empty()


def test_rows_of_another_partition_are_refused(lake: Lake) -> None:
    with pytest.raises(LakeError, match="rows of sheet b do not belong to a"):
        put(lake, pl.concat([rows("a", "a1"), rows("b", "b1")]), "a")
    with pytest.raises(LakeError, match="rows of sheet None do not belong to a"):
        put(lake, rows("a", "a1").with_columns(sheet=pl.lit(None, pl.String)), "a")
    with pytest.raises(LakeError, match="no column 'sheet'"):
        put(lake, rows("a", "a1").drop("sheet"), "a")
    with pytest.raises(LakeError, match="no column but 'sheet'"):
        put(lake, rows("a", "a1").select("sheet"), "a")
    with pytest.raises(LakeError, match="no partition to write"):
        put(lake, rows("a", "a1"))
    assert not lake.exists("data", "items")


@pytest.mark.parametrize(
    "key", ["o'brien", "' OR 1=1 --", 'say "hi"', "a/b", "50%", "%41", "ü x", "a=b", "2024-01-01", "007"]
)
def test_any_key_comes_back_as_it_was(lake: Lake, key: str) -> None:
    put(lake, rows("other", "o1"), "other")
    put(lake, rows(key, "old"), key)
    put(lake, rows(key, "new"), key)
    assert refs(lake, key) == ["new"]
    assert refs(lake) == ["new", "o1"]
    assert lake.read("data", "items")["sheet"].unique().sort().to_list() == sorted([key, "other"])


def test_an_added_column_is_null_in_older_rows(lake: Lake) -> None:
    put(lake, rows("a", "a1"), "a")
    put(lake, rows("b", "b1", score=0.5), "b")
    put(lake, rows("c", "c1"), "c")
    scores = dict(lake.read("data", "items").select("sheet", "score").iter_rows())
    assert scores == {"a": None, "b": 0.5, "c": None}


def test_an_added_struct_field_is_null_in_older_rows(lake: Lake) -> None:
    put(lake, rows("a", "a1").with_columns(trace=pl.struct(by=pl.lit("x"))), "a")
    put(lake, rows("b", "b1").with_columns(trace=pl.struct(at=pl.lit(1), by=pl.lit("y"))), "b")
    found = dict(lake.read("data", "items").select("sheet", "trace").iter_rows())
    assert found == {"a": {"by": "x", "at": None}, "b": {"by": "y", "at": 1}}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (pl.lit(1), pl.lit(1.9)),
        (pl.lit(1.5), pl.lit(2**53 + 1)),
        (pl.lit(1), pl.lit("one")),
        (pl.struct(n=pl.lit(1)), pl.struct(n=pl.lit(1.9))),
        (pl.concat_list(pl.struct(n=pl.lit(1))), pl.concat_list(pl.struct(n=pl.lit("1")))),
        (pl.lit(datetime(2024, 1, 1)), pl.lit(datetime(2024, 1, 1, tzinfo=UTC))),
    ],
)
def test_a_retyped_column_is_refused_in_one_line(lake: Lake, old: pl.Expr, new: pl.Expr) -> None:
    put(lake, rows("a", "a1").with_columns(n=old), "a")
    before = lake.read("data", "items")
    with pytest.raises(LakeError, match=r"table data/items: column 'n' is .* and would become .*") as refusal:
        put(lake, rows("a", "a1").with_columns(n=new), "a")
    assert "\n" not in str(refusal.value)
    assert lake.read("data", "items").equals(before)


def test_a_narrower_number_fits_a_wider_column(lake: Lake) -> None:
    put(lake, rows("a", "a1", n=1).with_columns(n=pl.lit(1, pl.Int64)), "a")
    put(lake, rows("b", "b1").with_columns(n=pl.lit(2, pl.UInt32)), "b")
    assert sorted(lake.read("data", "items")["n"]) == [1, 2]


def test_an_unsigned_number_past_the_signed_range_is_refused(lake: Lake) -> None:
    put(lake, rows("a", "a1").with_columns(n=pl.lit(2**63 - 1, pl.UInt64)), "a")
    assert lake.read("data", "items")["n"].to_list() == [2**63 - 1]
    with pytest.raises(LakeError, match="column 'n' holds a value that its type there can not hold") as refusal:
        put(lake, rows("a", "a1").with_columns(n=pl.lit(2**63, pl.UInt64)), "a")
    assert str(2**63) not in str(refusal.value)
    assert refusal.value.__suppress_context__


def test_a_type_delta_lacks_is_named(lake: Lake) -> None:
    with pytest.raises(LakeError, match="column 'n' has type Duration"):
        put(lake, rows("a", "a1").with_columns(n=pl.duration(days=1)), "a")


def test_nulls_without_a_type_become_text_or_what_the_column_is(lake: Lake) -> None:
    put(lake, rows("a", "a1", note=None).with_columns(tags=pl.lit([], pl.List(pl.Null))), "a")
    assert lake.schema("data", "items")["note"] == pl.String
    assert lake.schema("data", "items")["tags"] == pl.List(pl.String)
    put(lake, rows("b", "b1", n=1), "b")
    put(lake, rows("c", "c1", n=None), "c")
    assert sorted(lake.read("data", "items")["n"].drop_nulls()) == [1]


def test_categories_become_text(lake: Lake) -> None:
    words = pl.Series("word", ["x", "y"])
    frame = rows("a", "a1", "a2").with_columns(
        words.cast(pl.Categorical),
        words.cast(pl.Enum(["x", "y"])).alias("level"),
        sheet=pl.lit("a").cast(pl.Categorical),
    )
    put(lake, frame, "a")
    assert lake.read("data", "items").sort("word").select("sheet", "word", "level").rows() == [
        ("a", "x", "x"),
        ("a", "y", "y"),
    ]


def test_nested_values_and_times_come_back_equal(lake: Lake) -> None:
    frame = rows("a", "a1", "a2").with_columns(
        pl.Series("messages", [[{"role": "user", "content": "l1\nl2\u2028 é"}], []], dtype=MESSAGES),
        pl.Series("none", [None, [{"role": None, "content": ""}]], dtype=MESSAGES),
        pl.lit(datetime(2024, 3, 31, 1, 30, 0, 123456, tzinfo=UTC)).alias("at"),
        pl.lit(date(2024, 2, 29)).alias("day_seen"),
        pl.Series("big", [2**63 - 1, -(2**63)]),
        pl.Series("real", [float("inf"), 0.1]),
    )
    put(lake, frame, "a")
    assert lake.read("data", "items").sort("item_ref").equals(frame)


def test_a_lazy_frame_is_written_and_read_lazily(lake: Lake) -> None:
    put(lake, rows("a", "a1", "a2").lazy().filter(pl.col("item_ref") == "a2"), "a")
    put(lake, rows("b", "b1"), "b")
    lazy = lake.scan("data", "items", partition={"sheet": ["a"]})
    assert isinstance(lazy, pl.LazyFrame)
    assert lazy.collect()["item_ref"].to_list() == ["a2"]


def test_a_whole_table_takes_new_columns_and_types(lake: Lake) -> None:
    lake.replace_table(
        "data", "sheet_snapshot", "s", frame=pl.DataFrame({"item_ref": ["1"], "total": [1], "old": ["x"]})
    )
    lake.replace_table("data", "sheet_snapshot", "s", frame=pl.DataFrame({"item_ref": ["1"], "total": [1.5]}))
    assert lake.read("data", "sheet_snapshot", "s").rows() == [("1", 1.5)]
    lake.replace_table("data", "sheet_snapshot", "s", frame=pl.DataFrame({"item_ref": ["1"], "total": [None]}))
    assert lake.schema("data", "sheet_snapshot", "s")["total"] == pl.Float64
    assert lake.read("data", "sheet_snapshot", "s", version=1).columns == ["item_ref", "total", "old"]


def test_text_never_enters_the_transaction_log(lake: Lake, tmp_path: Path) -> None:
    secret = rows("a", "a1").with_columns(
        notes=pl.lit("SECRETNOTE"), messages=pl.lit([{"role": "user", "content": "SECRETTEXT"}], MESSAGES)
    )
    put(lake, secret, "a")
    put(lake, secret.with_columns(added=pl.lit("SECRETLATER")), "a")
    lake.append("records", "log", frame=secret)
    lake.append_new("records", "seen", frame=secret, key="item_ref")
    lake.replace_table("records", "whole", frame=secret.drop("sheet", "item_ref"))
    logs = [path.read_text() for path in tmp_path.rglob("_delta_log/*.json")]
    assert len(logs) >= 8
    assert not any("SECRET" in log for log in logs)


def test_new_rows_are_added_once(lake: Lake) -> None:
    delivery = pl.concat([rows("a", "a1", "a2"), rows("b", "a1")])
    for _ in range(3):
        lake.append_new("records", "seen", frame=delivery.sample(fraction=1, shuffle=True), key=["sheet", "item_ref"])
    assert lake.append_new("records", "seen", frame=rows("a", "a2", "a3", "a3"), key=["sheet", "item_ref"]) == 1
    assert lake.read("records", "seen").sort(pl.all()).rows() == [("a", "a1"), ("a", "a2"), ("a", "a3"), ("b", "a1")]


def test_a_row_without_a_key_is_refused(lake: Lake) -> None:
    with pytest.raises(LakeError, match="a row has no sheet or item_ref"):
        lake.append_new("records", "seen", frame=rows("a", "a1").with_columns(sheet=None), key=["sheet", "item_ref"])


def test_a_missing_table_is_one_line(lake: Lake) -> None:
    with pytest.raises(LakeError, match="table label/nothing does not exist"):
        lake.read("label", "nothing")


@pytest.mark.parametrize("part", ["", "..", "a/b", "../x", "a\\b", "/etc"])
def test_no_table_lies_outside_the_lake(lake: Lake, part: str) -> None:
    with pytest.raises(LakeError, match="is no name for a table"):
        lake.path("data", part)


def test_a_truncated_file_is_a_lake_error(lake: Lake, tmp_path: Path) -> None:
    put(lake, rows("a", *map(str, range(100))), "a")
    file = next(tmp_path.rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(LakeError, match="table data/items can not be read"):
        lake.read("data", "items")


def _replace(uri: str, key: str, start: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    put(Lake(uri), rows(key, key + "1", **{f"only_{key}": 1}), key)


def _append_new(uri: str, writer: str, start: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    for round_ in range(4):
        Lake(uri).append_new("records", "seen", frame=rows("s", *(f"{round_}-{n}" for n in range(5))), key="item_ref")
    Lake(uri).append_new("records", "seen", frame=rows("s", f"only-{writer}"), key="item_ref")


def _together(write: object, uri: str) -> None:
    start = SPAWN.Barrier(4)
    writers = [SPAWN.Process(target=write, args=(uri, key, start)) for key in "abcd"]  # type: ignore[arg-type]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(90)
    assert [writer.exitcode for writer in writers] == [0, 0, 0, 0]


def test_four_first_writers_lose_nothing(lake: Lake) -> None:
    _together(_replace, lake.uri)
    assert refs(lake) == ["a1", "b1", "c1", "d1"]
    assert {f"only_{key}" for key in "abcd"} <= set(lake.schema("data", "items"))


def test_four_appenders_of_one_delivery_add_each_row_once(lake: Lake) -> None:
    _together(_append_new, lake.uri)
    found = sorted(lake.read("records", "seen")["item_ref"])
    assert found == sorted([f"{r}-{n}" for r in range(4) for n in range(5)] + [f"only-{key}" for key in "abcd"])
