"""Drafting: what a TrainingSheet, or an evaluation of its base model, asks of whom, and what comes of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import polars as pl

from workbench_pipelines.answers import Read, answer_reader
from workbench_pipelines.asking import Asked, asked, model_of
from workbench_pipelines.batch_asking import answer_by_batches
from workbench_pipelines.batch_collecting import collect_batches
from workbench_pipelines.batches import PENDING
from workbench_pipelines.catalog import PromptTemplate, TrainingSheet
from workbench_pipelines.clients.language_identification import identify
from workbench_pipelines.disclosure import RESTRICTED
from workbench_pipelines.errors import MissingPart
from workbench_pipelines.fields import json_schema_of
from workbench_pipelines.generation import REFUSALS, Answer, Drafts, Model, asked_prompts, draft_pairs, make_requests
from workbench_pipelines.languages import language_reader, languages_of, wanted_languages
from workbench_pipelines.netted_rows import netted_drafts, netted_prompts
from workbench_pipelines.netting import net_of
from workbench_pipelines.pair_judgements import standing_decisions
from workbench_pipelines.personal_data_net import Net
from workbench_pipelines.quotas import fill
from workbench_pipelines.requests import Answered, Request
from workbench_pipelines.spreading import spread_answer
from workbench_pipelines.workbench import Workbench


def draft_training_sheet(
    workbench: Workbench,
    training_sheet: TrainingSheet,
    template: PromptTemplate,
    rendered: pl.DataFrame,
    live: pl.DataFrame,
    say: Callable[[str], None],
    *,
    asks_again: bool = True,
) -> Drafts:
    """The drafts of a TrainingSheet; a model is only looked for where its labeling mode asks one.

    Args:
        live: rows of `label/canonical_labels` that stand for this task.
        say: takes a line of progress for the run's events.
        asks_again: whether a batch asks again what was answered, but not usably, or refused.
    """
    spec = training_sheet.spec
    file = workbench.catalog().file_of("TrainingSheet", training_sheet.name)
    where = f"{file}: TrainingSheet {training_sheet.name}"
    model = Model("")
    answer: Answer = _nobody
    models: Asked | None = None
    read: Read | None = None
    labels = dict(live.select("item_ref", "canonical_label_id").iter_rows())
    held = unshown = REFUSALS.to_frame()
    net = net_of(workbench, workbench.catalog(), spec.sheet)
    if net is not None:
        # Prompts that are older than the policy are shown to no model as they are.
        rendered, unshown = netted_prompts(rendered, net)
    try:
        if spec.labeling_mode == "ai_generated":
            models = asked(workbench, model_of(workbench, training_sheet, template), spec.generation, where)
            read = reader_of(training_sheet, template, rendered)
            refused = _refused_before(workbench, training_sheet.name)
            may_ask = refused.__contains__ if workbench.retries_refused else _anything
            model = models.first
            held = models.withheld(asked_prompts(training_sheet, rendered, labels))
            rendered = rendered.join(held, on="pair_id", how="anti", maintain_order="left")
            if spec.generation.mode == "batch":
                # What a batch brought is told once before it is asked again.
                told = {pair_id for pair_id, reason in refused.items() if reason != PENDING} if asks_again else set()
                terms = models.batch_terms(
                    training_sheet.name, read, lambda one: may_ask(one.pair_id), lambda one: one.pair_id in told
                )
                answer = partial(answer_by_batches, workbench, terms, say=say)
            else:
                for one in collect_batches(workbench, [training_sheet.name]):
                    say(one.line)
                answer = _by_calls(models, json_schema_of(template.spec.output_schema), read, say, may_ask)

        def draft(prompts: pl.DataFrame) -> Drafts:
            drafts = draft_pairs(training_sheet, template, prompts, labels, model=model, answer=answer, read=read)
            return drafts if net is None else through_net(drafts, net, json_schema_of(template.spec.output_schema))

        if spec.targets is None:
            drafts = draft(rendered)
        else:
            asked_now = asked_prompts(training_sheet, rendered, labels)
            tried = (
                models.tried(read, make_requests(template, asked_now, model, training_sheet))
                if models and read
                else set()
            )
            drafts = fill(spec.targets, rendered, labels, rejected_pairs(workbench, training_sheet), draft, tried)
        refuse_silence(drafts, model.name)
        refusals = pl.concat([drafts.refusals, held, unshown]).sort("item_ref", "pair_id")
        return replace(drafts, refusals=refusals, frame=_in_languages(training_sheet, drafts.frame))
    except MissingPart as error:
        raise MissingPart(f"{where}: {error.line}") from None


def through_net(drafts: Drafts, net: Net, schema: Mapping[str, Any]) -> Drafts:
    """Drafts whose answers may leave; the others are refused, and stay in the request store alone, so that nobody pays again."""
    frame, refused = netted_drafts(drafts.frame, net, schema)
    refusals = pl.concat([drafts.refusals, refused]).sort("item_ref", "pair_id")
    return replace(drafts, frame=frame, refusals=refusals)


def _by_calls(
    models: Asked, schema: Mapping[str, Any], read: Read, say: Callable[[str], None], may_ask: Callable[[str], bool]
) -> Answer:
    """Asks call by call: in this process, or spread over several."""
    if models.how.spread is None:
        return models.answer(read, say, lambda one: may_ask(one.pair_id))
    return spread_answer(models, schema, say, lambda one: may_ask(one.pair_id))


def reader_of(training_sheet: TrainingSheet, template: PromptTemplate, rendered: pl.DataFrame) -> Read:
    """What answers to the prompts of a TrainingSheet say: what fits the schema, in the language that is asked for."""
    read = answer_reader(json_schema_of(template.spec.output_schema))
    spec = training_sheet.spec.answer_language
    return read if spec is None else language_reader(read, spec, wanted_languages(spec, rendered), identify)


def _in_languages(training_sheet: TrainingSheet, drafts: pl.DataFrame) -> pl.DataFrame:
    """Drafts with the language of each answer, where the TrainingSheet asks for one."""
    spec = training_sheet.spec.answer_language
    if spec is None:
        return drafts
    return drafts.with_columns(pl.Series("language", languages_of(drafts["response"], spec, identify), pl.String))


def rejected_pairs(workbench: Workbench, training_sheet: TrainingSheet) -> dict[str, str | None]:
    """By pair, the hash of the answer that a person rejected."""
    ledger = workbench.sheet_decisions(workbench.catalog().sheet(training_sheet.spec.sheet))
    standing = standing_decisions(ledger).filter(pl.col("action") == "reject")
    return dict(standing.select("pair_id", "decided_on").iter_rows())


def refuse_silence(drafts: Drafts, model: str) -> None:
    """Raises MissingPart where a model answered nothing at all: no table is made of that, and the one before stays."""
    reasons = drafts.refusals["reason"]
    answered = drafts.frame["request_hash"].count()
    if drafts.calls and not answered and reasons.len() and (reasons == "transient").all():
        raise MissingPart(
            f"model {model}: no answer to any of {reasons.len()} items in {drafts.calls} calls; is it reachable? run again"
        )


def _nobody(questions: Iterable[Request], total: int) -> Iterable[Answered]:
    raise AssertionError("a TrainingSheet that asks no model has no questions")


def _anything(pair_id: str) -> bool:
    return True


def _refused_before(workbench: Workbench, name: str) -> dict[str, str]:
    """The reasons for which the last run of a TrainingSheet made no pairs, by pair_id."""
    table = ("generate", "generated_pairs_refusals")
    if not workbench.lake.exists(*table):
        return {}
    rows = workbench.lake.read(*table, partition={"training_sheet": [name]})
    return dict(rows.select("pair_id", "reason").iter_rows())


def ask_base_model(
    workbench: Workbench, rows: pl.DataFrame, training_sheet: TrainingSheet, template: PromptTemplate, model: str
) -> Drafts:
    """What a base model says to these prompts when it is asked directly, whatever their TrainingSheet's labeling mode.

    A model outside the house is not asked about restricted rows.

    Input columns: training_sheet, sheet, item_ref, pair_id, label_type, messages, data_classification.

    Raises:
        MissingPart: before any call, for a model that can not be asked.
    """
    base = asked(workbench, model)
    if not workbench.llm.is_in_house(model):
        rows = rows.filter(pl.col("data_classification") != RESTRICTED)
    read = answer_reader(json_schema_of(template.spec.output_schema))
    spec = training_sheet.spec.model_copy(update={"labeling_mode": "ai_generated", "column": None})
    return draft_pairs(
        training_sheet.model_copy(update={"spec": spec}),
        template,
        rows,
        {},
        model=base.first,
        answer=base.answer(read),
    )
