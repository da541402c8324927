"""The files of a volume: found by the names that rows hold, inside their folder and nowhere else."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

import polars as pl

from workbench_pipelines.catalog import SecondarySource
from workbench_pipelines.clients.extraction import Extraction
from workbench_pipelines.clients.extraction_store import ExtractionStore
from workbench_pipelines.clients.source_checks import encoding_of
from workbench_pipelines.clients.source_files import Location, is_inside
from workbench_pipelines.errors import DefinitionError
from workbench_pipelines.volumes import (
    Extracted,
    FilesRead,
    content_column,
    is_hidden,
    leads_outside,
    volume_columns,
)

_FOLDER = Extracted(None, "not_a_file", "the name leads to a folder")


def volume_folder(location: Location, where: str) -> Path:
    """The folder of a volume.

    Raises:
        DefinitionError: for a single file, and for an address: files are opened, hashed and looked into here.
    """
    if isinstance(location, str):
        raise DefinitionError(f"{where}: a volume is a folder on this machine; files at an address are not read yet")
    if not location.is_dir():
        raise DefinitionError(f"{where}: a volume is a folder, and this is a file")
    return location


def path_in_project(path: Path, project: Path, roots: Iterable[Path]) -> str:
    """How a place is written in tables: relative to the project, or below a root with the root's name before it.

    No table names a machine's folders, so that the same files are the same items everywhere.
    """
    real = Path(os.path.realpath(path))
    for base, before in ((project, ""), *((root, root.name) for root in roots)):
        folder = Path(os.path.realpath(base))
        if real.is_relative_to(folder):
            return (PurePosixPath(before) / real.relative_to(folder).as_posix()).as_posix()
    raise AssertionError("a path that was resolved lies in the project or a root")


def read_volume(
    folder: Path, shown: str, source: SecondarySource, names: Sequence[str], store: ExtractionStore, where: str
) -> FilesRead:
    """The files that names lead to, each looked into once however many rows name it.

    A name is a path below the folder; hidden files are no part of it. `shown` is the folder as tables write it.

    Raises:
        MissingPart: for a reader that is not installed, once there is a file to read.
        DefinitionError: for an encoding nobody knows.
    """
    content = content_column(source)
    rows: list[tuple[str | None, ...]] = []
    refused: dict[str, Extracted] = {}
    outside: set[str] = set()
    extract = source.extract if content else None
    with store, Extraction(store, extract, encoding_of(source.read, where)) as extraction:
        for name in dict.fromkeys(names):
            if leads_outside(name):
                outside.add(name)
                continue
            file = folder / name
            mode = None if is_hidden(name) or not name.strip() else _mode(file)
            if mode is None:
                continue
            if not is_inside(file, (folder,)) or not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                outside.add(name)
                continue
            sha256, found = (None, _FOLDER) if stat.S_ISDIR(mode) else _looked_into(extraction, file)
            if found.reason is not None:
                refused[name] = found
            path = (PurePosixPath(shown) / name).as_posix()
            rows.append((name, *([found.content] if content else []), sha256, path))
    return FilesRead(pl.DataFrame(rows, schema=volume_columns(source), orient="row"), refused, frozenset(outside))


def _mode(file: Path) -> int | None:
    """The kind of a file, links followed; None where there is none."""
    try:
        return file.stat().st_mode
    except OSError:
        return None


def _looked_into(extraction: Extraction, file: Path) -> tuple[str | None, Extracted]:
    """The digest of a file, and what is in it."""
    try:
        sha256 = extraction.digest(file)
        return sha256, extraction.content(file, sha256)
    except OSError as error:
        return None, Extracted(None, "unreadable", f"the file can not be read: {error.strerror}")
