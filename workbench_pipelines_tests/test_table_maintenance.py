"""Compaction: one at a time, beside any number of writers, and not a row more or less."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from deltalake import DeltaTable

from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.clients.table_maintenance import TableMaintenance

TABLE = ("records", "requests")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    found = Lake(str(tmp_path / "lake"))
    for number in range(6):
        found.append(*TABLE, frame=pl.DataFrame({"key": [f"row-{number}"]}))
    return found


def keys(lake: Lake) -> list[str]:
    return sorted(lake.read(*TABLE)["key"])


def test_two_compactions_from_stale_handles_would_add_rows_twice(lake: Lake) -> None:
    handles = [DeltaTable(lake.path(*TABLE)) for _ in range(2)]
    for handle in handles:
        handle.optimize.compact()
    assert len(keys(lake)) == 12  # what the lock is for; once deltalake refuses this, the lock may go


def test_compaction_leaves_the_rows_and_few_files(lake: Lake, tmp_path: Path) -> None:
    tidied = TableMaintenance(lake, tmp_path / "locks").compact(*TABLE)
    assert tidied is not None
    assert (tidied.files_before, tidied.files_after) == (6, 1)
    assert keys(lake) == [f"row-{number}" for number in range(6)]


PROGRAM = """
import sys; from pathlib import Path; import polars as pl
from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.clients.table_maintenance import TableMaintenance
lake, number = Lake(sys.argv[1]), sys.argv[3]
maintenance = TableMaintenance(lake, Path(sys.argv[2]))
for turn in range(5):
    lake.append_new("records", "requests", frame=pl.DataFrame({"key": [f"new-{number}-{turn}"]}), key="key")
    maintenance.compact("records", "requests")
"""


def test_processes_that_compact_and_append_at_one_time_lose_and_repeat_nothing(lake: Lake, tmp_path: Path) -> None:
    runs = [
        subprocess.Popen([sys.executable, "-c", PROGRAM, lake.uri, str(tmp_path / "locks"), str(number)])
        for number in range(3)
    ]
    assert [run.wait(120) for run in runs] == [0, 0, 0]
    new = [f"new-{number}-{turn}" for number in range(3) for turn in range(5)]
    assert keys(lake) == sorted([*new, *(f"row-{number}" for number in range(6))])


def test_who_does_not_want_to_wait_leaves_it_to_the_other(lake: Lake, tmp_path: Path) -> None:
    maintenance = TableMaintenance(lake, tmp_path / "locks")
    with maintenance.exclusively("records-requests", wait=True):
        assert maintenance.compact(*TABLE, wait=False) is None
