"""An item leaves every table of a lake: rows, older versions, logs and checkpoints; all others stay, and versions go on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from deltalake import DeltaTable, write_deltalake

from workbench_pipelines.clients.byte_search import find_texts
from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.clients.lake_erasure import LakeErasure
from workbench_pipelines.clients.table_maintenance import TableMaintenance
from workbench_pipelines.erasure import Erasing
from workbench_pipelines.erasure_texts import sought
from workbench_pipelines.errors import LakeError

SECRET = 'Quillfeather came in at "seven"'
ERASING = Erasing(
    sheets=frozenset(["s", "old_s"]),
    item_refs=frozenset(["a", "a#1"]),
    pair_ids=frozenset(["p-a"]),
    request_hashes=frozenset(["h-a"]),
    texts=(sought(SECRET),),
)
MESSAGES = pl.List(pl.Struct({"role": pl.String, "content": pl.String}))


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(str(tmp_path / "lake"))


def erasure(lake: Lake, tmp_path: Path) -> LakeErasure:
    return LakeErasure(lake, TableMaintenance(lake, tmp_path / "locks"))


def plant(lake: Lake) -> None:
    for ref, text in (("a", SECRET), ("b", "another patient")):
        rows = pl.DataFrame({"item_ref": [ref], "name": [text]})
        lake.append("data", "sheet_snapshot", "s", frame=rows)
        lake.append("data", "sheet_snapshot", "other", frame=rows.with_columns(name=pl.lit("someone else")))
    pairs: list[dict[str, Any]] = [
        {"training_sheet": "t", "pair_id": "p-a", "sheet": "s", "item_ref": "a", "messages": said(SECRET)},
        {"training_sheet": "t", "pair_id": "p-b", "sheet": "s", "item_ref": "b", "messages": said(f"As in: {SECRET}")},
        {"training_sheet": "t", "pair_id": "p-c", "sheet": "s", "item_ref": "c", "messages": said("nothing")},
        {"training_sheet": "u", "pair_id": "p-d", "sheet": "s", "item_ref": "a#1", "messages": said("seven")},
        {"training_sheet": "u", "pair_id": "p-e", "sheet": "other", "item_ref": "a", "messages": said("x")},
    ]
    frame = pl.DataFrame(pairs, schema_overrides={"messages": MESSAGES})
    for _ in range(3):
        lake.replace_partition("label", "labeled_pairs", frame=frame, partition_by="training_sheet", keys=["t", "u"])
    lake.append("records", "requests", frame=pl.DataFrame({"request_hash": ["h-a", "h-b"], "answer": ["no", "no"]}))
    quoted = pl.DataFrame({"delivery_id": ["1", "2"], "judgement": [json.dumps({"n": SECRET}), "{}"]})
    lake.append("records", "review_inbox", frame=quoted)
    lineage = pl.DataFrame({"model_name": ["m"], "pair_ids": [["p-a", "p-c"]]})
    lake.append("records", "model_training_lineage", frame=lineage)


def pair_ids(lake: Lake, version: int | None = None) -> set[str]:
    return set(lake.read("label", "labeled_pairs", version=version)["pair_id"])


def test_nothing_of_it_is_left_and_everything_else_is(lake: Lake, tmp_path: Path) -> None:
    plant(lake)
    assert len(find_texts([tmp_path / "lake"], [SECRET])) >= 4
    version = lake.version("label", "labeled_pairs")
    foreseen = erasure(lake, tmp_path).found(ERASING)
    done = erasure(lake, tmp_path).erase(ERASING)
    assert (
        {one.table: one.rows for one in done}
        == {
            "data/sheet_snapshot/s": 1,
            "label/labeled_pairs": 3,
            "records/requests": 1,
            "records/review_inbox": 1,
        }
        == {one.table: one.rows for one in foreseen}
    )
    assert find_texts([tmp_path / "lake"], [SECRET]) == []
    assert pair_ids(lake) == {"p-c", "p-e"}
    assert set(lake.read("data", "sheet_snapshot", "other")["item_ref"]) == {"a", "b"}
    assert lake.read("records", "model_training_lineage")["pair_ids"].to_list() == [["p-a", "p-c"]]
    assert lake.version("label", "labeled_pairs") == version + 1
    assert lake.partition_column("label", "labeled_pairs") == "training_sheet"
    assert erasure(lake, tmp_path).erase(ERASING) == []


def test_what_was_never_touched_can_still_be_read_as_it_was(lake: Lake, tmp_path: Path) -> None:
    for number in range(3):
        for key in ("t", "u"):
            texts = [SECRET if key == "t" else "x", str(number)]
            rows = pl.DataFrame({"training_sheet": [key] * 2, "text": texts})
            lake.replace_partition("label", "labeled_pairs", frame=rows, partition_by="training_sheet", keys=[key])
    erasure(lake, tmp_path).erase(ERASING)
    then = lake.read("label", "labeled_pairs", partition={"training_sheet": ["u"]}, version=4)
    assert set(then["text"]) == {"x", "1"}
    with pytest.raises(LakeError):
        lake.read("label", "labeled_pairs", partition={"training_sheet": ["t"]}, version=4)
    assert find_texts([tmp_path / "lake"], [SECRET]) == []


def test_statistics_of_values_leave_the_log_and_the_checkpoints(lake: Lake, tmp_path: Path) -> None:
    path = lake.path("records", "t")
    for name in (SECRET, "Zebedee", "Anne"):
        write_deltalake(path, pl.DataFrame({"text": [name]}), mode="append")  # a table with statistics of every column
    DeltaTable(path).create_checkpoint()
    write_deltalake(path, pl.DataFrame({"text": ["Bea"]}), mode="append")
    erasure(lake, tmp_path).erase(ERASING)
    assert find_texts([tmp_path / "lake"], [SECRET]) == []
    assert set(lake.read("records", "t")["text"]) == {"Zebedee", "Anne", "Bea"}


def test_prompts_that_showed_it_go_and_what_people_said_of_those_pairs_stays(lake: Lake, tmp_path: Path) -> None:
    rows = pl.DataFrame({"pair_id": ["p-x", "p-y"], "messages": [said("as before"), said("x")]})
    lake.append("generate", "rendered_prompts", frame=rows)
    lake.append("label", "decisions", frame=pl.DataFrame({"pair_id": ["p-x"], "action": ["approve"]}))
    erasure(lake, tmp_path).erase(replace(ERASING, showing=frozenset(["p-x"])))
    assert lake.read("generate", "rendered_prompts")["pair_id"].to_list() == ["p-y"]
    assert lake.read("label", "decisions").height == 1


@pytest.mark.parametrize("step", ["_old_files", "_naming_commits", "_drop_checkpoints"])
def test_an_erasure_that_was_killed_is_finished_by_doing_it_again(
    lake: Lake, tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(lake)
    DeltaTable(lake.path("label", "labeled_pairs")).create_checkpoint()

    def killed(*given: Any) -> Any:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(LakeErasure, step, killed)
        with pytest.raises(KeyboardInterrupt):
            erasure(lake, tmp_path).erase(ERASING)
    erasure(lake, tmp_path).erase(ERASING)
    assert find_texts([tmp_path / "lake"], [SECRET]) == []
    assert pair_ids(lake) == {"p-c", "p-e"}


def test_a_file_of_an_old_version_that_can_not_be_read_goes_too(lake: Lake, tmp_path: Path) -> None:
    plant(lake)
    torn = Path(lake.path("label", "labeled_pairs")) / "left.parquet"
    torn.write_bytes(b"PAR1" + SECRET.encode())
    erasure(lake, tmp_path).erase(ERASING)
    assert not torn.exists()


def test_only_a_lake_in_a_folder_is_erased_from(tmp_path: Path) -> None:
    lake = Lake("s3://bucket/lake")
    with pytest.raises(LakeError, match="not from s3://"):
        LakeErasure(lake, TableMaintenance(lake, tmp_path))
