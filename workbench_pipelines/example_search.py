"""Looking examples up: those of a store that may be shown as they stand, and of these the most similar to a text."""

from __future__ import annotations

from functools import partial

import polars as pl

from workbench_pipelines.catalog import Catalog
from workbench_pipelines.clients.embeddings import EMBEDDING_MODEL, embed
from workbench_pipelines.decided_since import closed_examples
from workbench_pipelines.errors import ArgumentError, nearest
from workbench_pipelines.example_standing import standing_now
from workbench_pipelines.example_store import stored
from workbench_pipelines.example_views import stores_of
from workbench_pipelines.few_shot import pool_of, similarities
from workbench_pipelines.stated_policies import outdated
from workbench_pipelines.workbench import Workbench

PROMPTS_TABLE = ("generate", "rendered_prompts")


def list_examples(workbench: Workbench, store: str, label_type: str | None = None) -> pl.DataFrame:
    """The examples of a store that permit `few_shot`, with `usage_count`, the number of prompts that show each now.

    Output columns: `examples.EXAMPLES`.

    Raises:
        ArgumentError: for a store that is not defined, or a label_type of which it holds nothing.
        LakeError: for a store that was never made.
    """
    catalog = workbench.catalog()
    refuse_unknown(catalog, store)
    held = stored(workbench, store)
    rows = held.frame
    rows = rows.filter(standing_now(rows, held, catalog.vocabulary(), partial(outdated, catalog))["refusal"].is_null())
    rows = rows.filter(~pl.col("example_id").is_in(list(closed_examples(workbench, catalog, rows))))
    if label_type is not None:
        tasks = sorted(set(rows["label_type"]))
        if label_type not in tasks:
            raise ArgumentError(f"ExampleStore {store} holds no example of '{label_type}'{nearest(label_type, tasks)}")
        rows = rows.filter(pl.col("label_type") == label_type)
    counted = rows.drop("usage_count").join(_counts(workbench), on="example_id", how="left", maintain_order="left")
    return counted.with_columns(pl.col("usage_count").fill_null(0)).select(rows.columns)


def search_examples(workbench: Workbench, store: str, text: str, k: int, label_type: str | None = None) -> pl.DataFrame:
    """The `k` examples whose input is most similar to a text, the most similar one first.

    Output columns: `similarity`, the cosine of the embeddings, and those of `list_examples`.

    Raises:
        ArgumentError, LakeError: as `list_examples`; also for an empty text.
    """
    if not text.strip():
        raise ArgumentError("give a text to search for")
    pool = pool_of(list_examples(workbench, store, label_type), embed, EMBEDDING_MODEL)
    found = pl.Series("similarity", similarities([text], pool, embed)[0], dtype=pl.Float64)
    return pool.frame.select(found, pl.all()).sort("similarity", descending=True, maintain_order=True).head(k)


def refuse_unknown(catalog: Catalog, store: str) -> None:
    """Raises ArgumentError for a store that is neither declared nor asked for."""
    known = stores_of(catalog)
    if store not in known:
        raise ArgumentError(f"there is no ExampleStore '{store}'{nearest(store, known)}")


def _counts(workbench: Workbench) -> pl.DataFrame:
    """example_id, usage_count: how many prompts show each example."""
    none = pl.DataFrame(schema={"example_id": pl.String(), "usage_count": pl.Int64()})
    if not workbench.lake.exists(*PROMPTS_TABLE) or "example_ids" not in workbench.lake.schema(*PROMPTS_TABLE):
        return none
    shown = workbench.lake.scan(*PROMPTS_TABLE).select(pl.col("example_ids").alias("example_id")).explode("example_id")
    return shown.drop_nulls().group_by("example_id").agg(pl.len().cast(pl.Int64).alias("usage_count")).collect()
