"""Taints of published exports, as the lake holds them: when they are looked for, and who refuses to read what is tainted."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import polars as pl

from workbench_pipelines.catalog import Catalog
from workbench_pipelines.clients.export_verification import has_files
from workbench_pipelines.clients.exported_pairs import exported_pairs
from workbench_pipelines.decided_since import PAIR_COLUMNS, closed_since
from workbench_pipelines.erasure import ERASED_EXPORTS
from workbench_pipelines.errors import ExportError
from workbench_pipelines.exports import EXPORT_VERSIONS
from workbench_pipelines.gates import USE_OF_SPLIT
from workbench_pipelines.ground_truth import trained_on
from workbench_pipelines.ground_truth_items import ground_truth_of
from workbench_pipelines.lineage import MODEL_TRAINING_LINEAGE
from workbench_pipelines.netted_rows import what_stands, what_was_masked
from workbench_pipelines.netting import net_of, nets_of, withheld_pairs
from workbench_pipelines.personal_data import REFUSED
from workbench_pipelines.stated_policies import first_outdated, with_policies
from workbench_pipelines.tainting import (
    EXPORT_TAINTS,
    EXPORTED,
    new_taints,
    open_taints,
    refused_now,
    taint_line,
    taint_states,
)
from workbench_pipelines.usage_policies import PERSONAL_DATA, USAGE_POLICIES
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
    if exports.is_empty():
        return 0
    taints = workbench.record("export_taints", EXPORT_TAINTS)
    older = _older_than_policy(workbench, catalog, training_sheet, exports)
    held_back = _held_back_now(workbench, catalog, training_sheet, older, pairs)
    was_held_back = _of_personal_data(open_taints(taints).filter(pl.col("training_sheet") == training_sheet))
    news = held_back.height or was_held_back.height
    if not news and _same_permissions(workbench, training_sheet, pairs, prompts):
        return 0
    lineage = workbench.record("model_training_lineage", MODEL_TRAINING_LINEAGE)
    # What was exported under a former name are the same pairs.
    former = catalog.training_sheet(training_sheet).metadata.formerly
    of_all = [
        _exported(row, lineage, training_sheet, former)
        for row in exports.select("collection", "version", "path").to_dicts()
    ]
    exported = _with_splits(pl.concat([EXPORTED.to_frame(), *of_all]))
    refused = refused_now(exported, pairs, prompts, catalog.vocabulary())
    buried = _buried_with_them(exported, older, held_back)
    refused = pl.concat([refused, held_back.select(refused.columns), buried.select(refused.columns)]).unique(
        ["collection", "version", "pair_id", "use"], keep="first", maintain_order=True
    )
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

    Input columns: training_sheet, pair_id, item_ref, messages, response, inputs, split, export_version.

    Raises:
        ExportError: naming the first reason and what to do.
    """
    _refuse_erased(workbench, collection, rows)
    refused = refused_pairs(workbench, rows)
    catalog = workbench.catalog()
    # What was exported under a former name is looked at as what it is called today.
    sheet_of = {
        name: catalog.training_sheet(catalog.today("TrainingSheet", name)).spec.sheet
        for name in rows["training_sheet"].unique()
    }
    rows = rows.with_columns(pl.col("training_sheet").replace_strict(sheet_of, return_dtype=pl.String).alias("sheet"))
    measured = trained_on(_with_trace(workbench, rows), ground_truth_of(workbench, catalog))
    held_back = withheld_pairs(nets_of(workbench, catalog, rows["sheet"].unique()), rows)
    held_back = {pair: f"{REFUSED}: {why}" for pair, why in held_back.items()}
    # What was masked and is blocked by now tells only when its pairs are made anew: the record says what was found then.
    taints = _of_personal_data(open_taints(workbench.record("export_taints", EXPORT_TAINTS)))
    marked = taints.filter(pl.col("collection") == collection).join(
        rows, left_on=["version", "pair_id"], right_on=["export_version", "pair_id"], how="semi"
    )
    held_back = dict(marked.select("pair_id", "reason").iter_rows()) | held_back
    truth = pl.format("its item is ground truth of Collection {}, and is not trained on by any", "said")
    held_back |= dict(measured.select("pair_id", truth).iter_rows())
    reasons = [*refused["reason"].sort(), *sorted(held_back.values())]
    if reasons:
        version = rows["export_version"].to_list()[0]
        raise ExportError(
            f"Collection {collection}: export v{version} holds {len({*refused['pair_id'], *held_back})} pairs that may not be used "
            f"any more: {reasons[0]}; run `workbench run {collection}` for an export without them"
        )


