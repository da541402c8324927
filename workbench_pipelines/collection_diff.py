"""What changed between two versions of a Collection: which pairs came, went or are different, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

CHANGES = pl.Schema(
    {
        "change": pl.String(),
        "pair_id": pl.String(),
        "training_sheet": pl.String(),
        "item_ref": pl.String(),
        "split": pl.String(),
        "why": pl.String(),
    }
)
"""One row a pair that is not the same in both versions: `added`, `removed` or `changed`."""

_COMPARED = {
    "messages": "its prompt",
    "response": "its answer",
    "inputs": "its inputs",
    "label_type": "its task",
    "canonical_label_id": "the label behind it",
}


@dataclass(frozen=True)
class Version:
    """A published version: its pairs (`export_formats.PARQUET_ROWS`) and its exclusions (`gates.EXCLUSIONS`)."""

    number: int
    rows: pl.DataFrame
    exclusions: pl.DataFrame


@dataclass(frozen=True)
class Diff:
    """The pairs that are not the same, and how many are."""

    changes: pl.DataFrame
    same: int

    @property
    def counts(self) -> dict[str, int]:
        """added, removed, changed, same."""
        found = Counter(self.changes["change"])
        return {name: found[name] for name in ("added", "removed", "changed")} | {"same": self.same}

    @property
    def reasons(self) -> list[tuple[str, str, int]]:
        """change, why, how many pairs; the most frequent first."""
        counted = self.changes.group_by("change", "why").len("pairs")
        return counted.sort(["pairs", "change", "why"], descending=[True, False, False]).rows()


def compare(before: Version, after: Version, refused: Mapping[str, str] | None = None) -> Diff:
    """The changes from one version to another, sorted by change, TrainingSheet and item.

    Args:
        refused: by pair_id, why no pair is made of it by now.
    """
    added = _named(after.rows.join(before.rows, on="pair_id", how="anti"), "added").join(
        _reasons(before), on="pair_id", how="left", maintain_order="left"
    )
    was_no_pair = pl.lit(f"it was no pair of v{before.number}")
    added = added.with_columns(
        pl.coalesce(pl.format("v{} left it out: {}", pl.lit(before.number), "said"), was_no_pair).alias("why")
    )
    removed = _named(before.rows.join(after.rows, on="pair_id", how="anti"), "removed").join(
        _reasons(after), on="pair_id", how="left", maintain_order="left"
    )
    no_pair = pl.lit(f"it is no pair of v{after.number}: its item, its membership or the filter of it is another")
    no_more = pl.col("pair_id").replace_strict(dict(refused or {}), default=None, return_dtype=pl.String)
    refused_now = pl.format("no pair is made of it by now: {}", no_more)
    removed = removed.with_columns(pl.coalesce("said", refused_now, no_pair).alias("why"))
    both = before.rows.join(after.rows, on="pair_id", how="inner", suffix="_now", nulls_equal=True)
    why = pl.concat_list(_differences()).list.drop_nulls().list.join(", ")
    changed = both.with_columns(pl.lit("changed").alias("change"), why.alias("why"), pl.col("split_now").alias("split"))
    changed = changed.filter(pl.col("why") != "")
    parts = [
        one.select([pl.col(name).cast(dtype) for name, dtype in CHANGES.items()]) for one in (added, removed, changed)
    ]
    return Diff(pl.concat(parts).sort("change", "training_sheet", "item_ref", "pair_id"), both.height - changed.height)


def _named(rows: pl.DataFrame, change: str) -> pl.DataFrame:
    return rows.with_columns(pl.lit(change).alias("change"))


def _reasons(version: Version) -> pl.DataFrame:
    return version.exclusions.select("pair_id", pl.col("reason").alias("said")).unique("pair_id")


def _differences() -> list[pl.Expr]:
    """What differs, each as words or null."""
    found: list[pl.Expr] = [
        pl.when(pl.col(name).ne_missing(pl.col(f"{name}_now"))).then(pl.lit(said)) for name, said in _COMPARED.items()
    ]
    for name in ("split", "weight"):
        said = pl.format(f"its {name} was {{}} and is {{}}", pl.col(name), pl.col(f"{name}_now"))
        found.append(pl.when(pl.col(name).ne_missing(pl.col(f"{name}_now"))).then(said))
    return found
