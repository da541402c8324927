"""Erased exports: which exports hold an item, what takes their place, and the record of those whose files were taken away."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from workbench_pipelines.clients.byte_search import find_texts
from workbench_pipelines.clients.export_folder import ExportFolder
from workbench_pipelines.clients.export_tombstone import MANIFEST, TOMBSTONE, read_tombstone, tombstone_of
from workbench_pipelines.erasure import ERASED_EXPORTS, Erasing
from workbench_pipelines.errors import ExportError, WorkbenchError
from workbench_pipelines.exporting import point_to_newest, publish_export
from workbench_pipelines.exports import EXPORT_VERSIONS
from workbench_pipelines.recalling import Recalled
from workbench_pipelines.workbench import Workbench

RECORD = ("records", "erased_exports")
ROWS = ("train", "governed_export")


def exports_holding(
    workbench: Workbench, erasing: Erasing, known: Recalled | None, known_before: Iterable[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """The exports that hold an item, by recall or by a text of it in their files: collection and version.

    Args:
        known_before: those of an earlier try, with the versions that took their place: these were made without the item.
    """
    named = {(one["collection"], one["version"]) for one in (known.exports if known else ())}
    made = {(one["collection"], one.get("superseded_by")) for one in known_before}
    found = []
    for row in workbench.record("export_versions", EXPORT_VERSIONS).sort("collection", "version").to_dicts():
        name, folder = (row["collection"], row["version"]), Path(row["path"])
        if name in made or not folder.is_dir() or _is_buried(folder):
            continue
        if name in named or find_texts([folder], erasing.texts):
            found.append({"collection": row["collection"], "version": row["version"]})
    return found


def supersede(workbench: Workbench, held: Mapping[str, Any]) -> dict[str, Any]:
    """Publishes what is left of a Collection, and takes the files of an export of it away; done again, it changes nothing."""
    exports = ExportFolder(workbench.lake.uri)
    collection, version = held["collection"], held["version"]
    folder = exports.path(collection, version)
    if _is_buried(folder):
        said = read_tombstone(folder)
        assert said is not None
        return {**held, "superseded_by": said["superseded_by"]}
    by, why = None, None
    try:
        document = workbench.catalog().collection(collection)
        members = [one.training_sheet for one in document.spec.members]
        pairs = workbench.lake.read("label", "labeled_pairs", partition={"training_sheet": members})
        published = publish_export(workbench, document, pairs, instead_of=version)
        by = int(published.figures["export_version"])
        if workbench.lake.exists(*ROWS):  # what a model would read next
            workbench.lake.replace_partition(*ROWS, frame=published.rows, partition_by="collection", keys=[collection])
    except WorkbenchError as error:
        why = error.line  # nothing is left that may be exported, or the Collection is no more
    _bury(workbench, exports, collection, version, by)
    point_to_newest(workbench, collection)
    return {**held, "superseded_by": by, **({"not_rebuilt": why} if why else {})}


def tombstone_is_recorded(workbench: Workbench, folder: Path) -> bool | None:
    """Whether the tombstone of an export is the one that this project put there; None for an export that it does not know.

    Raises:
        ExportError: for a tombstone that does not fit its manifest.
    """
    said = read_tombstone(folder)
    if said is None:
        return None
    history = workbench.record("export_versions", EXPORT_VERSIONS)
    if said["manifest_sha256"] not in set(history["manifest_sha256"]):
        return None
    return said["tombstone_sha256"] in set(workbench.record(RECORD[1], ERASED_EXPORTS)["tombstone_sha256"])


def erased_but_there(workbench: Workbench, folder: Path) -> bool:
    """Whether an export has files and no tombstone though this project took its files away."""
    try:
        content = (folder / MANIFEST).read_bytes()
    except OSError:
        return False
    gone = set(workbench.record(RECORD[1], ERASED_EXPORTS)["manifest_sha256"])
    return not (folder / TOMBSTONE).exists() and hashlib.sha256(content).hexdigest() in gone


def _is_buried(folder: Path) -> bool:
    try:
        return read_tombstone(folder) is not None
    except ExportError:
        return False


def _bury(workbench: Workbench, exports: ExportFolder, collection: str, version: int, by: int | None) -> None:
    """Takes the files away; that they are is on record before, so that a tombstone without a record is nobody's."""
    folder = exports.path(collection, version)
    try:
        tombstone = tombstone_of(folder, by)
    except (OSError, ExportError):
        raise ExportError(
            f"export {collection} v{version}: its {MANIFEST} is not what was published, so nothing can be said in the place of "
            f"its files; delete the folder {folder.parent.name}/{folder.name} and erase again"
        ) from None
    row = {
        "collection": collection,
        "version": version,
        "superseded_by": by,
        "manifest_sha256": hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest(),
        "tombstone_sha256": hashlib.sha256(tombstone).hexdigest(),
        "by": workbench.settings.user,
        "at": dt.datetime.now(dt.UTC),
    }
    frame = pl.DataFrame([row], schema=ERASED_EXPORTS)
    workbench.lake.append_new(*RECORD, frame=frame, key=["collection", "version", "tombstone_sha256"])
    exports.bury(collection, version, tombstone)