def _with_trace(workbench: Workbench, rows: pl.DataFrame) -> pl.DataFrame:
    """Pairs with the trace that says which item they come of."""
    if not workbench.lake.exists("label", "labeled_pairs"):
        return rows
    pairs = workbench.lake.scan("label", "labeled_pairs").select("pair_id", "trace")
    return rows.join(pairs.collect(), on="pair_id", how="left")


def _refuse_erased(workbench: Workbench, collection: str, rows: pl.DataFrame) -> None:
    """What is left of an export that held an erased item is no export: its models learned the item, and would be found again."""
    gone = workbench.record("erased_exports", ERASED_EXPORTS).filter(pl.col("collection") == collection)
    left = sorted(set(rows["export_version"]) & set(gone["version"]))
    if left:
        raise ExportError(
            f"Collection {collection}: export v{left[0]} was superseded by erasure: an item that it held was erased; "
            f"run `workbench run {collection}` for an export without it"
        )


def _older_than_policy(
    workbench: Workbench, catalog: Catalog, training_sheet: str, exports: pl.DataFrame
) -> pl.DataFrame:
    """The exports that were made before what is stated of personal data was: the later ones looked at every pair by it."""
    policies = workbench.record("usage_policies", USAGE_POLICIES)
    policies = policies.filter(pl.col("subject").str.starts_with(PERSONAL_DATA))
    if policies.is_empty():
        return exports.clear()
    sheet = catalog.training_sheet(training_sheet).spec.sheet
    stated = policies.filter(pl.col("subject").is_in([PERSONAL_DATA, f"{PERSONAL_DATA} {sheet}"]))
    return exports.filter(pl.col("created_at") <= stated["at"].max()) if stated.height else exports.clear()


def _held_back_now(
    workbench: Workbench, catalog: Catalog, training_sheet: str, exports: pl.DataFrame, now: pl.DataFrame
) -> pl.DataFrame:
    """The pairs of a TrainingSheet in these exports that hold what may not leave by now; rows of `EXPORTED` with use and reason.

    What is blocked leaves not even the rest of its row, masked or not: a mask of a kind that is blocked by now counts where there
    is no such pair any more. Where there is one, what was masked is no longer there, or the mask is the source's own.

    Args:
        now: the pairs as they are made under the policy of today.
    """
    rows = [EXPORTED.to_frame().with_columns(use=pl.lit("", pl.String), reason=pl.lit("", pl.String))]
    document = catalog.training_sheet(training_sheet)
    names = [training_sheet, *document.metadata.formerly]
    net = net_of(workbench, catalog, document.spec.sheet) if exports.height else None
    for export in exports.select("collection", "version", "path").to_dicts() if net is not None else ():
        pairs = exported_pairs(export["path"], names, with_texts=True)
        if net is None or pairs is None:
            continue  # its files are gone, and so is what they held
        masked = what_was_masked(pairs.join(now, on="pair_id", how="anti"), net)
        standing = masked | what_stands(pairs, net)
        why = {pair: f"{REFUSED}: {reason}" for pair, reason in standing.items()}
        found = pairs.filter(pl.col("pair_id").is_in(list(why))).with_columns(
            collection=pl.lit(export["collection"]),
            version=pl.lit(export["version"], pl.Int64),
            use=pl.col("split").replace_strict(dict(USE_OF_SPLIT), return_dtype=pl.String),
            reason=pl.col("pair_id").replace_strict(why, default=None, return_dtype=pl.String),
        )
        rows.append(found.select(rows[0].columns))
    return pl.concat(rows)


