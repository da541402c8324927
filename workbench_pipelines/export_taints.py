"""Taints of published exports, as the lake holds them: when they are looked for, and who refuses to read what is tainted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import polars as pl

from workbench_pipelines.catalog import Catalog
from workbench_pipelines.clients.exported_pairs import exported_pairs
from workbench_pipelines.errors import ExportError
from workbench_pipelines.exports import EXPORT_VERSIONS
from workbench_pipelines.lineage import MODEL_TRAINING_LINEAGE
from workbench_pipelines.tainting import (
    EXPORT_TAINTS,
    EXPORTED,
    new_taints,
    open_taints,
    refused_now,
    taint_line,
    taint_states,
)
from workbench_pipelines.workbench import Workbench

TAINTS = ("records", "export_taints")
_PERMISSIONS = ["pair_id", "allowed_uses", "prohibited_uses", "usage_reason"]


def keep_taints(
    workbench: Workbench, catalog: Catalog, training_sheet: str, pairs: pl.DataFrame, prompts: pl.DataFrame
) -> int:
    """Marks the published exports that hold pairs of a TrainingSheet which they may not hold now; how many rows were written.

    Called with the pairs as they are about to be: where their permissions are those of the ones before, no export is opened.

    Input columns: those of `label/labeled_pairs` and `generate/rendered_prompts`.
    """
    exports = workbench.record("export_versions", EXPORT_VERSIONS)
    if exports.is_empty() or _same_permissions(workbench, training_sheet, pairs, prompts):
        return 0
    taints = workbench.record("export_taints", EXPORT_TAINTS)
    lineage = workbench.record("model_training_lineage", MODEL_TRAINING_LINEAGE)
    # What was exported under a former name are the same pairs.
    former = catalog.training_sheet(training_sheet).metadata.formerly
    of_all = [
        _exported(row, lineage, training_sheet, former)
        for row in exports.select("collection", "version", "path").to_dicts()
    ]
    exported = pl.concat([EXPORTED.to_frame(), *of_all])
    refused = refused_now(exported, pairs, prompts, catalog.vocabulary())
    judged = pl.concat([pairs.select("pair_id"), prompts.select("pair_id")])
    found = new_taints(
        refused,
        exported.join(judged, on="pair_id", how="semi"),
        taints,
        training_sheet,
        dt.datetime.now(dt.UTC),
    )
    if found.height or not workbench.lake.exists(*TAINTS):
        workbench.lake.append(*TAINTS, frame=found)
    return found.height


def tainted_exports(workbench: Workbench, collection: str | None = None) -> list[dict[str, Any]]:
    """The tainted exports of a Collection, or of all, by `tainting.taint_states`."""
    taints = workbench.record("export_taints", EXPORT_TAINTS)
    if collection is not None:
        taints = taints.filter(pl.col("collection") == collection)
    if taints.is_empty():
        return []
    return taint_states(taints, workbench.record("model_training_lineage", MODEL_TRAINING_LINEAGE))


def taint_lines(workbench: Workbench, training_sheet: str) -> list[str]:
    """A line for each tainted export that a TrainingSheet has pairs in."""
    taints = workbench.record("export_taints", EXPORT_TAINTS)
    named = open_taints(taints).filter(pl.col("training_sheet") == training_sheet)
    held = set(named.select("collection", "version").unique().iter_rows())
    return [taint_line(one) for one in tainted_exports(workbench) if (one["collection"], one["version"]) in held]


def refuse_tainted(workbench: Workbench, collection: str, rows: pl.DataFrame) -> None:
    """The gate before a model reads an export: what was permitted when it was made may not be any more.

    Input columns: those of `train/governed_export`.

    Raises:
        ExportError: naming the first reason and what to do.
    """
    refused = refused_pairs(workbench, rows)
    if not refused.is_empty():
        version = rows["export_version"].to_list()[0]
        raise ExportError(
            f"Collection {collection}: export v{version} holds {refused.height} pairs that may not be used "
            f"any more: {refused['reason'].sort()[0]}; run `workbench run {collection}` for an export without them"
        )


def refused_pairs(workbench: Workbench, rows: pl.DataFrame) -> pl.DataFrame:
    """Which of these pairs may not be used for their split as things stand now, by `tainting.refused_now`.

    Input columns: training_sheet, pair_id, split.
    """
    catalog = workbench.catalog()
    of_members = {
        "training_sheet": sorted({catalog.today("TrainingSheet", name) for name in rows["training_sheet"].unique()})
    }
    if rows.is_empty():
        return rows.select("pair_id", "split", pl.lit("").alias("use"), pl.lit("").alias("reason"))
    pairs = workbench.lake.scan("label", "labeled_pairs", partition=of_members).select(_PERMISSIONS).collect()
    prompts = workbench.lake.scan("generate", "rendered_prompts", partition=of_members)
    stated = prompts.select("pair_id", "usage_statements").collect()
    return refused_now(rows.select("pair_id", "split"), pairs, stated, catalog.vocabulary())


def _same_permissions(workbench: Workbench, training_sheet: str, pairs: pl.DataFrame, prompts: pl.DataFrame) -> bool:
    """Whether nothing is permitted or refused now that was not before, as far as pairs tell."""
    table = ("label", "labeled_pairs")
    # Of a prompt without a pair only the look itself tells.
    without_pair = prompts.height > pairs.height
    if without_pair or not workbench.lake.exists(*TAINTS) or not workbench.lake.exists(*table):
        return False
    before = workbench.lake.scan(*table, partition={"training_sheet": [training_sheet]}).select(_PERMISSIONS).collect()
    return before.sort("pair_id").equals(pairs.select(_PERMISSIONS).sort("pair_id"))


def _exported(
    export: dict[str, Any], lineage: pl.DataFrame, training_sheet: str, former: Sequence[str]
) -> pl.DataFrame:
    """The pairs of a TrainingSheet in one export; where its files are gone, those that its models learned from."""
    named = [pl.lit(export["collection"]).alias("collection"), pl.lit(export["version"], pl.Int64).alias("version")]
    found = exported_pairs(export["path"], [training_sheet, *former])
    if found is not None:
        found = found.with_columns(pl.lit(training_sheet).alias("training_sheet"))
    if found is None:
        version = (pl.col("collection") == export["collection"]) & (pl.col("export_version") == export["version"])
        learned = lineage.filter(version)["pair_ids"].explode().drop_nulls().unique()
        # The split is not known any more; a model learned from all of them.
        found = pl.DataFrame({"pair_id": learned}).with_columns(
            pl.lit(training_sheet).alias("training_sheet"), pl.lit("train").alias("split")
        )
    return found.with_columns(named).select([pl.col(name).cast(dtype) for name, dtype in EXPORTED.items()])
