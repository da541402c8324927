"""Equal pairs: what two TrainingSheets of a Collection ask and answer word for word alike of one item is exported once.

What is to count more has a weight; two different items that are asked and answered alike are two pairs.
"""

from __future__ import annotations

import polars as pl

from workbench_pipelines.gates import EXCLUSIONS
from workbench_pipelines.identity import prompt_hash

_SAME = ["sheet", "item_ref", "label_type", "response"]


def without_copies(admitted: pl.DataFrame, exclusions: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The pairs without copies of one with a lower pair_id, and the exclusions with those copies.

    Input columns: pair_id, training_sheet, sheet, item_ref, label_type, messages, response, status.
    """
    likely = admitted.filter(pl.struct(_SAME).is_duplicated())
    if likely.is_empty():
        return admitted, exclusions
    prompts = pl.Series("prompt", [prompt_hash(messages) for messages in likely["messages"]], dtype=pl.String)
    key = [*_SAME, "prompt"]
    kept = pl.col("training_sheet").first().over(key).alias("kept")
    first = pl.col("pair_id").first().over(key).alias("first")
    copies = likely.with_columns(prompts).sort("pair_id").with_columns(kept, first)
    copies = copies.filter(pl.col("pair_id") != pl.col("first"))
    said = copies.select(
        "pair_id",
        "item_ref",
        pl.lit("split").alias("gate"),
        pl.format("duplicate: TrainingSheet {} asks and answers the same of its item", "kept").alias("reason"),
        "training_sheet",
        "status",
    )
    both = pl.concat([exclusions, said.select([pl.col(name).cast(dtype) for name, dtype in EXCLUSIONS.items()])])
    return admitted.join(copies, on="pair_id", how="anti", maintain_order="left"), both.sort("pair_id")
