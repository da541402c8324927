"""The sensor asks once for the snapshot of a folder with new files, and never for files that were taken."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from workbench_pipelines.clients.file_intake import FileIntake
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.intake_world import CONTENT, NOON, plant, ref, row, write_rows
from workbench_pipelines_tests.project_world import Project, forget_definitions


class Watch:
    """A project with a folder of batches, and the sensor that looks at it."""

    def __init__(self, project: Project, instance: dg.DagsterInstance) -> None:
        self.project, self.instance = project, instance
        self.folder = plant(project)
        self.cursor: str | None = None

    def write(self, name: str, *numbers: int) -> Path:
        """A file that nobody writes to any more."""
        file = write_rows(self.folder, name, *(row(number) for number in numbers))
        written = time.time() - 3600
        os.utime(file, (written, written))
        return file

    def look(self) -> list[str]:
        """The run keys that the sensor asks for now; its cursor is kept for the next look."""
        forget_definitions()
        from workbench_pipelines.defs.data.sensors import take_new_files

        resources = {"workbench": self.project.workbench}
        with dg.build_sensor_context(self.instance, cursor=self.cursor, resources=resources) as context:
            result = take_new_files(context)
        assert isinstance(result, dg.SensorResult)
        self.cursor = result.cursor
        assert {one.partition_key for one in result.run_requests or []} <= {"prompts"}
        return [str(one.run_key) for one in result.run_requests or []]

    @property
    def intake(self) -> FileIntake:
        workbench = self.project.workbench
        return workbench.intake_of(workbench.catalog().sheet("prompts"))

    def take(self) -> None:
        self.intake.take(by="ann", now=NOON)


@pytest.fixture
def watch(project: Project) -> Iterator[Watch]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield Watch(project, instance)


def test_a_new_file_is_asked_for_once_and_one_that_was_taken_never(watch: Watch) -> None:
    assert watch.look() == []
    watch.write("a.jsonl", 1)
    (key,) = watch.look()
    assert key.startswith("prompts:")
    assert watch.look() == []
    watch.take()
    assert watch.look() == []
    watch.cursor = None
    assert watch.look() == []


def test_a_lost_or_foreign_cursor_asks_for_the_same_run(watch: Watch) -> None:
    watch.write("a.jsonl", 1)
    keys = watch.look()
    for lost in (None, "", "{", "[]", "3", '{"prompts": 3}'):
        watch.cursor = lost
        assert watch.look() == keys
        assert watch.look() == []


def test_a_changed_file_is_a_new_one_and_a_renamed_or_touched_one_is_not(watch: Watch) -> None:
    file = watch.write("a.jsonl", 1)
    watch.look()
    watch.take()
    file.rename(watch.folder / "b.jsonl")
    watch.write("copy.jsonl", 1)
    assert watch.look() == []
    first = watch.write("b.jsonl", 1, 2)
    assert len(watch.look()) == 1
    os.utime(first, (0, 0))
    assert watch.look() == []


def test_files_that_come_before_the_run_are_one_more_run(watch: Watch) -> None:
    watch.write("a.jsonl", 1)
    first = watch.look()
    watch.write("b.jsonl", 2)
    second = watch.look()
    assert len(first) == len(second) == 1
    assert first != second


def test_a_file_that_is_still_being_written_is_left_for_a_later_look(watch: Watch) -> None:
    file = write_rows(watch.folder, "a.jsonl", row(1))
    assert watch.look() == []
    watch.write("b.jsonl", 2)
    assert len(watch.look()) == 1
    watch.write("a.jsonl", 1)
    assert file.exists()
    assert len(watch.look()) == 1


def test_a_deletion_and_a_restoring_are_asked_for_once(watch: Watch) -> None:
    watch.write("a.jsonl", 1, 2)
    watch.look()
    watch.take()
    for action in ("delete", "restore"):
        now = NOON if action == "delete" else NOON.replace(hour=13)
        watch.intake.mark([ref(1)], action, reason="test", by="ann", now=now)
        assert len(watch.look()) == 1
        assert watch.look() == []


def test_sheets_without_an_intake_or_a_folder_ask_for_nothing(watch: Watch) -> None:
    gone = make_document("Sheet", "gone", primary_table="nowhere", item_ref=CONTENT, intake={})
    plain = make_document("Sheet", "plain", primary_table="plain", item_ref="prompt")
    plant(watch.project, gone, plain)
    (watch.project.folder / "sheets/plain").mkdir()
    write_rows(watch.project.folder / "sheets/plain", "a.jsonl", row(1))
    assert watch.look() == []
    watch.write("a.jsonl", 1)
    assert len(watch.look()) == 1


def test_the_run_that_is_asked_for_takes_the_files(watch: Watch) -> None:
    watch.write("a.jsonl", 1)
    (key,) = watch.look()
    from workbench_pipelines.definitions import definitions

    done = definitions().resolve_job_def("sheets").execute_in_process(
        instance=watch.instance, partition_key="prompts", tags={"dagster/run_key": key}
    )  # fmt: skip
    assert done.success
    (made,) = [
        event.step_materialization_data.materialization
        for event in done.all_events
        if event.is_step_materialization and event.asset_key == dg.AssetKey(["data", "sheet_snapshot"])
    ]
    assert made.metadata["taken"].value == {"files": 1, "rows": 1, "items": 1, "changed": 0, "refused": 0}
    versions = [made.tags["dagster/data_version"]] if made.tags else []
    assert versions
    assert watch.look() == []
