"""What it takes to build everything again without what was called back: which runs, how many calls, how much money."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

import polars as pl

from workbench_pipelines.errors import WorkbenchError
from workbench_pipelines.workbench import Workbench


@dataclass(frozen=True)
class RebuildPlan:
    """The way back.

    Attributes:
        training_sheets: those with touched pairs, to be run again.
        collections: those that take their pairs, and those that exported a touched one.
        models: name/version of what should be trained again.
        calls: answers that have to be asked for: a prompt that showed a touched example is another one without it, and a pair
            that loses its label needs a draft where none was ever kept. A pair whose item goes needs none.
        cost_usd: what these calls cost, by the mean of what calls of their TrainingSheet cost; None where that is not known,
            which is not the same as nothing.
    """

    training_sheets: list[str]
    collections: list[str]
    models: list[str]
    calls: int
    cost_usd: float | None


def rebuild_plan(
    workbench: Workbench, touched: pl.DataFrame, collections: Collection[str], models: Iterable[tuple[str, str]]
) -> RebuildPlan:
    """The plan for touched pairs.

    Args:
        touched: rows of `recall.TOUCHED`.
        collections: those of exports that hold a touched pair.
        models: name and version of the touched models.
    """
    catalog = workbench.catalog()
    names = sorted(set(touched["training_sheet"]))
    calls, cost = 0, 0.0
    is_known = True
    for name in names:
        try:
            drafted = catalog.training_sheet(name).spec.labeling_mode == "ai_generated"
        except WorkbenchError:
            drafted = False  # it is no longer defined: nothing of it is built again
        asked = _to_ask(workbench, touched.filter(pl.col("training_sheet") == name)) if drafted else 0
        if asked:
            mean = _mean_cost(workbench, name)
            is_known, cost = is_known and mean is not None, cost + asked * (mean or 0.0)
        calls += asked
    # A TrainingSheet's own Collection that nobody declared or exported has nothing to be built again.
    declared = set(catalog.names("Collection"))
    taking = {one for name in names for one in catalog.collections_of(name)} & declared
    return RebuildPlan(
        training_sheets=names,
        collections=sorted(taking | set(collections)),
        models=sorted(f"{name}/{version}" for name, version in models),
        calls=calls,
        cost_usd=cost if is_known else None,
    )


def _to_ask(workbench: Workbench, touched: pl.DataFrame) -> int:
    changed = touched.filter(pl.col("how") == "example").height
    unlabeled = touched.filter(pl.col("how").is_in(["label", "decision"]))["pair_id"]
    if unlabeled.is_empty():
        return changed
    kept = workbench.store.uses().filter(pl.col("pair_id").is_in(unlabeled.implode())).select("pair_id").collect()
    return changed + unlabeled.len() - kept["pair_id"].n_unique()


def _mean_cost(workbench: Workbench, training_sheet: str) -> float | None:
    """What an answer for a TrainingSheet cost on average; None where none has a price."""
    uses = workbench.store.uses().filter(pl.col("training_sheet") == training_sheet).select("request_hash").unique()
    priced = workbench.store.rows().select("request_hash", "cost_usd").join(uses, on="request_hash", how="semi")
    found = priced.select(pl.col("cost_usd").mean()).collect().item()
    return None if found is None else float(found)
