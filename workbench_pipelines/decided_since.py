"""What people said after pairs were made: it narrows their uses at every door at once; what it permits anew waits for a run."""

from __future__ import annotations

from functools import lru_cache

import polars as pl

from workbench_pipelines.catalog import Catalog
from workbench_pipelines.gates import USE_OF_SPLIT
from workbench_pipelines.identity import response_hash
from workbench_pipelines.labels import fold_labels
from workbench_pipelines.pair_judgements import standing_decisions
from workbench_pipelines.usage import UsageStatement, effective_use
from workbench_pipelines.workbench import Workbench

PAIR_COLUMNS = ["pair_id", "sheet", "canonical_label_id", "response", "reviewed_at", "created_at"]
"""Columns of `label/labeled_pairs` that tell what was known of a pair when it was made."""
WITHDRAWN = "its label was withdrawn, or waits for another person"


def closed_since(workbench: Workbench, catalog: Catalog, rows: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Which of these pairs people closed for their split since they were made, with `use` and `reason`.

    Args:
        rows: pair_id and split, of what is about to be used.
        pairs: `PAIR_COLUMNS` of the pairs as they are.
    """
    known = rows.select("pair_id", "split").join(pairs.select(PAIR_COLUMNS), on="pair_id", how="inner")
    known = known.with_columns(
        pl.col("split").replace_strict(dict(USE_OF_SPLIT), default=None, return_dtype=pl.String).alias("use")
    )
    found: dict[str, str] = {}
    for (sheet,), own in known.group_by("sheet"):
        name = catalog.today("Sheet", str(sheet))
        if name not in catalog.names("Sheet"):
            continue  # what is not defined any more is refused by its policy
        ledger = workbench.sheet_decisions(catalog.sheet(name))
        if not ledger.is_empty():
            labels = fold_labels(ledger, None, catalog.two_person_sheets(), workbench.panels())
            found |= _closed_labels(own, labels, tuple(catalog.vocabulary())) | _closed_answers(own, ledger)
    reason = pl.col("pair_id").replace_strict(found, default=None, return_dtype=pl.String)
    return known.select("pair_id", "split", "use", reason.alias("reason")).filter(pl.col("reason").is_not_null())


def closed_examples(workbench: Workbench, catalog: Catalog, examples: pl.DataFrame) -> dict[str, str]:
    """By example_id, why it may not be shown any more, whatever its store holds.

    Input columns: example_id, sheet, canonical_label_id.
    """
    found: dict[str, str] = {}
    shown = examples.select(
        "sheet", "canonical_label_id", pl.col("example_id").alias("pair_id"), use=pl.lit("few_shot")
    )
    for (sheet,), own in shown.group_by("sheet"):
        name = catalog.today("Sheet", str(sheet))
        if name in catalog.names("Sheet"):
            ledger = workbench.sheet_decisions(catalog.sheet(name))
            labels = fold_labels(ledger, None, catalog.two_person_sheets(), workbench.panels())
            found |= _closed_labels(own, labels, tuple(catalog.vocabulary()))
    return found


def _closed_labels(pairs: pl.DataFrame, labels: pl.DataFrame, vocabulary: tuple[str, ...]) -> dict[str, str]:
    said = ("active", "allowed_uses", "prohibited_uses", "data_classification")
    of = pairs.join(labels.select("canonical_label_id", *said), on="canonical_label_id", how="inner")
    found = {}
    for pair_id, use, active, allowed, prohibited, _ in of.select("pair_id", "use", *said).iter_rows():
        uses = None if allowed is None else tuple(allowed)
        why = _refusal(use, bool(active), uses, tuple(prohibited or ()), vocabulary)
        if why is not None:
            found[pair_id] = why
    return found


@lru_cache(maxsize=4096)  # few statements, many labels
def _refusal(
    use: str | None,
    active: bool,
    allowed: tuple[str, ...] | None,
    prohibited: tuple[str, ...],
    vocabulary: tuple[str, ...],
) -> str | None:
    if not active:
        return WITHDRAWN
    if use is None:
        return None
    # What it does not speak of is as open as its Sheet, which is looked at on its own.
    own = UsageStatement("its label", vocabulary if allowed is None else allowed, prohibited)
    return effective_use([own], vocabulary).refusal(use)


def _closed_answers(pairs: pl.DataFrame, ledger: pl.DataFrame) -> dict[str, str]:
    """The pairs whose very answer was rejected or flagged after everything that they were judged by."""
    standing = pairs.join(standing_decisions(ledger), on="pair_id", how="inner")
    judged_at = pl.coalesce("reviewed_at", "created_at")
    later = standing.filter((pl.col("decided_at") > judged_at).fill_null(True))
    return {
        pair_id: f"its answer was {'rejected' if action == 'reject' else 'flagged'} since"
        for pair_id, action, response, decided_on in later.select(
            "pair_id", "action", "response", "decided_on"
        ).iter_rows()
        if decided_on is None or (response is not None and decided_on == response_hash(response))
    }
