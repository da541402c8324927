"""Whether an export is as it was published: every file, every pair and every line, against the manifest and each other.

Nothing is needed but the folder, and nothing is written.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any

import polars as pl

from workbench_pipelines.clients.export_tombstone import MANIFEST, TOMBSTONE, superseded_line, tombstone_problems
from workbench_pipelines.clients.hf_dataset import read_hf_split
from workbench_pipelines.errors import ExportError
from workbench_pipelines.export_formats import batches_of
from workbench_pipelines.export_manifest import read_manifest
from workbench_pipelines.formats import FILE_FORMATS, Format
from workbench_pipelines.formats.conversation import by_content, conversations
from workbench_pipelines.formats.preferences import read_dpo
from workbench_pipelines.identity import pair_hash, prompt_hash
from workbench_pipelines.merkle import merkle_root
from workbench_pipelines.splits import SPLITS

EXCLUSIONS, HF = "exclusions.parquet", "hf"
# What a full disk, a missing right or a damaged file raises; polars' panic is no Exception.
FAILURES = (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)


def verify_export(
    folder: Path,
    manifest_sha256: str | None = None,
    *,
    hashed: Mapping[str, Mapping[str, Any]] | None = None,
    look: Callable[[pl.DataFrame], object] = lambda rows: None,
) -> list[str]:
    """What is wrong with an export, one line each; empty where every byte is as it was published.

    Args:
        manifest_sha256: as its row in `export_versions` has it, where that can be asked.
        hashed: what was read of each file just now (sha256), so that it is not read for its hash again.
        look: is shown the rows of each split as its Parquet file holds them.
    """
    if (superseded := superseded_line(folder)) is not None:
        return [superseded]
    try:
        content = (folder / MANIFEST).read_bytes()
    except OSError as error:
        return [f"{MANIFEST} can not be read: {cause_of(error)}"]
    problems = tombstone_problems(folder)
    if manifest_sha256 is not None and hashlib.sha256(content).hexdigest() != manifest_sha256:
        problems.append(f"{MANIFEST} is not the one that was published")
    try:
        manifest = read_manifest(content)
    except ExportError as error:
        return [*problems, error.line]
    problems += _file_problems(folder, manifest["files"], hashed or {})
    return problems or _content_problems(folder, manifest, look)


def has_files(folder: str | Path) -> bool:
    """Whether the files of an export are where they were published, and were not taken away for an erased item."""
    return Path(folder).is_dir() and superseded_line(Path(folder)) is None


def _file_problems(
    folder: Path, files: Mapping[str, Mapping[str, Any]], hashed: Mapping[str, Mapping[str, Any]]
) -> list[str]:
    """Files that are missing, changed, or not of the export."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    problems = [f"{name} is not in the manifest" for name in sorted(found - files.keys() - {MANIFEST, TOMBSTONE})]
    for name, said in sorted(files.items()):
        if name not in found:
            problems.append(f"{name} is missing")
        elif (actual := hashed[name]["sha256"] if name in hashed else sha256_of(folder / name)) != said["sha256"]:
            problems.append(
                f"{name} has changed: its sha256 is {actual[:12]}…, the manifest has {said['sha256'][:12]}…"
            )
    return problems


def _content_problems(folder: Path, manifest: Mapping[str, Any], look: Callable[[pl.DataFrame], object]) -> list[str]:
    """Whether the files, as they are, hold the pairs that the manifest's Merkle root names."""
    problems: list[str] = []
    leaves = []
    for split in SPLITS:
        name = f"{split}.parquet"
        try:
            rows = pl.read_parquet(folder / name)
        except FAILURES as error:
            return [*problems, f"{name} can not be read: {cause_of(error)}"]
        if rows.height != manifest["counts"][split] or not (rows["split"] == split).all():
            problems.append(f"{name} does not hold the {manifest['counts'][split]} pairs of {split}")
        problems += _pair_problems(name, rows)
        for name, one in FILE_FORMATS.items():
            file = folder / f"{split}.{one.ending}"
            if file.exists():
                problems += _preference_problems(file, rows) if name == "dpo" else _line_problems(file, one, rows)
        if (folder / HF).exists():
            problems += _hf_problems(folder / HF, split, rows)
        look(rows)
        leaves.append(rows.select("pair_id", "pair_hash", "split", "weight"))
    if merkle_root(pl.concat(leaves), scheme=manifest.get("merkle_scheme", 1)) != manifest["merkle_root"]:
        problems.append("the Merkle root of the pairs is not the one in the manifest")
    return problems


def _pair_problems(name: str, rows: pl.DataFrame) -> list[str]:
    """The first pair that is not what its pair_hash says."""
    for row in rows.iter_rows(named=True):
        prompt = prompt_hash(row["messages"])
        if pair_hash(prompt, row["response"], row["label_type"], row["canonical_label_id"]) != row["pair_hash"]:
            return [f"{name}: pair {row['pair_id']} is not what its pair_hash says"]
    return []


def _line_problems(path: Path, written: Format, rows: pl.DataFrame) -> list[str]:
    """The first example of a file that is not its pair; both sides are read as a provider reads them."""
    with path.open("rb") as file:
        try:
            for found, due, pair_id in zip_longest(
                written.read(file), written.examples(batches_of(rows)), rows["pair_id"]
            ):
                if found != due:
                    return [f"{path.name}: the line of pair {pair_id} is not that pair"]
        except ExportError as error:
            return [f"{path.name}: {error.line}"]
        except FAILURES as error:
            return [f"{path.name} can not be read: {cause_of(error)}"]
    return []


def _preference_problems(path: Path, rows: pl.DataFrame) -> list[str]:
    """The first line of preferences whose prompt and chosen answer are no pair's, or out of order.

    Which pairs have a draft that was rejected, and what it said, stands in no Parquet file: the hash of the file proves it.
    """
    due = (by_content(one) for _, one in conversations(batches_of(rows)))
    with path.open("rb") as file:
        try:
            for number, found in enumerate(read_dpo(file), start=1):
                if found.chosen not in due:  # goes on where the line before was found
                    return [f"{path.name}: line {number} prefers what is no pair, or not in its order"]
                if found.rejected == found.chosen.response:
                    return [f"{path.name}: line {number} rejects the very answer that it prefers"]
        except ExportError as error:
            return [f"{path.name}: {error.line}"]
        except (*FAILURES, KeyError, ValueError) as error:
            return [f"{path.name} can not be read: {cause_of(error)}"]
    return []


def _hf_problems(folder: Path, split: str, rows: pl.DataFrame) -> list[str]:
    due = (by_content(one) for _, one in conversations(batches_of(rows)))
    try:
        for found, expected, pair_id in zip_longest(read_hf_split(folder, split), due, rows["pair_id"]):
            if found != expected:
                return [f"{HF}: the example of pair {pair_id} in {split} is not that pair"]
    except (*FAILURES, KeyError, ValueError) as error:
        return [f"{HF}: {split} can not be read: {cause_of(error)}"]
    return []


def sha256_of(path: Path) -> str:
    """The digest of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cause_of(error: BaseException) -> str:
    """A failure as one line."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]
