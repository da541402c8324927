"""Why there is no pair of a prompt: what the assets on the way to `labeled_pairs` refused, as it stands now."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from workbench_pipelines.personal_data import REFUSED
from workbench_pipelines.workbench import Workbench

# In the order of the graph; what is refused early comes no further.
_TABLES = (
    ("generate", "rendered_prompts_refusals"),
    ("generate", "generated_pairs_refusals"),
    ("label", "labeled_pairs_refusals"),
)


def refused_pairs_now(workbench: Workbench, training_sheets: Sequence[str]) -> dict[str, str]:
    """By pair_id, why the TrainingSheets hold no pair: the reason, and which kinds of personal data where it is these."""
    found: dict[str, str] = {}
    for table in _TABLES:
        if not workbench.lake.exists(*table):
            continue
        rows = workbench.lake.scan(*table, partition={"training_sheet": list(training_sheets)})
        named = rows.filter(pl.col("pair_id").is_not_null()).select("pair_id", "reason", "detail").collect()
        for pair_id, reason, detail in named.iter_rows():
            # Of the other reasons, details are for who may see the item.
            found.setdefault(pair_id, f"{reason}: {detail}" if reason == REFUSED else reason)
    return found
