"""Which exports may leave the house: those that are released, untainted, and the very files that were published."""

from __future__ import annotations

import hashlib
from pathlib import Path

import polars as pl

from workbench_pipelines.clients.export_tombstone import MANIFEST, superseded_line
from workbench_pipelines.clients.export_verification import FAILURES
from workbench_pipelines.collection_versions import COLLECTION_VERSIONS, state_of
from workbench_pipelines.errors import ExportError
from workbench_pipelines.export_manifest import read_manifest
from workbench_pipelines.export_taints import refuse_tainted, tainted_exports
from workbench_pipelines.exports import EXPORT_VERSIONS
from workbench_pipelines.splits import SPLITS
from workbench_pipelines.tainting import taint_line
from workbench_pipelines.workbench import Workbench


def refuse_unreleased(workbench: Workbench, folder: Path) -> None:
    """Refuses an export that is not released in this project, or that is tainted.

    Raises:
        ExportError: naming how it stands and what to do.
    """
    if (superseded := superseded_line(folder)) is not None:
        raise ExportError(f"{folder.name} is not pushed: {superseded}")
    try:
        content = (folder / MANIFEST).read_bytes()
    except OSError:
        raise ExportError(f"{folder.name} is not pushed: it has no {MANIFEST} that can be read") from None
    manifest = read_manifest(content)
    collection, version = manifest["collection"], manifest["version"]
    name = f"{collection} v{version}"
    history = workbench.record("export_versions", EXPORT_VERSIONS)
    known = history.filter((pl.col("collection") == collection) & (pl.col("version") == version))
    if known["manifest_sha256"].to_list() != [hashlib.sha256(content).hexdigest()]:
        raise ExportError(f"{name} is not pushed: it is none that this project published")
    status = state_of(workbench.record("collection_versions", COLLECTION_VERSIONS), collection, version).status
    if status != "released":
        raise ExportError(
            f"{name} is not pushed: it is {status}, and what is released may leave; see `workbench collection status {collection}`"
        )
    for one in tainted_exports(workbench, collection):
        if one["version"] == version:
            raise ExportError(f"{name} is not pushed: {taint_line(one)}")
    columns = ["training_sheet", "pair_id", "item_ref", "messages", "response", "inputs", "split"]
    try:
        rows = pl.concat([pl.read_parquet(folder / f"{split}.parquet", columns=columns) for split in SPLITS])
    except FAILURES:
        raise ExportError(f"{name} is not pushed: its pairs can not be read") from None
    refuse_tainted(workbench, collection, rows.with_columns(pl.lit(version).alias("export_version")))
