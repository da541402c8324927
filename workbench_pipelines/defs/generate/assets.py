"""Prompt templates, the prompts they render, and the drafts that answer them."""

import datetime as dt

import dagster as dg
import polars as pl

from workbench_pipelines.defs.automation import GENERATION_IS_FREE, STEPS_ARE_FREE, WHEN_UPSTREAM_CHANGES
from workbench_pipelines.defs.generate.diversity import diversity_figures, measure_diversity
from workbench_pipelines.defs.jobs import ONLY_COLLECTS_TAG
from workbench_pipelines.defs.partitions import PARTITIONS
from workbench_pipelines.defs.reporting import keep_refusals, one_line_failures, report
from workbench_pipelines.derivation import cover_derived
from workbench_pipelines.deriving import make_items
from workbench_pipelines.drafting import draft_training_sheet
from workbench_pipelines.example_rendering import render_shown
from workbench_pipelines.example_store import examples_in
from workbench_pipelines.few_shot import example_figures
from workbench_pipelines.labels import live_labels
from workbench_pipelines.lineage import TEMPLATE_VERSIONS
from workbench_pipelines.netting import policy_content
from workbench_pipelines.quotas import target_figures
from workbench_pipelines.rendering import refuse_unrecorded_template
from workbench_pipelines.restrictions import Mask, mask_of, restrictions_of
from workbench_pipelines.row_digests import table_digest
from workbench_pipelines.template_approvals import keep_approvals
from workbench_pipelines.template_versions import (
    refuse_changed_versions,
    template_rows,
    templates_digest,
    version_records,
)  # fmt: skip
from workbench_pipelines.typed_answers import typed_answers
from workbench_pipelines.workbench import Workbench

PROMPT_TEMPLATES = dg.AssetKey(["generate", "prompt_templates"])
DERIVED_ITEMS = dg.AssetKey(["generate", "derived_items"])
RENDERED_PROMPTS = dg.AssetKey(["generate", "rendered_prompts"])
GENERATED_PAIRS = dg.AssetKey(["generate", "generated_pairs"])


@dg.asset(
    key=PROMPT_TEMPLATES,
    group_name="generate",
    partitions_def=PARTITIONS.template,
    metadata={"partition_column": "template"},
    backfill_policy=dg.BackfillPolicy.single_run(),
    kinds={"jinja", "deltalake"},
    owners=["team:ml"],
    tags={"room": "generate"},
    code_version="1",
)
@one_line_failures
def prompt_templates(context: dg.AssetExecutionContext, workbench: dg.ResourceParam[Workbench]) -> dg.MaterializeResult:
    """One row per version of a prompt template; a published version never changes.

    Output columns: template, version, status, label_type, owner, content_hash, variables, spec (JSON).
    """
    catalog = workbench.catalog()
    rows = pl.concat([template_rows(catalog, name) for name in sorted(context.partition_keys)])
    refuse_changed_versions(rows, workbench.record("template_versions", TEMPLATE_VERSIONS))
    known = version_records(rows, dt.datetime.now(dt.UTC))
    workbench.lake.append_new("records", "template_versions", frame=known, key=["template", "version"])
    keep_approvals(workbench, dt.datetime.now(dt.UTC))
    return report(rows, templates_digest(catalog), mask=Mask())


