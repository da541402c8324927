"""Publishing: the pairs of a Collection through the gates, into a folder, and into the records that make it count."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from workbench_pipelines.catalog import Catalog, Collection
from workbench_pipelines.charts import length_chart
from workbench_pipelines.clients.export_folder import ExportFolder, Files, Published
from workbench_pipelines.clients.export_pointer import current_export, move_pointer
from workbench_pipelines.clients.export_verification import has_files
from workbench_pipelines.clients.model_runs import ExportUsed
from workbench_pipelines.clients.openlineage_events import record_export
from workbench_pipelines.clients.token_counter import ENCODING, count_tokens
from workbench_pipelines.collection_releases import record_draft
from workbench_pipelines.errors import ExportError
from workbench_pipelines.export_audit import audit_export, refuse_changed
from workbench_pipelines.export_basis import DECISIONS, PAIRS, ExportBasis, read_commits, settled_export
from workbench_pipelines.export_contract import CONTRACT, contract
from workbench_pipelines.export_croissant import CROISSANT, croissant
from workbench_pipelines.export_manifest import LENGTHS_CHART, card, manifest, policies_hash
from workbench_pipelines.export_taints import refused_pairs
from workbench_pipelines.exports import (
    COLLECTION_MEMBERS,
    EXPORT_VERSIONS,
    Export,
    export_identity,
    member_rows,
    next_version,
    version_row,
)  # fmt: skip
from workbench_pipelines.formats.conversation import Image, Images
from workbench_pipelines.formats.preferences import preference_pairs
from workbench_pipelines.lengths import histogram, measure_lengths
from workbench_pipelines.lineage import TRAINING_SHEETS
from workbench_pipelines.merkle import SCHEME, merkle_root
from workbench_pipelines.netting import nets_of, netted_decisions, stated_of, withheld_pairs
from workbench_pipelines.requests import Refusal
from workbench_pipelines.split_ledger import renamed_sheets
from workbench_pipelines.stated_policies import policies_judged_by, refuse_outdated
from workbench_pipelines.workbench import Workbench


@dataclass(frozen=True)
class PublishedExport:
    """An export that counts: its rows, its identity, where it lies, how many pairs were excluded, and its figures."""

    rows: pl.DataFrame
    identity: str
    path: str
    excluded: int
    figures: Mapping[str, Any]


def publish_export(
    workbench: Workbench, collection: Collection, pairs: pl.DataFrame, *, instead_of: int | None = None
) -> PublishedExport:
    """Takes a Collection's pairs through both gates and publishes what passes; an unchanged export keeps its version.

    Write, audit, publish: the folder is written under a hidden name and read again, every blocking check is made of what was
    written, its row is committed, and last the pointer moves. A version that fails its audit leaves no trace.

    Args:
        instead_of: a version that is about to go, and is therefore not kept though nothing is different.

    Raises:
        DefinitionError: for a member that is no TrainingSheet, or a broken one.
        NothingApproved: when no pair is approved; the line says who is waited for.
        ExportError: when a definition states other uses than when the pairs were judged, nothing that is approved is
            permitted, a prompt shows an item that is held out, the folder can not be written, or its audit fails.
    """
    catalog = workbench.catalog()
    where = f"{catalog.file_of('Collection', collection.name)}: Collection {collection.name}: spec.members"
    for member in collection.spec.members:
        catalog.training_sheet(member.training_sheet, where)
    refuse_outdated(catalog, pairs, collection.name)
    # Named before anything else is read: what others write meanwhile is no part of the export.
    commits = read_commits(workbench)
    nets = nets_of(workbench, catalog, pairs["sheet"].unique())
    export, basis = settled_export(workbench, catalog, collection, pairs, commits, withheld_pairs(nets, pairs))
    if "dpo" in collection.spec.formats:
        edits = workbench.decisions(sorted(set(export.rows["sheet"])), version=commits.get(DECISIONS))
        export = replace(export, preferences=preference_pairs(export.rows, netted_decisions(nets, edits)))
    identity = export_identity(export, collection)
    history = workbench.record("export_versions", EXPORT_VERSIONS)
    version, known = next_version(history, collection.name, identity)
    if known is not None and (known["version"] == instead_of or not has_files(known["path"])):
        # Its files are gone, or will be: a number never means two different folders.
        version, known = version + 1, None
    export = export.numbered(version)
    if known is not None:
        # A new version is audited; one that is there was, when fewer of its pairs may have been closed.
        refused = refused_pairs(workbench, export.rows)["reason"].sort()
        if len(refused):
            raise ExportError(
                f"Collection {collection.name}: {len(refused)} of its pairs may not be used any more: {refused[0]}; "
                f"run `workbench run {collection.name}`"
            )
        path = known["path"]
    else:
        refuse_changed(workbench, collection, pairs, commits.get(PAIRS))
        path = _publish(workbench, catalog, collection, export, version, basis, policies_judged_by(pairs))
    _settle(workbench, collection.name, export)
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
        ExportError: when their version is not published, or they are not all of its pairs as they were published.
    """
    version = int(rows["export_version"].max() or 0)  # type: ignore[arg-type]
    history = workbench.record("export_versions", EXPORT_VERSIONS)
    found = history.filter((pl.col("collection") == collection.name) & (pl.col("version") == version)).to_dicts()
    if not found:
        raise ExportError(
            f"Collection {collection.name}: export v{version} is not published; materialize governed_export"
        )
    # A model is found again by this root: it has to be that of what it learns from.
    if found[0]["merkle_root"] not in (merkle_root(rows, scheme=scheme) for scheme in range(SCHEME, 0, -1)):
        raise ExportError(
            f"Collection {collection.name}: the {rows.height} rows of governed_export are not the pairs of export v{version}; "
            f"run `workbench run {collection.name}`"
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


def _publish(
    workbench: Workbench,
    catalog: Catalog,
    collection: Collection,
    export: Export,
    version: int,
    basis: ExportBasis,
    policies: Sequence[str],
) -> str:
    now = dt.datetime.now(dt.UTC)
    versions = (
        workbench.record("training_sheets", TRAINING_SHEETS).group_by("training_sheet").agg(pl.col("version").max())
    )
    made_of = manifest(
        export,
        collection,
        version,
        training_sheet_versions=dict(versions.iter_rows()),
        policies=policies,
        policy_hash=policies_hash(policies, catalog.vocabulary(), stated_of(catalog, export.rows["sheet"].unique())),
        delta_versions=basis.commits,
        vocabulary=catalog.vocabulary(),
        renamed_sheets=renamed_sheets(catalog),
    )

    def is_unpublished() -> bool:
        rows = workbench.record("export_versions", EXPORT_VERSIONS)
        return rows.filter((pl.col("collection") == collection.name) & (pl.col("version") == version)).is_empty()

    def audit(written: pl.DataFrame) -> None:
        audit_export(
            workbench,
            catalog,
            collection,
            export,
            written,
            commit=basis.commits[PAIRS],
            ground_truth=basis.ground_truth,
        )

    published = write_export(
        ExportFolder(workbench.lake.uri),
        collection,
        export,
        made_of,
        image_files(workbench),
        replace_unpublished=is_unpublished,
        audit=audit,
        commit=lambda done: _commit(workbench, collection, export, made_of, done, now),
    )
    return published.path


def write_export(
    exports: ExportFolder,
    collection: Collection,
    export: Export,
    made_of: Mapping[str, Any],
    images: Images,
    **how: Any,
) -> Published:
    """Writes a numbered export into its folder, with everything that lies beside its pairs.

    Args:
        made_of: by `export_manifest.manifest`.
        images: where image files are read from.
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
        images=images,
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
    """Writes the event and whose draft it is, and then the row that publishes the export."""
    version = made_of["version"]
    # Before the row: what is published has its event, and one that is told twice is the same run.
    record_export(Path(published.path).parent, made_of, published.files, now)
    record_draft(workbench, collection.name, version, now)
    row = version_row(
        export, collection, version, path=published.path, manifest_sha256=published.manifest_sha256, created_at=now
    )
    workbench.lake.append_new("records", "export_versions", frame=row, key=["collection", "version"])


def _settle(workbench: Workbench, collection: str, export: Export) -> None:
    """Says who is a member now, and moves the pointer to the newest version; nothing where a run before did both."""
    exports = ExportFolder(workbench.lake.uri)
    version = int(export.rows["export_version"][0])
    said = None
    with suppress(ExportError):  # one that can not be read is written anew
        said = current_export(exports, collection)
    newest = newest_published(workbench, collection)
    if said is not None and newest is not None and said["manifest_sha256"] == newest["manifest_sha256"]:
        return

    def point() -> dict[str, Any] | None:
        found = newest_published(workbench, collection)
        if found is not None and found["version"] == version:
            known = workbench.record("collection_members", COLLECTION_MEMBERS)
            members = member_rows(export, known, by=workbench.settings.user, at=dt.datetime.now(dt.UTC))
            workbench.lake.replace_partition(
                "records", "collection_members", frame=members, partition_by="collection", keys=[collection]
            )
        return found

    # The pointer last: where it says the newest version, all that goes with it is written.
    move_pointer(exports, collection, point)


def point_to_newest(workbench: Workbench, collection: str) -> None:
    """Moves the pointer of a Collection to the newest version that has its files, or takes it away where none has."""
    move_pointer(ExportFolder(workbench.lake.uri), collection, lambda: newest_published(workbench, collection))


def newest_published(workbench: Workbench, collection: str) -> dict[str, Any] | None:
    """The row of `EXPORT_VERSIONS` of the newest version of a Collection whose files are there; None where there is none."""
    history = workbench.record("export_versions", EXPORT_VERSIONS)
    rows = history.filter(pl.col("collection") == collection).sort("version", descending=True)
    return next((row for row in rows.iter_rows(named=True) if has_files(row["path"])), None)
