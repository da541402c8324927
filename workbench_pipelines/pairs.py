"""Pairs: the question/answer rows of a TrainingSheet with everything that decides whether they may be used.

A pair is `labeled` when its answer stands: an expert's canonical label holds for the item, or its value comes from a
trusted column. It is `unlabeled` while it waits for a person, `rejected` when a person refused this very answer, and
`flagged` when a person asked for a second look or an expert's label no longer fits the template's output schema.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import polars as pl

from workbench_pipelines.consensus import KEY, waiting_note
from workbench_pipelines.decisions import UTC_TIME
from workbench_pipelines.edited_inputs import Editor, with_edited_inputs
from workbench_pipelines.fields import schema_violation
from workbench_pipelines.identity import response_hash
from workbench_pipelines.labels import in_full
from workbench_pipelines.netted_rows import with_netted_notes
from workbench_pipelines.pair_judgements import JUDGE, judge_pairs, standing_decisions
from workbench_pipelines.pair_uses import STATED, stated_by_label, uses_of_pairs
from workbench_pipelines.personal_data_net import Net
from workbench_pipelines.row_digests import row_digests, table_digest

Frame = pl.DataFrame | pl.LazyFrame

MESSAGE = pl.Struct({"role": pl.String(), "content": pl.String(), "parts": pl.String()})
STEP = pl.Struct({"name": pl.String(), "at": UTC_TIME, "params": pl.String()})
TRACE = pl.Struct({"parent_ids": pl.List(pl.String()), "steps": pl.List(STEP)})

LABELED_PAIRS = pl.Schema(
    {
        "training_sheet": pl.String(),
        "pair_id": pl.String(),
        "pair_hash": pl.String(),
        "sheet": pl.String(),
        "item_ref": pl.String(),
        "item_hash": pl.String(),
        "seen_hash": pl.String(),
        "template": pl.String(),
        "template_version": pl.String(),
        "label_type": pl.String(),
        "messages": pl.List(MESSAGE),
        "response": pl.String(),
        "inputs": pl.String(),
        "attributes": pl.String(),
        "tags": pl.List(pl.String()),
        "canonical_label_id": pl.String(),
        "status": pl.String(),
        "labeling_mode": pl.String(),
        "allowed_uses": pl.List(pl.String()),
        "prohibited_uses": pl.List(pl.String()),
        "usage_reason": pl.String(),
        "data_classification": pl.String(),
        "model": pl.String(),
        "ai_confidence": pl.Float64(),
        "quality_score": pl.Float64(),
        "language": pl.String(),
        "duplicate_of": pl.String(),
        "pii": pl.List(pl.String()),
        "reviewed_by": pl.String(),
        "reviewed_at": UTC_TIME,
        "review_notes": pl.String(),
        "trace": TRACE,
        "created_at": UTC_TIME,
        "updated_at": UTC_TIME,
        "policies": pl.List(pl.String()),
    }
)
"""Columns of `label/labeled_pairs`; `response`, `inputs` and `attributes` are canonical JSON texts, `policies` what definitions
stated when the uses were found (`stated_policies`)."""

STATUSES = ("labeled", "unlabeled", "rejected", "flagged")

_SHOWN = (
    "training_sheet", "pair_id", "sheet", "item_ref", "item_hash", "seen_hash", "template", "template_version",
    "label_type", "messages", "inputs", "attributes", "tags",
)  # fmt: skip
"""What a pair takes over from its prompt."""
_ASKED = ("prompt_hash", "usage_statements")
_DRAFTED = ("pair_id", "response", "response_hash", "model", "answered_at", "labeling_mode")

# What was found in an answer, and what a judge said of it (`pair_quality.PAIR_QUALITY`).
_FOUND = {
    "response_hash": "looked_at",
    "quality_score": "quality_score",
    "language": "found_language",
    "duplicate_of": "duplicate_of",
    "pii": "pii",
    "judge": "judge",
    "judge_probability": "judge_probability",
    "judged_at": "judged_at",
    "judge_statements": "judge_uses",
    "error_bound": "error_bound",
    "auto_approved": "auto_approved",
}
# Rows that are worked on at one time, so that what comes about on the way stays small; a row group of a Parquet file.
_PART = 122_880


def label_pairs(
    rendered: Frame,
    generated: Frame,
    labels: Frame,
    decisions: pl.DataFrame,
    *,
    schema: Mapping[str, Any],
    trusted: bool,
    vocabulary: Sequence[str],
    edit: Editor | None = None,
    held_edits: Collection[str] = (),
    quality: Frame | None = None,
    net: Net | None = None,
) -> pl.DataFrame:
    """The pairs of a TrainingSheet with their status and their permitted uses.

    Of lazy frames only the columns that count are read.

    Args:
        rendered: rows of `generate/rendered_prompts` of one TrainingSheet.
        generated: rows of `generate/generated_pairs` of the same one; a prompt without a draft makes no pair.
        labels: rows of `label/canonical_labels` of its Sheet.
        decisions: rows of `label/decisions`; those that name a pair or TrainingSheet bind to the answer they saw.
        schema: the template's output schema; a label that breaks it flags its pair.
        trusted: whether the values of an existing column count as approved.
        vocabulary: the uses that are known.
        edit: how inputs that a person edited make a new prompt; without it, edits of inputs are left alone.
        held_edits: by `edited_inputs.edits_that_hold`.
        quality: rows of `label/pair_quality`; what was found in another answer than the one that stands counts for nothing.
        net: what is done with personal data in what people typed into inputs and notes; what else pairs are made of went through
            it before (`netting.netted_sources`).

    Returns:
        Rows of `LABELED_PAIRS`, sorted by item.
    """
    prompts, drafts, said = pl.collect_all(
        [
            rendered.lazy().select(*_SHOWN, *_ASKED, *_derived(rendered), _examples(rendered)),
            generated.lazy().select(*_DRAFTED, *_said_of_drafts(generated)),
            _said_of_items(labels),
        ]
    )
    prompts, edits = with_edited_inputs(prompts, decisions, edit, held_edits, net)
    known = _with_quality(_known(prompts, drafts, said, decisions, edits), quality)
    misfits = _misfits(known["label_data"], schema)
    uses = uses_of_pairs(known.select(STATED).unique(maintain_order=True), vocabulary)
    # Prompts are the bulk of a pair: they are taken over as they lie, not through the joins.
    prompts = prompts.select(_SHOWN)
    if known.height < prompts.height or not known["row"].is_sorted():
        prompts = prompts[known["row"]]

    def part(start: int) -> pl.DataFrame:
        judged = judge_pairs(known.slice(start, _PART), misfits, trusted)
        judged = judged.join(uses, on=STATED, how="left", nulls_equal=True, maintain_order="left")
        return _pairs(prompts.slice(start, _PART), judged)

    # Hashing holds Python's lock, the rest does not: two parts at a time keep two cores busy.
    with ThreadPoolExecutor(max_workers=2) as pool:
        pairs = pl.concat([LABELED_PAIRS.to_frame(), *pool.map(part, range(0, known.height, _PART))])
    return pairs if net is None else with_netted_notes(pairs, net)


def status_counts(pairs: pl.DataFrame) -> dict[str, int]:
    """How many pairs have each status, and how many were approved by an expert's label before anyone looked."""
    counts = dict(pairs.group_by("status").len().iter_rows())
    pre_approved = pairs.filter((pl.col("status") == "labeled") & (pl.col("labeling_mode") == "canonical")).height
    return {status: counts.get(status, 0) for status in STATUSES} | {"pre_approved": pre_approved}


