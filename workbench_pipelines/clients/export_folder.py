"""The folders of published exports: `<lake>/exports/<collection>/v<N>/`, each written whole or not at all.

A folder is made beside its place under a hidden name, brought to the disk file by file, and renamed. What counts as
published is the row in `records/export_versions`, which is written afterwards: a folder without one is the rest of a
run that died, and may be replaced. The bytes depend on the export alone.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl

from workbench_pipelines.attachments import images_of
from workbench_pipelines.catalog.document_parts import NAME_PATTERN
from workbench_pipelines.clients.export_tombstone import MANIFEST, TOMBSTONE, superseded_line
from workbench_pipelines.clients.export_verification import (
    EXCLUSIONS,
    FAILURES,
    HF,
    cause_of,
    sha256_of,
    verify_export,
)
from workbench_pipelines.clients.hf_dataset import write_hf_head, write_hf_split
from workbench_pipelines.errors import ExportError, nearest
from workbench_pipelines.export_formats import FORMATS, batches_of, parquet_rows
from workbench_pipelines.export_manifest import manifest_bytes, sealed
from workbench_pipelines.exports import Export
from workbench_pipelines.formats import FILE_FORMATS
from workbench_pipelines.formats.conversation import (
    CHUNK_ROWS,
    IMAGE_FOLDER,
    Images,
    conversations,
    no_images,
)
from workbench_pipelines.merkle import COLUMNS
from workbench_pipelines.splits import SPLITS

CARD = "README.md"
_UNFINISHED = ".writing-"


AUDITED = ("training_sheet", "pair_id", "pair_hash", "item_ref", "split", "weight", "inputs")
"""What an audit is shown of every pair: as it is read from the files that were written."""
Files = Mapping[str, Mapping[str, Any]]
"""What the manifest says of each file, by name: sha256, bytes, rows."""


@dataclass(frozen=True)
class Published:
    """Where an export lies, the hash of its manifest for its row, and its files (sha256, bytes, rows) by name."""

    path: str
    manifest_sha256: str
    files: Files


class ExportFolder:
    """The exports of one lake.

    Args:
        lake: the lake's folder, or its `file://` address.

    Raises:
        ExportError: for a lake that is no local folder.
    """

    def __init__(self, lake: str) -> None:
        scheme, separator, _ = lake.partition("://")
        if separator and scheme != "file":
            raise ExportError(
                f"exports are written to local folders only, not to {scheme}://: set WORKBENCH_LAKE to one"
            )
        local = unquote(urlsplit(lake).path) if separator else lake
        self.root = Path(local).expanduser().absolute() / "exports"

    def path(self, collection: str, version: int) -> Path:
        """Where a version lies, or would."""
        if not re.fullmatch(NAME_PATTERN, collection) or ".." in collection or version < 1:
            raise ExportError(f"'{collection}' v{version} is no name of an export")
        return self.root / collection / f"v{version}"

    def publish(
        self,
        collection: str,
        version: int,
        export: Export,
        *,
        formats: Sequence[str],
        manifest: Mapping[str, Any],
        card: str,
        documents: Callable[[Files], Mapping[str, bytes]] = lambda files: {},
        images: Images = no_images,
        replace_unpublished: Callable[[], bool] = lambda: False,
        audit: Callable[[pl.DataFrame], object] = lambda rows: None,
        commit: Callable[[Published], object] = lambda published: None,
    ) -> Published:
        """Write the folder of an export, and then what makes it count.

        Args:
            manifest: by `export_manifest.manifest`; the files are added here.
            documents: gives further files by name, once those that hold the pairs are written.
            images: where image files are read from.
            replace_unpublished: asked while no other writer of the Collection is at work; true only where
                `export_versions` has no row for this version: what lies there is then the rest of a run that died.
            audit: is given the columns `AUDITED` of all pairs as the files hold them, and raises where they may not be published.
            commit: writes that row, before another writer of the Collection goes on.

        Raises:
            ExportError: for an unknown format, a pair that a format can not hold, a version that is there already, a folder
                that can not be written, one whose files do not hold what they should, and what the audit refuses; nothing
                half-written is left.
        """
        for name in formats:
            if name not in FORMATS:
                raise ExportError(
                    f"Collection {collection}: spec.formats: unknown format '{name}'{nearest(name, FORMATS)}"
                )
        target = self.path(collection, version)
        try:
            with self.one_at_a_time(target.parent):
                if target.exists() and not replace_unpublished():
                    raise ExportError(f"export {collection} v{version} is there already, and is never overwritten")
                contents = _Contents(export, formats, card, documents, images)
                published = _write_folder(target, contents, manifest, audit)
                commit(published)
        except FAILURES as error:
            raise ExportError(f"export {collection} v{version} can not be written: {cause_of(error)}") from error
        return published

    @staticmethod
    def verify(path: str | Path, manifest_sha256: str | None = None) -> list[str]:
        """What is wrong with an export, one line each; empty where every byte is as it was published.

        Args:
            manifest_sha256: as its row in `export_versions` has it, where that can be asked.
        """
        return verify_export(Path(path), manifest_sha256)

    @staticmethod
    def leaves(path: str | Path) -> pl.DataFrame:
        """What the Merkle tree of an export is made of: pair_id, pair_hash, split and weight of each pair.

        Raises:
            ExportError: where a Parquet file is missing or damaged, or an item that the export held was erased.
        """
        if (superseded := superseded_line(Path(path))) is not None:
            raise ExportError(superseded)
        try:
            return pl.concat(
                [pl.read_parquet(Path(path) / f"{split}.parquet", columns=list(COLUMNS)) for split in SPLITS]
            )
        except FAILURES as error:
            raise ExportError(f"the pairs of the export can not be read: {cause_of(error)}") from error

    def bury(self, collection: str, version: int, tombstone: bytes) -> None:
        """Takes the files of an export that held an erased item away, but for its manifest, and says so beside it.

        Args:
            tombstone: by `export_tombstone.tombstone_of`.

        Raises:
            ExportError: where that can not be done; doing it again goes on.
        """
        folder = self.path(collection, version)
        try:
            with self.one_at_a_time(folder.parent):
                # First the word, then the files: what is half gone says that it is.
                (folder / TOMBSTONE).write_bytes(tombstone)
                for path in folder.iterdir():
                    if path.name not in (MANIFEST, TOMBSTONE):
                        shutil.rmtree(path) if path.is_dir() else path.unlink()
        except FAILURES as error:
            raise ExportError(f"the files of export {collection} v{version} can not go: {cause_of(error)}") from error

    @contextmanager
    def one_at_a_time(self, folder: Path) -> Iterator[None]:
        """One writer a Collection on this machine; what an earlier one left unfinished is removed."""
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".publishing").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in folder.glob(f"{_UNFINISHED}*"):
                shutil.rmtree(left)
            yield


@dataclass(frozen=True)
class _Contents:
    """What goes into a folder beside its manifest."""

    export: Export
    formats: Sequence[str]
    card: str
    documents: Callable[[Files], Mapping[str, bytes]]
    images: Images


def _write_folder(
    target: Path, contents: _Contents, manifest: Mapping[str, Any], audit: Callable[[pl.DataFrame], object]
) -> Published:
    unfinished = target.parent / f"{_UNFINISHED}{target.name}"
    unfinished.mkdir()
    try:
        files = dict(_written(unfinished, contents))
        for name, content in {CARD: contents.card.encode(), **contents.documents(files)}.items():
            (unfinished / name).write_bytes(content)
            files[name] = _file(unfinished / name, None)
        content = manifest_bytes(sealed(manifest, files))
        (unfinished / MANIFEST).write_bytes(content)
        # Nobody sees a folder before its files were read again, each by the reader of its format.
        written: list[pl.DataFrame] = []
        problems = verify_export(unfinished, hashed=files, look=lambda rows: written.append(rows.select(AUDITED)))
        if problems:
            raise ExportError(f"export {target.parent.name} {target.name} is not published: {problems[0]}")
        audit(pl.concat(written))
        written.clear()
        for path in (*unfinished.rglob("*"), unfinished):
            to_disk(path)
        if target.exists():
            target.rename(target.parent / f"{_UNFINISHED}old-{target.name}")
        unfinished.rename(target)
        to_disk(target.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    shutil.rmtree(target.parent / f"{_UNFINISHED}old-{target.name}", ignore_errors=True)
    return Published(str(target), hashlib.sha256(content).hexdigest(), files)


def _written(folder: Path, contents: _Contents) -> Iterator[tuple[str, dict[str, Any]]]:
    """Write every file that holds pairs, and give its name and what the manifest says of it."""
    export, formats = contents.export, set(contents.formats)
    asked = [one for name, one in FILE_FORMATS.items() if name in formats]
    shows = _shows_images(export.rows)
    for split in SPLITS:
        rows = parquet_rows(export.rows.filter(pl.col("split") == split))
        path = folder / f"{split}.parquet"
        _write_parquet(rows, path)
        yield path.name, _file(path, rows.height)
        height, ids = rows.height, rows.select("pair_id")
        # From here on by row groups of the file: a split takes no second copy in memory, however large it is.
        del rows
        source = path
        for one in asked:
            path = folder / f"{split}.{one.ending}"
            with path.open("wb") as file:
                file.writelines(one.write(row_groups(source, export.preferences), contents.images))
            preferred = export.preferences.join(ids, on="pair_id", how="semi").height
            yield path.name, _file(path, preferred if one.name == "dpo" else height)
        if HF in formats:
            write_hf_split(folder / HF, split, row_groups(source), contents.images, shows=shows)
    if HF in formats:
        write_hf_head(folder / HF)
        for path in sorted(path for path in (folder / HF).rglob("*") if path.is_file()):
            yield path.relative_to(folder).as_posix(), _file(path, None)
    if shows and any(one.names_images for one in asked):
        for path in _write_images(folder, export.rows, contents.images):
            yield path.relative_to(folder).as_posix(), _file(path, None)
    _write_parquet(export.exclusions.rechunk(), folder / EXCLUSIONS)
    yield EXCLUSIONS, _file(folder / EXCLUSIONS, export.exclusions.height)


def row_groups(path: Path, preferences: pl.DataFrame | None = None) -> Iterator[pl.DataFrame]:
    """The rows of a split's Parquet file some thousand at a time, as `export_formats.batches_of` gives them."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=CHUNK_ROWS, use_threads=False):
            frame = pl.from_arrow(batch)
            assert isinstance(frame, pl.DataFrame)
            yield from batches_of(frame, preferences)


