"""What is decided of each pair: whether its answer stands, who says so, and what happened to it on the way."""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from workbench_pipelines.decisions import undone_decisions


def standing_decisions(decisions: pl.DataFrame) -> pl.DataFrame:
    """The rejection or flag that stands for a pair: the last one no restore came after, and that was not taken back.

    Input columns: those of `label/decisions`.
    Output columns: pair_id, decision_id, action, reason, decided_on (the answer it saw, by its hash), decided_by, decided_at.
    """
    return (
        decisions.filter(
            pl.col("pair_id").is_not_null()
            & pl.col("action").is_in(["reject", "flag", "restore"])
            & pl.col("undoes").is_null()
            & ~undone_decisions(decisions)
        )
        .unique("decision_id", keep="any")
        .sort("at", "decision_id")
        .group_by("pair_id", maintain_order=True)
        .last()
        .filter(pl.col("action") != "restore")
        .select(
            "pair_id",
            "decision_id",
            "action",
            "reason",
            pl.col("response_hash").alias("decided_on"),
            pl.col("by").alias("decided_by"),
            pl.col("at").alias("decided_at"),
        )
    )


def judge_pairs(known: pl.DataFrame, misfits: Mapping[str, str], trusted: bool) -> pl.DataFrame:
    """Each pair with its status, its answer, who reviewed it, and its trace.

    Args:
        known: what a pair's item was derived from and how (parent_ids, derivation), the examples of its prompt (example_ids),
            its draft (response, response_hash, model, answered_at, labeling_mode, language, ai_confidence), the live label of
            its item (canonical_label_id, label_data, labeled_by, labeled_at), why another one does not count (stale_note), what
            `standing_decisions` found, and the edit of its prompt's inputs (edit_id, edited_at, edit_misfit).
        misfits: the `label_data` that break the output schema, and how.
        trusted: whether the values of an existing column count as approved.

    Returns:
        The same rows in the same order, with status, response, labeling_mode, reviewed_by, reviewed_at, review_notes,
        created_at, updated_at and trace.
    """
    labeled = pl.col("label_data").is_not_null()
    # A decision speaks of a pair while the answer it saw stands, and no later label overrules it.
    binds = (
        pl.col("decision_id").is_not_null()
        & (pl.col("decided_on").is_null() | pl.col("decided_on").eq_missing(pl.col("response_hash")))
        & (~labeled | pl.col("labeled_at").is_null() | (pl.col("labeled_at") < pl.col("decided_at")))
    )
    judged = known.with_columns(
        *(pl.when(labeled).then(name).alias(name) for name in ("canonical_label_id", "labeled_by", "labeled_at")),
        pl.col("label_data").replace_strict(misfits, default=None, return_dtype=pl.String).alias("misfit"),
        binds.alias("decided"),
    )
    decided = pl.col("decided")
    from_column = (pl.col("labeling_mode") == "existing_column") & pl.col("response").is_not_null() & trusted
    status = (
        pl.when(decided)
        .then(pl.when(pl.col("action") == "reject").then(pl.lit("rejected")).otherwise(pl.lit("flagged")))
        .when(pl.col("misfit").is_not_null() | pl.col("edit_misfit").is_not_null())
        .then(pl.lit("flagged"))
        .when(labeled | from_column)
        .then(pl.lit("labeled"))
        .otherwise(pl.lit("unlabeled"))
    )
    notes = (
        pl.when(decided)
        .then("reason")
        .when(pl.col("edit_misfit").is_not_null())
        .then(pl.format("the edited input does not fit the template: {}", "edit_misfit"))
        .when(labeled)
        .then(pl.format("the expert's label does not fit the template: {}", "misfit"))
        .when(~from_column)
        .then("stale_note")
    )
    return judged.with_columns(
        status.alias("status"),
        notes.alias("review_notes"),
        pl.coalesce("label_data", "response").alias("response"),
        # What a model wrote, and thinks of it, says nothing of the words of an expert.
        *(pl.when(~labeled).then(name).alias(name) for name in ("language", "ai_confidence")),
        pl.when(labeled).then(pl.lit("canonical")).otherwise("labeling_mode").alias("labeling_mode"),
        pl.when(decided).then("decided_by").otherwise("labeled_by").alias("reviewed_by"),
        pl.when(decided).then("decided_at").otherwise("labeled_at").alias("reviewed_at"),
        pl.coalesce("answered_at", "labeled_at").alias("created_at"),
        pl.when(decided).then("decided_at").otherwise(pl.coalesce("labeled_at", "answered_at")).alias("updated_at"),
        _traces(judged).alias("trace"),
    )


def _traces(judged: pl.DataFrame) -> pl.Series:
    """What each pair comes from, and its steps: how its item was derived, the examples its prompt shows, its draft, the edit
    of its inputs, its label, and the decision that speaks of it."""
    places = judged.with_row_index("place")

    def step(holds: pl.Expr, name: pl.Expr, at: str | None, source: str) -> pl.DataFrame:
        params = pl.struct(source).struct.json_encode()
        when = pl.lit(None, judged.schema["answered_at"]) if at is None else pl.col(at)
        taken = places.select(
            "place", holds.alias("holds"), name.alias("name"), when.alias("at"), params.alias("params")
        )
        return taken.filter("holds").drop("holds")

    derived = places.select("place", "derivation").filter(pl.col("derivation").list.len() > 0).explode("derivation")
    no_time = pl.lit(None, judged.schema["answered_at"]).alias("at")
    derived = derived.unnest("derivation").select("place", "name", no_time, "params")
    steps = [
        derived,
        step(pl.col("example_ids").list.len() > 0, pl.lit("examples"), None, "example_ids"),
        step(pl.col("model").fill_null("") != "", pl.lit("draft"), "answered_at", "model"),
        step(pl.col("edit_id").is_not_null(), pl.lit("edit_inputs"), "edited_at", "edit_id"),
        step(pl.col("label_data").is_not_null(), pl.lit("label"), "labeled_at", "canonical_label_id"),
        step(pl.col("decided"), pl.col("action"), "decided_at", "decision_id"),
    ]
    by_place = (
        pl.concat(steps)
        .sort("place", maintain_order=True)
        .group_by("place", maintain_order=True)
        .agg(pl.struct("name", "at", "params").alias("steps"))
    )
    found = places.select("place").join(by_place, on="place", how="left", maintain_order="left")
    parents = judged["parent_ids"].fill_null([])
    return found.select(pl.struct(parents, pl.col("steps").fill_null([]))).to_series()
