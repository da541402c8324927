"""Versions of Collections in a project: how they stand, moving them on, and telling their subscribers."""

from __future__ import annotations

import datetime as dt
from contextlib import suppress
from typing import Any

import polars as pl

from workbench_pipelines.access import people_of, roles_of
from workbench_pipelines.alerts import ALERTS, alert_rows
from workbench_pipelines.catalog import Catalog
from workbench_pipelines.clients.export_folder import ExportFolder
from workbench_pipelines.collection_versions import (
    ANNOUNCED,
    COLLECTION_VERSIONS,
    KEY,
    State,
    check_move,
    retired_line,
    state_of,
)
from workbench_pipelines.errors import ArgumentError, ExportError, WorkbenchError, nearest
from workbench_pipelines.exports import EXPORT_VERSIONS
from workbench_pipelines.workbench import Workbench

TABLE = ("records", "collection_versions")


def published(workbench: Workbench, collection: str) -> pl.DataFrame:
    """The rows of `EXPORT_VERSIONS` of a Collection, oldest first.

    Raises:
        ArgumentError: for a Collection that nothing was ever exported of.
    """
    history = workbench.record("export_versions", EXPORT_VERSIONS)
    rows = history.filter(pl.col("collection") == collection).sort("version")
    if rows.is_empty():
        known = {*workbench.catalog().collections(), *history["collection"]}
        if collection not in known:
            raise ArgumentError(f"there is no Collection '{collection}'{nearest(collection, known)}")
        raise ArgumentError(f"Collection {collection} has no version yet; `workbench run {collection}` makes one")
    return rows


def version_of(rows: pl.DataFrame, version: int | None) -> dict[str, Any]:
    """The published version with this number, or the newest one.

    Raises:
        ArgumentError: for a number that there is not.
    """
    known = rows["version"].to_list()
    if version is not None and version not in known:
        raise ArgumentError(
            f"Collection {rows['collection'][0]} has no v{version}; there are {', '.join(f'v{one}' for one in known)}"
        )
    return rows.row(-1 if version is None else known.index(version), named=True)


def states(workbench: Workbench, collection: str) -> list[State]:
    """Every version of a Collection as it stands, oldest first.

    Raises:
        ArgumentError: as `published`.
    """
    events = workbench.record("collection_versions", COLLECTION_VERSIONS)
    return [state_of(events, collection, version) for version in published(workbench, collection)["version"]]


def record_draft(workbench: Workbench, collection: str, version: int, at: dt.datetime) -> None:
    """Keeps who made a version: they are its author."""
    event = State(collection, version).event("draft", by=workbench.settings.user, at=at, reason="exported")
    workbench.lake.append_new(*TABLE, frame=event, key=KEY)


def move_version(workbench: Workbench, collection: str, version: int | None, to: str, reason: str | None) -> State:
    """Moves a version on to another status, in the name of whoever acts, and gives it as it then stands.

    Raises:
        ArgumentError: for a version that there is not.
        ExportError: for a move that is not allowed, to this person or at all, and for a release of damaged files.
    """
    row = version_of(published(workbench, collection), version)
    events = workbench.record("collection_versions", COLLECTION_VERSIONS)
    state = state_of(events, collection, row["version"])
    by = workbench.settings.user
    check_move(state, to, by=by, roles=roles_of(workbench.catalog()), reason=reason)
    if to == "released":
        problems = ExportFolder.verify(row["path"], row["manifest_sha256"])
        if problems:
            raise ExportError(f"{state.name} is not released, its files are not what was published: {problems[0]}")
    event = state.event(to, by=by, at=dt.datetime.now(dt.UTC), reason=(reason or "").strip())
    if not workbench.lake.append_new(*TABLE, frame=event, key=KEY):
        raise ExportError(f"{state.name}: somebody else moved it just now; look again with `collection status`")
    return state_of(pl.concat([events, event]), collection, row["version"])


def refuse_retired(workbench: Workbench, collection: str, rows: pl.DataFrame) -> None:
    """Refuses to train on a version that is retired.

    Input columns: export_version.

    Raises:
        ExportError: naming who retired it, and why.
    """
    events = workbench.record("collection_versions", COLLECTION_VERSIONS)
    for version in rows["export_version"].drop_nulls().unique().sort():
        line = retired_line(state_of(events, collection, version))
        if line is not None:
            raise ExportError(line)


def subscriptions(catalog: Catalog) -> dict[str, list[str]]:
    """Who is told of each Collection; of a broken one nobody, until it is mended."""
    found = {}
    for name in catalog.names("Collection"):
        with suppress(WorkbenchError):
            found[name] = people_of(catalog, catalog.collection(name).spec.subscribers)
    return found


def tell_subscribers(workbench: Workbench, catalog: Catalog) -> int:
    """Writes an alert to every subscriber of a Collection for each version that was released, deprecated or retired, once.

    Returns:
        How many alerts are new.
    """
    events = workbench.record("collection_versions", COLLECTION_VERSIONS).filter(pl.col("status").is_in(ANNOUNCED))
    alerts, subscribed = [ALERTS.to_frame()], subscriptions(catalog)
    for event in events.sort("at", *KEY).iter_rows(named=True):
        name = f"{event['collection']} v{event['version']}"
        alerts.append(
            alert_rows(
                f"collection_{event['status']}",
                name,
                subscribed.get(event["collection"], []),
                message=f"Collection {name} is {event['status']} by {event['by']}: {event['reason']}",
                at=event["at"],
            )
        )
    rows = pl.concat(alerts)
    return workbench.lake.append_new("records", "alerts", frame=rows, key="alert_id") if rows.height else 0