@dg.asset(
    key=DERIVED_ITEMS,
    group_name="generate",
    partitions_def=PARTITIONS.training_sheet,
    metadata={"partition_column": "training_sheet"},
    ins={
        "snapshot": dg.AssetIn(["data", "sheet_snapshot"], partition_mapping=PARTITIONS.sheet_to_training_sheet),
        "templates": dg.AssetIn(PROMPT_TEMPLATES, partition_mapping=PARTITIONS.template_to_training_sheet),
    },
    automation_condition=WHEN_UPSTREAM_CHANGES & STEPS_ARE_FREE,
    pool="llm",
    kinds={"litellm", "deltalake"},
    owners=["team:ml"],
    tags={"room": "generate"},
    code_version="1",
)
@one_line_failures
def derived_items(
    context: dg.AssetExecutionContext,
    snapshot: pl.LazyFrame,
    templates: pl.DataFrame,
    workbench: dg.ResourceParam[Workbench],
) -> dg.MaterializeResult:
    """One row per item that the steps of a TrainingSheet made: a question to a chunk, a harder one, a translation.

    Each is an item of its own, `<parent>#<n>`, with its parents and the steps that led to it. A TrainingSheet without steps
    has none. An answer that makes no item is refused with its reason.

    Input columns: item_ref, item_hash, usage_statements, row_tags and the bound columns of the snapshot.
    Output columns: training_sheet, sheet, item_ref, root_ref, item_hash, variant, parent_ids, derivation, changed_columns,
    made_variables, made_attributes (JSON).
    """
    name = context.partition_key
    catalog = workbench.catalog()
    training_sheet = catalog.training_sheet(name)
    if training_sheet.spec.steps:
        refuse_unrecorded_template(catalog, training_sheet, templates)
    # Most TrainingSheets have no steps, and no row is read for them.
    items = snapshot.collect() if training_sheet.spec.steps else pl.DataFrame()
    made = make_items(workbench, training_sheet, items, context.log.info)
    keep_refusals(workbench, DERIVED_ITEMS, "training_sheet", name, made.refusals)
    mask = mask_of("derived_items", made.frame.columns, restrictions_of(catalog))
    figures = {
        "llm_calls": sum(one.calls for one in made.asked),
        "store_hits": sum(one.store_hits for one in made.asked),
        "cost_usd": "unknown" if made.cost_usd is None else made.cost_usd,
    }
    content = table_digest(made.frame.select("item_ref", "item_hash", "changed_columns", "made_variables"))
    return report(made.frame, content, refused=made.refusals.height, mask=mask, metadata=figures if made.asked else {})


@dg.asset(
    key=RENDERED_PROMPTS,
    group_name="generate",
    partitions_def=PARTITIONS.training_sheet,
    metadata={"partition_column": "training_sheet"},
    ins={
        "snapshot": dg.AssetIn(["data", "sheet_snapshot"], partition_mapping=PARTITIONS.sheet_to_training_sheet),
        "templates": dg.AssetIn(PROMPT_TEMPLATES, partition_mapping=PARTITIONS.template_to_training_sheet),
        # Without steps no partition is mapped, and the frame is empty.
        "derived": dg.AssetIn(DERIVED_ITEMS, partition_mapping=PARTITIONS.derived_to_training_sheet),
        # Without few_shot no store is mapped, and the frame is empty.
        "examples": dg.AssetIn(["label", "example_store"], partition_mapping=PARTITIONS.store_to_training_sheet),
    },
    automation_condition=WHEN_UPSTREAM_CHANGES,
    kinds={"jinja", "deltalake"},
    owners=["team:ml"],
    tags={"room": "generate"},
    code_version="1",
)
@one_line_failures
def rendered_prompts(
    context: dg.AssetExecutionContext,
    snapshot: pl.DataFrame,
    templates: pl.DataFrame,
    derived: pl.DataFrame,
    examples: pl.DataFrame,
    workbench: dg.ResourceParam[Workbench],
) -> dg.MaterializeResult:
    """One prompt per item of a TrainingSheet: the template's messages with the item's columns bound into them.

    With `chunks`, `variants` or `steps` an item is asked as the items that are derived from it, `<parent>#<n>`. With
    `few_shot` the most similar examples of a store stand before the question, and what is stated of them is stated of the
    prompt. An item that does not fit the input schema, or on which the template fails, is refused with its reason.

    Input columns: item_ref, item_hash, usage_statements, row_tags and the bound columns of the snapshot; those of the
    derived items and of the example store.
    Output columns: training_sheet, pair_id, sheet, item_ref, item_hash, seen_hash, seen_columns, template,
    template_version, label_type, messages, prompt_hash, inputs, attributes, tags, usage_statements, column_response, column_problem,
    variant, parent_ids, derivation, example_ids.
    """
    name = context.partition_key
    catalog = workbench.catalog()
    few_shot = catalog.training_sheet(name).spec.few_shot
    refuse_unrecorded_template(catalog, catalog.training_sheet(name), templates)
    store = examples_in(workbench, few_shot.store, examples) if few_shot else None
    rendered = render_shown(workbench, catalog, name, snapshot, store, derived if derived.width else None)
    keep_refusals(workbench, RENDERED_PROMPTS, "training_sheet", name, rendered.refusals)
    mask = mask_of("rendered_prompts", rendered.frame.columns, restrictions_of(catalog))
    columns = [
        "pair_id",
        "prompt_hash",
        "seen_hash",
        "usage_statements",
        "column_response",
        "column_problem",
        "example_ids",
    ]
    content = [table_digest(rendered.frame.select(columns))]
    content += policy_content(catalog, catalog.training_sheet(name).spec.sheet)
    figures = example_figures(rendered.frame, few_shot.k) if few_shot else {}
    return report(
        rendered.frame,
        content if len(content) > 1 else content[0],
        refused=rendered.refusals.height,
        mask=mask,
        metadata=figures,
    )


