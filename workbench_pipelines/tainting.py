"""Tainted exports: pairs that were exported while their use was permitted, and would be refused now.

A taint is a fact about one pair of one published version, and about the use that its split needed. It stays on record for
ever; where the constraint is lifted, a second row says when (`cleared_at`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import polars as pl

from workbench_pipelines.errors import WorkbenchError
from workbench_pipelines.gates import USE_OF_SPLIT, refusal
from workbench_pipelines.usage import effective_use, statements_from_json

_TIME = pl.Datetime("us", "UTC")
_KEY = ["collection", "version", "pair_id", "use"]
_JUDGED = ("allowed_uses", "prohibited_uses", "usage_reason")
LIFTED = "permitted again"

EXPORT_TAINTS = pl.Schema(
    {
        "collection": pl.String(),
        "version": pl.Int64(),
        "pair_id": pl.String(),
        "training_sheet": pl.String(),
        "use": pl.String(),
        "reason": pl.String(),
        "at": _TIME,
        "cleared_at": _TIME,
    }
)
"""Columns of `records/export_taints`, append-only: one row a pair of a published export that its use is refused for, and a
second one with the same `at` once that is no longer so."""

EXPORTED = pl.Schema(
    {
        "collection": pl.String(),
        "version": pl.Int64(),
        "training_sheet": pl.String(),
        "pair_id": pl.String(),
        "split": pl.String(),
    }
)
"""One row a pair of a published export."""


def refused_now(
    exported: pl.DataFrame, pairs: pl.DataFrame, prompts: pl.DataFrame, vocabulary: Sequence[str]
) -> pl.DataFrame:
    """The exported pairs whose split needs a use that they do not permit now, with `use` and `reason`.

    A pair that there is no more, since its prompt is withheld from models for instance, is judged by what is stated of its
    prompt. One whose item left its Sheet is no longer known, and is not spoken of.

    Args:
        exported: pair_id, split and whatever goes along.
        pairs: pair_id, allowed_uses, prohibited_uses and usage_reason of `label/labeled_pairs`.
        prompts: pair_id and usage_statements of `generate/rendered_prompts`.
        vocabulary: the uses that are known.
    """
    uses = tuple(vocabulary)
    known = exported.join(pairs.select("pair_id", *_JUDGED), on="pair_id", how="inner")
    gone = exported.join(pairs.select("pair_id"), on="pair_id", how="anti")
    gone = gone.join(prompts.select("pair_id", "usage_statements"), on="pair_id", how="inner")
    said = {text: _effective(text, uses) for text in gone["usage_statements"].unique()}
    by_prompt = pl.DataFrame(
        [{"usage_statements": text, **one} for text, one in said.items()],
        schema={"usage_statements": pl.String, **{name: pairs.schema[name] for name in _JUDGED}},
    )
    of_gone = gone.join(by_prompt, on="usage_statements", how="left").select(known.columns)
    return _refused(pl.concat([known, of_gone]), uses).drop(_JUDGED)


def new_taints(
    refused: pl.DataFrame, exported: pl.DataFrame, taints: pl.DataFrame, training_sheet: str, at: dt.datetime
) -> pl.DataFrame:
    """What is to be written down: pairs that are refused and were not, and those that are permitted again.

    Args:
        refused: by `refused_now`, rows of `EXPORTED` with use and reason.
        exported: the rows of `EXPORTED` that were looked at; of others nothing is said.
        taints: rows of `EXPORT_TAINTS`.
        training_sheet: whose pairs were looked at.
    """
    known = open_taints(taints).filter(pl.col("training_sheet") == training_sheet)
    fresh = refused.join(known, on=_KEY, how="anti").with_columns(at=pl.lit(at), cleared_at=pl.lit(None))
    looked_at = known.join(exported, on=["collection", "version", "pair_id"], how="semi")
    # A pair that is not there to be judged clears nothing.
    lifted = looked_at.join(refused, on=_KEY, how="anti").with_columns(reason=pl.lit(LIFTED), cleared_at=pl.lit(at))
    columns = [pl.col(name).cast(dtype) for name, dtype in EXPORT_TAINTS.items()]
    return pl.concat([fresh.select(columns), lifted.select(columns)]).sort(*_KEY)


def open_taints(taints: pl.DataFrame) -> pl.DataFrame:
    """The taints that no constraint was lifted for since; rows of `EXPORT_TAINTS`."""
    cleared = taints.filter(pl.col("cleared_at").is_not_null())
    marked = taints.filter(pl.col("cleared_at").is_null()).unique([*_KEY, "at"], keep="first", maintain_order=True)
    return marked.join(cleared, on=[*_KEY, "at"], how="anti", maintain_order="left")


def taint_states(taints: pl.DataFrame, lineage: pl.DataFrame) -> list[dict[str, Any]]:
    """Each tainted export with how many of its pairs are refused for which use, since when, why, and its models.

    Args:
        taints: rows of `EXPORT_TAINTS`.
        lineage: rows of `MODEL_TRAINING_LINEAGE`.
    """
    states = []
    for (collection, version), rows in open_taints(taints).group_by("collection", "version", maintain_order=True):
        reasons = rows["reason"].value_counts(name="n").sort(["n", "reason"], descending=[True, False])["reason"]
        trained = lineage.filter((pl.col("collection") == collection) & (pl.col("export_version") == version))
        names = trained.sort("trained_at").select(pl.concat_str("model_name", pl.lit("/"), "model_version"))
        states.append(
            {
                "collection": collection,
                "version": version,
                "pairs": rows["pair_id"].n_unique(),
                "uses": dict(rows.group_by("use").len().sort("use").iter_rows()),
                "reason": reasons[0],
                "since": rows["at"].min(),
                "models": names.to_series().unique(maintain_order=True).to_list(),
            }
        )
    return sorted(states, key=lambda one: (one["collection"], one["version"]))


def taint_line(state: Mapping[str, Any]) -> str:
    """A tainted export in one line, as people read it."""
    uses = ", ".join(f"{use} {count}" for use, count in state["uses"].items())
    models = ", ".join(state["models"]) or "none"
    return (
        f"export {state['collection']} v{state['version']} is tainted: {state['pairs']} of its pairs may not be used as they "
        f"were any more ({uses}); {state['reason']}; models trained on it: {models}"
    )


def _refused(rows: pl.DataFrame, vocabulary: tuple[str, ...]) -> pl.DataFrame:
    verdicts = [
        _verdict(split, _frozen(allowed), _frozen(prohibited), reason, vocabulary)
        for split, allowed, prohibited, reason in rows.select("split", *_JUDGED).iter_rows()
    ]
    use = pl.col("split").replace_strict(dict(USE_OF_SPLIT), default=None, return_dtype=pl.String)
    judged = rows.with_columns(pl.Series("reason", verdicts, pl.String), use.alias("use"))
    return judged.filter(pl.col("reason").is_not_null())


def _frozen(uses: list[str] | None) -> tuple[str, ...] | None:
    return None if uses is None else tuple(uses)


@lru_cache(maxsize=4096)  # few verdicts, many rows
def _verdict(
    split: str | None,
    allowed: tuple[str, ...] | None,
    prohibited: tuple[str, ...] | None,
    reason: str | None,
    vocabulary: tuple[str, ...],
) -> str | None:
    row = {"allowed_uses": allowed, "prohibited_uses": prohibited, "usage_reason": reason}
    return refusal(split, row, vocabulary)


def _effective(statements: str, vocabulary: tuple[str, ...]) -> dict[str, Any]:
    """What a prompt's statements come to, as the columns of a pair; what can not be read permits nothing."""
    try:
        found = effective_use(statements_from_json(statements), vocabulary)
    except WorkbenchError as error:
        return {"allowed_uses": [], "prohibited_uses": [], "usage_reason": error.line}
    return {
        "allowed_uses": list(found.allowed_uses),
        "prohibited_uses": list(found.prohibited_uses),
        "usage_reason": found.reason,
    }
