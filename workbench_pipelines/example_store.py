"""Example stores in the lake: made from the labels of Sheets, kept as numbered snapshots, and shown by prompts.

A snapshot is a list of example names; the examples themselves are kept once, by their names, in `records/examples`. The
commit of its row in `records/example_snapshots` is what makes a snapshot.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Mapping

import polars as pl

from workbench_pipelines.catalog import Catalog
from workbench_pipelines.clients.embeddings import EMBEDDING_MODEL, embed
from workbench_pipelines.errors import LakeError
from workbench_pipelines.example_making import Source, make_examples
from workbench_pipelines.example_splits import grouping_columns
from workbench_pipelines.example_views import label_types_of, sheets_of_store, views_of
from workbench_pipelines.examples import EXAMPLE_REFUSALS, EXAMPLE_SNAPSHOTS, EXAMPLES, KEPT_EXAMPLES, Examples
from workbench_pipelines.identity import digest
from workbench_pipelines.label_inheritance import inherit_uses
from workbench_pipelines.labels import fold_labels, stale_labels
from workbench_pipelines.netting import net_of
from workbench_pipelines.workbench import Workbench

STORE_TABLE = ("label", "example_store")
REFUSALS_TABLE = ("label", "example_store_refusals")

# Two runs that make one store at a time take turns; a third is as rare as it sounds.
SNAPSHOT_TRIES = 5


def make_store(
    workbench: Workbench, name: str, snapshots: Mapping[str, pl.DataFrame], labels: Mapping[str, pl.DataFrame]
) -> Examples:
    """What a store holds, given the snapshots and labels of the Sheets that feed it, by Sheet.

    Raises:
        DefinitionError: for a store or Sheet that is not defined or broken.
    """
    catalog = workbench.catalog()
    label_types = label_types_of(catalog, catalog.example_store(name))
    closed = catalog.closed_label_types()
    sources = []
    for sheet_name in sorted(set(snapshots) & set(labels)):
        sheet, snapshot = catalog.sheet(sheet_name), snapshots[sheet_name]
        of_store = _as_of(labels[sheet_name].filter(pl.col("label_type").is_in(label_types)), snapshot, closed)
        tasks = sorted(set(of_store["label_type"]))
        views = {task: views_of(catalog, sheet, snapshot.columns, task) for task in tasks}
        schemas = {task: catalog.label_schema(task) for task in tasks}
        sources.append(Source(snapshot, of_store, views, schemas, net_of(workbench, catalog, sheet_name, snapshot)))
    return make_examples(
        name,
        sources,
        grouped_by=grouping_columns(catalog),
        vocabulary=catalog.vocabulary(),
        embed=embed,
        embedding_model=EMBEDDING_MODEL,
    )


def store_now(workbench: Workbench, catalog: Catalog, name: str) -> Examples:
    """What a store would hold if it were made of the sources and decisions as they are now; nothing is written.

    Raises:
        DefinitionError, SourceError: for a Sheet that feeds the store and can not be read.
    """
    snapshots, labels = {}, {}
    for sheet_name in sheets_of_store(catalog, name):
        sheet = catalog.sheet(sheet_name)
        decisions = workbench.sheet_decisions(sheet)
        if decisions.is_empty():
            continue
        items = workbench.read_items(sheet)
        snapshots[sheet_name] = items
        labels[sheet_name] = fold_labels(decisions, items, catalog.two_person_sheets(), workbench.panels())
    made = make_store(workbench, name, snapshots, labels)
    return numbered(made, next_snapshot(workbench, name, made)[0])


def stored(workbench: Workbench, name: str) -> Examples:
    """The store as it was last made.

    Raises:
        LakeError: where it was never made.
    """
    if not workbench.lake.exists(*STORE_TABLE):
        raise LakeError(f"label/example_store [{name}] was never written; run `workbench run` first")
    return examples_in(workbench, name, workbench.lake.read(*STORE_TABLE, partition={"store": [name]}))


def examples_in(workbench: Workbench, name: str, rows: pl.DataFrame) -> Examples:
    """The rows of a store as they were read, beside the labels that made none when it was last made."""
    refusals = EXAMPLE_REFUSALS.to_frame()
    if workbench.lake.exists(*REFUSALS_TABLE):
        refusals = _in_columns(workbench.lake.read(*REFUSALS_TABLE, partition={"store": [name]}), EXAMPLE_REFUSALS)
    return Examples(_in_columns(rows, EXAMPLES), refusals)


def snapshots_of(workbench: Workbench, name: str) -> pl.DataFrame:
    """The snapshots of a store, oldest first; rows of `EXAMPLE_SNAPSHOTS`."""
    return workbench.record("example_snapshots", EXAMPLE_SNAPSHOTS).filter(pl.col("store") == name).sort("snapshot")


def next_snapshot(workbench: Workbench, name: str, examples: Examples) -> tuple[int, bool]:
    """The number of the snapshot that holds exactly these examples, and whether it is still to be made.

    The newest one keeps its number while nothing in it changed; a store that never held anything has none, which is 0.
    """
    newest = snapshots_of(workbench, name).tail(1).to_dicts()
    if not newest:
        return (0, False) if examples.frame.is_empty() else (1, True)
    is_same = newest[0]["content_hash"] == _content_hash(examples)
    return (newest[0]["snapshot"], False) if is_same else (newest[0]["snapshot"] + 1, True)


def keep_snapshot(workbench: Workbench, name: str, examples: Examples) -> tuple[int, bool]:
    """Keeps these examples as the newest snapshot of a store; its number, and whether it is a new one.

    Raises:
        LakeError: when other runs keep changing the store.
    """
    for _ in range(SNAPSHOT_TRIES):
        number, is_new = next_snapshot(workbench, name, examples)
        if not is_new:
            return number, False
        kept = examples.frame.select(list(KEPT_EXAMPLES))
        workbench.lake.append_new("records", "examples", frame=kept, key=["store", "example_id"], partition_by="store")
        row = {
            "store": name,
            "snapshot": number,
            "content_hash": _content_hash(examples),
            "examples": kept.height,
            "example_ids": kept["example_id"].to_list(),
            "created_by": workbench.settings.user,
            "created_at": dt.datetime.now(dt.UTC),
        }
        frame = pl.DataFrame([row], schema=EXAMPLE_SNAPSHOTS)
        if workbench.lake.append_new("records", "example_snapshots", frame=frame, key=["store", "snapshot"]):
            return number, True
    raise LakeError(f"label/example_store [{name}]: other runs keep making snapshots of it; run again")


def read_snapshot(workbench: Workbench, name: str, number: int) -> pl.DataFrame | None:
    """The examples of a snapshot as they were kept; None where there is no such snapshot."""
    found = snapshots_of(workbench, name).filter(pl.col("snapshot") == number)
    if found.is_empty():
        return None
    names = found["example_ids"].to_list()[0] or []
    kept = kept_examples(workbench, name).filter(pl.col("example_id").is_in(names))
    return _in_columns(kept, EXAMPLES).with_columns(pl.lit(number, pl.Int64).alias("snapshot"))


def kept_examples(workbench: Workbench, name: str) -> pl.DataFrame:
    """Every example that ever stood in a snapshot of a store; rows of `KEPT_EXAMPLES`."""
    if not workbench.lake.exists("records", "examples"):
        return KEPT_EXAMPLES.to_frame()
    return _in_columns(workbench.lake.read("records", "examples", partition={"store": [name]}), KEPT_EXAMPLES)


def numbered(examples: Examples, number: int) -> Examples:
    """The examples with the number of their snapshot."""
    return examples._replace(frame=examples.frame.with_columns(pl.lit(number, pl.Int64).alias("snapshot")))


def _as_of(labels: pl.DataFrame, snapshot: pl.DataFrame, closed_types: Collection[str]) -> pl.DataFrame:
    """Labels as they stand on this very snapshot, of which they may be older: what changed since was not seen by experts."""
    stale = labels["stale"] | stale_labels(labels, snapshot)
    return inherit_uses(labels.with_columns(stale.alias("stale")), snapshot, closed_types)


def _content_hash(examples: Examples) -> str:
    return digest(sorted(examples.frame["example_id"]))


def _in_columns(rows: pl.DataFrame, schema: pl.Schema) -> pl.DataFrame:
    """Rows of the lake in the columns of today; one that an older table lacks is null."""
    absent = [pl.lit(None).alias(name) for name in schema if name not in rows.columns]
    return rows.with_columns(absent).select([pl.col(name).cast(dtype) for name, dtype in schema.items()])