@dg.asset(
    key=GENERATED_PAIRS,
    group_name="generate",
    partitions_def=PARTITIONS.training_sheet,
    metadata={"partition_column": "training_sheet"},
    ins={
        "rendered": dg.AssetIn(RENDERED_PROMPTS),
        "labels": dg.AssetIn(["label", "canonical_labels"], partition_mapping=PARTITIONS.sheet_to_training_sheet),
    },
    automation_condition=WHEN_UPSTREAM_CHANGES & GENERATION_IS_FREE,
    pool="llm",
    kinds={"litellm", "deltalake"},
    owners=["team:ml"],
    tags={"room": "generate"},
    code_version="1",
)
@one_line_failures
def generated_pairs(
    context: dg.AssetExecutionContext,
    rendered: pl.DataFrame,
    labels: pl.DataFrame,
    workbench: dg.ResourceParam[Workbench],
) -> dg.MaterializeResult:
    """One answer per item and template, as the model wrote it, before any person has looked.

    No model is asked where an expert's label already stands, nor for a request that was answered before. The answers stand
    in `generate/typed_answers/<training_sheet>` as well, each output field a column of its own type.

    Input columns: pair_id, item_ref, messages, prompt_hash, column_response, column_problem; canonical_label_id, active, stale.
    Output columns: training_sheet, pair_id, sheet, item_ref, label_type, seen_hash, prompt_hash, request_hash, response,
    response_hash, labeling_mode, canonical_label_id, model, prompt_tokens, completion_tokens, cost_usd, answered_at,
    repaired, language.
    """
    name = context.partition_key
    catalog = workbench.catalog()
    training_sheet = catalog.training_sheet(name)
    template = catalog.template_for(training_sheet)
    if catalog.covers_derived(template.spec.label_type):
        labels = cover_derived(labels, rendered)
    live = live_labels(labels).filter(pl.col("label_type") == template.spec.label_type)
    drafts = draft_training_sheet(
        workbench,
        training_sheet,
        template,
        rendered,
        live,
        context.log.info,
        asks_again=ONLY_COLLECTS_TAG not in context.run.tags,
    )
    keep_refusals(workbench, GENERATED_PAIRS, "training_sheet", name, drafts.refusals)
    answers = typed_answers(drafts.frame, template.spec.output_schema)
    workbench.lake.replace_table("generate", "typed_answers", name, frame=answers)
    restrictions = restrictions_of(catalog)
    mask = mask_of("generated_pairs", drafts.frame.columns, restrictions)
    figures = measure_diversity(
        workbench,
        name,
        rendered,
        drafts.frame,
        template,
        show_values=training_sheet.spec.sheet in restrictions.open_sheets,
    )
    said = ["pair_id", "response_hash", "labeling_mode", "canonical_label_id", "model", "language"]
    content = [table_digest(drafts.frame.select(*said, pl.col("repaired").cast(pl.String)))]
    content += policy_content(catalog, training_sheet.spec.sheet)
    return report(
        drafts.frame,
        content if len(content) > 1 else content[0],
        refused=drafts.refusals.height,
        mask=mask,
        metadata={
            "llm_calls": drafts.calls,
            "store_hits": drafts.store_hits,
            "prompt_tokens": drafts.prompt_tokens,
            "completion_tokens": drafts.completion_tokens,
            # An unknown price is shown as unknown, never as zero.
            "cost_usd": "unknown" if drafts.cost_usd is None else drafts.cost_usd,
            "repaired": int(drafts.frame["repaired"].sum()),
            "refused_by_reason": dict(drafts.refusals.group_by("reason").len().sort("reason").iter_rows()),
            "covered_by_labels": live.height,
            **target_figures(drafts.standings),
            **diversity_figures(figures),
        },
    )
