"""What labels inherit: an answer made in view of a limited column may carry what the column holds, wherever it is shown."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import polars as pl

from workbench_pipelines.labels import KEY
from workbench_pipelines.stated_policies import policies_in
from workbench_pipelines.usage import UsageStatement, statements_from_json, strictest

USES = ["allowed_uses", "prohibited_uses", "data_classification", "narrowed_by"]


def inherit_uses(
    labels: pl.DataFrame,
    snapshot: pl.DataFrame,
    closed_types: Collection[str],
    edits: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """The labels, those that can carry a value over narrowed to what the columns their expert saw permit.

    One invoice's department says nothing of its patient and is left as it is; a text that was taken from the invoice keeps
    what is stated of the patient's name, also in a pair whose prompt does not show the name.

    Args:
        labels: rows of `labels.CANONICAL_LABELS`.
        snapshot: the Sheet's items, with item_ref and usage_statements.
        closed_types: the label types whose values are all of a known few (`fields.is_closed`); any other is narrowed.
        edits: sheet, item_ref, label_type and seen_columns of who wrote inputs of a prompt anew: such a text may carry over
            what its author saw, whatever the label's own values are.
    """
    policies = policies_in(snapshot["usage_statements"].unique())
    labels = labels.with_columns(pl.lit(policies, pl.List(pl.String)).alias("policies"))
    carrying = _carrying(labels, closed_types, edits)
    if carrying.is_empty():
        return labels
    said = carrying.join(snapshot.select("item_ref", "usage_statements"), on="item_ref", how="inner")
    keys = ["seen_columns", "usage_statements", *USES]
    cases = said.select(keys).unique(maintain_order=True)
    schema = {f"{name}_now": labels.schema[name] for name in USES}
    narrowed = pl.DataFrame([_narrowed(*row) for row in cases.iter_rows()], schema=schema, orient="row")
    by_label = said.join(cases.hstack(narrowed), on=keys, how="inner", nulls_equal=True)
    found = labels.join(
        by_label.select("canonical_label_id", *schema, found=True),
        on="canonical_label_id",
        how="left",
        maintain_order="left",
    )
    now = (pl.when("found").then(f"{name}_now").otherwise(name).alias(name) for name in USES)
    return found.with_columns(now).select(labels.columns)


def _carrying(labels: pl.DataFrame, closed_types: Collection[str], edits: pl.DataFrame | None) -> pl.DataFrame:
    """The labels that can carry a value over, with all the columns that were seen by whoever wrote them; null is all."""
    is_open = ~pl.col("label_type").is_in(sorted(closed_types))
    if edits is None or edits.is_empty():
        return labels.filter(is_open)
    by_label = edits.group_by(KEY).agg(
        pl.when(pl.col("seen_columns").is_null().any())
        .then(None)
        .otherwise(pl.col("seen_columns").explode().unique().sort().implode())
        .first()
        .alias("edit_saw"),
        pl.lit(True).alias("edited"),
    )
    found = labels.join(by_label, on=KEY, how="left", maintain_order="left")
    edited = pl.col("edited").fill_null(False)
    nothing = pl.lit([], pl.List(pl.String))
    own = pl.when(is_open).then("seen_columns").otherwise(nothing)
    # A union with what nobody noted is null, and stands for all columns.
    both = pl.when(own.is_not_null() & pl.col("edit_saw").is_not_null()).then(
        own.list.set_union("edit_saw").list.sort()
    )
    saw = pl.when(edited).then(both).otherwise("seen_columns").alias("seen_columns")
    return found.filter(is_open | edited).with_columns(saw).select(labels.columns)


def _narrowed(
    seen_columns: Sequence[str] | None,
    statements: str,
    allowed_uses: Sequence[str] | None,
    prohibited_uses: Sequence[str] | None,
    data_classification: str | None,
    narrowed_by: str | None,
) -> tuple[list[str] | None, list[str], str | None, str | None]:
    """The four columns of uses of a label, its own statement and those of the columns it saw taken together."""
    seen = [one for one in statements_from_json(statements) if _of_seen_column(one, seen_columns)]
    allowed = [set(one) for one in (allowed_uses, *(one.allowed_uses for one in seen)) if one is not None]
    classified = [
        name for name in (data_classification, *(one.data_classification for one in seen)) if name is not None
    ]
    # A label that inherited before says so already.
    witnesses = [narrowed_by, *(why for why in map(_because, seen) if why not in (narrowed_by or ""))]
    return (
        sorted(set.intersection(*allowed)) if allowed else None,
        sorted({*(prohibited_uses or ()), *(use for one in seen for use in one.prohibited_uses)}),
        strictest(classified) if classified else None,
        "; ".join(dict.fromkeys(one for one in witnesses if one)) or None,
    )


def _of_seen_column(statement: UsageStatement, seen_columns: Sequence[str] | None) -> bool:
    """Whether a statement speaks of a column that was seen; where nobody noted what was seen, all of them were."""
    return statement.columns is not None and (seen_columns is None or statement.counts_for(seen_columns))


def _because(statement: UsageStatement) -> str:
    why = f" ({statement.reason})" if statement.reason else ""
    return f"made in view of {statement.source}{why}"
