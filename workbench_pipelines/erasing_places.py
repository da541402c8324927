"""Where an item is looked for beside the tables: the state of the project, MLflow's database, and where Dagster keeps events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from workbench_pipelines.clients.byte_search import Hit, find_texts
from workbench_pipelines.clients.text_scrubbing import scrub_database, scrub_file
from workbench_pipelines.clients.trace_names import SQLITE
from workbench_pipelines.erasing_pending import pending_folder
from workbench_pipelines.erasure_texts import SoughtText
from workbench_pipelines.workbench import Workbench

_DATABASES = (".db", ".sqlite", ".sqlite3")


def search(workbench: Workbench, texts: Sequence[SoughtText], further: Iterable[Path] = ()) -> list[Hit]:
    """Where a piece of a text stands in the lake, in the state of the project, in MLflow's database and with Dagster.

    What an erasure that goes on wrote down for itself is left out.
    """
    pending = pending_folder(workbench)
    return [one for one in find_texts(_places(workbench, further), texts) if not one.path.is_relative_to(pending)]


def holding_files(workbench: Workbench, texts: Sequence[SoughtText], further: Iterable[Path] = ()) -> list[Path]:
    """The databases and files outside the tables and exports that hold one of some texts."""
    tables = Path(workbench.lake.uri.removeprefix("file://"))
    found = {_database_of(one.path) for one in search(workbench, texts, further) if one.text >= 0}
    return sorted(path for path in found if not path.is_relative_to(tables))


def scrub(path: Path, texts: Sequence[SoughtText]) -> None:
    """Takes texts out of a database or a file."""
    if path.suffix in _DATABASES:
        scrub_database(path, texts)
    else:
        scrub_file(path, texts)


def _database_of(path: Path) -> Path:
    """The database that a file of its latest writes belongs to; every other file itself."""
    for ending in ("-wal", "-journal"):
        if path.name.endswith(ending):
            return path.with_name(path.name.removesuffix(ending))
    return path


def _places(workbench: Workbench, further: Iterable[Path]) -> list[Path]:
    places = [Path(workbench.lake.uri.removeprefix("file://")), workbench.settings.state, *further]
    if workbench.settings.mlflow_uri.startswith(SQLITE):
        places.append(Path(workbench.settings.mlflow_uri.removeprefix(SQLITE)))
    return places
