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
from itertools import zip_longest
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import polars as pl

from workbench_pipelines.catalog.common import NAME_PATTERN
from workbench_pipelines.errors import ExportError, nearest
from workbench_pipelines.export_formats import FORMATS, LINE_FORMATS, parquet_rows, read_openai
from workbench_pipelines.export_manifest import manifest_bytes, read_manifest, sealed
from workbench_pipelines.exports import Export
from workbench_pipelines.identity import pair_hash, prompt_hash
from workbench_pipelines.merkle import merkle_root
from workbench_pipelines.splits import SPLITS

MANIFEST, CARD, EXCLUSIONS = "manifest.json", "README.md", "exclusions.parquet"
_UNFINISHED = ".writing-"
# What a full disk, a missing right or a damaged file raises; polars' panic is no Exception.
_FAILURES = (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)


@dataclass(frozen=True)
class Published:
    """Where an export lies, the hash of its manifest for its row, and its files (sha256, bytes, rows) by name."""

    path: str
    manifest_sha256: str
    files: Mapping[str, Mapping[str, Any]]


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
        replace_unpublished: Callable[[], bool] = lambda: False,
        commit: Callable[[Published], object] = lambda published: None,
    ) -> Published:
        """Write the folder of an export, and then what makes it count.

        Args:
            manifest: by `export_manifest.manifest`; the files are added here.
            replace_unpublished: asked while no other writer of the Collection is at work; true only where
                `export_versions` has no row for this version: what lies there is then the rest of a run that died.
            commit: writes that row, before another writer of the Collection goes on.

        Raises:
            ExportError: for an unknown format, a version that is there already, and a folder that can not be written;
                nothing half-written is left.
        """
        for name in formats:
            if name not in FORMATS:
                raise ExportError(
                    f"Collection {collection}: spec.formats: unknown format '{name}'{nearest(name, FORMATS)}"
                )
        target = self.path(collection, version)
        try:
            with self._one_at_a_time(target.parent):
                if target.exists() and not replace_unpublished():
                    raise ExportError(f"export {collection} v{version} is there already, and is never overwritten")
                published = _write_folder(target, export, formats, manifest, card)
                commit(published)
        except _FAILURES as error:
            raise ExportError(f"export {collection} v{version} can not be written: {_cause(error)}") from error
        return published

    @staticmethod
    def verify(path: str | Path, manifest_sha256: str | None = None) -> list[str]:
        """What is wrong with an export, one line each; empty where every byte is as it was published.

        Args:
            manifest_sha256: as its row in `export_versions` has it, where that can be asked.
        """
        folder = Path(path)
        try:
            content = (folder / MANIFEST).read_bytes()
        except OSError as error:
            return [f"{MANIFEST} can not be read: {_cause(error)}"]
        problems = []
        if manifest_sha256 is not None and hashlib.sha256(content).hexdigest() != manifest_sha256:
            problems.append(f"{MANIFEST} is not the one that was published")
        try:
            manifest = read_manifest(content)
        except ExportError as error:
            return [*problems, error.line]
        problems += _file_problems(folder, manifest["files"])
        return problems or _content_problems(folder, manifest)

    @contextmanager
    def _one_at_a_time(self, folder: Path) -> Iterator[None]:
        """One writer a Collection on this machine; what an earlier one left unfinished is removed."""
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".publishing").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            for left in folder.glob(f"{_UNFINISHED}*"):
                shutil.rmtree(left)
            yield


def _write_folder(
    target: Path, export: Export, formats: Sequence[str], manifest: Mapping[str, Any], card: str
) -> Published:
    unfinished = target.parent / f"{_UNFINISHED}{target.name}"
    unfinished.mkdir()
    try:
        files = dict(_written(unfinished, export, formats, card))
        content = manifest_bytes(sealed(manifest, files))
        (unfinished / MANIFEST).write_bytes(content)
        for path in (*unfinished.iterdir(), unfinished):
            _to_disk(path)
        if target.exists():
            target.rename(target.parent / f"{_UNFINISHED}old-{target.name}")
        unfinished.rename(target)
        _to_disk(target.parent)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise
    shutil.rmtree(target.parent / f"{_UNFINISHED}old-{target.name}", ignore_errors=True)
    return Published(str(target), hashlib.sha256(content).hexdigest(), files)


