"""Canonical labels: the ground truth of an item for a task, as a fold of the decisions ledger.

A label is unique by (sheet, item_ref, label_type). It is *stale* while the columns its expert saw hold something else,
and live again when they are as they were.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeVar

import polars as pl

from workbench_pipelines.consensus import ANNOTATOR, KEY, VERDICTS, Panels, panel_verdicts
from workbench_pipelines.decisions import DECISIONS, LABELING_ACTIONS, REVIEWED, UTC_TIME, undone_decisions
from workbench_pipelines.errors import SourceError
from workbench_pipelines.identity import digest, seen_hash
from workbench_pipelines.row_digests import row_digests
from workbench_pipelines.usage import strictest

CANONICAL_LABELS = pl.Schema(
    {
        "canonical_label_id": pl.String(),
        "sheet": pl.String(),
        "item_ref": pl.String(),
        "label_type": pl.String(),
        "label_data": pl.String(),
        "confidence": pl.String(),
        "notes": pl.String(),
        "allowed_uses": pl.List(pl.String()),
        "prohibited_uses": pl.List(pl.String()),
        "usage_reason": pl.String(),
        "data_classification": pl.String(),
        "labeled_by": pl.String(),
        "labeled_at": UTC_TIME,
        "last_modified_by": pl.String(),
        "last_modified_at": UTC_TIME,
        "version": pl.Int64(),
        "seen_columns": pl.List(pl.String()),
        "seen_hash": pl.String(),
        "stale": pl.Boolean(),
        "active": pl.Boolean(),
        "proposed_by": pl.String(),
        "annotators": pl.List(pl.String()),
        "agreement": pl.Float64(),
        "awaits": pl.String(),
        "narrowed_by": pl.String(),
        "policies": pl.List(pl.String()),
    }
)
"""Columns of `label/canonical_labels`; `allowed_uses` null inherits the Sheet's.

`usage_reason` is what people wrote, and stays with the label; `narrowed_by` names what is stated of the columns its expert saw,
null where nothing of it narrows the label, and stands as the witness wherever the label refuses a use. `policies` are those of
its Sheet that it was narrowed by (`stated_policies`).

