"""How things stand: versions and approvals of TrainingSheets, exports and models of Collections, examples, and who is waited
for."""

from __future__ import annotations

from typing import Any

import polars as pl

from workbench_pipelines.batches import PENDING
from workbench_pipelines.errors import WorkbenchError
from workbench_pipelines.evaluation import MODEL
from workbench_pipelines.example_store import snapshots_of
from workbench_pipelines.example_views import stores_of
from workbench_pipelines.export_taints import tainted_exports
from workbench_pipelines.exports import EXPORT_VERSIONS
from workbench_pipelines.lineage import MODEL_EVALUATIONS, TRAINING_SHEETS
from workbench_pipelines.stated_policies import first_outdated, with_policies
from workbench_pipelines.workbench import Workbench

# The figures that a promotion rule may name; those of single classes stand in the report.
SHOWN_METRICS = ("accuracy", "macro_f1")


def training_sheet_states(workbench: Workbench) -> list[dict[str, Any]]:
    """The latest version of each TrainingSheet; one that was never made has no version.

    `pending` counts the questions that waited for batches when it was made last.
    """
    catalog = workbench.catalog()
    rows = workbench.record("training_sheets", TRAINING_SHEETS).sort("version").group_by("training_sheet").last()
    latest = {row["training_sheet"]: row for row in rows.to_dicts()}
    states = []
    for name in catalog.names("TrainingSheet"):
        row = latest.get(name) or dict.fromkeys(TRAINING_SHEETS)
        waiting = (row["unlabeled"] or 0) + (row["flagged"] or 0)
        reviewers = _reviewers(workbench, name) if waiting else []
        pending = sum(one["questions"] for one in pending_questions(workbench, name))
        waits_for = [*reviewers, *(["a batch"] if pending else [])]
        states.append(row | {"training_sheet": name, "waits_for": waits_for, "pending": pending})
    return states


def collection_states(workbench: Workbench) -> list[dict[str, Any]]:
    """The latest export and models of each Collection, and which of its exports are tainted."""
    exports = workbench.record("export_versions", EXPORT_VERSIONS)
    evaluations = _of_current_models(workbench, workbench.record("model_evaluations", MODEL_EVALUATIONS))
    all_tainted = tainted_exports(workbench)
    states = []
    for name in workbench.catalog().collections():
        latest = exports.filter(pl.col("collection") == name).sort("version").tail(1).to_dicts()
        columns = ("collection", "version", "merkle_root", "path", "train", "val", "test", "excluded")
        export = {column: latest[0][column] for column in columns} if latest else None
        tainted = [one for one in all_tainted if one["collection"] == name]
        states.append({"collection": name, "export": export, "models": _models(evaluations, name), "tainted": tainted})
    return states


def outdated_lines(workbench: Workbench) -> list[str]:
    """A line for each TrainingSheet whose pairs were judged by other policies than those that stand now."""
    if not workbench.lake.exists("label", "labeled_pairs"):
        return []
    catalog = workbench.catalog()
    pairs = with_policies(workbench.lake.scan("label", "labeled_pairs")).select("training_sheet", "policies")
    known = pairs.unique().sort("training_sheet").collect()
    lines = []
    for (name,), rows in known.group_by("training_sheet", maintain_order=True):
        line = first_outdated(catalog, rows["policies"])
        if line is not None and name in catalog.names("TrainingSheet"):
            lines.append(f"TrainingSheet {name}: {line}; nothing of it is used until `workbench run {name}`")
    return lines


def store_states(workbench: Workbench) -> list[dict[str, Any]]:
    """The newest snapshot of each example store, with how many examples it holds; one that never held any has none."""
    states = []
    for name in stores_of(workbench.catalog()):
        newest = snapshots_of(workbench, name).tail(1).select("snapshot", "examples", "created_at").to_dicts()
        states.append(
            {"store": name, **(newest[0] if newest else {"snapshot": None, "examples": 0, "created_at": None})}
        )
    return states


def waiting_line(workbench: Workbench, collection: str) -> str | None:
    """Where nothing of a Collection is approved, the line that says how many pairs wait for whom."""
    catalog = workbench.catalog()
    try:
        members = [
            catalog.training_sheet(member.training_sheet).name for member in catalog.collection(collection).spec.members
        ]
    except WorkbenchError:
        return None  # its run says what is wrong with it
    states = {s["training_sheet"]: s for s in training_sheet_states(workbench) if s["training_sheet"] in members}
    if any(state["version"] is None or state["labeled"] for state in states.values()):
        return None
    total = sum(state["pairs"] for state in states.values())
    if not total:
        pending = [name for name in sorted(states) if states[name]["pending"]]
        # Where nothing is waited for, its run says that there is no pair.
        return f"Collection {collection}: no pair yet; {', '.join(pending)} waits for batches" if pending else None
    parts = [
        f"{state['unlabeled'] + state['flagged']} pairs of {name} wait for {' or '.join(state['waits_for'])}"
        for name, state in sorted(states.items())
        if state["waits_for"]
    ]
    return f"Collection {collection}: 0 of {total} pairs approved; {', '.join(parts) or 'every answer was rejected'}"