def pairs_digest(pairs: pl.DataFrame) -> str:
    """The content of a TrainingSheet: its pairs and statuses in the order of their names, without times."""
    columns = ["pair_id", "pair_hash", "status", "allowed_uses", "prohibited_uses", "data_classification"]
    return table_digest(pairs.select(columns).sort("pair_id"))


def quality_digest(pairs: pl.DataFrame) -> str:
    """What was found in the answers of pairs: it makes no other version of a TrainingSheet, and is news for who reviews it."""
    columns = ["pair_id", pl.col("quality_score").cast(pl.String), "language", "duplicate_of", "pii"]
    return table_digest(pairs.select(columns).sort("pair_id"))


def judged_alone(pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs that stand on a judge's word alone.

    Input columns: those of `LABELED_PAIRS`.
    Output columns: training_sheet, pair_id, judge, response, review_notes, at.
    """
    by_judge = pl.col("reviewed_by").str.starts_with(JUDGE) & pl.col("canonical_label_id").is_null()
    by_judge &= pl.col("status") == "labeled"
    return pairs.filter(by_judge).select(
        "training_sheet",
        "pair_id",
        pl.col("reviewed_by").str.strip_prefix(JUDGE).alias("judge"),
        "response",
        "review_notes",
        pl.col("reviewed_at").alias("at"),
    )


def _with_quality(known: pl.DataFrame, quality: Frame | None) -> pl.DataFrame:
    """What is known of each pair, with what was found in the answer that stands in it."""
    # A table of quality that was never made has no columns.
    there = quality is not None and "pair_id" in quality.lazy().collect_schema()
    if quality is None or not there:
        # What a model wrote says nothing of the words of an expert.
        language = pl.when(pl.col("label_data").is_null()).then("language").alias("language")
        return known.with_columns(language, pl.lit(None, pl.String).alias("judge_uses"))
    found = quality.lazy().select("pair_id", *(pl.col(name).alias(alias) for name, alias in _FOUND.items())).collect()
    joined = known.join(found, on="pair_id", how="left", maintain_order="left")
    labels = {text: response_hash(text) for text in joined["label_data"].drop_nulls().unique()}
    by_label = pl.col("label_data").replace_strict(labels, default=None, return_dtype=pl.String)
    stands = pl.col("looked_at") == pl.coalesce(by_label, "response_hash")
    unlabeled = pl.col("label_data").is_null()
    aliases = [alias for alias in _FOUND.values() if alias != "looked_at"]
    return joined.with_columns(pl.when(stands).then(alias).alias(alias) for alias in aliases).with_columns(
        # A judge's word reaches a pair that no expert answered.
        pl.when(unlabeled).then("judge_uses").cast(pl.Categorical).alias("judge_uses"),
        pl.coalesce(pl.when(unlabeled).then("language"), "found_language").alias("language"),
    )


def _derived(rendered: Frame) -> list[pl.Expr]:
    """What each prompt's item was derived from, and how; prompts that were rendered before there was any are of no parents."""
    known = rendered.collect_schema()
    types = {
        "parent_ids": pl.List(pl.String()),
        "derivation": pl.List(pl.Struct({"name": pl.String, "params": pl.String})),
    }
    return [pl.col(name) if name in known else pl.lit([], dtype).alias(name) for name, dtype in types.items()]


def _said_of_drafts(generated: Frame) -> list[pl.Expr]:
    """The language of each draft and what its model thinks of it; drafts from before that was looked at have neither."""
    known = generated.lazy().collect_schema()
    return [
        pl.col(name) if name in known else pl.lit(None, LABELED_PAIRS[name]).alias(name)
        for name in ("language", "ai_confidence")
    ]


def _examples(rendered: Frame) -> pl.Expr:
    """The examples of each prompt; prompts that were rendered before there were any show none."""
    known = "example_ids" in rendered.collect_schema()
    return pl.col("example_ids") if known else pl.lit(None, pl.List(pl.String)).alias("example_ids")


def _known(
    prompts: pl.DataFrame, drafts: pl.DataFrame, labels: pl.DataFrame, decisions: pl.DataFrame, edits: pl.DataFrame
) -> pl.DataFrame:
    """What is known of each pair, in the order of the result; `row` is the place of its prompt."""
    known = (
        prompts.select(
            "pair_id",
            *KEY,
            "prompt_hash",
            "parent_ids",
            "derivation",
            "example_ids",
            pl.col("usage_statements").cast(pl.Categorical),
        )
        .with_row_index("row")
        .join(drafts, on="pair_id", how="inner", maintain_order="left")
        .join(labels, on=KEY, how="left", maintain_order="left")
        .join(standing_decisions(decisions), on="pair_id", how="left", maintain_order="left")
        .join(edits, on="pair_id", how="left", maintain_order="left")
        .with_columns(pl.when(_label_speaks()).then("label_uses").alias("label_uses"))
    )
    # Prompts mostly lie in order already, and to see that costs little.
    item = known["item_ref"]
    return known if (item > item.shift()).all() else known.sort("item_ref", "pair_id")


def _label_speaks() -> pl.Expr:
    """Whether what a label states of uses holds for its pair: while it is live, and for the inputs that came with it longer."""
    is_edited = pl.col("edit_id").is_not_null() & pl.col("edit_misfit").is_null()
    return pl.col("label_is_live").fill_null(False) | is_edited


def _said_of_items(labels: Frame) -> pl.LazyFrame:
    """What experts' labels say of each item: a live one its answer and uses, one that is stale, waits for another person
    or was withdrawn, only why it does not hold."""
    live = pl.col("active") & ~pl.col("stale")
    note = (
        pl.when("stale")
        .then(pl.format("the label of {} is stale: what it saw has changed", "last_modified_by"))
        .when(pl.col("proposed_by").is_not_null())
        .then(pl.format("proposed by {}, waits for a second person", "proposed_by"))
        .when(pl.col("awaits").is_not_null())
        .then(waiting_note())
        .when(~pl.col("active"))
        .then(pl.format("the label was withdrawn by {}", "last_modified_by"))
    )
    return in_full(labels.lazy()).select(
        *KEY,
        *(pl.when(live).then(name).alias(name) for name in ("canonical_label_id", "label_data")),
        stated_by_label().cast(pl.Categorical).alias("label_uses"),
        live.alias("label_is_live"),
        pl.when(live).then("last_modified_by").alias("labeled_by"),
        pl.when(live).then("last_modified_at").alias("labeled_at"),
        note.alias("stale_note"),
    )


def _pairs(prompts: pl.DataFrame, judged: pl.DataFrame) -> pl.DataFrame:
    """Rows of `LABELED_PAIRS` from their prompts and what was decided of them, both in the same order."""
    own = judged.select([name for name in judged.columns if name in LABELED_PAIRS and name not in _SHOWN])
    hashed = row_digests(judged, "pair", ["prompt_hash", "response", "label_type", "canonical_label_id"])
    pairs = prompts.with_columns(*own.get_columns(), hashed.alias("pair_hash"))
    absent = [pl.lit(None).alias(name) for name in LABELED_PAIRS if name not in pairs.columns]
    return pairs.with_columns(absent).select([pl.col(name).cast(dtype) for name, dtype in LABELED_PAIRS.items()])


def _misfits(label_data: pl.Series, schema: Mapping[str, Any]) -> dict[str, str]:
    """The labels that break the output schema, and how; each is looked at once, however many items it stands for."""
    found = {text: schema_violation(json.loads(text), schema) for text in label_data.drop_nulls().unique()}
    return {text: why for text, why in found.items() if why is not None}
