"""What a run would do to a TrainingSheet, from its sources as they are now; nothing is called and nothing is written."""

from __future__ import annotations

from typing import Any

from workbench_pipelines.asking import asked, model_of
from workbench_pipelines.clients.prices import cost_at_most
from workbench_pipelines.example_rendering import render_shown
from workbench_pipelines.generation import plan_drafts
from workbench_pipelines.labels import fold_labels, live_labels
from workbench_pipelines.prompts import Rendered
from workbench_pipelines.rendering import sheet_of
from workbench_pipelines.workbench import Workbench


def render_now(workbench: Workbench, name: str) -> Rendered:
    """The prompts of a TrainingSheet over its sources as they are now."""
    catalog = workbench.catalog()
    sheet = sheet_of(catalog, catalog.training_sheet(name))
    return render_shown(workbench, catalog, name, workbench.read_items(sheet))


def plan_training_sheet(workbench: Workbench, name: str) -> dict[str, Any]:
    """Calls, answers found, items an expert covers, and the most tokens and money it can take.

    `max_cost_usd` is None where the model's price is unknown, which is not the same as nothing.
    """
    catalog = workbench.catalog()
    training_sheet = catalog.training_sheet(name)
    template = catalog.template_for(training_sheet)
    sheet = sheet_of(catalog, training_sheet)
    items = workbench.read_items(sheet)
    rendered = render_shown(workbench, catalog, name, items)
    labels = live_labels(fold_labels(workbench.sheet_decisions(sheet), items))
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
        "max_tokens": 0,
        "max_cost_usd": 0.0,
    }
    if training_sheet.spec.labeling_mode != "ai_generated":
        return row
    model = asked(workbench, model_of(workbench, training_sheet, template))
    plan = plan_drafts(
        training_sheet,
        template,
        rendered.frame,
        live,
        model=model.model,
        revision=model.revision,
        endpoint=model.endpoint,
        lookup=workbench.store.lookup,
    )
    return row | {
        "model": model.model,
        "calls": plan.calls,
        "store_hits": plan.store_hits,
        "max_tokens": plan.prompt_tokens_at_most + plan.completion_tokens_at_most,
        "max_cost_usd": cost_at_most(model.model, plan.prompt_tokens_at_most, plan.completion_tokens_at_most),
    }
