"""Which of a judge's judgements MLflow receives: those of cleared rows, which hold nothing restricted.

A row is cleared where everything that is stated of it says a classification below `restricted`, and nothing that it shows has a
tag. What states no classification is restricted.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from workbench_pipelines.catalog import TrainingSheet
from workbench_pipelines.clients.judge_traces import Judgement, log_judgements
from workbench_pipelines.clients.model_registry import RegistryError
from workbench_pipelines.identity import digest
from workbench_pipelines.judging import Judged
from workbench_pipelines.restrictions import RESTRICTED
from workbench_pipelines.usage import statements_from_json, strictest
from workbench_pipelines.workbench import Workbench


def keep_assessments(
    workbench: Workbench, training_sheet: TrainingSheet, judged: Judged, labels: pl.DataFrame
) -> dict[str, Any]:
    """Logs the judgements of cleared rows to MLflow; the figures that the asset shows of it.

    Pairs are worth more than traces: where MLflow can not be reached, that is said and nothing fails.
    """
    # That a judge was right of an answer tells the label that it was held against.
    closed = labels.filter(pl.col("data_classification") == RESTRICTED)["item_ref"].to_list()
    judgements = [one for one in cleared_judgements(judged) if one.item_ref not in set(closed)]
    figures: dict[str, Any] = {"judgements": judged.judgements.height, "judgements_cleared": len(judgements)}
    try:
        logged = log_judgements(workbench.registry, training_sheet.name, judgements)
    except RegistryError as error:
        return figures | {"mlflow": error.line}
    return figures | {"judgements_logged": logged}


def cleared_judgements(judged: Judged) -> list[Judgement]:
    """The judgements that MLflow may receive."""
    statements = judged.shown["usage_statements"].unique()
    cleared = [text for text in statements if is_cleared(text)]
    shown = judged.shown.filter(
        pl.col("usage_statements").is_in(cleared) & (pl.col("tags").list.len().fill_null(0) == 0)
    ).select("pair_id", "messages", "response")
    rows = judged.judgements.join(shown, on="pair_id", maintain_order="left").iter_rows(named=True)
    return [_judgement(row) for row in rows]


def is_cleared(statements: str) -> bool:
    """Whether what is stated of a row, as JSON, lets its text stand where anybody may read it."""
    return strictest(one.data_classification for one in statements_from_json(statements)) != RESTRICTED


def _judgement(row: dict[str, Any]) -> Judgement:
    what = [
        row[name] for name in ("training_sheet", "pair_id", "response_hash", "judge", "request_hash", "half", "right")
    ]
    return Judgement(
        name=digest([*what, row["probability"]]),
        pair_id=row["pair_id"],
        item_ref=row["item_ref"],
        judge=row["judge"],
        question=row["messages"][-1]["content"] or "",
        answer=row["response"],
        probability=row["probability"],
        score=row["score"],
        right=row["right"],
        half=row["half"],
        judged_at=row["judged_at"],
    )
