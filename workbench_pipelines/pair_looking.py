"""Looking at the pairs of a TrainingSheet: everything that its quality asks for, with the doors of its project."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from workbench_pipelines.catalog import PromptTemplate, TrainingSheet
from workbench_pipelines.catalog.variety import AnswerLanguageSpec
from workbench_pipelines.clients.language_identification import identify
from workbench_pipelines.clients.personal_data import personal_data_in
from workbench_pipelines.clients.toxic_words import toxic_words
from workbench_pipelines.consistency import broken_rules, other_schemas
from workbench_pipelines.fields import json_schema_of
from workbench_pipelines.generation import REFUSALS
from workbench_pipelines.judge_calibration import JUDGE_CALIBRATIONS, JUDGEMENTS, bound_of
from workbench_pipelines.judging import Judged, judge_drafts
from workbench_pipelines.labels import live_labels
from workbench_pipelines.languages import wanted_languages
from workbench_pipelines.netting import known_of, net_of, netted_sources
from workbench_pipelines.pair_quality import Looks, answers_to_look_at, flag_counts, look_at
from workbench_pipelines.workbench import Workbench

LOOKS = Looks(identify, personal_data_in, toxic_words)


@dataclass(frozen=True)
class Looked:
    """What was found in pairs: rows of `pair_quality.PAIR_QUALITY`, what came to no judgement, and what the judge said."""

    frame: pl.DataFrame
    refusals: pl.DataFrame
    judged: Judged | None
    figures: dict[str, Any]


def look_at_pairs(
    workbench: Workbench,
    training_sheet: TrainingSheet,
    template: PromptTemplate,
    rendered: pl.LazyFrame,
    generated: pl.LazyFrame,
    labels: pl.DataFrame,
    say: Callable[[str], None] = lambda line: None,
) -> Looked:
    """Looks at each answer; without a judge, no model is asked.

    Args:
        rendered: rows of `generate/rendered_prompts` of the TrainingSheet.
        generated: rows of `generate/generated_pairs` of it.
        labels: rows of `label/canonical_labels` of its Sheet.

    Raises:
        FilterError: for a rule of consistency that is none.
        MissingPart, BudgetSpent: as `judge_drafts`.
    """
    spec, catalog = training_sheet.spec, workbench.catalog()
    schema = json_schema_of(template.spec.output_schema)
    net = net_of(workbench, catalog, spec.sheet)
    if net is not None:
        prompts, drafts, labels, _ = netted_sources(net, rendered.collect(), generated.collect(), labels, schema)
        rendered, generated = prompts.lazy(), drafts.lazy()
    answers = answers_to_look_at(rendered, generated, labels)
    live = live_labels(labels)
    judged = None
    if spec.quality.judge is not None:
        own = live.filter(pl.col("label_type") == template.spec.label_type).select("item_ref", "label_data")
        judged = judge_drafts(workbench, training_sheet, template, rendered.collect(), answers, own, say)
        keep_judgements(workbench, training_sheet, judged)
    where = f"{catalog.file_of('TrainingSheet', training_sheet.name)}: TrainingSheet {training_sheet.name}"
    inconsistent = broken_rules(
        spec.consistency, answers, live, own=schema, others=other_schemas(catalog, template), where=where
    )
    review = catalog.sheet(spec.sheet).spec.review
    asks_several = review.two_persons or review.annotators > 1
    language = expected_language(training_sheet)
    languages = None
    if language is not None:
        languages = wanted_languages(language, rendered.select("pair_id", "inputs", "attributes").collect())
    looks = LOOKS
    if spec.quality.pii and catalog.states_personal_data(spec.sheet):
        looks = replace(LOOKS, known_values=known_of(workbench, catalog.sheet(spec.sheet)))
    frame = look_at(
        answers,
        spec.quality,
        schema,
        looks,
        languages=languages,
        answer_language=language,
        inconsistent=inconsistent if spec.consistency else None,
        judged=judged.frame if judged else None,
        # Where several people are asked, a judge stands in for none of them.
        auto_approve=spec.quality.judge is not None and spec.quality.judge.auto_approve and not asks_several,
    )
    refusals = judged.refusals if judged else REFUSALS.to_frame()
    return Looked(frame, refusals, judged, _figures(frame, training_sheet, judged))


def expected_language(training_sheet: TrainingSheet) -> AnswerLanguageSpec | None:
    """The language that answers are expected in, as `quality.language` says it, or else `answer_language`."""
    stated = training_sheet.spec.quality.language
    if stated is None:
        return training_sheet.spec.answer_language
    return AnswerLanguageSpec(**{"is": stated.is_}, fields=stated.fields, min_characters=stated.min_characters)


def keep_judgements(workbench: Workbench, training_sheet: TrainingSheet, judged: Judged) -> None:
    """Keeps what the judge said of labeled items and what it may be trusted with, in place of what was known before."""
    judge = training_sheet.spec.quality.judge
    assert judge is not None, "only a judge's word is kept"
    row = {
        "training_sheet": training_sheet.name,
        "judge": judge.model,
        "calibrated_on": judged.judgements.height - judged.bound.held_out,
        "held_out": judged.bound.held_out,
        "approvable": judged.bound.approvable,
        "wrong": judged.bound.wrong,
        "error_bound": judged.bound.error,
        "max_error": judge.max_error,
        "auto_approve": judge.auto_approve,
        "may_approve": judge.auto_approve and judged.bound.permits(judge.max_error),
    }
    tables = {
        "judge_judgements": judged.judgements.select(list(JUDGEMENTS)),
        "judge_calibrations": pl.DataFrame([row], schema=JUDGE_CALIBRATIONS),
    }
    for name, frame in tables.items():
        workbench.lake.replace_partition(
            "records", name, frame=frame, partition_by="training_sheet", keys=[training_sheet.name]
        )


def _figures(frame: pl.DataFrame, training_sheet: TrainingSheet, judged: Judged | None) -> dict[str, Any]:
    """What the asset says of its rows: how many there are to look at, why, and what the judge is worth."""
    looked = frame["pii"].null_count() < frame.height
    pii = training_sheet.spec.quality.pii
    figures: dict[str, Any] = {
        "to_look_at": int((frame["needs"].list.len() > 0).sum()),
        "flags": flag_counts(frame),
        "mean_quality": frame["quality_score"].mean(),
        "pii_looked_for": "yes" if looked else "no: the extra `pii` is not installed" if pii else "no",
        "auto_approved": int(frame["auto_approved"].sum()),
    }
    if judged is not None:
        figures |= {
            "judge": judged.bound.line,
            "judge_error_bound": judged.bound.error,
            "judge_held_out": judged.bound.held_out,
            "llm_calls": judged.calls,
            "store_hits": judged.store_hits,
            "cost_usd": "unknown" if judged.cost_usd is None else judged.cost_usd,
        }
    return figures


def unproven_approvals(workbench: Workbench, training_sheet: TrainingSheet, approved: pl.DataFrame) -> str | None:
    """Why what a judge approved may not stand, worked out anew from its judgements of labeled items; None where it may.

    Input columns: those of `pairs.judged_alone`.
    """
    if approved.is_empty():
        return None
    judge = training_sheet.spec.quality.judge
    if judge is None or not judge.auto_approve:
        return f"{approved.height} pairs approved by a judge, and the TrainingSheet does not say that one may"
    others = sorted(set(approved["judge"]) - {judge.model})
    if others:
        return f"{approved.height} pairs approved by {', '.join(others)}, and the judge is {judge.model}"
    known = workbench.record("judge_judgements", JUDGEMENTS)
    of_judge = (pl.col("training_sheet") == training_sheet.name) & (pl.col("judge") == judge.model)
    bound = bound_of(known.filter(of_judge), judge.max_error)
    if not bound.permits(judge.max_error):
        return f"{approved.height} pairs approved by {judge.model}, which is {bound.line}; at most {judge.max_error:.2%} is asked"
    return None
