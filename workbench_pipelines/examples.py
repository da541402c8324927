"""Examples: canonical labels as demonstrations of a task, the question of an item beside the expert's answer.

An example is named by what it shows, so that a changed one is another one. What may be done with it is not part of it:
that is what its Sheet, tags and label state now (`example_standing`).
"""

from __future__ import annotations

from typing import NamedTuple

import polars as pl

from workbench_pipelines import identity

_TEXTS = pl.List(pl.String())
KEY = ["sheet", "item_ref", "label_type"]
STANDING = pl.Schema(
    {"item_statements": pl.String(), "item_columns": _TEXTS, "group_tokens": _TEXTS, "grouped_by": _TEXTS}
)
"""How an item stands: everything that is stated of it and its label (JSON), the columns it has, the tokens of the groups
it belongs to (`splits.group_token`), and the columns that were looked at for them. Null where nothing is known of it."""

EXAMPLES = pl.Schema(
    {
        "example_id": pl.String(),
        "store": pl.String(),
        "input": pl.String(),
        "expected_output": pl.String(),
        "explanation": pl.String(),
        "search_keys": _TEXTS,
        "embedding": pl.List(pl.Float32()),
        "embedding_model": pl.String(),
        "function_name": pl.String(),
        "domain": pl.String(),
        "label_type": pl.String(),
        "quality_score": pl.Float64(),
        "usage_count": pl.Int64(),
        "effectiveness_score": pl.Float64(),
        "pair_id": pl.String(),
        "snapshot": pl.Int64(),
        "sheet": pl.String(),
        "item_ref": pl.String(),
        "item_hash": pl.String(),
        "canonical_label_id": pl.String(),
        "template": pl.String(),
        "template_version": pl.String(),
        "inputs": pl.String(),
        "seen_columns": _TEXTS,
        "usage_statements": pl.String(),
        "allowed_uses": _TEXTS,
        "data_classification": pl.String(),
        **STANDING,
    }
)
"""Columns of `label/example_store`. `usage_count` and `effectiveness_score` are null: what is made of examples comes after
them, and is counted where it is asked for."""

EXAMPLE_REFUSALS = pl.Schema(
    {**dict.fromkeys(("store", *KEY, "canonical_label_id", "reason", "detail"), pl.String()), **STANDING}
)
"""Columns of `label/example_store_refusals`: one row a label that is no example, with the reason."""

# What is stated of an example today, and what is counted of it, is no part of what a snapshot keeps.
_OF_TODAY = ("snapshot", "usage_count", "effectiveness_score", "allowed_uses", "data_classification")
KEPT_EXAMPLES = pl.Schema({name: dtype for name, dtype in EXAMPLES.items() if name not in _OF_TODAY})
"""Columns of `records/examples`: every example that ever stood in a snapshot, as it was when it first did."""

EXAMPLE_SNAPSHOTS = pl.Schema(
    {
        "store": pl.String(),
        "snapshot": pl.Int64(),
        "content_hash": pl.String(),
        "examples": pl.Int64(),
        "example_ids": _TEXTS,
        "created_by": pl.String(),
        "created_at": pl.Datetime("us", "UTC"),
    }
)
"""Columns of `records/example_snapshots`: one row a snapshot of a store, written once and never changed."""

LABEL = "its label"
"""The source under which a label states its uses."""


class Examples(NamedTuple):
    """What a store holds: rows of `EXAMPLES` and `EXAMPLE_REFUSALS`, both in the order of their items."""

    frame: pl.DataFrame
    refusals: pl.DataFrame


def store_digest(examples: Examples) -> str:
    """What a store holds and how its items stand: the examples, and everything that is stated of them now."""
    kept = examples.frame.select("example_id", *STANDING).rows()
    return identity.digest([kept, examples.refusals.select(*KEY, "reason", *STANDING).rows()])
