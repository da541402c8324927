"""Files are taken once by their content; every valid row is an item, every bad one is named with file and line."""

from __future__ import annotations

import datetime as dt
import os
import time
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable

from workbench_pipelines.clients import item_table, source_folder
from workbench_pipelines.clients.file_intake import FileIntake
from workbench_pipelines.clients.source_folder import SourceFolder
from workbench_pipelines.errors import ArgumentError, DefinitionError, SourceError
from workbench_pipelines.item_search import ItemSearch
from workbench_pipelines.sheets import take_snapshot
from workbench_pipelines.usage import USES
from workbench_pipelines_tests.intake_world import NOON, World, jsonl, make_sheet, ref, row

LATER = NOON + dt.timedelta(days=1)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def names(frame: pl.DataFrame) -> set[str]:
    return set(frame["item_ref"])


def counts(world: World, **now: Any) -> tuple[int, int, int]:
    taken = world.take(**now)
    return taken.files, taken.items, taken.refused


def test_a_file_is_taken_once_and_only_new_ones_after_it(world: World) -> None:
    world.write("a.jsonl", row(1, data_source="crm", training_priority=900, session_id="s1"), row(2))
    assert counts(world) == (1, 2, 0)
    assert counts(world, now=LATER) == (0, 0, 0)
    world.write("more/b.ndjson", row(3))
    assert counts(world, now=LATER) == (1, 1, 0)
    assert names(world.items) == {ref(1), ref(2), ref(3)}
    ledger = world.intake.taken_files().select("source_file", "rows", "bad_rows", "taken_by", "taken_at")
    assert ledger.rows() == [("a.jsonl", 2, 0, "ann", NOON), ("more/b.ndjson", 1, 0, "ann", LATER)]
    (first,) = world.intake.items.first(ItemSearch(item_ref=ref(1)).condition, 5).to_dicts()
    assert (first["data_source"], first["training_priority"], first["session_id"]) == ("crm", 900, "s1")
    assert (first["source_file"], first["source_line"]) == ("a.jsonl", 1)
    assert (first["created_at"], first["created_by"]) == (NOON, "ann")
    assert (first["updated_at"], first["deleted_at"]) == (NOON, None)


def test_every_valid_row_is_taken_and_each_bad_one_named(world: World) -> None:
    bad = ["nope", '["x"]', row(9, training_priority=1001), {"prompt": "a"}, row(9, note="x")]
    world.write("a.jsonl", row(1), *bad, row(2))
    world.put("b.jsonl", jsonl(row(3), row(4)).encode() + b'{"prompt": "cut')
    world.put("c.jsonl", b'\xef\xbb\xbf{"prompt": "\xff", "enhancement": "x"}\n' + jsonl(row(5)).encode())
    world.put("empty.jsonl", b"\n\n")
    taken = world.take()
    assert (taken.files, taken.rows, taken.items, taken.refused) == (4, 12, 5, 8)
    assert names(world.items) == {ref(number) for number in range(1, 6)}
    assert world.refused == [
        ("a.jsonl", 2, "not_json"),
        ("a.jsonl", 3, "not_an_object"),
        ("a.jsonl", 4, "out_of_range"),
        ("a.jsonl", 5, "missing_field"),
        ("a.jsonl", 6, "unknown_field"),
        ("b.jsonl", 3, "cut_short"),
        ("c.jsonl", 1, "not_utf8"),
        ("empty.jsonl", 0, "empty_file"),
    ]
    assert world.intake.taken_files()["bad_rows"].to_list() == [5, 1, 1, 0]


def test_a_bad_row_stops_the_intake_where_the_sheet_says_so(tmp_path: Path) -> None:
    world = World(tmp_path, bad_rows="stop")
    world.write("a.jsonl", row(1))
    bad = world.write("b.jsonl", row(2), "nope", "nope")
    with pytest.raises(
        SourceError, match=r"^prompts: b\.jsonl: line 2: the line is no JSON from column 1 on, and 1 more; "
    ):
        world.take()
    assert world.items.is_empty()
    bad.write_text(jsonl(row(2)))
    assert counts(world) == (2, 2, 0)


def test_a_renamed_or_copied_file_is_the_same_and_one_that_disappears_deletes_nothing(world: World) -> None:
    file = world.write("a.jsonl", row(1), row(2))
    world.write("copy.jsonl", row(1), row(2))
    assert counts(world) == (1, 2, 0)
    file.rename(world.folder / "z.jsonl")
    assert counts(world) == (0, 0, 0)
    (world.folder / "z.jsonl").unlink()
    (world.folder / "copy.jsonl").unlink()
    assert counts(world) == (0, 0, 0)
    assert names(world.items) == {ref(1), ref(2)}


