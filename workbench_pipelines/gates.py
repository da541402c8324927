"""The gates before every use of a pair: an approved answer, a permitted use, a split to stand in, and nothing in it that the
policy of personal data keeps back; deny by default.

Permission is recomputed for every row from its own lists: train needs `training`, val `validation`, test `evaluation`,
and what is allowed is `allowed_uses` minus `prohibited_uses`. A refused pair is excluded with its reason, and never
moved to a split in which it would be permitted.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import polars as pl

USE_OF_SPLIT: Mapping[str, str] = {"train": "training", "val": "validation", "test": "evaluation"}
GATES = ("approved", "permitted", "split", "personal_data")
EXCLUSIONS = pl.Schema(
    {
        "pair_id": pl.String(),
        "item_ref": pl.String(),
        "gate": pl.String(),
        "reason": pl.String(),
        "training_sheet": pl.String(),
        "status": pl.String(),
    }
)
"""One row an excluded pair: the first of `GATES` that refuses it, and the reasons of all that do."""

_WAITS = {
    "unlabeled": "status is unlabeled: it waits for a person",
    "flagged": "status is flagged: it waits for a second look",
    "rejected": "status is rejected: a person refused this answer",
}
_JUDGED = ("status", "allowed_uses", "prohibited_uses", "usage_reason", "split", "quarantine", "personal_data")
_ALLOWED, _PROHIBITED = pl.col("allowed_uses"), pl.col("prohibited_uses")


def judge(
    pairs: pl.DataFrame, vocabulary: Iterable[str], use_of: Mapping[str, str] = USE_OF_SPLIT
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The pairs that pass every gate, and `EXCLUSIONS` for the others; both sorted by pair_id, each pair in one.

    Input columns: those of `label/labeled_pairs`; split (train, val, test or null), and quarantine, the reason for
    which a pair has none, if known; personal_data, what stands in a pair that may not leave, if anything was looked for.

    Args:
        use_of: the use that standing in a split takes, by its name; a split of another name permits nothing.
    """
    absent = [name for name in ("quarantine", "personal_data") if name not in pairs.columns]
    pairs = pairs.with_columns(pl.lit(None, pl.String).alias(name) for name in absent)
    uses = sorted(set(vocabulary))
    passed = (
        (pl.col("status") == "labeled").fill_null(False)
        & pl.col("response").is_not_null()
        & pl.col("split").is_in(list(use_of)).fill_null(False)
        & pl.col("quarantine").is_null()
        & pl.col("personal_data").is_null()
        & _permits(uses, use_of)
    )
    judged = pairs.with_columns(passed.alias("_passed")).sort("pair_id")
    admitted = judged.filter(pl.col("_passed")).drop("_passed", "quarantine", "personal_data")
    return admitted, _exclusions(judged.filter(~pl.col("_passed")), uses, use_of)


def refusal(
    split: str | None, row: Mapping[str, Any], vocabulary: Sequence[str], use_of: Mapping[str, str] = USE_OF_SPLIT
) -> str | None:
    """Why a pair may not stand in a split, naming who says so where its `usage_reason` does; None where it may.

    Input fields: allowed_uses, prohibited_uses, usage_reason.
    """
    use = use_of.get(split or "")
    if use is None:
        return None if split is None else f"no use is known for split '{split}'"
    allowed, prohibited = row["allowed_uses"], row["prohibited_uses"] or []
    for name, listed in (("allowed_uses", allowed or []), ("prohibited_uses", prohibited)):
        for one in listed:
            if one not in vocabulary:
                return f"{split} needs {use}: {name} names the unknown use '{one}'"
    if use in prohibited or use not in (allowed or []):
        stated = f"{use} is in prohibited_uses" if use in prohibited else f"{use} is not in allowed_uses"
        return f"{split} needs {use}: {_witness(row['usage_reason'], use, stated)}"
    return None


def _permits(vocabulary: Sequence[str], use_of: Mapping[str, str]) -> pl.Expr:
    """Whether the lists of a row permit the use of its split; a null, or a use nobody knows, permits nothing."""
    use = pl.col("split").replace_strict(dict(use_of), default=None, return_dtype=pl.String)
    known = pl.element().is_in(list(vocabulary)).fill_null(False)
    all_known = _ALLOWED.list.eval(known).list.all() & _PROHIBITED.list.eval(known).list.all().fill_null(True)
    permitted = _ALLOWED.list.contains(use) & ~_PROHIBITED.list.contains(use).fill_null(False)
    return (all_known & permitted).fill_null(False) & use.is_not_null()


def _exclusions(refused: pl.DataFrame, vocabulary: Sequence[str], use_of: Mapping[str, str]) -> pl.DataFrame:
    known: dict[Any, tuple[str, str]] = {}
    verdicts = []
    for row in refused.select(*_JUDGED, pl.col("response").is_null().alias("unanswered")).iter_rows(named=True):
        # Many rows, few verdicts: what is the same for all of a TrainingSheet is said once.
        key = tuple(tuple(value) if isinstance(value, list) else value for value in row.values())
        if key not in known:
            known[key] = _verdict(row, vocabulary, use_of)
        verdicts.append(known[key])
    said = pl.DataFrame(verdicts, schema={"gate": pl.String, "reason": pl.String}, orient="row")
    return refused.hstack(said).select([pl.col(name).cast(dtype) for name, dtype in EXCLUSIONS.items()])


def _verdict(row: Mapping[str, Any], vocabulary: Sequence[str], use_of: Mapping[str, str]) -> tuple[str, str]:
    """The first gate that refuses a pair, and every refusal on one line."""
    refusals: list[tuple[str, str]] = []
    if row["status"] != "labeled":
        refusals.append(("approved", _WAITS.get(row["status"], f"status is {row['status']}, not labeled")))
    elif row["unanswered"]:
        refusals.append(("approved", "status is labeled, and there is no response"))
    permission = refusal(row["split"], row, vocabulary, use_of)
    if permission is not None:
        refusals.append(("permitted", permission))
    if row["quarantine"] is not None or row["split"] is None:
        refusals.append(("split", f"quarantined: {row['quarantine'] or 'it has no split'}"))
    if row["personal_data"] is not None:
        refusals.append(("personal_data", row["personal_data"]))
    return refusals[0][0], "; also ".join(reason for _, reason in refusals)


def _witness(usage_reason: str | None, use: str, stated: str) -> str:
    """The part of a pair's `usage_reason` that speaks of this use; where none does, what its lists state."""
    speaks = re.compile(rf"(prohibits|allow|that) {re.escape(use)}\b")
    named = [part for part in (usage_reason or "").split("; ") if speaks.search(part)]
    return "; ".join(named) or f"{stated}{f' ({usage_reason})' if usage_reason else ''}"
