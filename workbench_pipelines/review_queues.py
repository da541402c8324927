"""The review queue of a TrainingSheet, with what the project knows of it: its strata, its reviewers, its stale labels."""

from __future__ import annotations

import polars as pl

from workbench_pipelines.clients.embeddings import embed
from workbench_pipelines.identity import digest
from workbench_pipelines.label_changes import changes_of
from workbench_pipelines.label_coverage import strata_of_training_sheet
from workbench_pipelines.review_queue import REVIEW_QUEUE, review_queue
from workbench_pipelines.uncertainty import predict_waiting
from workbench_pipelines.workbench import Workbench


def make_queue(
    workbench: Workbench, name: str, pairs: pl.DataFrame, quality: pl.DataFrame, labels: pl.DataFrame
) -> pl.DataFrame:
    """The pairs of a TrainingSheet that need a person, in the order of need; rows of `REVIEW_QUEUE`.

    Raises:
        DefinitionError: for a TrainingSheet or template that is not defined or broken.
    """
    catalog = workbench.catalog()
    training_sheet = catalog.training_sheet(name)
    template = catalog.template_for(training_sheet)
    waiting = pairs.filter(pl.col("status").is_in(["unlabeled", "flagged"]))
    if waiting.is_empty():
        return REVIEW_QUEUE.to_frame()
    fields = template.spec.output_schema
    # As a trainer chooses where none is named: the first field of a known few values, else the first.
    target = next((field.name for field in fields if field.enum), fields[0].name)
    labeled = pairs.filter((pl.col("status") == "labeled") & pl.col("response").is_not_null())
    of_task = labels.filter(pl.col("label_type") == template.spec.label_type)
    changes = changes_of(workbench, training_sheet.spec.sheet, of_task)
    return review_queue(
        pairs,
        of_task,
        predict_waiting(labeled, waiting, target=target, embed=embed),
        target=target,
        quality=quality,
        strata=strata_of_training_sheet(catalog, name),
        waits_for=", ".join(catalog.reviewers_of(training_sheet)),
        changes={item: ", ".join(change) for (item, _), change in changes.items() if change},
    )


def queue_digest(queue: pl.DataFrame) -> str:
    """What a queue holds, in its order."""
    columns = ["pair_id", "need", "detail", "response_hash", "waits_for", "data_classification"]
    return digest([list(row) for row in queue.sort("rank").select(columns).iter_rows()])
