"""`workbench examples`: the few-shot examples of a store, listed or searched; only those that may be shown."""

from __future__ import annotations

from typing import Any

import click
import polars as pl

from workbench_pipelines.cli.output import print_json, print_table
from workbench_pipelines.cli.project import open_workbench
from workbench_pipelines.example_search import list_examples, refuse_unknown, search_examples
from workbench_pipelines.example_store import snapshots_of
from workbench_pipelines.restrictions import MASK, RESTRICTED

# What is asked of an example; embeddings and what gates it stay in the lake.
SHOWN = (
    "example_id", "sheet", "item_ref", "label_type", "domain", "function_name", "input", "expected_output", "explanation",
    "search_keys", "quality_score", "usage_count", "data_classification",
)  # fmt: skip
HIDDEN = ("input", "expected_output", "explanation", "search_keys")

_STORE = click.option("--store", default="default", show_default=True, help="The ExampleStore.")
_LABEL_TYPE = click.option("--label-type", help="Only examples of this task.")
_JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


@click.group()
def examples() -> None:
    """Few-shot examples."""


@examples.command("list")
@_STORE
@_LABEL_TYPE
@_JSON
def list_(store: str, label_type: str | None, as_json: bool) -> int:
    """List the examples of a store that permit few_shot, with how many prompts show each."""
    return _print(store, list_examples(open_workbench(), store, label_type), as_json)


@examples.command()
@click.argument("text")
@_STORE
@click.option("-k", "k", default=5, show_default=True, type=click.IntRange(min=1), help="How many.")
@_LABEL_TYPE
@_JSON
def search(text: str, store: str, k: int, label_type: str | None, as_json: bool) -> int:
    """Find the examples whose question is most similar to TEXT."""
    return _print(store, search_examples(open_workbench(), store, text, k, label_type), as_json)


@examples.command()
@_STORE
@_JSON
def snapshots(store: str, as_json: bool) -> int:
    """List the snapshots of a store, whose numbers a TrainingSheet's `few_shot` can be pinned to."""
    workbench = open_workbench()
    refuse_unknown(workbench.catalog(), store)
    columns = ["snapshot", "examples", "created_by", "created_at"]
    rows = snapshots_of(workbench, store).select(columns)
    if as_json:
        print_json({"store": store, "snapshots": rows.to_dicts()})
    else:
        print_table(columns, rows.rows())
    return 0


def _print(store: str, rows: pl.DataFrame, as_json: bool) -> int:
    shown: list[dict[str, Any]] = []
    columns = [name for name in ("similarity", *SHOWN) if name in rows.columns]
    for row in rows.select(columns).iter_rows(named=True):
        masked = dict.fromkeys(HIDDEN, MASK) if row["data_classification"] == RESTRICTED else {}
        shown.append({**row, **masked})
    if as_json:
        snapshot = rows["snapshot"][0] if rows.height else None
        print_json({"store": store, "snapshot": snapshot, "examples": shown})
    else:
        wanted = [name for name in ("similarity", "item_ref", "label_type", "input", "expected_output", "usage_count")
                  if name in columns]  # fmt: skip
        print_table(wanted, [[row[name] for name in wanted] for row in shown])
    return 0
