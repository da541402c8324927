"""What the drafts of a TrainingSheet show of their diversity: a table in the lake, and figures in the metadata of the asset."""

from __future__ import annotations

from typing import Any

import dagster as dg
import polars as pl

from workbench_pipelines.catalog import PromptTemplate
from workbench_pipelines.clients.embeddings import embed
from workbench_pipelines.diversity import diversity_of, diversity_table
from workbench_pipelines.fields import is_closed, json_schema_of
from workbench_pipelines.workbench import Workbench

TABLE = ("generate", "diversity")


def measure_diversity(
    workbench: Workbench,
    name: str,
    rendered: pl.DataFrame,
    drafts: pl.DataFrame,
    template: PromptTemplate,
    *,
    show_values: bool,
) -> pl.DataFrame:
    """The figures of the pairs that have an answer, kept in `generate/diversity`."""
    shown = rendered.select("pair_id", "inputs", "attributes")
    rows = drafts.select("pair_id", "response").drop_nulls("response").join(shown, on="pair_id", maintain_order="left")
    texts = not is_closed(json_schema_of(template.spec.output_schema))
    figures = diversity_of(name, rows, embed, texts=texts, show_values=show_values)
    if not figures.is_empty() or workbench.lake.exists(*TABLE):
        workbench.lake.replace_partition(*TABLE, frame=figures, partition_by="training_sheet", keys=[name])
    return figures


def diversity_figures(figures: pl.DataFrame) -> dict[str, Any]:
    """The figures as metadata: those of texts one by one, and all of them as a table."""
    if figures.is_empty():
        return {}
    texts = figures.filter(pl.col("of").is_in(["answers", "inputs"]))
    return {
        **{f"{of}_{metric}": value for of, metric, value in texts.select("of", "metric", "value").iter_rows()},
        "diversity": dg.MetadataValue.md(diversity_table(figures)),
    }