def test_a_file_that_was_hashed_is_hashed_again_only_when_it_changed(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("workbench_pipelines.clients.content_hashes._SETTLED_NS", -1)
    file = world.write("a.jsonl", row(1))
    stat = file.stat()
    world.take()
    with monkeypatch.context() as patch:
        patch.setattr(source_folder.hashlib, "file_digest", _killed)
        assert world.intake.waiting() == []
    file.write_text(jsonl(row(2)))
    os.utime(file, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert counts(world, now=LATER) == (1, 1, 0), "of the same size, and made to look as old"
    for nonsense in (b"", b"[]", b'{"a.jsonl": 3}'):
        (world.folder.parent / "state/prompts.hashes.json").write_bytes(nonsense)
        assert counts(world) == (0, 0, 0)


def test_a_changed_file_brings_what_is_new_in_it_and_keeps_what_is_not(world: World) -> None:
    file = world.write("a.jsonl", row(1), row(2))
    world.take()
    file.write_text(jsonl(row(2), row(3)))
    assert counts(world, now=LATER) == (1, 1, 1)
    assert names(world.items) == {ref(1), ref(2), ref(3)}
    assert world.refused == [("a.jsonl", 1, "repeated")]


def test_a_file_that_was_cut_short_is_whole_the_next_time(world: World) -> None:
    text = jsonl(row(1), row(2)).encode()
    world.put("a.jsonl", text[:-5])
    assert counts(world) == (1, 1, 1)
    world.put("a.jsonl", text)
    assert counts(world, now=LATER) == (1, 1, 1)
    assert world.refused == [("a.jsonl", 1, "repeated")]
    kept = world.lake.read("records", "source_refusals")
    assert sorted(kept["reason"]) == ["cut_short", "repeated"]


@pytest.mark.parametrize("turns", [[["a", "b"]], [["a"], ["b"]], [["b"], ["a"]]])
def test_rows_of_one_content_are_one_item_whatever_order_files_come_in(world: World, turns: list[list[str]]) -> None:
    files = {"a": [row(1, training_priority=5), row(2)], "b": [row(2), row(1, training_priority=4, session_id="s")]}
    for number, turn in enumerate(turns):
        for name in turn:
            world.write(f"{name}.jsonl", *files[name])
        world.take(NOON + dt.timedelta(hours=number))
    items = world.items.select("item_ref", "training_priority", "session_id")
    assert sorted(items.rows()) == sorted([(ref(1), 4, "s"), (ref(2), None, None)])
    assert next(place[:2] for place in world.refused if place[2] == "repeated") == ("a.jsonl", 1)
    assert len(world.refused) == 2


def test_an_item_that_another_row_became_remembers_who_took_it_first(world: World) -> None:
    world.write("a.jsonl", row(1, training_priority=5))
    world.take()
    world.write("b.jsonl", row(1, training_priority=4))
    assert world.take(LATER).changed == 1
    (item,) = world.intake.items.scan().collect().to_dicts()
    assert (item["created_at"], item["updated_at"], item["source_file"]) == (NOON, LATER, "b.jsonl")


def test_the_same_rows_in_other_files_at_another_time_are_the_same_snapshot(tmp_path: Path) -> None:
    rows = [row(number % 7, training_priority=number + 1) for number in range(20)]
    one, two = World(tmp_path / "one"), World(tmp_path / "two")
    one.write("a.jsonl", *rows)
    one.take()
    for number, cut in enumerate((slice(12, 20), slice(0, 3), slice(3, 12))):
        two.write(f"part-{number}.jsonl", *reversed(rows[cut]))
        two.take(LATER + dt.timedelta(hours=number))
    snapshots = [
        take_snapshot(make_sheet(), world.items, {}, policies={}, vocabulary=USES, where="s").frame
        for world in (one, two)
    ]
    assert snapshots[0].rows() == snapshots[1].rows()
    assert snapshots[0].height == 7
    assert "created_at" not in snapshots[0].columns


def test_what_would_be_taken_can_be_seen_before(world: World) -> None:
    world.write("a.jsonl", row(1, training_priority=5), row(2))
    assert names(world.intake.rows_with_waiting()) == {ref(1), ref(2)}
    assert world.intake.items.version is None
    world.take()
    world.intake.mark([ref(2)], "delete", reason="test", by="ann", now=NOON)
    world.write("b.jsonl", row(1, training_priority=4), row(2, training_priority=1), row(3))
    before = world.intake.rows_with_waiting()
    world.take()
    assert before.rows() == world.items.rows()
    assert names(before) == {ref(1), ref(3)}


def test_files_that_are_no_jsonl_or_lead_outside_are_named_and_the_others_taken(world: World, tmp_path: Path) -> None:
    world.write("a.jsonl", row(1))
    world.put("notes.txt", b"secret")
    world.put(".hidden.jsonl", b"nope")
    world.put("_part/x.jsonl", b"nope")
    (tmp_path / "outside.jsonl").write_text(jsonl(row(2)))
    (world.folder / "link.jsonl").symlink_to(tmp_path / "outside.jsonl")
    assert counts(world) == (1, 1, 0)
    assert world.refused == [("link.jsonl", None, "leads_outside"), ("notes.txt", None, "unknown_format")]


def test_a_large_file_is_read_in_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_folder, "READ_AT_ONCE", 10)
    monkeypatch.setattr(source_folder, "_PART", 200)
    world.put("a.jsonl", b"\xef\xbb\xbf" + jsonl(*(row(n) for n in range(50)), "nope").encode())
    assert counts(world) == (1, 50, 1)
    assert world.refused == [("a.jsonl", 51, "not_json")]
    lines = world.intake.items.scan().select("source_line").collect()["source_line"]
    assert sorted(lines) == list(range(1, 51))


def test_a_file_that_changes_while_it_is_read_is_left_for_the_next_time(world: World) -> None:
    world.write("a.jsonl", row(1))
    ((listed, _),) = world.intake.waiting()
    time.sleep(0.02)  # more than a tick of the clock that files are stamped by
    world.write("a.jsonl", row(2))
    with pytest.raises(SourceError, match=r"a.jsonl: the file was changed while it was read; run again"):
        list(world.intake.folder.lines(listed))


def test_what_is_no_folder_of_files_can_not_be_taken(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match="from a folder of this machine"):
        SourceFolder("s3://bucket/batches", "prompts")
    pl.DataFrame({"a": [1]}).write_delta(str(tmp_path / "table"))
    with pytest.raises(DefinitionError, match="this is a Delta table"):
        SourceFolder(tmp_path / "table", "prompts")


def test_a_file_nobody_may_read_stops_the_intake_with_its_name(world: World) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    world.write("a.jsonl", row(1)).chmod(0)
    with pytest.raises(SourceError, match=r"prompts: a.jsonl: the file can not be read: Permission denied"):
        world.take()


@pytest.mark.parametrize("dies_at", ["append_new", "append"])
def test_an_intake_that_was_killed_adds_nothing_twice(
    world: World, monkeypatch: pytest.MonkeyPatch, dies_at: str
) -> None:
    world.write("a.jsonl", row(1), row(1, training_priority=3), "nope")
    world.write("b.jsonl", row(2), row(1, training_priority=2))
    with monkeypatch.context() as patch:
        patch.setattr(type(world.lake), dies_at, _killed)
        with pytest.raises(KeyboardInterrupt):
            world.take()
    assert world.intake.taken_files().is_empty()
    world.take(LATER)
    assert names(world.items) == {ref(1), ref(2)}
    assert world.refused == [("a.jsonl", 1, "repeated"), ("a.jsonl", 2, "repeated"), ("a.jsonl", 3, "not_json")]
    assert world.intake.items.scan().collect()["created_at"].unique().to_list() == [NOON]


def _killed(*given: Any, **named: Any) -> int:
    raise KeyboardInterrupt


# The table -----------------------------------------------------------------------------------------------------------


def files_of(world: World) -> int:
    return len(DeltaTable(world.lake.path(*world.intake.items.parts)).file_uris())


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Generations of a few rows, so that a test sees several of them come and go."""
    monkeypatch.setattr(item_table, "GENERATION_ROWS", 100)
    monkeypatch.setattr(item_table, "TAIL_ROWS", 20)
    monkeypatch.setattr(item_table, "MANY_FILES", 4)
    monkeypatch.setattr(item_table, "ROW_GROUP_ROWS", 16)
    monkeypatch.setattr("workbench_pipelines.clients.file_intake.MANY_FILES", 4)


@pytest.mark.usefixtures("small")
def test_many_small_intakes_leave_few_files_and_lose_nothing(world: World) -> None:
    most = 0
    for number in range(60):
        world.write(f"{number:03}.jsonl", *(row(number * 5 + n, training_priority=n + 1) for n in range(5)))
        assert world.take().items == 5
        most = max(most, files_of(world))
    assert most <= 15
    assert names(world.items) == {ref(number) for number in range(300)}
    assert world.items.height == 300
    assert len(DeltaTable(world.lake.path("records", "source_files")).file_uris()) <= 6
    found = world.intake.items.first(ItemSearch(priority=(2, 3)).condition, 1000)
    assert names(found) == {ref(n) for n in range(300) if n % 5 in (1, 2)}


@pytest.mark.usefixtures("small")
def test_a_large_intake_writes_generations_in_the_order_of_names(world: World) -> None:
    world.write("a.jsonl", *(row(number) for number in range(250)))
    world.take()
    assert files_of(world) == 3
    for uri in DeltaTable(world.lake.path(*world.intake.items.parts)).file_uris():
        assert pl.read_parquet(uri, hive_partitioning=False)["item_ref"].is_sorted()
    found = world.intake.items.first(ItemSearch().condition, 10)
    assert found["item_ref"].to_list() == sorted(ref(number) for number in range(250))[:10]


@pytest.mark.usefixtures("small")
def test_a_change_of_one_item_rewrites_its_generation_only(world: World) -> None:
    world.write("a.jsonl", *(row(number) for number in range(250)))
    world.take()
    table = DeltaTable(world.lake.path(*world.intake.items.parts))
    before = set(table.file_uris())
    assert world.intake.mark([ref(7)], "delete", reason="test", by="bob", now=LATER) == 1
    after = set(DeltaTable(world.lake.path(*world.intake.items.parts)).file_uris())
    assert (len(before - after), len(after - before)) == (1, 1)
    assert names(world.items) == {ref(number) for number in range(250)} - {ref(7)}


def test_no_word_of_a_row_and_no_reason_stands_in_the_log_of_the_table(world: World) -> None:
    world.write("a.jsonl", row(1, session_id="CANARY-session", data_source="CANARY-source"))
    world.take()
    world.intake.mark([ref(1)], "delete", reason="CANARY-reason", by="ann", now=NOON)
    for log in Path(world.lake.path(*world.intake.items.parts)).glob("_delta_log/*"):
        assert b"CANARY" not in log.read_bytes()
        assert b"Question" not in log.read_bytes()


def test_a_field_that_is_declared_later_is_null_before(world: World) -> None:
    world.write("a.jsonl", row(1))
    world.take()
    fields = [*world.intake.spec.model_dump()["fields"], {"name": "style", "required": False}]
    world.intake = FileIntake(
        make_sheet(intake={"fields": fields}), world.intake.folder, world.lake, world.folder.parent / "state"
    )
    assert world.items["style"].to_list() == [None]
    world.write("b.jsonl", row(2, style="terse"))
    world.take()
    assert dict(world.items.select("item_ref", "style").iter_rows()) == {ref(1): None, ref(2): "terse"}


# Deleting ------------------------------------------------------------------------------------------------------------


def test_a_deleted_item_is_kept_with_who_when_and_why_and_comes_back(world: World) -> None:
    world.write("a.jsonl", row(1), row(2))
    world.take()
    assert world.intake.mark([ref(1), ref(1)], "delete", reason="asked for", by="bob", now=LATER) == 1
    assert world.intake.mark([ref(1)], "delete", reason="again", by="eve", now=LATER) == 0
    assert names(world.items) == {ref(2)}
    (gone,) = world.intake.items.first(ItemSearch(deleted=True).condition, 5).to_dicts()
    assert (gone["deleted_at"], gone["deleted_by"], gone["delete_reason"]) == (LATER, "bob", "asked for")
    assert gone["prompt"] == "Question 1?"
    assert world.intake.mark([ref(1), ref(2)], "restore", reason="a mistake", by="cat", now=LATER) == 1
    assert names(world.items) == {ref(1), ref(2)}
    (back,) = world.intake.items.first(ItemSearch(item_ref=ref(1)).condition, 5).to_dicts()
    assert (back["deleted_at"], back["delete_reason"], back["updated_by"]) == (None, None, "cat")
    marks = world.lake.read("records", "item_marks").select("action", "reason", "by").rows()
    assert sorted(marks) == [("delete", "asked for", "bob"), ("restore", "a mistake", "cat")]


def test_a_deleted_item_stays_deleted_when_a_file_brings_it_again(world: World) -> None:
    world.write("a.jsonl", row(1, training_priority=5))
    world.take()
    world.intake.mark([ref(1)], "delete", reason="asked for", by="bob", now=LATER)
    world.write("b.jsonl", row(1, training_priority=4))
    world.take(LATER)
    assert world.items.is_empty()
    world.intake.mark([ref(1)], "restore", reason="a mistake", by="bob", now=LATER)
    assert world.items["training_priority"].to_list() == [4]


def test_nothing_is_deleted_where_a_name_is_unknown(world: World) -> None:
    world.write("a.jsonl", row(1))
    world.take()
    with pytest.raises(ArgumentError, match="Sheet prompts has no item 'nope'"):
        world.intake.mark([ref(1), "nope"], "delete", reason="x", by="bob", now=LATER)
    with pytest.raises(ArgumentError, match=r"took no file 'b\.jsonl'"):
        world.intake.items_of_file("b.jsonl")
    assert names(world.items) == {ref(1)}
    assert world.intake.items_of_file("a.jsonl") == [ref(1)]