def refusal_lines(workbench: Workbench, training_sheet: str) -> list[str]:
    """Why items of a TrainingSheet made no pair: a line a reason, with how many there are and one of them."""
    return [
        f"TrainingSheet {training_sheet}: {row['count']} items refused, {row['reason']}: item {row['item_ref']}: {row['detail']}"
        for asset in ("derived_items", "rendered_prompts", "generated_pairs")
        for row in _refusals(workbench, "generate", asset, "training_sheet", training_sheet)
        if row["reason"] != PENDING
    ]


def pending_questions(workbench: Workbench, training_sheet: str) -> list[dict[str, Any]]:
    """The questions of a TrainingSheet that wait for a batch, as of its last run: how many for which."""
    table = ("generate", "generated_pairs_refusals")
    if not workbench.lake.exists(*table):
        return []
    rows = workbench.lake.read(*table, partition={"training_sheet": [training_sheet]})
    counted = rows.filter(pl.col("reason") == PENDING).group_by("detail").len("questions").sort("detail")
    return counted.select(pl.lit(training_sheet).alias("training_sheet"), "questions", "detail").to_dicts()


def unread_file_lines(workbench: Workbench, sheet: str) -> list[str]:
    """Why items of a Sheet are without what is in their file, in the same form."""
    return [
        f"Sheet {sheet}: rows of its files that are not taken: {row['count']}, {row['reason']}: {row['detail']}"
        if row["item_ref"] is None or row["reason"] == "repeated"
        else f"Sheet {sheet}: {row['count']} items without what is in their file, {row['reason']}: item {row['item_ref']}: "
        f"{row['detail']}"
        for row in _refusals(workbench, "data", "sheet_snapshot", "sheet", sheet)
    ]


def _refusals(workbench: Workbench, room: str, asset: str, column: str, key: str) -> list[dict[str, Any]]:
    """The reasons in the refusals of a partition, each with how many items have it and the first of them."""
    table = (room, f"{asset}_refusals")
    if not workbench.lake.exists(*table):
        return []
    rows = workbench.lake.read(*table, partition={column: [key]}).sort("item_ref")
    first = pl.col("item_ref", "detail").first()
    return rows.group_by("reason", maintain_order=True).agg(pl.len().alias("count"), first).to_dicts()


def _of_current_models(workbench: Workbench, evaluations: pl.DataFrame) -> pl.DataFrame:
    """The figures of the models that the Collections have now: after a return to an earlier export, that is its model."""
    if not workbench.lake.exists("train", "trained_model"):
        return evaluations
    current = workbench.lake.scan("train", "trained_model").select("collection", "model_name", "model_version")
    return evaluations.join(current.collect(), on=["collection", "model_name", "model_version"], how="semi")


def _models(evaluations: pl.DataFrame, collection: str) -> list[dict[str, Any]]:
    """The newest version of each model of a Collection: its own figures, and those of its baselines as `baseline.figure`."""
    rows = evaluations.filter(pl.col("collection") == collection).with_columns(pl.col("model_version").cast(pl.Int64))
    newest = rows.filter(pl.col("model_version") == pl.col("model_version").max().over("model_name"))
    found: dict[str, dict[str, Any]] = {}
    own_first = pl.col("predictor") != MODEL
    for row in newest.sort("model_name", own_first, "predictor", "metric").iter_rows(named=True):
        model = found.setdefault(
            row["model_name"], {"name": row["model_name"], "version": str(row["model_version"]), "metrics": {}}
        )
        if row["metric"] in SHOWN_METRICS:
            prefix = "" if row["predictor"] == MODEL else f"{row['predictor']}."
            model["metrics"] |= {f"{prefix}{row['metric']}": row["value"], f"{prefix}n": row["n"]}
    return list(found.values())


def _reviewers(workbench: Workbench, training_sheet: str) -> list[str]:
    catalog = workbench.catalog()
    try:
        return catalog.reviewers_of(catalog.training_sheet(training_sheet))
    except WorkbenchError:
        return ["a reviewer"]
