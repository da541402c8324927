"""What a judge said of labeled items, as traces of MLflow with assessments: the judge's feedback beside the expert's word.

A trace a judgement, in the experiment `judge.<training_sheet>`. Its id is made of what was judged, so that the same judgement is
never logged twice. Everything goes to the address that is given; no global tracking address, no active run. Whatever is handed
over here is readable for everybody who can read MLflow: which rows may be, `judge_assessments` decides.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench_pipelines.clients.model_registry import ModelRegistry, one_line_errors

if TYPE_CHECKING:
    from mlflow.entities import TraceInfo

ASSESSMENT = "answer_is_right"
MAX_PREVIEW = 1_000  # characters of a question or an answer
_PAGE = 500


@dataclass(frozen=True)
class Judgement:
    """One judgement of a labeled item.

    Attributes:
        name: a digest of what was judged, by whom and with what result.
        right: whether the answer agrees with the expert's label.
        half: whether it was calibrated on or held out.
    """

    name: str
    pair_id: str
    item_ref: str
    judge: str
    question: str
    answer: str
    probability: float | None
    score: float
    right: bool
    half: str
    judged_at: dt.datetime

    @property
    def trace_id(self) -> str:
        return f"tr-{self.name[:32]}"


def log_judgements(registry: ModelRegistry, training_sheet: str, judgements: Sequence[Judgement]) -> int:
    """Logs the judgements that are not there yet; how many these were.

    Raises:
        RegistryError: MLflow refused or can not be reached.
    """
    if not judgements:
        return 0
    with one_line_errors():
        from mlflow.tracing.client import TracingClient

        experiment = registry.experiment(f"judge.{training_sheet}")
        client = TracingClient(tracking_uri=registry.tracking_uri)
        known: set[str] = set()
        token = None
        while True:
            found = client.search_traces(
                experiment_ids=[experiment], max_results=_PAGE, page_token=token, include_spans=False
            )
            known |= {one.info.trace_id for one in found}
            token = found.token
            if not token:
                break
        fresh = [one for one in judgements if one.trace_id not in known]
        for one in fresh:
            client.start_trace(_trace(one, experiment, training_sheet))
        return len(fresh)


def _trace(one: Judgement, experiment: str, training_sheet: str) -> TraceInfo:
    from mlflow.entities import (
        AssessmentSource,
        AssessmentSourceType,
        Expectation,
        Feedback,
        TraceInfo,
        TraceLocation,
        TraceState,
    )

    judge = AssessmentSource(AssessmentSourceType.LLM_JUDGE, one.judge)
    expert = AssessmentSource(AssessmentSourceType.HUMAN, "canonical_label")
    said = {"half": one.half, "score": str(one.score)}
    value = one.score if one.probability is None else one.probability
    return TraceInfo(
        trace_id=one.trace_id,
        trace_location=TraceLocation.from_experiment_id(experiment),
        request_time=int(one.judged_at.timestamp() * 1000),
        state=TraceState.OK,
        execution_duration=0,
        request_preview=one.question[:MAX_PREVIEW],
        response_preview=one.answer[:MAX_PREVIEW],
        tags={"training_sheet": training_sheet, "pair_id": one.pair_id, "item_ref": one.item_ref, "half": one.half},
        assessments=[
            Feedback(name=ASSESSMENT, value=value, source=judge, metadata=said, trace_id=one.trace_id),
            Expectation(name=ASSESSMENT, value=one.right, source=expert, trace_id=one.trace_id),
        ],
    )
