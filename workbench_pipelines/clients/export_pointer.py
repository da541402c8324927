"""The pointer of a data product: `<lake>/exports/<collection>/current.json` names the version that is it now.

It moves once a version was audited and its row published, and it moves atomically: a reader sees the one before or the new one,
each whole. After a run that died between the two it is behind, never ahead, and the next run moves it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from workbench_pipelines.clients.export_folder import ExportFolder, to_disk
from workbench_pipelines.clients.export_verification import FAILURES, cause_of
from workbench_pipelines.errors import ExportError

POINTER = "current.json"
_SAID = ("version", "merkle_root", "manifest_sha256")


def current_export(exports: ExportFolder, collection: str) -> dict[str, Any] | None:
    """What the pointer of a Collection says: collection, version, path, merkle_root, manifest_sha256; None where there is none.

    `path` is that of the folder, wherever the lake lies now.

    Raises:
        ExportError: for one that can not be read.
    """
    pointer = exports.path(collection, 1).parent / POINTER
    try:
        said = orjson.loads(pointer.read_bytes())
        named = {name: said[name] for name in _SAID}
        return {"collection": collection, "path": str(exports.path(collection, said["version"])), **named}
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError):
        raise ExportError(
            f"{POINTER} of Collection {collection} can not be read; `workbench run {collection}` writes it anew"
        ) from None


def move_pointer(
    exports: ExportFolder, collection: str, newest: Callable[[], Mapping[str, Any] | None]
) -> Mapping[str, Any] | None:
    """Points at the newest version of a Collection, and gives what it says.

    Args:
        newest: asked while no other writer of the Collection is at work: version, merkle_root and manifest_sha256 of the newest
            published version that has files; None takes the pointer away.

    Raises:
        ExportError: where it can not be written.
    """
    folder = exports.path(collection, 1).parent
    try:
        with exports.one_at_a_time(folder):
            said = newest()
            if said is None:
                (folder / POINTER).unlink(missing_ok=True)
                return None
            named = {"collection": collection, "path": f"v{said['version']}", **{name: said[name] for name in _SAID}}
            beside = folder / f".{POINTER}"
            beside.write_bytes(orjson.dumps(named, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
            to_disk(beside)
            os.replace(beside, folder / POINTER)
            to_disk(folder)
            return said
    except FAILURES as error:
        raise ExportError(f"{POINTER} of Collection {collection} can not be written: {cause_of(error)}") from error