def _buried_with_them(exported: pl.DataFrame, exports: pl.DataFrame, held_back: pl.DataFrame) -> pl.DataFrame:
    """Of exports whose files are gone, the pairs that another version of the Collection shows to hold what may not leave: models
    learned them from the one as from the other."""
    gone = [row for row in exports.select("collection", "version", "path").to_dicts() if not has_files(row["path"])]
    named = pl.DataFrame(gone, schema={name: exports.schema[name] for name in ("collection", "version", "path")})
    said = held_back.unique(["collection", "pair_id"], keep="last", maintain_order=True)
    of_gone = exported.join(named.select("collection", "version"), on=["collection", "version"], how="semi")
    return of_gone.join(
        said.select("collection", "pair_id", "use", "reason"), on=["collection", "pair_id"], how="inner"
    )


def _of_personal_data(taints: pl.DataFrame) -> pl.DataFrame:
    """The taints for what stands in a pair, and not for what is stated of it."""
    return taints.filter(pl.col("reason").str.starts_with(f"{REFUSED}: "))


def refused_pairs(workbench: Workbench, rows: pl.DataFrame) -> pl.DataFrame:
    """Which of these pairs may not be used for their split as things stand now, by `tainting.refused_now`; those that were
    judged by other policies than those that stand now, of which that is not known; and those that people closed since.

    Input columns: training_sheet, pair_id, split.
    """
    catalog = workbench.catalog()
    of_members = {
        "training_sheet": sorted({catalog.today("TrainingSheet", name) for name in rows["training_sheet"].unique()})
    }
    if rows.is_empty():
        return rows.select("pair_id", "split", pl.lit("").alias("use"), pl.lit("").alias("reason"))
    table = with_policies(workbench.lake.scan("label", "labeled_pairs", partition=of_members))
    pairs = table.select(*dict.fromkeys([*_PERMISSIONS, "policies", *PAIR_COLUMNS])).collect()
    prompts = workbench.lake.scan("generate", "rendered_prompts", partition=of_members)
    stated = prompts.select("pair_id", "usage_statements").collect()
    rows = rows.select("pair_id", "split")
    refused = refused_now(rows, pairs.select(_PERMISSIONS), stated, catalog.vocabulary())
    for further in (_judged_otherwise(catalog, rows, pairs), closed_since(workbench, catalog, rows, pairs)):
        new = further.join(refused, on="pair_id", how="anti")
        refused = pl.concat([refused, new.select(refused.columns)])
    return refused


def _judged_otherwise(catalog: Catalog, rows: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs that were judged by other policies than those that stand now, with use and reason."""
    by = rows.join(pairs.select("pair_id", "policies"), on="pair_id", how="inner")
    lists = by["policies"].unique().to_list()
    late = {"\n".join(one or ()): line for one in lists if (line := first_outdated(catalog, [one])) is not None}
    key = pl.col("policies").list.join("\n").fill_null("")
    return by.with_columns(
        use=pl.col("split").replace_strict(dict(USE_OF_SPLIT), default=None, return_dtype=pl.String),
        reason=key.replace_strict(late, default=None, return_dtype=pl.String),
    ).filter(pl.col("reason").is_not_null())


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
        found = pl.DataFrame({"pair_id": learned}).with_columns(
            pl.lit(training_sheet).alias("training_sheet"), pl.lit(None, pl.String).alias("split")
        )
    return found.with_columns(named).select([pl.col(name).cast(dtype) for name, dtype in EXPORTED.items()])


def _with_splits(exported: pl.DataFrame) -> pl.DataFrame:
    """Rows of `EXPORTED`, those of exports whose files are gone with the split that another version of the Collection tells:
    nobody ever moves. One that none tells counts as trained on: a model learned from all of them."""
    told = exported.drop_nulls("split").unique(["collection", "pair_id"], keep="last", maintain_order=True)
    told = told.select("collection", "pair_id", pl.col("split").alias("told"))
    found = exported.join(told, on=["collection", "pair_id"], how="left", maintain_order="left")
    return found.with_columns(pl.coalesce("split", "told", pl.lit("train")).alias("split")).select(exported.columns)
