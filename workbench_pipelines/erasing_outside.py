"""Erasing behind the doors: what review back ends and an MLflow server hold of an item, and what a person has to do there.

Each door says in one line what it could not reach. Handed the same item again, what is gone already is no failure.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from workbench_pipelines.clients.byte_search import forms_of
from workbench_pipelines.clients.label_studio import Json, LabelStudio
from workbench_pipelines.clients.label_studio_reviews import KNOWN_BY, LabelStudioReviews
from workbench_pipelines.clients.trace_names import SQLITE, delete_traces
from workbench_pipelines.erasure import Erasing
from workbench_pipelines.errors import WorkbenchError
from workbench_pipelines.lineage import MODEL_TRAINING_LINEAGE
from workbench_pipelines.review_inbox import REVIEW_INBOX
from workbench_pipelines.workbench import Workbench


@dataclass(frozen=True)
class Elsewhere:
    """What went behind the doors.

    Attributes:
        gone: how many tasks and traces.
        unreached: doors that did not open, one line each; erasing again tries them again.
        to_do: what only a person can do there, one line each.
    """

    gone: int = 0
    unreached: list[str] = field(default_factory=list)
    to_do: list[str] = field(default_factory=list)

    @property
    def left(self) -> list[str]:
        return [*self.unreached, *self.to_do]


def erase_elsewhere(
    workbench: Workbench, erasing: Erasing, models: Sequence[str], *, dry_run: bool = False
) -> Elsewhere:
    """Erases from Label Studio and from an MLflow server.

    Args:
        models: name/version of those that learned from the item.
        dry_run: only says how much would go.
    """
    tasks = _erase_tasks(workbench, erasing, dry_run)
    traces = _erase_from_server(workbench, erasing, models, dry_run)
    return Elsewhere(tasks.gone + traces.gone, [*tasks.unreached, *traces.unreached], traces.to_do)


def deliveries_about(workbench: Workbench, erasing: Erasing) -> frozenset[str]:
    """What any back end delivered about the item, by `delivery_id`; taken, refused or waiting."""
    inbox = workbench.record("review_inbox", REVIEW_INBOX)
    return frozenset(
        name for name, said in inbox.select("delivery_id", "judgement").iter_rows() if _speaks(said, erasing)
    )


def _erase_tasks(workbench: Workbench, erasing: Erasing, dry_run: bool) -> Elsewhere:
    """Deletes the tasks about the item from Label Studio, where one is configured, annotations and all.

    Tasks of other pairs that show one of its texts (as an example in their prompt) go as well; `review push` shows them anew.
    """
    url, token = workbench.settings.label_studio_url, workbench.settings.label_studio_token
    if not url:
        return Elsewhere()
    if not token:
        unreached = "Label Studio: LABEL_STUDIO_TOKEN is not set, so its tasks are not reached; set it and erase again"
        return Elsewhere(unreached=[unreached])
    found = 0
    try:
        with LabelStudio(url, token) as server:
            for project in server.projects():
                if not LabelStudioReviews.keys_of(project):
                    continue
                gone = [task["id"] for task in server.tasks(project["id"]) if _is_of(task, erasing)]
                for task in () if dry_run else gone:
                    server.delete_task(task)
                found += len(gone)
    except WorkbenchError as error:
        return Elsewhere(found, [f"Label Studio: not every task was reached, erase again: {error.line}"])
    return Elsewhere(found)


def _erase_from_server(workbench: Workbench, erasing: Erasing, models: Sequence[str], dry_run: bool) -> Elsewhere:
    """Deletes the traces about the item from an MLflow server; a database of this machine is scrubbed with the other files.

    Parameters and artifacts of runs may hold its texts as well. MLflow deletes no file of a run, so the runs are named.
    """
    if workbench.settings.mlflow_uri.startswith(SQLITE):
        return Elsewhere()
    try:
        traces = delete_traces(workbench.registry, erasing.pair_ids | erasing.showing, dry_run=dry_run)
    except WorkbenchError as error:
        return Elsewhere(unreached=[f"MLflow: its traces are not reached, erase again: {error.line}"])
    runs = _runs_of(workbench.record("model_training_lineage", MODEL_TRAINING_LINEAGE), models)
    said = f"MLflow is a server: artifacts of runs {', '.join(runs)} may hold the item; delete them once trained again"
    return Elsewhere(traces, to_do=[said] if runs else [])


def _speaks(judgement: str, erasing: Erasing) -> bool:
    try:
        said = json.loads(judgement)
    except ValueError:
        return False
    return isinstance(said, dict) and erasing.is_about(said)


def _is_of(task: Json, erasing: Erasing) -> bool:
    """Whether a task is about the item, by what it is known by, or shows one of its texts."""
    try:
        identity = json.loads(task["data"][KNOWN_BY])["identity"]
        if erasing.is_about(identity):
            return True
    except (KeyError, TypeError, ValueError):
        pass  # somebody changed the task: its texts tell
    written = json.dumps([task["data"], task.get("predictions"), task.get("annotations")]).encode()
    return any(form in written for text in erasing.texts for form in forms_of(text))


def _runs_of(lineage: pl.DataFrame, models: Sequence[str]) -> list[str]:
    """The MLflow runs of models, written name/version."""
    named = pl.concat_str("model_name", pl.lit("/"), pl.col("model_version").cast(pl.String))
    return lineage.filter(named.is_in(list(models)))["mlflow_run_id"].drop_nulls().unique().sort().to_list()
