"""Replaying: an export made again from the lake as it stood, and compared byte for byte.

Its manifest names the commit of every table that it was made of, the Collection as it was defined and the uses that were
known. No model is asked and nothing of the lake is written. Files of images are read from the project's volumes, or from the
export where it keeps them: pairs name them by their content.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import ValidationError

from workbench_pipelines.catalog import Catalog, Collection
from workbench_pipelines.clients.export_folder import ExportFolder
from workbench_pipelines.clients.export_tombstone import MANIFEST, superseded_line
from workbench_pipelines.clients.export_verification import sha256_of
from workbench_pipelines.errors import ArgumentError, ExportError, LakeError
from workbench_pipelines.export_basis import DECISIONS, LEDGER, PAIRS, TRUTH
from workbench_pipelines.export_manifest import manifest, read_manifest
from workbench_pipelines.exporting import image_files, write_export
from workbench_pipelines.exports import Export, prepare_export
from workbench_pipelines.formats.conversation import ENDINGS, IMAGE_FOLDER, Image, Images
from workbench_pipelines.formats.preferences import preference_pairs
from workbench_pipelines.ground_truth import GroundTruth
from workbench_pipelines.ground_truth_items import ground_truth_at
from workbench_pipelines.identity import digest
from workbench_pipelines.merkle import merkle_root
from workbench_pipelines.netting import nets_of, netted_decisions
from workbench_pipelines.personal_data import REFUSED
from workbench_pipelines.split_ledger import split_ledger
from workbench_pipelines.splits import SPLIT_ASSIGNMENTS
from workbench_pipelines.workbench import Workbench


@dataclass(frozen=True)
class Replayed:
    """How an export that was made again compares.

    Attributes:
        files: how many files were compared.
        problems: each file that differs, one line each; empty where every byte is the same.
    """

    collection: str
    version: int
    merkle_root: str
    files: int
    problems: list[str]


def replay_export(workbench: Workbench, folder: Path, into: Path | None = None) -> Replayed:
    """Makes an export again and compares every file of it.

    Args:
        folder: the export.
        into: where the replay stays, a folder that is empty or not there; else it is removed again.

    Raises:
        ArgumentError: for an `into` that holds something.
        ExportError: when the manifest does not hold, or what the export was made of is not in the lake any more.
    """
    if into is not None and into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise ArgumentError(f"--into: {into.name} is there and not an empty folder")
    if (superseded := superseded_line(folder)) is not None:
        raise ExportError(superseded)
    try:
        said = read_manifest((folder / MANIFEST).read_bytes())
    except OSError:
        raise ExportError(f"{folder.name} has no {MANIFEST} that can be read") from None
    catalog = workbench.catalog()
    collection = _collection(catalog, said)
    export = _export(workbench, catalog, collection, said, _held_by_the_net(folder))
    made_of = manifest(
        export,
        collection,
        said["version"],
        training_sheet_versions={one["training_sheet"]: one["version"] for one in said["members"]},
        policy_hash=said["policy_hash"],
        policies=said.get("policies", ()),
        delta_versions=said["delta_versions"],
        vocabulary=said.get("uses", ()),
        renamed_sheets=said.get("renamed_sheets"),
    )
    # What manifests say today and did not say then is no difference between the exports.
    made_of = {name: value for name, value in made_of.items() if name in said}
    beside = into.parent if into is not None else None
    if beside is not None:
        beside.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".replay-", dir=beside) as scratch:
        images = kept_images(workbench, folder)
        made = Path(write_export(ExportFolder(scratch), collection, export, made_of, images).path)
        names, problems = _compared(folder, made)
        if into is not None:
            made.rename(into)
    return Replayed(said["collection"], said["version"], export.merkle_root, names, problems)


def _collection(catalog: Catalog, said: Mapping[str, Any]) -> Collection:
    """The Collection as it was when the export was made."""
    name = said["collection"]
    if "definition" in said:
        try:
            return Collection.model_validate(said["definition"])
        except ValidationError:
            raise ExportError(f"Collection {name}: its definition in {MANIFEST} is none of this version") from None
    collection = catalog.collection(name)
    if digest(collection.spec.model_dump(mode="json")) != said["spec_digest"]:
        raise ExportError(
            f"Collection {name}: its spec is not what it was, and {MANIFEST} of this older export does not hold it: "
            "replay it with the definitions of its time"
        )
    return collection


def _held_by_the_net(folder: Path) -> dict[str, str]:
    """By pair, what was found in it that may not leave, as the export says itself.

    What the net finds depends on the policy and on what was known of the items at the time, which no table keeps. Whatever else
    an export holds back is worked out anew.
    """
    try:
        rows = pl.read_parquet(folder / "exclusions.parquet", columns=["pair_id", "gate", "reason"])
    except (OSError, pl.exceptions.PolarsError):
        return {}  # it is missing or damaged, and the comparison says so
    return dict(rows.filter(pl.col("gate") == REFUSED).select("pair_id", "reason").iter_rows())


def _export(
    workbench: Workbench, catalog: Catalog, collection: Collection, said: Mapping[str, Any], held: Mapping[str, str]
) -> Export:
    versions = said["delta_versions"]
    if PAIRS not in versions:
        raise ExportError(f"{MANIFEST} of this older export does not say which pairs of the lake it was made of")
    members = [one["training_sheet"] for one in said["members"]]
    vocabulary = said.get("uses", catalog.vocabulary())
    try:
        pairs = workbench.lake.read(*PAIRS.split("/"), partition={"training_sheet": members}, version=versions[PAIRS])
        ledger = SPLIT_ASSIGNMENTS.to_frame()
        if LEDGER in versions:
            renamed = said.get("renamed_sheets")
            ledger = split_ledger(workbench, catalog, version=versions[LEDGER], renamed=renamed)
        truth = GroundTruth()
        if TRUTH in versions:
            truth = ground_truth_at(workbench, versions[TRUTH], set(pairs["sheet"]))
        export = prepare_export(collection, pairs, ledger, vocabulary, ground_truth=truth, personal_data=held)
        if "dpo" in collection.spec.formats and DECISIONS in versions:
            edits = workbench.decisions(sorted(set(export.rows["sheet"])), version=versions[DECISIONS])
            edits = netted_decisions(nets_of(workbench, catalog, edits["sheet"].unique()), edits)
            export = replace(export, preferences=preference_pairs(export.rows, edits))
    except LakeError as error:
        raise ExportError(f"the lake no longer has what the export was made of: {error.line}") from None
    if not export.new_assignments.is_empty():
        raise ExportError("the ledger of splits no longer has every assignment that the export was made with")
    root = merkle_root(export.rows, scheme=said.get("merkle_scheme", 1))
    return replace(export.numbered(said["version"]), merkle_root=root)


def kept_images(workbench: Workbench, folder: Path) -> Images:
    """The image files of the project, and those that the export keeps where the project no longer has them."""
    of_project = image_files(workbench)
    kinds = {f".{ending}": kind for kind, ending in ENDINGS.items()}
    kept = {path.stem: path for path in (folder / IMAGE_FOLDER).glob("*") if path.suffix in kinds}

    def image(path: str | None, sha256: str) -> Image:
        try:
            return of_project(path, sha256)
        except ExportError:
            content = kept[sha256].read_bytes() if sha256 in kept else b""
            if hashlib.sha256(content).hexdigest() != sha256:
                raise
            return Image(content, kinds[kept[sha256].suffix])

    return image


def _compared(folder: Path, made: Path) -> tuple[int, list[str]]:
    """How many files there are on either side, and a line for each that is not the same on both."""
    there, again = (
        {path.relative_to(one).as_posix(): path for path in one.rglob("*") if not path.is_dir()}
        for one in (folder, made)
    )
    problems = [f"{name} is not in the replay" for name in sorted(there.keys() - again.keys())]
    problems += [f"{name} is in the replay alone" for name in sorted(again.keys() - there.keys())]
    for name in sorted(there.keys() & again.keys()):
        if sha256_of(there[name]) != sha256_of(again[name]):
            problems.append(f"{name} differs: {_difference(there[name], again[name])}")
    return len(there.keys() | again.keys()), problems


def _difference(there: Path, again: Path) -> str:
    """How two files differ, in counts: rows of Parquet files, bytes of others; never a value."""
    if there.suffix == ".parquet":
        try:
            one, other = pl.read_parquet(there), pl.read_parquet(again)
            apart = one.join(other, on=one.columns, how="anti", nulls_equal=True).height
            return f"{one.height} rows are there and {other.height} in the replay, {apart} are not the same"
        except (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException):
            return "its rows can not be compared"
    return f"{there.stat().st_size} bytes are there and {again.stat().st_size} in the replay"
