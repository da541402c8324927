"""The folder of a Sheet whose files are taken once: which files it holds, by content, and their lines."""

from __future__ import annotations

import codecs
import hashlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from workbench_pipelines.clients.content_hashes import ContentHashes
from workbench_pipelines.clients.source_files import Location, is_inside
from workbench_pipelines.errors import DefinitionError, SourceError

ENDINGS = (".jsonl", ".ndjson")
# A file up to this size is read at once, and nothing of it is taken where it changed meanwhile; a longer one goes by in parts.
READ_AT_ONCE = 64 * 1024**2
_PART = 32 * 1024**2


@dataclass(frozen=True)
class ListedFile:
    """A file as its folder lists it; `name` is its path below the folder, with forward slashes."""

    name: str
    path: Path
    bytes: int
    modified_ns: int
    written_ns: int
    """When the inode was last written to; nobody can set that back."""


@dataclass(frozen=True)
class LeftFile:
    """A file that is not read at all, with the short reason and one line."""

    name: str
    reason: str
    detail: str


@dataclass(frozen=True)
class Listing:
    """The files of a folder by name, and those that are left: `unknown_format`, `leads_outside`, `unreadable`."""

    files: tuple[ListedFile, ...]
    left: tuple[LeftFile, ...]


class SourceFolder:
    """A folder of JSONL files, or a single one.

    Args:
        place: what error lines begin with.
    """

    def __init__(self, location: Location, place: str) -> None:
        if isinstance(location, str):
            raise DefinitionError(f"{place}: files are taken from a folder of this machine; copy them to one")
        if (location / "_delta_log").is_dir():
            raise DefinitionError(f"{place}: this is a Delta table; an `intake` takes a folder of JSONL files")
        self.location = location
        self.place = place

    def listing(self) -> Listing:
        """What is there now, without a look into the files; what is hidden is no part of it."""
        root = self.location
        if root.is_file():
            return Listing((_listed(root, root.name),), ())
        files: list[ListedFile] = []
        left: list[LeftFile] = []
        for path in sorted(root.rglob("*")):
            name = path.relative_to(root).as_posix()
            if any(part.startswith((".", "_")) for part in name.split("/")) or path.is_dir():
                continue
            if not is_inside(path, (root,)):
                left.append(
                    LeftFile(name, "leads_outside", "the file leads outside its folder; put the file itself there")
                )
            elif path.suffix.lower() not in ENDINGS:
                left.append(
                    LeftFile(
                        name,
                        "unknown_format",
                        f"files that end in '{path.suffix}' are not taken; known: {', '.join(ENDINGS)}",
                    )
                )
            else:
                try:
                    files.append(_listed(path, name))
                except OSError as error:
                    left.append(LeftFile(name, "unreadable", f"the file can not be read: {error.strerror}"))
        return Listing(tuple(files), tuple(left))

    def content_hash(self, file: ListedFile, known: ContentHashes) -> str:
        """SHA-256 of what is in the file.

        Raises:
            SourceError: where it can not be read.
        """

        def hash_file() -> str:
            with file.path.open("rb") as opened:
                return hashlib.file_digest(opened, "sha256").hexdigest()

        try:
            return known.of(file.name, file.path, hash_file)
        except OSError as error:
            raise SourceError(f"{self.place}: {file.name}: the file can not be read: {error.strerror}") from None

    def lines(self, file: ListedFile) -> Iterator[tuple[int, list[bytes]]]:
        """The lines of a file in parts, each with the number of its first line; a byte order mark is no part of them.

        Raises:
            SourceError: where the file was written to since it was listed.
        """
        number = 1
        try:
            with file.path.open("rb") as opened:
                if file.bytes <= READ_AT_ONCE:
                    data = opened.read()
                    self._refuse_changed(file)
                    yield 1, _unmarked(io.BytesIO(data).readlines())
                    return
                while part := opened.readlines(_PART):
                    yield number, _unmarked(part) if number == 1 else part
                    number += len(part)
                self._refuse_changed(file)
        except OSError as error:
            raise SourceError(f"{self.place}: {file.name}: the file can not be read: {error.strerror}") from None

    def _refuse_changed(self, file: ListedFile) -> None:
        if _listed(file.path, file.name) != file:
            raise SourceError(f"{self.place}: {file.name}: the file was changed while it was read; run again")


def _listed(path: Path, name: str) -> ListedFile:
    stat = path.stat()
    return ListedFile(name, path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)


def _unmarked(lines: list[bytes]) -> list[bytes]:
    return [lines[0].removeprefix(codecs.BOM_UTF8), *lines[1:]] if lines else lines
