"""What tests share of Dagster's and MLflow's start is a schema: a database that was copied is the one its library would make."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import dagster as dg
from dagster._core.storage.runs.migration import REQUIRED_DATA_MIGRATIONS

from workbench_pipelines.clients.model_registry import ModelRegistry


def test_copied_storages_of_dagster_stand_at_the_newest_revision_and_share_nothing(tmp_path: Path) -> None:
    names = set()
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        with dg.DagsterInstance.local_temp(str(tmp_path / name)) as instance:
            for storage in (instance.run_storage, instance.event_log_storage, instance.schedule_storage):
                found, newest = storage.alembic_version()  # type: ignore[misc]
                assert found == newest
            assert all(instance.run_storage.has_built_index(migration) for migration in REQUIRED_DATA_MIGRATIONS)  # type: ignore[attr-defined]
            names.add(instance.run_storage.get_run_storage_id())
            instance.report_runless_asset_event(dg.AssetMaterialization(name))
            assert [key.to_user_string() for key in instance.all_asset_keys()] == [name]
    assert len(names) == 2


def test_copied_databases_of_mlflow_stand_at_the_newest_revision_and_share_nothing(tmp_path: Path) -> None:
    files = [tmp_path / name / "mlflow.db" for name in ("one", "other")]
    one, other = (ModelRegistry(f"sqlite:///{file}", file.parent / "artifacts") for file in files)
    one.prepare()
    other.prepare()
    one.experiment("routing")

    from mlflow.store.db.utils import _get_latest_schema_revision

    named = []
    for file in files:
        with closing(sqlite3.connect(file)) as database:
            assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [
                (_get_latest_schema_revision(),)
            ]
            named.append({name for (name,) in database.execute("SELECT name FROM experiments")})
    assert named == [{"Default", "routing"}, {"Default"}]
