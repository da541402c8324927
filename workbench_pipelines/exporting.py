"""Publishing: the pairs of a Collection through the gates, into a folder, and into the records that make it count."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from workbench_pipelines.catalog import Catalog, Collection
from workbench_pipelines.charts import length_chart
from workbench_pipelines.clients.export_folder import ExportFolder, Files, Published
from workbench_pipelines.clients.model_runs import ExportUsed
from workbench_pipelines.clients.openlineage_events import record_export
from workbench_pipelines.clients.token_counter import ENCODING, count_tokens
from workbench_pipelines.collection_releases import record_draft
from workbench_pipelines.errors import ExportError
from workbench_pipelines.example_leaks import refuse_leaks
from workbench_pipelines.export_contract import CONTRACT, contract
from workbench_pipelines.export_croissant import CROISSANT, croissant
from workbench_pipelines.export_manifest import LENGTHS_CHART, card, manifest, policies_hash
from workbench_pipelines.exports import (
    COLLECTION_MEMBERS,
    EXPORT_VERSIONS,
    Export,
    export_identity,
    member_rows,
    next_version,
    prepare_export,
    version_row,
)  # fmt: skip
from workbench_pipelines.formats.conversation import Image, Images
from workbench_pipelines.formats.preferences import preference_pairs
from workbench_pipelines.ground_truth_items import ground_truth_of
from workbench_pipelines.lengths import histogram, measure_lengths
from workbench_pipelines.lineage import TRAINING_SHEETS
from workbench_pipelines.netting import nets_of, netted_decisions, stated_of, withheld_pairs
from workbench_pipelines.requests import Refusal
from workbench_pipelines.split_ledger import split_ledger
from workbench_pipelines.workbench import Workbench

# The ledger is written by every Collection: each try sees all that the others assigned before it.
LEDGER_TRIES = 5
_TABLES = (
    ("label", "labeled_pairs"),
    ("label", "decisions"),
    ("label", "canonical_labels"),
    ("records", "split_assignments"),
)


@dataclass(frozen=True)
class PublishedExport:
    """An export that counts: its rows, its identity, where it lies, how many pairs were excluded, and its figures."""

    rows: pl.DataFrame
    identity: str
    path: str
    excluded: int
    figures: Mapping[str, Any]


def publish_export(workbench: Workbench, collection: Collection, pairs: pl.DataFrame) -> PublishedExport:
    """Takes a Collection's pairs through both gates and publishes what passes; an unchanged export keeps its version.

    Raises:
        DefinitionError: for a member that is no TrainingSheet, or a broken one.
        NothingApproved: when no pair is approved; the line says who is waited for.
        ExportError: when nothing that is approved is permitted, a prompt shows an item that is held out, or the folder can
            not be written.
    """
    catalog = workbench.catalog()
    where = f"{catalog.file_of('Collection', collection.name)}: Collection {collection.name}: spec.members"
    for member in collection.spec.members:
        catalog.training_sheet(member.training_sheet, where)
    nets = nets_of(workbench, catalog, pairs["sheet"].unique())
    export = _assigned(workbench, catalog, collection, pairs, withheld_pairs(nets, pairs))
    if "dpo" in collection.spec.formats:
        edits = workbench.decisions(sorted(set(export.rows["sheet"])))
        export = replace(export, preferences=preference_pairs(export.rows, netted_decisions(nets, edits)))
    identity = export_identity(export, collection)
    history = workbench.record("export_versions", EXPORT_VERSIONS)
    version, known = next_version(history, collection.name, identity)
    if known is not None and not Path(known["path"]).is_dir():
        # Its files are gone: a number never means two different folders.
        version, known = version + 1, None
    export = export.numbered(version)
    path = known["path"] if known is not None else _publish(workbench, catalog, collection, export, version)
    return PublishedExport(
        rows=export.rows,
        identity=identity,
        path=path,
        excluded=export.exclusions.height,
        figures={
            "export_version": version,
            "new_version": known is None,
            "merkle_root": known["merkle_root"] if known is not None else export.merkle_root,
            **export.counts,
            "split_deviation": dict(export.deviation),
            "near_duplicates": dict(export.near_duplicates),
        },
    )


def export_used(workbench: Workbench, collection: Collection, rows: pl.DataFrame) -> ExportUsed:
    """The published export that these rows are, as the model registry records it.

    Raises:
        ExportError: when their version is not published.
    """
    version = int(rows["export_version"].max() or 0)  # type: ignore[arg-type]
    history = workbench.record("export_versions", EXPORT_VERSIONS)
    found = history.filter((pl.col("collection") == collection.name) & (pl.col("version") == version)).to_dicts()
    if not found:
        raise ExportError(
            f"Collection {collection.name}: export v{version} is not published; materialize governed_export"
        )
    templates = rows.select("template", "template_version").unique().sort("template", "template_version")
    return ExportUsed(
        collection=collection.name,
        export_version=version,
        merkle_root=found[0]["merkle_root"],
        train_parquet=str(Path(found[0]["path"]) / "train.parquet"),
        training_sheets=sorted(set(rows["training_sheet"])),
        template_versions=dict(templates.iter_rows()),
    )


def _assigned(
    workbench: Workbench, catalog: Catalog, collection: Collection, pairs: pl.DataFrame, withheld: Mapping[str, str]
) -> Export:
    """The export with every split it rests on written into the ledger first."""
    members = [catalog.training_sheet(member.training_sheet) for member in collection.spec.members]
    waits_for = {member.name: catalog.reviewers_of(member) for member in members}
    truth = ground_truth_of(workbench, catalog)
    for _ in range(LEDGER_TRIES):
        ledger = split_ledger(workbench, catalog)
        export = prepare_export(
            collection,
            pairs,
            ledger,
            catalog.vocabulary(),
            waits_for=waits_for,
            ground_truth=truth,
            personal_data=withheld,
        )
        if export.new_assignments.is_empty():
            refuse_leaks(workbench, catalog, collection, pairs.join(export.rows, on="pair_id", how="semi"))
            return export
        workbench.lake.append_new("records", "split_assignments", frame=export.new_assignments, key=["group", "seed"])
    raise ExportError(
        f"Collection {collection.name}: the splits did not settle; other exports keep assigning: run again"
    )


def _publish(workbench: Workbench, catalog: Catalog, collection: Collection, export: Export, version: int) -> str:
    now = dt.datetime.now(dt.UTC)
    versions = (
        workbench.record("training_sheets", TRAINING_SHEETS).group_by("training_sheet").agg(pl.col("version").max())
    )
    made_of = manifest(
        export,
        collection,
        version,
        training_sheet_versions=dict(versions.iter_rows()),
        policy_hash=policies_hash(
            catalog.tag_policies(), catalog.vocabulary(), stated_of(catalog, export.rows["sheet"].unique())
        ),
        delta_versions={
            "/".join(table): workbench.lake.version(*table) for table in _TABLES if workbench.lake.exists(*table)
        },
        vocabulary=catalog.vocabulary(),
    )

    def is_unpublished() -> bool:
        rows = workbench.record("export_versions", EXPORT_VERSIONS)
        return rows.filter((pl.col("collection") == collection.name) & (pl.col("version") == version)).is_empty()

    published = write_export(
        workbench,
        ExportFolder(workbench.lake.uri),
        collection,
        export,
        made_of,
        replace_unpublished=is_unpublished,
        commit=lambda done: _commit(workbench, collection, export, made_of, done, now),
    )
    return published.path


def write_export(
    workbench: Workbench,
    exports: ExportFolder,
    collection: Collection,
    export: Export,
    made_of: Mapping[str, Any],
    **how: Any,
) -> Published:
    """Writes a numbered export into its folder, with everything that lies beside its pairs.

    Args:
        made_of: by `export_manifest.manifest`.
        how: further arguments of `ExportFolder.publish`.
    """
    lengths = measure_lengths(export.rows, count_tokens)
    version = made_of["version"]

    def documents(files: Files) -> dict[str, bytes]:
        title = f"Lengths of {collection.name} v{version}"
        return {
            CONTRACT: contract(export, collection, made_of),
            CROISSANT: croissant(export, collection, made_of, files),
            LENGTHS_CHART: length_chart(histogram(lengths), title),
        }

    return exports.publish(
        collection.name,
        version,
        export,
        formats=collection.spec.formats,
        manifest=made_of,
        card=card(export, collection, made_of, lengths, ENCODING),
        documents=documents,
        images=image_files(workbench),
        **how,
    )


def image_files(workbench: Workbench) -> Images:
    """The image files of the project's volumes, each held against its digest."""
    attachments = workbench.attachments

    def image(path: str | None, sha256: str) -> Image:
        found = attachments.read(path, sha256) if path else None
        if found is None or isinstance(found, Refusal):
            raise ExportError(found.detail if found else "its image has no path")
        return Image(*found)

    return image


def _commit(
    workbench: Workbench,
    collection: Collection,
    export: Export,
    made_of: Mapping[str, Any],
    published: Published,
    now: dt.datetime,
) -> None:
    """Writes the event and the members, and then the row that publishes the export."""
    version = made_of["version"]
    # Before the row: what is published has its event, and one that is told twice is the same run.
    record_export(Path(published.path).parent, made_of, published.files, now)
    members = member_rows(
        export, workbench.record("collection_members", COLLECTION_MEMBERS), by=workbench.settings.user, at=now
    )
    workbench.lake.replace_partition(
        "records", "collection_members", frame=members, partition_by="collection", keys=[collection.name]
    )
    record_draft(workbench, collection.name, version, now)
    row = version_row(
        export, collection, version, path=published.path, manifest_sha256=published.manifest_sha256, created_at=now
    )
    workbench.lake.append_new("records", "export_versions", frame=row, key=["collection", "version"])