def _shows_images(rows: pl.DataFrame) -> bool:
    with_parts = pl.element().struct.field("parts").is_not_null()
    return bool(rows.select(pl.col("messages").list.eval(with_parts).list.any().any()).item())


def _write_images(folder: Path, rows: pl.DataFrame, images: Images) -> list[Path]:
    """Write each image file that a pair shows once, named by its content."""
    (folder / IMAGE_FOLDER).mkdir()
    written: dict[str, Path] = {}
    for batch in batches_of(rows):
        for _, (messages, _answer) in conversations([batch]):
            for part in images_of(messages):
                named = part.get("image_file")
                if named is None or named["sha256"] in written:
                    continue
                image = images(named.get("path"), named["sha256"])
                path = folder / image.beside
                path.write_bytes(image.content)
                written[named["sha256"]] = path
    return sorted(written.values())


def _write_parquet(rows: pl.DataFrame, path: Path) -> None:
    # Every setting is fixed, so that the same rows are the same bytes whatever a later default says.
    rows.write_parquet(path, compression="zstd", compression_level=3, statistics=False, row_group_size=50_000)


def _file(path: Path, rows: int | None) -> dict[str, Any]:
    return {"sha256": sha256_of(path), "bytes": path.stat().st_size, "rows": rows}


def to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
