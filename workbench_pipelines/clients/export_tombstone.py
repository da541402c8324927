"""What stands beside the manifest of an export that held an erased item, in the place of its files.

A tombstone says which manifest it belongs to, which files went, and which version takes their place. One that does not fit the
manifest beside it, or stands among files that it says went, is none. Whoever has the manifest can write one that fits: whether
the project really erased something, its lake alone knows (`erased_exports`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from workbench_pipelines.errors import ExportError
from workbench_pipelines.export_manifest import read_manifest

MANIFEST, TOMBSTONE = "manifest.json", "erased.json"


def tombstone_of(folder: Path, superseded_by: int | None) -> bytes:
    """The tombstone of an export that is there.

    Raises:
        ExportError: where its manifest is not what was published.
    """
    content = (folder / MANIFEST).read_bytes()
    manifest = read_manifest(content)
    said = {
        "erased": True,
        "collection": manifest["collection"],
        "version": manifest["version"],
        "superseded_by": superseded_by,
        "manifest_sha256": hashlib.sha256(content).hexdigest(),
        "merkle_root": manifest["merkle_root"],
        "files": sorted(manifest["files"]),
    }
    return orjson.dumps(said, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)


def read_tombstone(folder: Path) -> dict[str, Any] | None:
    """What a tombstone says; None where there is none.

    Raises:
        ExportError: for one that is not of this export, and says why.
    """
    try:
        content = (folder / TOMBSTONE).read_bytes()
    except OSError:
        return None
    try:
        said = orjson.loads(content)
        published = (folder / MANIFEST).read_bytes()
        manifest = read_manifest(published)
    except (OSError, ValueError, ExportError):
        raise ExportError(f"{TOMBSTONE} is no tombstone of this export: it or {MANIFEST} can not be read") from None
    due: Mapping[str, Any] = {
        "erased": True,
        "manifest_sha256": hashlib.sha256(published).hexdigest(),
        **{name: manifest[name] for name in ("collection", "version", "merkle_root")},
        "files": sorted(manifest["files"]),
    }
    if not isinstance(said, dict) or said.keys() != {*due, "superseded_by"}:
        raise ExportError(f"{TOMBSTONE} is no tombstone of this export: it does not say what one says")
    for name, value in due.items():
        if said[name] != value:
            raise ExportError(f"{TOMBSTONE} is no tombstone of this export: its {name} is not the one of {MANIFEST}")
    by = said["superseded_by"]
    if by is not None and (type(by) is not int or by <= said["version"]):
        raise ExportError(f"{TOMBSTONE} is no tombstone of this export: no version before it takes its place")
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    if rest := sorted(there - {MANIFEST, TOMBSTONE}):
        raise ExportError(
            f"{TOMBSTONE} says that the files of the export were taken away, and {rest[0]} is there: an erasure was cut short "
            "(erase again), or nothing was erased"
        )
    return {**said, "tombstone_sha256": hashlib.sha256(content).hexdigest()}


def superseded_line(folder: Path) -> str | None:
    """Why an export has no files any more, where an item that it held was erased; None for every other one."""
    try:
        said = read_tombstone(folder)
    except ExportError:
        return None
    if said is None:
        return None
    by = f"v{said['superseded_by']} takes its place" if said["superseded_by"] else "nothing takes its place"
    return f"superseded by erasure: an item that it held was erased; {by}"


def tombstone_problems(folder: Path) -> list[str]:
    """What is wrong with the tombstone of an export, where there is one."""
    try:
        read_tombstone(folder)
    except ExportError as error:
        return [error.line]
    return []
