"""What a run would do to a TrainingSheet, from its sources as they are now; nothing is called and nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from workbench_pipelines.answers import answer_reader
from workbench_pipelines.asking import asked, model_of
from workbench_pipelines.batch_tries import FollowUp, waiting_questions
from workbench_pipelines.clients.prices import cost_at_most, price_list
from workbench_pipelines.example_rendering import render_shown
from workbench_pipelines.fields import json_schema_of
from workbench_pipelines.generation import asked_prompts
from workbench_pipelines.generation_plan import IsKept, plan_drafts
from workbench_pipelines.labels import fold_labels, live_labels
from workbench_pipelines.prompts import Rendered
from workbench_pipelines.rendering import sheet_of
from workbench_pipelines.requests import Request
from workbench_pipelines.workbench import Workbench


def render_now(workbench: Workbench, name: str) -> Rendered:
    """The prompts of a TrainingSheet over its sources as they are now."""
    catalog = workbench.catalog()
    sheet = sheet_of(catalog, catalog.training_sheet(name))
    return render_shown(workbench, catalog, name, workbench.read_items(sheet))


def plan_training_sheet(workbench: Workbench, name: str) -> dict[str, Any]:
    """Calls, answers found, questions that wait for a batch, items an expert covers, and the most tokens and money it takes.

    `max_cost_usd` is None where the model's price is unknown, which is not the same as nothing.
    """
    catalog = workbench.catalog()
    training_sheet = catalog.training_sheet(name)
    template = catalog.template_for(training_sheet)
    sheet = sheet_of(catalog, training_sheet)
    items = workbench.read_items(sheet)
    rendered = render_shown(workbench, catalog, name, items)
    labels = live_labels(fold_labels(workbench.sheet_decisions(sheet), items, catalog.two_person_sheets()))
    live = dict(
        labels.filter(labels["label_type"] == template.spec.label_type)
        .select("item_ref", "canonical_label_id")
        .iter_rows()
    )
    row: dict[str, Any] = {
        "training_sheet": name,
        "model": None,
        "items": rendered.frame.height,
        "calls": 0,
        "store_hits": 0,
        "covered": sum(1 for ref in rendered.frame["item_ref"] if ref in live),
        "refused": rendered.refusals.height,
        "max_calls": 0,
        "max_tokens": 0,
        "max_cost_usd": 0.0,
        "price_list": None,
        "pending": 0,
    }
    if training_sheet.spec.labeling_mode != "ai_generated":
        return row
    generation = training_sheet.spec.generation
    models = asked(workbench, model_of(workbench, training_sheet, template), generation, name)
    read = answer_reader(json_schema_of(template.spec.output_schema))
    held = models.withheld(asked_prompts(training_sheet, rendered.frame, live))
    row["refused"] += held.height
    in_batch = generation.mode == "batch"
    pending = Counter[str]()
    is_kept = _or_waiting(workbench, models.follow_up(read), models.is_kept(read), pending)
    plan = plan_drafts(
        training_sheet,
        template,
        rendered.frame.join(held, on="pair_id", how="anti", maintain_order="left"),
        live,
        model=models.first,
        is_kept=is_kept,
        asks_once_more=generation.ask_once_more,
    )
    tokens = (plan.prompt_tokens_at_most, plan.completion_tokens_at_most)
    prices = [cost_at_most(model.name, *tokens, in_batch=in_batch) for model in models.models]
    return row | {
        "model": models.first.name,
        "calls": plan.calls,
        "store_hits": plan.store_hits - pending.total(),
        "max_calls": plan.calls_at_most,
        "max_tokens": sum(tokens),
        "max_cost_usd": None if None in prices else max(price for price in prices if price is not None),
        "price_list": price_list(models.first.name),
        "pending": pending.total(),
    }


def _or_waiting(workbench: Workbench, follow_up: FollowUp, is_kept: IsKept, pending: Counter[str]) -> IsKept:
    """Whether questions have a usable answer, or wait for a batch; `pending` counts those that wait."""

    def is_kept_or_waiting(questions: Sequence[Request]) -> list[bool]:
        kept = is_kept(questions)
        rest = [one for one, found in zip(questions, kept, strict=True) if not found]
        waiting = waiting_questions(workbench, follow_up, rest)
        pending.update(one.request_hash for one in rest if one.request_hash in waiting)
        return [found or one.request_hash in waiting for one, found in zip(questions, kept, strict=True)]

    return is_kept_or_waiting
