"""Labels that are restricted themselves, in a Sheet that may be open: which items they are of, for whoever shows rows of these.

A label that was restricted once and is no more counts too: the ledger and the history hold what was said of it then.
"""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from workbench_pipelines.restrictions import OPEN_CLASSIFICATIONS, RESTRICTED, Restrictions, restrictions_of
from workbench_pipelines.workbench import Workbench

_STATES = f'"data_classification":"{RESTRICTED}"'


def restrictions_in(workbench: Workbench) -> Restrictions:
    """What the definitions say is restricted, and what is said of single labels in the lake."""
    return replace(restrictions_of(workbench.catalog()), items=closed_items(workbench))


def closed_items(workbench: Workbench) -> dict[str, frozenset[str]]:
    """The items of each Sheet that have, or had, a restricted label."""
    found = []
    if workbench.lake.exists("label", "decisions"):
        said = workbench.lake.scan("label", "decisions")
        found.append(said.filter(pl.col("uses").str.contains(_STATES, literal=True)))
    if workbench.lake.exists("label", "canonical_labels"):
        closed = pl.col("data_classification").is_not_null() & ~pl.col("data_classification").is_in(
            OPEN_CLASSIFICATIONS
        )
        found.append(workbench.lake.scan("label", "canonical_labels").filter(closed))
    if not found:
        return {}
    rows = pl.concat([one.select("sheet", "item_ref") for one in found]).unique().collect()
    catalog = workbench.catalog()
    # Under a former name too: tables are not all written anew.
    named = [(name, ref) for sheet, ref in rows.iter_rows() for name in {sheet, catalog.today("Sheet", sheet)}]
    return {sheet: frozenset(ref for of, ref in named if of == sheet) for sheet in {of for of, _ in named}}
