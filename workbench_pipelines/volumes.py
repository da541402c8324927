"""Volumes: folders of files beside a table; the join key column of a row holds the path of its file below the folder.

A source ``document`` with ``extract: text`` brings ``document_text`` (what is in the file), ``document_sha256`` (the file's
content) and ``document_path`` (where it lies, relative to the project). Of an image, ``document_image`` names the content,
so that what was shown holds as long as the picture does, wherever it lies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import NamedTuple

import polars as pl

from workbench_pipelines.catalog import SecondarySource, Sheet

IMAGE_PREFIX = "sha256:"
"""What an image column holds before the digest of the image."""


class Extracted(NamedTuple):
    """What was taken out of a file, or the short reason and one line why nothing was; the line never quotes the file.

    Reasons: `broken_file`, `encrypted`, `no_text` (a scan, perhaps), `unknown_format`, `not_a_file`, `unreadable`,
    `too_large`, `too_slow`, `reader_stopped`, `file_changed` (while it was read).
    """

    content: str | None
    reason: str | None = None
    detail: str | None = None


@dataclass(frozen=True)
class FilesRead:
    """The files of a volume that some names lead to.

    Attributes:
        frame: the join key and the columns of the volume, one row a file; the content of a refused one is null.
        refused: by name, why a file that is there has no content.
        outside: names that lead out of the folder, or to no file at all.
    """

    frame: pl.DataFrame
    refused: Mapping[str, Extracted]
    outside: frozenset[str] = frozenset()


ReadFiles = Callable[[SecondarySource, Sequence[str]], FilesRead]
"""A volume and the names that rows hold, to the files there are; every other name has no file."""


def volumes_of(sheet: Sheet) -> list[SecondarySource]:
    """The folders of files beside a Sheet's tables."""
    return [source for source in sheet.spec.secondary_sources if source.type == "volume"]


def content_column(source: SecondarySource) -> str | None:
    """The column that holds what is taken out of a file; None where nothing is."""
    return None if source.extract in (None, "none") else f"{source.name}_{source.extract}"


def digest_column(source: SecondarySource) -> str:
    return f"{source.name}_sha256"


def path_column(source: SecondarySource) -> str:
    return f"{source.name}_path"


def volume_columns(source: SecondarySource) -> dict[str, pl.DataType]:
    """The columns of a volume: its join key, the content where it is wanted, the digest and the path of the file."""
    content = content_column(source)
    names = [source.join_keys[0], *([content] if content else []), digest_column(source), path_column(source)]
    return dict.fromkeys(names, pl.String())


def image_columns(sheet: Sheet) -> dict[str, str]:
    """The columns that hold images, each with the column of their paths."""
    images = (source for source in volumes_of(sheet) if source.extract == "image")
    return {f"{source.name}_image": path_column(source) for source in images}


def text_columns(sheet: Sheet) -> dict[str, tuple[str, str]]:
    """The columns that hold the text of files, each with those of their paths and their digests."""
    texts = (source for source in volumes_of(sheet) if source.extract in ("text", "ocr"))
    return {f"{source.name}_{source.extract}": (path_column(source), digest_column(source)) for source in texts}


def echoes(sheet: Sheet, column: str) -> tuple[str, ...]:
    """The columns that tell as much as this one: the path of the file it names, the digest of the content it holds.

    A digest tells a text to whoever can guess it.
    """
    found: list[str] = []
    for source in volumes_of(sheet):
        if column in source.join_keys:
            found.append(path_column(source))
        if column == content_column(source):
            found.append(digest_column(source))
    return tuple(found)


def leads_outside(name: str) -> bool:
    """Whether a name in a row is no plain relative path: an absolute one, one with `..`, an address, a null byte.

    Read as Windows does, so that a drive or a backslash is seen on every machine.
    """
    path = PureWindowsPath(name)
    address = "://" in name or name.lower().startswith("file:")
    return address or "\0" in name or bool(path.anchor) or ".." in path.parts


def is_hidden(name: str) -> bool:
    """Whether a name leads to or through what is hidden, which is no part of a volume."""
    return any(part.startswith(".") and part != "." for part in PureWindowsPath(name).parts)
