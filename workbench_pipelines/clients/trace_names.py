"""The traces of MLflow that speak of a pair, by the tags they carry; no text of a trace is read.

Where MLflow is a database of this machine it is asked directly: importing MLflow takes longer than all the rest.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection
from contextlib import closing
from pathlib import Path

from workbench_pipelines.clients.model_registry import ModelRegistry, RegistryError, one_line_errors

SQLITE = "sqlite:///"
_ASKED_AT_ONCE = 500
_PAGE = 500
DELETED_AT_ONCE = 100  # MLflow takes no more


def traces_of(registry: ModelRegistry, pair_ids: Collection[str]) -> list[str]:
    """The names of the traces that are tagged with one of these pairs, sorted.

    Raises:
        RegistryError: where MLflow can not be asked.
    """
    if not pair_ids:
        return []
    if registry.tracking_uri.startswith(SQLITE):
        file = Path(registry.tracking_uri.removeprefix(SQLITE))
        return _of_database(file, sorted(pair_ids)) if file.exists() else []
    return _of_server(registry, frozenset(pair_ids))


def _of_database(file: Path, pair_ids: list[str]) -> list[str]:
    found: set[str] = set()
    try:
        with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as database:
            for start in range(0, len(pair_ids), _ASKED_AT_ONCE):
                some = pair_ids[start : start + _ASKED_AT_ONCE]
                marks = ",".join("?" * len(some))
                asked = f"SELECT request_id FROM trace_tags WHERE key = 'pair_id' AND value IN ({marks})"
                found |= {row[0] for row in database.execute(asked, some)}
    except sqlite3.Error as error:
        if "no such table" in str(error):
            return []  # no trace was ever logged here
        raise RegistryError(f"MLflow's database {file.name} can not be read: {error}") from None
    return sorted(found)


def delete_traces(registry: ModelRegistry, pair_ids: Collection[str], *, dry_run: bool = False) -> int:
    """Deletes the traces that are tagged with one of these pairs over MLflow's own API; how many there were.

    Raises:
        RegistryError: where MLflow can not be asked.
    """
    found = _by_experiment(registry, frozenset(pair_ids))
    if not dry_run:
        with one_line_errors():
            from mlflow import MlflowClient

            client = MlflowClient(tracking_uri=registry.tracking_uri)
            for experiment, traces in found.items():
                for start in range(0, len(traces), DELETED_AT_ONCE):
                    client.delete_traces(experiment, trace_ids=traces[start : start + DELETED_AT_ONCE])
    return sum(map(len, found.values()))


def _of_server(registry: ModelRegistry, pair_ids: frozenset[str]) -> list[str]:
    return sorted(name for traces in _by_experiment(registry, pair_ids).values() for name in traces)


def _by_experiment(registry: ModelRegistry, pair_ids: frozenset[str]) -> dict[str, list[str]]:
    """The traces of these pairs, by their experiment."""
    found: dict[str, list[str]] = {}
    with one_line_errors():
        from mlflow import MlflowClient
        from mlflow.tracing.client import TracingClient

        experiments = MlflowClient(tracking_uri=registry.tracking_uri).search_experiments(
            filter_string="name LIKE 'judge.%'"
        )
        client, token = TracingClient(tracking_uri=registry.tracking_uri), None
        places = [one.experiment_id for one in experiments]
        while places:
            page = client.search_traces(experiment_ids=places, max_results=_PAGE, page_token=token, include_spans=False)
            for one in page:
                if one.info.tags.get("pair_id") in pair_ids:
                    found.setdefault(str(one.info.experiment_id), []).append(one.info.trace_id)
            token = page.token
            if not token:
                break
    return found
