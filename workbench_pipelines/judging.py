"""Judging: a model asked of each draft how likely it is right, and measured on drafts whose items experts have labeled.

How it is asked stands in `judge_desk`, what its answers bear out in `judge_calibration`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import polars as pl

from workbench_pipelines.catalog import PromptTemplate, TrainingSheet
from workbench_pipelines.errors import MissingPart
from workbench_pipelines.generation import Model
from workbench_pipelines.generation_plan import Plan
from workbench_pipelines.judge_calibration import JUDGEMENTS, Bound, Calibration, agrees, approves, measure
from workbench_pipelines.judge_desk import JudgeDesk
from workbench_pipelines.pair_quality import JUDGED
from workbench_pipelines.requests import total_cost
from workbench_pipelines.usage import statements_to_json
from workbench_pipelines.workbench import Workbench


@dataclass(frozen=True)
class Judged:
    """What a judge said, and what it is worth.

    Attributes:
        frame: the drafts that wait; rows of `pair_quality.JUDGED`.
        judgements: the labeled items; rows of `judge_calibration.JUDGEMENTS`.
        refusals: what came to no judgement; rows of `generation.REFUSALS`, the reason beginning with `judge_` or `draft_`.
        shown: of the labeled items, what a trace may be made of: pair_id, messages, response, label_data, usage_statements, tags.
    """

    frame: pl.DataFrame
    judgements: pl.DataFrame
    refusals: pl.DataFrame
    bound: Bound
    shown: pl.DataFrame
    calls: int = 0
    store_hits: int = 0
    cost_usd: float | None = 0.0


def judge_drafts(
    workbench: Workbench,
    training_sheet: TrainingSheet,
    template: PromptTemplate,
    rendered: pl.DataFrame,
    answers: pl.DataFrame,
    labels: pl.DataFrame,
    say: Callable[[str], None],
) -> Judged:
    """Asks the judge of a TrainingSheet about its drafts, and about drafts of labeled items, which it is measured on.

    Args:
        rendered: rows of `generate/rendered_prompts`.
        answers: as `pair_quality.answers_to_look_at` gives them.
        labels: the live labels of this task: item_ref and label_data.

    Raises:
        MissingPart: for a model that can not be asked; BudgetSpent once a budget is. What was answered is kept.
    """
    spec = training_sheet.spec.quality.judge
    assert spec is not None, "a TrainingSheet without a judge has nothing to judge"
    file = workbench.catalog().file_of("TrainingSheet", training_sheet.name)
    where = f"{file}: TrainingSheet {training_sheet.name}: spec.quality.judge"
    desk = JudgeDesk(workbench, training_sheet, template, spec, where, say)
    try:
        prompts = desk.with_rubric(rendered)
        labeled = desk.labeled_drafts(prompts, labels)
        waiting = answers.filter(~pl.col("is_label")).select("pair_id", "response", "response_hash")
        asked_of = pl.concat([labeled.frame.select(waiting.columns), waiting]).unique(
            "pair_id", keep="first", maintain_order=True
        )
        told = desk.judge(prompts.join(asked_of, on="pair_id", maintain_order="left"))
    except MissingPart as error:
        raise MissingPart(f"{where}: {error.line}") from None
    scores = told.frame.select(
        "pair_id",
        "request_hash",
        pl.col("response").str.json_path_match("$.probability").cast(pl.Float64).alias("score"),
        pl.col("answered_at").alias("judged_at"),
    )
    judgements, calibration, bound = _measured(desk, labeled.frame, scores)
    refusals = pl.concat([labeled.refusals, told.refusals]).sort("item_ref", "pair_id")
    return Judged(
        frame=_probabilities(desk, waiting.join(scores, on="pair_id", maintain_order="left"), calibration, bound),
        judgements=judgements,
        refusals=refusals,
        bound=bound,
        shown=labeled.frame.select("pair_id", "messages", "response", "label_data", "usage_statements", "tags"),
        calls=labeled.calls + told.calls,
        store_hits=labeled.store_hits + told.store_hits,
        cost_usd=total_cost([labeled.cost_usd, told.cost_usd]),
    )


def plan_judge(
    workbench: Workbench,
    training_sheet: TrainingSheet,
    template: PromptTemplate,
    rendered: pl.DataFrame,
    live_labels: Mapping[str, str],
) -> list[tuple[Model, Plan]]:
    """What a judge and its measurement would take at most, with who is asked; nothing where there is no judge.

    Which judgements are kept is known only with the drafts, so all of them count.
    """
    spec = training_sheet.spec.quality.judge
    if spec is None:
        return []
    where = f"{training_sheet.name}: spec.quality.judge"
    return JudgeDesk(workbench, training_sheet, template, spec, where, lambda line: None).plan(rendered, live_labels)


def _measured(
    desk: JudgeDesk, labeled: pl.DataFrame, scores: pl.DataFrame
) -> tuple[pl.DataFrame, Calibration | None, Bound]:
    """The judgements of labeled items, the calibration and the bound that they bear out; rows of `JUDGEMENTS`."""
    fields = desk.spec.calibrate.fields
    rights = [
        agrees(response, label, fields) for response, label in labeled.select("response", "label_data").iter_rows()
    ]
    judged = (
        labeled.select("training_sheet", "pair_id", "sheet", "item_ref", "response_hash")
        .with_columns(pl.Series("right", rights, pl.Boolean), pl.lit(desk.spec.model).alias("judge"))
        .join(scores, on="pair_id", maintain_order="left")
    )
    measured, calibration, bound = measure(judged, desk.spec.max_error)
    found = measured.select([pl.col(name).cast(dtype) for name, dtype in JUDGEMENTS.items()])
    return found.sort("item_ref", "pair_id"), calibration, bound


def _probabilities(
    desk: JudgeDesk, judged: pl.DataFrame, calibration: Calibration | None, bound: Bound
) -> pl.DataFrame:
    """What the judge says of the drafts that wait; rows of `pair_quality.JUDGED`."""
    spec, stated = desk.spec, desk.statement
    likely = [None if calibration is None else calibration.probability(score) for score in judged["score"]]
    permitted = bound.permits(spec.max_error)
    found = judged.select("pair_id", pl.col("score").alias("judge_score"), "judged_at").with_columns(
        pl.lit(spec.model).alias("judge"),
        pl.Series("judge_probability", likely, pl.Float64),
        pl.lit(statements_to_json([stated]), pl.String).alias("judge_statements"),
        pl.lit(bound.error).alias("error_bound"),
        pl.Series("approvable", [permitted and approves(one, spec.max_error) for one in likely], pl.Boolean),
    )
    return found.select([pl.col(name).cast(dtype) for name, dtype in JUDGED.items()])
