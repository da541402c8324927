"""The folder of a Sheet whose files are taken once: which files it holds, by content, and their lines."""

from __future__ import annotations

import codecs
import hashlib
import io
import os
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
    inode: int


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
        if self.location.is_file():
            return Listing((_listed(self.location, self.location.name, self.location.stat()),), ())
        files: list[ListedFile] = []
        left: list[LeftFile] = []
        for entry, name in _entries(self.location):
            ending = os.path.splitext(name)[1]
            if entry.is_symlink() and not is_inside(Path(entry.path), (self.location,)):
                why = "the file leads outside its folder; put the file itself there"
                left.append(LeftFile(name, "leads_outside", why))
            elif ending.lower() not in ENDINGS:
                why = f"files that end in '{ending}' are not taken; known: {', '.join(ENDINGS)}"
                left.append(LeftFile(name, "unknown_format", why))
            else:
                try:
                    files.append(_listed(Path(entry.path), name, entry.stat()))
                except OSError as error:
                    left.append(LeftFile(name, "unreadable", f"the file can not be read: {error.strerror}"))
        return Listing(tuple(sorted(files, key=_name)), tuple(sorted(left, key=_name)))

    def content_hash(self, file: ListedFile, known: ContentHashes) -> str:
        """SHA-256 of what is in the file.

        Raises:
            SourceError: where it can not be read.
        """

        def hash_file() -> str:
            with file.path.open("rb") as opened:
                return hashlib.file_digest(opened, "sha256").hexdigest()

        try:
            return known.of(file.name, [file.bytes, file.modified_ns, file.written_ns, file.inode], hash_file)
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
        if _listed(file.path, file.name, file.path.stat()) != file:
            raise SourceError(f"{self.place}: {file.name}: the file was changed while it was read; run again")


def _entries(folder: Path, above: str = "") -> Iterator[tuple[os.DirEntry[str], str]]:
    """The files of a folder and of those below it with their paths; a link to a folder is not followed, so no circle is."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith((".", "_")):
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _entries(Path(entry.path), f"{above}{entry.name}/")
            else:
                yield entry, f"{above}{entry.name}"


def _listed(path: Path, name: str, stat: os.stat_result) -> ListedFile:
    return ListedFile(name, path, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_ino)


def _name(file: ListedFile | LeftFile) -> str:
    return file.name


def _unmarked(lines: list[bytes]) -> list[bytes]:
    return [lines[0].removeprefix(codecs.BOM_UTF8), *lines[1:]] if lines else lines
