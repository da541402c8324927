"""Recall: everything that came of an item, a label, a person's word or a source, as exact sets.

A pair is touched by its own item, by an item that its own was derived from, by the label that vouches for it, by a decision on
it, or by an example that its prompt shows. What came of a pair (exports, models, evaluations) follows by pair_id and
pair_hash: a pair that was touched when an export was made is touched there, whatever it holds today.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import polars as pl

_TEXTS = pl.List(pl.String())

TOUCHED = pl.Schema(
    {
        "training_sheet": pl.String(),
        "pair_id": pl.String(),
        "pair_hash": pl.String(),
        "sheet": pl.String(),
        "item_ref": pl.String(),
        "how": pl.String(),
    }
)
"""One row a touched pair; `how` is the nearest of item, derived, label, decision and example."""
PAIR_COLUMNS = (
    "training_sheet", "pair_id", "pair_hash", "sheet", "item_ref", "canonical_label_id", "trace",
)  # fmt: skip
"""What is read of `label/labeled_pairs`."""


@dataclass(frozen=True)
class Seeds:
    """What is called back.

    Attributes:
        items: the items of each Sheet by name; None are all of it.
        labels: canonical labels.
        pair_ids: pairs that somebody decided on.
        examples: what was made of them for prompts, by example_id; `with_examples` finds them.
        people: those whose word is called back.
    """

    items: Mapping[str, frozenset[str] | None] = field(default_factory=dict)
    labels: frozenset[str] = frozenset()
    pair_ids: frozenset[str] = frozenset()
    examples: frozenset[str] = frozenset()
    people: frozenset[str] = frozenset()

    def with_examples(self, kept: pl.DataFrame, derived: pl.DataFrame) -> Seeds:
        """The same with the examples that show one of its items, or what was derived from it, or one of its labels.

        Input columns: example_id, sheet, item_ref, canonical_label_id.

        Args:
            derived: sheet and item_ref of the pairs that `touched_pairs` found by what they were derived from.
        """
        of = dict(derived.group_by("sheet").agg(pl.col("item_ref").unique()).iter_rows()) if derived.height else {}
        items = {
            sheet: None if refs is None else refs | frozenset(of.get(sheet, ())) for sheet, refs in self.items.items()
        }
        found = kept.filter(_of_items(items) | _is_in("canonical_label_id", self.labels))
        return replace(self, examples=self.examples | frozenset(found["example_id"]))


def touched_pairs(pairs: pl.DataFrame, seeds: Seeds) -> pl.DataFrame:
    """Rows of `TOUCHED`, sorted by TrainingSheet and item.

    Input columns: those of `PAIR_COLUMNS`.
    """
    parents = pl.col("trace").struct.field("parent_ids")
    derived = _any(
        (pl.col("sheet") == sheet) & parents.list.eval(pl.element().is_in(sorted(refs))).list.any().fill_null(False)
        for sheet, refs in seeds.items.items()
        if refs is not None
    )
    how = (
        pl.when(_of_items(seeds.items)).then(pl.lit("item"))
        .when(derived).then(pl.lit("derived"))
        .when(_is_in("canonical_label_id", seeds.labels)).then(pl.lit("label"))
        .when(_is_in("pair_id", seeds.pair_ids)).then(pl.lit("decision"))
        .when(_is_in("pair_id", showing(pairs, seeds.examples))).then(pl.lit("example"))
    )  # fmt: skip
    found = pairs.with_columns(how.alias("how")).filter(pl.col("how").is_not_null())
    return found.select([pl.col(name).cast(dtype) for name, dtype in TOUCHED.items()]).sort(
        "training_sheet", "item_ref", "pair_id"
    )


def showing(pairs: pl.DataFrame, examples: Iterable[str]) -> frozenset[str]:
    """The pairs whose prompts show one of these examples, by their traces."""
    wanted = sorted(examples)
    if not wanted:
        return frozenset()
    return frozenset(shown_examples(pairs).filter(pl.col("example_id").is_in(wanted))["pair_id"])


def shown_examples(pairs: pl.DataFrame) -> pl.DataFrame:
    """pair_id and example_id: the examples that the prompts of pairs show, by their traces."""
    steps = pairs.select("pair_id", steps=pl.col("trace").struct.field("steps"))
    steps = steps.filter(pl.col("steps").list.len() > 0).explode("steps").unnest("steps")
    names = pl.col("params").str.json_decode(pl.Struct({"example_ids": _TEXTS})).struct.field("example_ids")
    shown = steps.filter(pl.col("name") == "examples").select("pair_id", names.alias("example_id"))
    return shown.explode("example_id").drop_nulls("example_id")


def touched_in_export(
    rows: pl.DataFrame, now: pl.DataFrame, touched_now: pl.DataFrame, then: pl.DataFrame | None
) -> pl.DataFrame:
    """The touched pairs of an export: pair_id and split.

    Input columns: pair_id, pair_hash, split.

    Args:
        now: pair_id and pair_hash of all pairs as they stand.
        touched_now: rows of `TOUCHED` among them.
        then: rows of `TOUCHED` among the pairs as they stood when the export was made, where any stood otherwise.
    """
    both = ["pair_id", "pair_hash"]
    found = rows.join(touched_now.select(both), on=both, how="semi")
    if then is not None:
        changed = rows.join(now.select(both), on=both, how="anti")
        found = pl.concat([found, changed.join(then.select(both), on=both, how="semi")])
    return found.select("pair_id", "split").sort("pair_id")


def models_of(lineage: pl.DataFrame, touched: Mapping[tuple[str, int], frozenset[str]]) -> list[dict[str, Any]]:
    """The models that learned from a touched pair, with how many.

    Args:
        lineage: rows of `lineage.MODEL_TRAINING_LINEAGE`.
        touched: the touched pairs of each export, by Collection and version.
    """
    found = []
    for row in lineage.iter_rows(named=True):
        learned = touched.get((row["collection"], row["export_version"]), frozenset()).intersection(row["pair_ids"])
        if learned:
            named = ("model_name", "model_version", "collection", "export_version", "mlflow_run_id")
            found.append({**{name: row[name] for name in named}, "pairs": len(learned)})
    return sorted(found, key=lambda one: (one["model_name"], str(one["model_version"]).zfill(9)))


def evaluations_of(
    figures: pl.DataFrame, models: Iterable[Mapping[str, Any]], measured: Mapping[tuple[str, int], int]
) -> list[dict[str, Any]]:
    """The evaluations of touched models, and those on a test split that holds a touched pair.

    Args:
        figures: rows of `lineage.MODEL_EVALUATIONS`.
        models: by `models_of`.
        measured: how many touched pairs the test split of each export holds.
    """
    names = ["model_name", "model_version", "collection", "export_version"]
    taught = {(one["model_name"], one["model_version"]) for one in models}
    found = []
    for row in figures.select(names).unique().sort(names).iter_rows(named=True):
        is_taught = (row["model_name"], row["model_version"]) in taught
        on = measured.get((row["collection"], row["export_version"]), 0)
        if is_taught or on:
            found.append({**row, "model_is_touched": is_taught, "test_pairs": on})
    return found


def _of_items(items: Mapping[str, frozenset[str] | None]) -> pl.Expr:
    return _any(
        (pl.col("sheet") == sheet) & (pl.lit(True) if refs is None else pl.col("item_ref").is_in(sorted(refs)))
        for sheet, refs in items.items()
    )


def _is_in(column: str, names: Iterable[str]) -> pl.Expr:
    return pl.col(column).is_in(pl.Series(sorted(names), dtype=pl.String).implode()).fill_null(False)


def _any(conditions: Iterable[pl.Expr]) -> pl.Expr:
    found = list(conditions)
    return pl.any_horizontal(found).fill_null(False) if found else pl.lit(False)