def _written(folder: Path, export: Export, formats: Sequence[str], card: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Write every file but the manifest, and give its name and what the manifest says of it."""
    for split in SPLITS:
        rows = parquet_rows(export.rows.filter(pl.col("split") == split))
        path = folder / f"{split}.parquet"
        _write_parquet(rows, path)
        yield path.name, _file(path, rows.height)
        for name in sorted(set(formats) & set(LINE_FORMATS)):
            path = folder / f"{split}.{name}.jsonl"
            with path.open("wb") as file:
                file.writelines(LINE_FORMATS[name](rows))
            yield path.name, _file(path, rows.height)
    _write_parquet(export.exclusions.rechunk(), folder / EXCLUSIONS)
    yield EXCLUSIONS, _file(folder / EXCLUSIONS, export.exclusions.height)
    (folder / CARD).write_text(card, encoding="utf-8")
    yield CARD, _file(folder / CARD, None)


def _write_parquet(rows: pl.DataFrame, path: Path) -> None:
    # Every setting is fixed, so that the same rows are the same bytes whatever a later default says.
    rows.write_parquet(path, compression="zstd", compression_level=3, statistics=False, row_group_size=50_000)


def _file(path: Path, rows: int | None) -> dict[str, Any]:
    return {"sha256": _sha256(path), "bytes": path.stat().st_size, "rows": rows}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _to_disk(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _file_problems(folder: Path, files: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Files that are missing, changed, or not of the export."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    problems = [f"{name} is not in the manifest" for name in sorted(found - files.keys() - {MANIFEST})]
    for name, said in sorted(files.items()):
        if name not in found:
            problems.append(f"{name} is missing")
        elif (actual := _sha256(folder / name)) != said["sha256"]:
            problems.append(
                f"{name} has changed: its sha256 is {actual[:12]}…, the manifest has {said['sha256'][:12]}…"
            )
    return problems


def _content_problems(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """Whether the files, as they are, hold the pairs that the manifest's Merkle root names."""
    problems: list[str] = []
    leaves = []
    for split in SPLITS:
        name = f"{split}.parquet"
        try:
            rows = pl.read_parquet(folder / name)
        except _FAILURES as error:
            return [*problems, f"{name} can not be read: {_cause(error)}"]
        if rows.height != manifest["counts"][split] or not (rows["split"] == split).all():
            problems.append(f"{name} does not hold the {manifest['counts'][split]} pairs of {split}")
        problems += _pair_problems(name, rows)
        lines = folder / f"{split}.openai.jsonl"
        if lines.exists():
            problems += _line_problems(lines, rows)
        leaves.append(rows.select("pair_id", "pair_hash", "split", "weight"))
    if merkle_root(pl.concat(leaves)) != manifest["merkle_root"]:
        problems.append("the Merkle root of the pairs is not the one in the manifest")
    return problems


def _pair_problems(name: str, rows: pl.DataFrame) -> list[str]:
    """The first pair that is not what its pair_hash says."""
    for row in rows.iter_rows(named=True):
        prompt = prompt_hash(row["messages"])
        if pair_hash(prompt, row["response"], row["label_type"], row["canonical_label_id"]) != row["pair_hash"]:
            return [f"{name}: pair {row['pair_id']} is not what its pair_hash says"]
    return []


def _line_problems(lines: Path, rows: pl.DataFrame) -> list[str]:
    """The first line that is not its pair; both sides are read as a provider reads them."""
    expected = read_openai(line for chunk in LINE_FORMATS["openai"](rows) for line in chunk.splitlines())
    with lines.open("rb") as file:
        try:
            for found, due, pair_id in zip_longest(read_openai(file), expected, rows["pair_id"]):
                if found != due:
                    return [f"{lines.name}: the line of pair {pair_id} is not that pair"]
        except ExportError as error:
            return [f"{lines.name}: {error.line}"]
    return []


def _cause(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
