"""What a run would do to a TrainingSheet, from its sources as they are now; nothing is called and nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from workbench_pipelines.asking import asked, model_of
from workbench_pipelines.batch_tries import FollowUp, waiting_questions
from workbench_pipelines.catalog import Catalog, PromptTemplate, Sheet, TrainingSheet
from workbench_pipelines.clients.prices import cost_at_most, price_list
from workbench_pipelines.derivation import cover_derived, with_derived
from workbench_pipelines.deriving import Making, make_items
from workbench_pipelines.drafting import reader_of
from workbench_pipelines.example_rendering import render_shown
from workbench_pipelines.generation import Model, asked_prompts, make_requests
from workbench_pipelines.generation_plan import IsKept, Plan, plan_drafts
from workbench_pipelines.judging import plan_judge
from workbench_pipelines.labels import fold_labels, live_labels
from workbench_pipelines.prompts import Rendered
from workbench_pipelines.quotas import Pool
from workbench_pipelines.rendering import sheet_of
from workbench_pipelines.requests import Request, total_cost
from workbench_pipelines.workbench import Workbench


def render_now(workbench: Workbench, name: str) -> Rendered:
    """The prompts of a TrainingSheet over its sources as they are now; of what steps make, as far as they were answered."""
    catalog = workbench.catalog()
    sheet = sheet_of(catalog, catalog.training_sheet(name))
    items = workbench.read_items(sheet)
    made = make_items(workbench, catalog.training_sheet(name), items, pays=False)
    return render_shown(workbench, catalog, name, items, derived=made.frame)


def plan_training_sheet(workbench: Workbench, name: str) -> dict[str, Any]:
    """Calls, answers found, questions that wait for a batch, items an expert covers, and the most tokens and money it takes.

    `max_cost_usd` is None where the model's price is unknown, which is not the same as nothing.
    """
    catalog = workbench.catalog()
    training_sheet = catalog.training_sheet(name)
    template = catalog.template_for(training_sheet)
    sheet = sheet_of(catalog, training_sheet)
    items = workbench.read_items(sheet)
    made = make_items(workbench, training_sheet, items, pays=False)
    rendered = render_shown(workbench, catalog, name, items, derived=made.frame)
    live = _live_now(workbench, catalog, sheet, template, items, rendered.frame)
    row: dict[str, Any] = {
        "training_sheet": name,
        "model": None,
        "items": rendered.frame.height,
        "calls": 0,
        "store_hits": 0,
        "repeated": 0,
        "covered": sum(1 for ref in rendered.frame["item_ref"] if ref in live),
        "refused": rendered.refusals.height,
        "max_calls": 0,
        "max_tokens": 0,
        "max_cost_usd": 0.0,
        "price_list": None,
        "pending": 0,
    }
    row = _with_steps(row, made)
    row = _with_judge(row, plan_judge(workbench, training_sheet, template, rendered.frame, live))
    if training_sheet.spec.labeling_mode != "ai_generated":
        return row
    return _with_drafts(row, workbench, training_sheet, template, rendered.frame, live)


def _live_now(
    workbench: Workbench,
    catalog: Catalog,
    sheet: Sheet,
    template: PromptTemplate,
    items: pl.DataFrame,
    rendered: pl.DataFrame,
) -> dict[str, str]:
    """The label that holds of each item for the task of a template, as the decisions and the items are now."""
    ledger = workbench.sheet_decisions(sheet)
    of_labels = with_derived(items, ledger["item_ref"].unique(), catalog.training_sheets_of(sheet.name))
    labels = fold_labels(ledger, of_labels, catalog.two_person_sheets(), workbench.panels())
    if catalog.covers_derived(template.spec.label_type):
        labels = cover_derived(labels, rendered)
    labels = live_labels(labels)
    of_task = labels.filter(labels["label_type"] == template.spec.label_type)
    return dict(of_task.select("item_ref", "canonical_label_id").iter_rows())


def _with_drafts(
    row: dict[str, Any],
    workbench: Workbench,
    training_sheet: TrainingSheet,
    template: PromptTemplate,
    rendered: pl.DataFrame,
    live: Mapping[str, str],
) -> dict[str, Any]:
    """The figures with those of the drafts that models are asked for.

    Where there are targets only a first round is asked; the most it takes is that of every prompt.
    """
    generation = training_sheet.spec.generation
    models = asked(workbench, model_of(workbench, training_sheet, template), generation, training_sheet.name)
    read = reader_of(training_sheet, template, rendered)
    held = models.withheld(asked_prompts(training_sheet, rendered, live))
    is_kept, follow_up = models.is_kept(read), models.follow_up(read)
    first = every = rendered.join(held, on="pair_id", how="anti", maintain_order="left")
    if training_sheet.spec.targets is not None:
        # What is not accepted of the first round is made up for by others.
        asks = asked_prompts(training_sheet, every, live)
        tried = models.tried(read, make_requests(template, asks, models.first, training_sheet))
        chosen = Pool(training_sheet.spec.targets, every, live, tried).next()
        first = every.filter(pl.col("pair_id").is_in(list(chosen)))

    def planned(some: pl.DataFrame) -> tuple[Plan, int]:
        """What some prompts take, and how many questions of theirs wait for a batch."""
        pending = Counter[str]()
        plan = plan_drafts(
            training_sheet,
            template,
            some,
            live,
            model=models.first,
            is_kept=_or_waiting(workbench, follow_up, is_kept, pending),
            asks_once_more=generation.ask_once_more,
        )
        return plan, pending.total()

    plan, pending = planned(first)
    most_of = plan if first is every else planned(every)[0]
    tokens = (most_of.prompt_tokens_at_most, most_of.completion_tokens_at_most)
    in_batch = generation.mode == "batch"
    prices = [cost_at_most(model.name, *tokens, in_batch=in_batch) for model in models.models]
    most = None if None in prices else max(price for price in prices if price is not None)
    return row | {
        "model": models.first.name,
        "refused": row["refused"] + held.height,
        "calls": row["calls"] + plan.calls,
        "store_hits": row["store_hits"] + plan.store_hits - pending,
        "repeated": row["repeated"] + plan.repeated,
        "max_calls": row["max_calls"] + most_of.calls_at_most,
        "max_tokens": row["max_tokens"] + sum(tokens),
        "max_cost_usd": total_cost([row["max_cost_usd"], most]),
        "price_list": price_list(models.first.name),
        "pending": pending,
    }


def _with_steps(row: dict[str, Any], made: Making) -> dict[str, Any]:
    """The figures with those of the steps; what a step that is still to be asked leads to is not known before."""
    if not made.plans:
        return row
    plans = [plan for plan, _ in made.plans]
    return row | {
        "calls": sum(plan.calls for plan in plans),
        "step_calls": sum(plan.calls for plan in plans),
        "store_hits": sum(plan.store_hits for plan in plans),
        "repeated": sum(plan.repeated for plan in plans),
        "max_calls": sum(plan.calls_at_most for plan in plans),
        "max_tokens": sum(plan.prompt_tokens_at_most + plan.completion_tokens_at_most for plan in plans),
        "max_cost_usd": total_cost([cost for _, cost in made.plans]),
        "known_to_the_end": not any(plan.calls for plan in plans),
    }


def _with_judge(row: dict[str, Any], plans: list[tuple[Model, Plan]]) -> dict[str, Any]:
    """The figures with the most that a judge takes; `judge_calls` is among `max_calls`, not among `calls`."""
    if not plans:
        return row
    tokens = [(plan.prompt_tokens_at_most, plan.completion_tokens_at_most) for _, plan in plans]
    costs = [cost_at_most(model.name, *some) for (model, _), some in zip(plans, tokens, strict=True)]
    return row | {
        "judge_calls": sum(plan.calls for _, plan in plans),
        "max_calls": row["max_calls"] + sum(plan.calls_at_most for _, plan in plans),
        "max_tokens": row["max_tokens"] + sum(map(sum, tokens)),
        "max_cost_usd": total_cost([row["max_cost_usd"], *costs]),
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