`proposed_by` is set while a label is not active since it waits for a second person, and names the first one. Where several
people answer for an item, `annotators` did, `agreement` is how far they agree, and `awaits` is set while the label is not
active since it waits for another `annotator`, or an `adjudicator` who decides between them.
"""

LABEL_HISTORY = pl.Schema(
    {
        "canonical_label_id": pl.String(),
        "version": pl.Int64(),
        "decision_id": pl.String(),
        "sheet": pl.String(),
        "item_ref": pl.String(),
        "label_type": pl.String(),
        "action": pl.String(),
        "label_data": pl.String(),
        "uses": pl.String(),
        "reason": pl.String(),
        "notes": pl.String(),
        "source": pl.String(),
        "by": pl.String(),
        "at": UTC_TIME,
        "undoes": pl.String(),
    }
)
"""Who said what of a label, when and why: one row a version."""

F = TypeVar("F", pl.DataFrame, pl.LazyFrame)

_COUNTS = ~pl.col("undone")
_SETTING = pl.col("action").is_in(LABELING_ACTIONS) & _COUNTS
# A rejection that names no pair withdraws the label itself; one that names a pair binds to the answer it saw.
_WITHDRAWAL = (pl.col("action") == "reject") & pl.col("pair_id").is_null() & _COUNTS
# A restore that names a pair or a decision gives back that one only.
_RESTORING = (pl.col("action") == "restore") & pl.col("pair_id").is_null() & pl.col("undoes").is_null()
# What a person states in a review narrows, until a steward lifts it; a file of labels replaces what files stated before.
_NARROWING = _SETTING & (pl.col("action").is_in(["approve", "edit"]) | (pl.col("source") == REVIEWED))
_REPLACING = _SETTING & ~_NARROWING
_SAID = ["uses", "restriction"]


def label_history(decisions: pl.DataFrame) -> pl.DataFrame:
    """Every version of every label, oldest first; rows of `LABEL_HISTORY`."""
    events = _events(decisions)
    return events.select(
        _label_ids(events),
        pl.int_range(1, pl.len() + 1).over(KEY).cast(pl.Int64).alias("version"),
        *[column for column in LABEL_HISTORY if column not in ("canonical_label_id", "version")],
    ).select(list(LABEL_HISTORY))


def fold_labels(
    decisions: pl.DataFrame,
    snapshot: pl.DataFrame | None,
    two_persons: Collection[str] = (),
    panels: Panels | None = None,
) -> pl.DataFrame:
    """The labels in force, withdrawn, waiting and stale ones included.

    Args:
        decisions: rows of `DECISIONS` in any order, repeated or not.
        snapshot: the Sheet's items now, for staleness; None leaves every label as not stale.
        two_persons: the Sheets whose labels count once a second person has approved them as they are.
        panels: the labels that several people make who answer on their own; people who agree are two persons already.

    Returns:
        Rows of `CANONICAL_LABELS`, sorted by item and label type.
    """
    events = _events(decisions)
    setting = events.filter(_SETTING)
    if setting.is_empty():
        return CANONICAL_LABELS.to_frame()
    in_panel = (panels or Panels()).only(setting).alias("in_panel")
    verdicts = _verdicts(events, setting.filter(in_panel), snapshot, panels)
    chosen = verdicts.select(*KEY, "label_decision")
    told = setting.with_columns(in_panel).join(chosen, on=KEY, how="left", maintain_order="left")
    is_label = pl.col("label_decision").is_null() | (pl.col("label_decision") == pl.col("decision_id"))
    label = (
        _confirming(told)
        .group_by(KEY, maintain_order=True)
        .agg(
            pl.col("label_data", "confidence", "notes", "seen_columns", "seen_hash").filter(is_label).last(),
            pl.col("by").first().alias("labeled_by"),
            pl.col("at").first().alias("labeled_at"),
        )
    )
    state = (
        events.with_columns(_lifts())
        .group_by(KEY, maintain_order=True)
        .agg(
            pl.col("by").filter(_COUNTS & pl.col("undoes").is_null()).last().alias("last_modified_by"),
            pl.col("at").filter(_COUNTS & pl.col("undoes").is_null()).last().alias("last_modified_at"),
            pl.len().cast(pl.Int64).alias("version"),
            # A file that says nothing of uses takes nothing back.
            pl.col("uses").filter(_REPLACING).drop_nulls().last().alias("uses"),
            (~_WITHDRAWAL).filter(_SETTING | _WITHDRAWAL | _RESTORING).last().alias("stands"),
            # Restrictions outlive a new label and add up: only a restore of a label that stands lifts them.
            pl.col("uses")
            .filter(((pl.col("action") == "restrict") | _NARROWING) & (pl.col("lifts").cum_sum(reverse=True) == 0))
            .str.join("\n")
            .alias("restriction"),
        )
    )
    folded = (
        label.join(state, on=KEY, how="left", maintain_order="left")
        .join(_proposals(setting.filter(~in_panel), two_persons, snapshot), on=KEY, how="left", maintain_order="left")
        .join(verdicts.drop("label_decision"), on=KEY, how="left", maintain_order="left")
        .with_columns(pl.when("stands").then(name).alias(name) for name in ("proposed_by", "awaits"))
        .with_columns((pl.col("stands") & pl.col("proposed_by").is_null() & pl.col("awaits").is_null()).alias("active"))
    )
    uses = _usage_columns(folded.select(_SAID).unique(maintain_order=True))
    return (
        folded.join(uses, on=_SAID, how="left", nulls_equal=True, maintain_order="left")
        .with_columns(_label_ids(folded), stale_labels(folded, snapshot))
        .with_columns(_unheard())
        .pipe(in_full)
        .select([pl.col(name).cast(dtype) for name, dtype in CANONICAL_LABELS.items()])
        .sort(KEY)
    )


def _lifts() -> pl.Expr:
    """Whether a decision lifts restrictions: a restore of a label that stands. One of a withdrawn label gives that back alone."""
    stood = pl.when(_WITHDRAWAL).then(pl.lit(False)).when(_SETTING | _RESTORING).then(pl.lit(True))
    before = stood.forward_fill().shift().over(KEY).fill_null(True)
    return (_RESTORING & before).alias("lifts")


def _unheard() -> list[pl.Expr]:
    """Of an item that changed since its annotators answered, nobody is heard yet: it waits for them anew."""
    anew = pl.col("stale") & pl.col("awaits").is_not_null()
    return [
        pl.when(anew).then(pl.lit([], pl.List(pl.String))).otherwise("annotators").alias("annotators"),
        pl.when(anew).then(None).otherwise("agreement").alias("agreement"),
        pl.when(anew).then(pl.lit(ANNOTATOR)).otherwise("awaits").alias("awaits"),
    ]


def labeling_decisions(decisions: pl.DataFrame) -> pl.DataFrame:
    """The decisions that say what is true of items and that nobody took back, in the order of time."""
    return _events(decisions).filter(_SETTING)


def _verdicts(
    events: pl.DataFrame, setting: pl.DataFrame, snapshot: pl.DataFrame | None, panels: Panels | None
) -> pl.DataFrame:
    """What the panels say; rows of `consensus.VERDICTS`. After a withdrawal, a panel begins anew."""
    if panels is None or setting.is_empty():
        return VERDICTS.to_frame()
    place = pl.struct("at", "decision_id")
    ended = (
        events.group_by(KEY)
        .agg(place.filter(_WITHDRAWAL).last().alias("ended"), place.filter(_RESTORING).last().alias("restored"))
        .filter(pl.col("ended").is_not_null() & ~(_at("restored") > _at("ended")).fill_null(False))
        .select(*KEY, "ended")
    )
    said = setting.join(ended, on=KEY, how="left", maintain_order="left")
    since = (pl.col("at") > pl.col("ended").struct.field("at")).fill_null(True)
    # A withdrawn label that nobody answered anew is shown as it was.
    said = said.filter(since | ~since.any().over(KEY))
    return panel_verdicts(said.with_columns(stale_labels(said, snapshot)), panels)


def _at(name: str) -> pl.Expr:
    return pl.col(name).struct.field("at")


def _confirming(setting: pl.DataFrame) -> pl.DataFrame:
    """The decisions that set labels, an approval keeping the confidence and the notes that it says nothing of.

    Of people who answer on their own, everybody keeps only what they said themselves.
    """
    approves = pl.col("action") == "approve"
    whose = pl.when("in_panel").then("by").otherwise(pl.lit(""))
    before = {name: pl.col(name).forward_fill().over(*KEY, whose) for name in ("confidence", "notes")}
    return setting.with_columns(
        pl.when(approves).then(before["confidence"].fill_null("high")).otherwise("confidence").alias("confidence"),
        pl.when(approves).then(before["notes"]).otherwise("notes").alias("notes"),
    )


def _proposals(setting: pl.DataFrame, two_persons: Collection[str], snapshot: pl.DataFrame | None) -> pl.DataFrame:
    """Who proposed each label that still waits for a second person: nobody else approved it since it last changed.

    Looking at a changed item is a change, too; looking at other columns of it is none. What was said of an item as it is no
    more proposes nothing for what it is now.
    """
    asked = setting.filter(pl.col("sheet").is_in(list(two_persons))).sort(*KEY, "at", "decision_id")
    # Rows of one label lie together: each is held against the one before it.
    other_label = pl.any_horizontal(pl.col(name).ne_missing(pl.col(name).shift()) for name in KEY)
    same_columns = pl.col("seen_columns").eq_missing(pl.col("seen_columns").shift())
    other_item = same_columns & pl.col("seen_hash").ne_missing(pl.col("seen_hash").shift())
    asked = asked.with_columns(stale_labels(asked, snapshot).alias("of_the_past"))
    anew = ~pl.col("of_the_past") & pl.col("of_the_past").shift().fill_null(False)
    changed = anew | other_label | pl.col("label_data").ne_missing(pl.col("label_data").shift()) | other_item
    words = asked.with_columns(changed.cum_sum().alias("change")).select(*KEY, "change", "by", "action")
    proposals = words.unique("change", keep="first", maintain_order=True).unique(KEY, keep="last", maintain_order=True)
    proposals = proposals.select(*KEY, "change", pl.col("by").alias("proposed_by"))
    approvals = words.filter(pl.col("action") == "approve").join(proposals.select("change", "proposed_by"), on="change")
    approved = approvals.filter(pl.col("by") != pl.col("proposed_by")).select("change").unique()
    return proposals.join(approved, on="change", how="anti", maintain_order="left").drop("change")


def in_full(labels: F) -> F:
    """Labels with every column of `CANONICAL_LABELS`; those of a table from before a column was added say nothing there."""
    known = labels.lazy().collect_schema()
    return labels.with_columns(
        pl.lit(None, dtype).alias(name) for name, dtype in CANONICAL_LABELS.items() if name not in known
    )


def live_labels(labels: pl.DataFrame) -> pl.DataFrame:
    """The labels that stand: active, and true of the item as it is now."""
    return labels.filter(pl.col("active") & ~pl.col("stale"))


def label_contents(labels: pl.DataFrame) -> dict[tuple[str, str, str], str]:
    """The content digest of each active label by key, as `decisions.label_content` makes it."""
    contents: dict[tuple[str, str, str], str] = {}
    for row in labels.filter(pl.col("active")).iter_rows(named=True):
        uses = None
        if row["allowed_uses"] is not None or row["prohibited_uses"] or row["data_classification"] is not None:
            uses = {
                "allowed_uses": row["allowed_uses"],
                "prohibited_uses": row["prohibited_uses"],
                "usage_reason": row["usage_reason"],
                "data_classification": row["data_classification"],
            }
        content = [json.loads(row["label_data"]), row["confidence"], row["notes"], uses]
        key = (row["sheet"], row["item_ref"], row["label_type"])
        contents[key] = digest([*content, row["seen_columns"], row["seen_hash"]])
    return contents


def coverage(labels: pl.DataFrame, items: int) -> dict[str, dict[str, int]]:
    """By label type: how many items of the Sheet have a live label, a stale one, and how many there are."""
    counts = labels.group_by("label_type").agg(
        live=(pl.col("active") & ~pl.col("stale")).sum(), stale=(pl.col("active") & pl.col("stale")).sum()
    )
    return {
        row["label_type"]: {"live": row["live"], "stale": row["stale"], "items": items} for row in counts.to_dicts()
    }


def _events(decisions: pl.DataFrame) -> pl.DataFrame:
    missing = set(DECISIONS) - set(decisions.columns)
    if missing:
        raise SourceError(f"label/decisions lacks {', '.join(sorted(missing))}")
    # What is refused, flagged or given back of a pair alone says nothing of its label.
    of_pair = (
        pl.col("pair_id").is_not_null() & pl.col("action").is_in(["reject", "restore"]) & pl.col("undoes").is_null()
    )
    about_label = ~of_pair & (pl.col("action") != "flag")
    return (
        decisions.unique("decision_id", keep="any")
        .with_columns(undone_decisions(decisions).alias("undone"))
        .filter(about_label)
        .with_columns(pl.coalesce("label_data", "proposed_response").alias("label_data"))
        .sort("at", "decision_id")
    )


def _label_ids(rows: pl.DataFrame) -> pl.Series:
    """`identity.canonical_label_id` of every row."""
    return row_digests(rows, "label", KEY).alias("canonical_label_id")


def _usage_columns(said: pl.DataFrame) -> pl.DataFrame:
    """What labels and their restrictions say of uses, beside the columns it amounts to."""
    names = ["allowed_uses", "prohibited_uses", "usage_reason", "data_classification"]
    rows = [
        _effective([json.loads(text) for text in (uses or "", *(held or "").split("\n")) if text])
        for uses, held in said.iter_rows()
    ]
    return said.hstack(pl.DataFrame(rows, schema={name: CANONICAL_LABELS[name] for name in names}, orient="row"))


def _effective(said: Sequence[Mapping[str, Any]]) -> tuple[Any, ...]:
    """Allowed and prohibited uses, reason and classification of a label and its restrictions: together they only narrow."""
    allowed = [one["allowed_uses"] for one in said if one.get("allowed_uses") is not None]
    classified = [one["data_classification"] for one in said if one.get("data_classification") is not None]
    reasons = [one["usage_reason"] for one in said if one.get("usage_reason")]
    return (
        sorted(set.intersection(*map(set, allowed))) if allowed else None,
        sorted({use for one in said for use in one.get("prohibited_uses") or ()}),
        "; ".join(dict.fromkeys(reasons)) or None,
        strictest(classified) if classified else None,
    )


def stale_labels(labels: pl.DataFrame, snapshot: pl.DataFrame | None) -> pl.Series:
    """Whether each label's item shows something else now; an item that is not in the Sheet says nothing."""
    places = pl.int_range(labels.height, dtype=pl.UInt32, eager=True)
    if snapshot is None:
        return places.is_in([]).alias("stale")
    changed = []
    seen = labels.select(places.alias("place"), "item_ref", "seen_columns", "seen_hash").drop_nulls("seen_hash")
    for (columns,), group in seen.group_by("seen_columns"):
        known = [column for column in columns or () if column in snapshot.columns]
        items = snapshot.select("item_ref", (pl.struct(known) if known else pl.lit({})).alias("row"))
        shown = group.join(items, on="item_ref").select("place", "seen_hash", "row")
        changed += [place for place, was, row in shown.iter_rows() if seen_hash(row, columns or ()) != was]
    return places.is_in(changed).alias("stale")
