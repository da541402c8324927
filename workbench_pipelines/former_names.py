"""What a TrainingSheet left under the names that it had before: once its pairs stand under its name of today, they stand once."""

from __future__ import annotations

from workbench_pipelines.catalog import TrainingSheet
from workbench_pipelines.workbench import Workbench

_TABLES = (
    ("generate", "derived_items"),
    ("generate", "rendered_prompts"),
    ("generate", "generated_pairs"),
    ("label", "pair_quality"),
    ("label", "review_queue"),
    ("label", "labeled_pairs"),
)
"""Tables with a partition a TrainingSheet, the pairs themselves last: a run that dies in between goes on here."""


def forget_former_names(workbench: Workbench, training_sheet: TrainingSheet) -> int:
    """Empties the partitions under former names of a TrainingSheet that no other one has now; how many there were.

    Older versions of the tables keep them, so that an export of then can be replayed.
    """
    taken = set(workbench.catalog().names("TrainingSheet"))
    former = [name for name in training_sheet.metadata.formerly if name not in taken]
    emptied = 0
    for table in _TABLES if former else ():
        if workbench.lake.exists(*table):
            rows = workbench.lake.read(*table, partition={"training_sheet": former})
            if rows.height:
                workbench.lake.replace_partition(*table, frame=rows.clear(), partition_by="training_sheet", keys=former)
                emptied += rows["training_sheet"].n_unique()
    return emptied
