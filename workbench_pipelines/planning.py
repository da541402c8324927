"""What a run would do to a TrainingSheet, from its sources as they are now; nothing is called and nothing is written."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import polars as pl

from workbench_pipelines.asking import asked, model_of
from workbench_pipelines.batch_tries import FollowUp, waiting_questions
from workbench_pipelines.clients.prices import cost_at_most, price_list
from workbench_pipelines.derivation import cover_derived, with_derived
from workbench_pipelines.deriving import Making, make_items
from workbench_pipelines.drafting import reader_of
from workbench_pipelines.example_rendering import render_shown
from workbench_pipelines.generation import asked_prompts, make_requests
from workbench_pipelines.generation_plan import IsKept, Plan, plan_drafts
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
    ledger = workbench.sheet_decisions(sheet)
    of_labels = with_derived(items, ledger["item_ref"].unique(), catalog.training_sheets_of(sheet.name))
    labels = fold_labels(ledger, of_labels, catalog.two_person_sheets(), workbench.panels())
    if catalog.covers_derived(template.spec.label_type):
        labels = cover_derived(labels, rendered.frame)
    labels = live_labels(labels)
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
    if training_sheet.spec.labeling_mode != "ai_generated":
        return row
    generation = training_sheet.spec.generation
    models = asked(workbench, model_of(workbench, training_sheet, template), generation, name)
    read = reader_of(training_sheet, template, rendered.frame)
    held = models.withheld(asked_prompts(training_sheet, rendered.frame, live))
    row["refused"] += held.height
    in_batch = generation.mode == "batch"
    pending = Counter[str]()
    is_kept = _or_waiting(workbench, models.follow_up(read), models.is_kept(read), pending)
    prompts = rendered.frame.join(held, on="pair_id", how="anti", maintain_order="left")
    if training_sheet.spec.targets is not None:
        # The first round; what is not accepted of it is made up for by others.
        tried = models.tried(
            read, make_requests(template, asked_prompts(training_sheet, prompts, live), models.first, training_sheet)
        )
        first = Pool(training_sheet.spec.targets, prompts, live, tried).next()
        every, prompts = prompts, prompts.filter(pl.col("pair_id").is_in(list(first)))
    else:
        every = prompts

    def planned(some: pl.DataFrame) -> Plan:
        again = generation.ask_once_more
        return plan_drafts(
            training_sheet, template, some, live, model=models.first, is_kept=is_kept, asks_once_more=again
        )

    plan = most_of = planned(prompts)
    if every is not prompts:
        waits = Counter(pending)
        most_of = planned(every)
        pending.clear()
        pending.update(waits)
    tokens = (most_of.prompt_tokens_at_most, most_of.completion_tokens_at_most)
    prices = [cost_at_most(model.name, *tokens, in_batch=in_batch) for model in models.models]
    most = None if None in prices else max(price for price in prices if price is not None)
    return row | {
        "model": models.first.name,
        "calls": row["calls"] + plan.calls,
        "store_hits": row["store_hits"] + plan.store_hits - pending.total(),
        "repeated": row["repeated"] + plan.repeated,
        "max_calls": row["max_calls"] + most_of.calls_at_most,
        "max_tokens": row["max_tokens"] + sum(tokens),
        "max_cost_usd": total_cost([row["max_cost_usd"], most]),
        "price_list": price_list(models.first.name),
        "pending": pending.total(),
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


def _or_waiting(workbench: Workbench, follow_up: FollowUp, is_kept: IsKept, pending: Counter[str]) -> IsKept:
    """Whether questions have a usable answer, or wait for a batch; `pending` counts those that wait."""

    def is_kept_or_waiting(questions: Sequence[Request]) -> list[bool]:
        kept = is_kept(questions)
        rest = [one for one, found in zip(questions, kept, strict=True) if not found]
        waiting = waiting_questions(workbench, follow_up, rest)
        pending.update(one.request_hash for one in rest if one.request_hash in waiting)
        return [found or one.request_hash in waiting for one, found in zip(questions, kept, strict=True)]

    return is_kept_or_waiting
