"""The last look before an export: no exported prompt shows the answer of an item that its Collection holds out."""

from __future__ import annotations

from functools import partial

import polars as pl

from workbench_pipelines.catalog import Catalog, Collection
from workbench_pipelines.errors import ExportError
from workbench_pipelines.example_splits import held_out, taker_of
from workbench_pipelines.example_standing import standing_now
from workbench_pipelines.example_store import STORE_TABLE, kept_examples, stored
from workbench_pipelines.examples import STANDING
from workbench_pipelines.split_ledger import split_ledger
from workbench_pipelines.stated_policies import outdated
from workbench_pipelines.workbench import Workbench


def refuse_leaks(workbench: Workbench, catalog: Catalog, collection: Collection, pairs: pl.DataFrame) -> None:
    """Refuses pairs whose prompts show examples that stand outside train in a Collection.

    Prompts were rendered by the ledger of that time; a Collection or a membership may be newer.

    Input columns: training_sheet, pair_id, trace.

    Raises:
        ExportError: naming the TrainingSheet that is to be rendered again.
    """
    if not workbench.lake.exists("records", "examples"):
        return
    shown = _shown(pairs)
    if shown.is_empty():
        return
    outside: set[str] = set()
    ledger = split_ledger(workbench, catalog)
    stores = workbench.lake.partitions("records", "examples")
    if not stores:
        return  # every example was erased
    kept = pl.concat([kept_examples(workbench, name) for name in stores])
    kept = kept.filter(pl.col("example_id").is_in(shown["example_id"].implode()))
    for (name,), rows in kept.group_by("store"):
        placed = _placed_now(workbench, catalog, str(name), rows)
        found = held_out(placed, [taker_of(catalog, collection)], ledger)
        outside |= {example for example, where in zip(placed["example_id"], found, strict=True) if where is not None}
    leaking = shown.filter(pl.col("example_id").is_in(sorted(outside)))
    if not leaking.is_empty():
        counts = leaking.group_by("training_sheet").agg(pl.col("pair_id").n_unique().alias("n")).sort("training_sheet")
        said = ", ".join(f"{n} pairs of {of}" for of, n in counts.iter_rows())
        raise ExportError(
            f"Collection {collection.name}: {said} show examples that stand in val or test here; their prompts are older "
            f"than its splits: run `workbench run {counts['training_sheet'][0]}`"
        )


def _shown(pairs: pl.DataFrame) -> pl.DataFrame:
    """training_sheet, pair_id, example_id: the examples that the prompts of pairs show, by their traces."""
    steps = pairs.select("training_sheet", "pair_id", steps=pl.col("trace").struct.field("steps"))
    steps = steps.filter(pl.col("steps").list.len() > 0).explode("steps").unnest("steps")
    names = pl.col("params").str.json_decode(pl.Struct({"example_ids": pl.List(pl.String)})).struct.field("example_ids")
    shown = steps.filter(pl.col("name") == "examples").select("training_sheet", "pair_id", names.alias("example_id"))
    return shown.explode("example_id").drop_nulls("example_id")


def _placed_now(workbench: Workbench, catalog: Catalog, store: str, rows: pl.DataFrame) -> pl.DataFrame:
    """Examples with the groups they belong to now; one of which nothing is known any more keeps those it had."""
    if not workbench.lake.exists(*STORE_TABLE):
        return rows
    now = standing_now(rows, stored(workbench, store), catalog.vocabulary(), partial(outdated, catalog))
    had = rows.select("example_id", *(pl.col(name).alias(f"{name}_had") for name in STANDING))
    now = now.join(had, on="example_id", how="left", maintain_order="left")
    return now.with_columns(pl.coalesce(name, f"{name}_had").alias(name) for name in ("group_tokens", "grouped_by"))
