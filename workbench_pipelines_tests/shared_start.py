"""What Dagster and MLflow do anew for each project though it comes out the same, done once in the process.

Databases are made by their own migrations and then copied: the files are SQLite and hold what the library's set-up put there.
Of a project's life nothing is shared.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import sqlite3
import sys
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any


def share_dagster_databases(templates: Path) -> None:
    """One engine a database, where Dagster makes one for every event, and one migration a kind of database.

    Args:
        templates: an empty folder, where the databases lie that are copied.
    """
    from dagster._core.storage.event_log.sqlite import sqlite_event_log as events
    from dagster._core.storage.runs.sqlite import sqlite_run_storage as runs
    from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage as schedules
    from sqlalchemy.pool import NullPool

    make = events.create_engine
    engines: dict[str, Any] = {}

    def kept(url: str, **options: Any) -> Any:
        if url not in engines:
            engines[url] = make(url, **options)
            # Dagster disposes of each after use; without a pool there is nothing open, and the dialect can stay.
            assert options["poolclass"] is NullPool
            engines[url].dispose = lambda **_: None
        return engines[url]

    for module in (events, runs, schedules):
        module.create_engine = kept  # type: ignore[attr-defined]
    _keep_revisions()
    _share_local(runs.SqliteRunStorage, "runs", templates)
    _share_local(schedules.SqliteScheduleStorage, "schedules", templates)
    _share_events(events.SqliteEventLogStorage, templates / "events")


def share_component_schemas() -> None:
    """What components Dagster itself brings, and their JSON Schemas, it finds out whenever definitions are loaded."""
    from dagster.components.core import snapshot

    describe = snapshot.get_package_entry_snap
    described: dict[Any, Any] = {}

    def kept(key: Any, component: object) -> Any:
        if (key, component) not in described:
            described[key, component] = describe(key, component)
        return described[key, component]

    snapshot.get_package_entry_snap = kept


def share_mlflow_databases(templates: Path) -> None:
    """MLflow's tables come of forty migrations, seconds for each project; it is met when it is first imported.

    Args:
        templates: a folder, where the database lies that is copied.
    """

    def share(module: ModuleType) -> None:
        initialize = module._initialize_tables
        template = templates / "mlflow.db"

        def initialized(engine: Any) -> None:
            if engine.url.drivername != "sqlite" or not module._is_empty_database(engine):
                initialize(engine)
                return
            if not template.exists():
                first = module.create_sqlalchemy_engine(f"sqlite:///{template}")
                initialize(first)
                first.dispose()
            # By SQLite's own backup, since the engine has the file open.
            with closing(sqlite3.connect(template)) as source, closing(sqlite3.connect(engine.url.database)) as made:
                source.backup(made)

        module._initialize_tables = initialized

    name = "mlflow.store.db.utils"
    if name in sys.modules:
        share(sys.modules[name])
    else:
        sys.meta_path.insert(0, _OnImport(name, share))


def _keep_revisions() -> None:
    """Which revision of a schema is the newest, alembic finds out by running the file of each; they do not change."""
    from alembic.script import ScriptDirectory

    read = ScriptDirectory.from_config.__func__  # type: ignore[attr-defined]
    directories: dict[tuple[Any, Any], ScriptDirectory] = {}

    def from_config(cls: type[ScriptDirectory], config: Any) -> ScriptDirectory:
        key = (config.config_file_name, config.get_main_option("script_location"))
        if key not in directories:
            directories[key] = read(cls, config)
        return directories[key]

    ScriptDirectory.from_config = classmethod(from_config)  # type: ignore[method-assign, assignment]


def _share_local(storage: Any, name: str, templates: Path) -> None:
    make = storage.from_local.__func__

    @cache
    def template() -> Path:
        make(storage, str(templates))
        return templates / f"{name}.db"

    def from_local(cls: Any, base_dir: str, inst_data: Any = None) -> Any:
        _place(template, Path(base_dir) / f"{name}.db")
        return make(cls, base_dir, inst_data)

    storage.from_local = classmethod(from_local)


def _share_events(storage: Any, templates: Path) -> None:
    """The database of all runs, and the one that each run gets, with the same tables."""
    make, initialize = storage.__init__, storage._initdb

    @cache
    def template(name: str) -> Path:
        made = storage.__new__(storage)
        make(made, str(templates))
        with made.run_connection(name):
            return Path(made.path_for_shard(name))

    def started(self: Any, base_dir: str, inst_data: Any = None) -> None:
        if Path(base_dir) != templates:
            _place(lambda: template("index"), Path(base_dir) / "index.db")
        make(self, base_dir, inst_data)

    def initialized(self: Any, engine: Any, for_index_shard: bool = False) -> None:
        file = Path(engine.url.database)
        if file.parent != templates:
            _place(lambda: template("run"), file)
        initialize(self, engine, for_index_shard)

    storage.__init__, storage._initdb = started, initialized


def _place(template: Callable[[], Path], file: Path) -> None:
    """Copies the template to where no file is; another process that was faster keeps its own."""
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    copied = file.with_name(f".{file.name}.{os.getpid()}-{threading.get_ident()}")
    shutil.copyfile(template(), copied)
    with suppress(FileExistsError):
        os.link(copied, file)
    copied.unlink()


class _OnImport:
    """Does something with a module once it is imported, wherever that happens."""

    def __init__(self, name: str, do: Callable[[ModuleType], None]) -> None:
        self.name, self.do = name, do

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if name != self.name:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.loader is not None
        execute = spec.loader.exec_module

        def executed(module: ModuleType) -> None:
            execute(module)
            self.do(module)

        spec.loader.exec_module = executed  # type: ignore[method-assign]
        return spec
