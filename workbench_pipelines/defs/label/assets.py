"""The decisions ledger, the labels it folds into, and the pairs they approve."""

import datetime as dt
import json

import dagster as dg
import polars as pl

from workbench_pipelines.auto_approvals import KEY as APPROVAL_KEY, auto_approvals
from workbench_pipelines.defs.automation import WHEN_UPSTREAM_CHANGES
from workbench_pipelines.defs.partitions import PARTITIONS
from workbench_pipelines.defs.reporting import keep_refusals, one_line_failures, report
from workbench_pipelines.derivation import cover_derived, with_derived
from workbench_pipelines.edited_inputs import edit_decisions, editor_of, edits_that_hold, seen_by_editors
from workbench_pipelines.example_store import keep_snapshot, make_store, numbered
from workbench_pipelines.examples import store_digest
from workbench_pipelines.export_taints import keep_taints, taint_lines
from workbench_pipelines.fields import json_schema_of
from workbench_pipelines.former_names import forget_former_names
from workbench_pipelines.generation import REFUSALS
from workbench_pipelines.label_inheritance import inherit_uses
from workbench_pipelines.labels import coverage, fold_labels, label_history
from workbench_pipelines.lineage import TRAINING_SHEETS
from workbench_pipelines.netting import net_of, netted_sources, policy_content
from workbench_pipelines.pair_judgements import standing_decisions
from workbench_pipelines.pairs import judged_alone, label_pairs, pairs_digest, quality_digest, status_counts
from workbench_pipelines.rendering import compiled_template
from workbench_pipelines.restrictions import mask_of, masking_texts, restrictions_of
from workbench_pipelines.standing import pending_questions
from workbench_pipelines.training_sheet_versions import next_training_sheet_row, with_state
from workbench_pipelines.workbench import Workbench

DECISIONS = dg.AssetKey(["label", "decisions"])
CANONICAL_LABELS = dg.AssetKey(["label", "canonical_labels"])
EXAMPLE_STORE = dg.AssetKey(["label", "example_store"])
LABELED_PAIRS = dg.AssetKey(["label", "labeled_pairs"])

decisions = dg.AssetSpec(
    key=DECISIONS,
    group_name="label",
    description="What people, imports and approved feedback said of items and pairs. Append-only, written by commands "
    "and services, never by a run: everything that is known of labels is a fold of it.",
    partitions_def=PARTITIONS.sheet,
    kinds={"deltalake"},
    owners=["team:experts"],
    tags={"room": "label"},
)


@dg.asset(
    key=CANONICAL_LABELS,
    group_name="label",
    partitions_def=PARTITIONS.sheet,
    metadata={"partition_column": "sheet"},
    ins={"snapshot": dg.AssetIn(["data", "sheet_snapshot"])},
    deps=[DECISIONS],
    automation_condition=WHEN_UPSTREAM_CHANGES,
    kinds={"polars", "deltalake"},
    owners=["team:experts"],
    tags={"room": "label"},
    code_version="5",
)
@one_line_failures
def canonical_labels(
    context: dg.AssetExecutionContext, snapshot: pl.DataFrame, workbench: dg.ResourceParam[Workbench]
) -> dg.MaterializeResult:
    """The ground truth of each item for each task, asked of an expert once and reused by every regeneration.

    A label is stale while the columns its expert saw hold something else. Its versions are in `records/label_history`. One
    that can carry a value over, as a free text can, inherits what is stated of the columns its expert saw. Where several people
    answer for an item, it is what they agree on, or what a third person decided between them.

    Input columns: item_ref, usage_statements and the columns experts saw.
    Output columns: canonical_label_id, sheet, item_ref, label_type, label_data, confidence, notes, allowed_uses,
    prohibited_uses, usage_reason, data_classification, labeled_by, labeled_at, last_modified_by, last_modified_at, version,
    seen_columns, seen_hash, stale, active, proposed_by, annotators, agreement, awaits, narrowed_by, policies.
    """
    name = context.partition_key
    catalog = workbench.catalog()
    ledger = workbench.sheet_decisions(catalog.sheet(name))
    items = with_derived(snapshot, ledger["item_ref"].unique(), catalog.training_sheets_of(name))
    folded = fold_labels(ledger, items, catalog.two_person_sheets(), workbench.panels())
    labels = inherit_uses(folded, items, catalog.closed_label_types(), seen_by_editors(ledger))
    workbench.lake.replace_partition(
        "records", "label_history", frame=label_history(ledger), partition_by="sheet", keys=[name]
    )
    mask = mask_of("canonical_labels", labels.columns, restrictions_of(catalog))
    if catalog.personal_data(name).acting:
        spoken = ("label_data", "notes", "usage_reason")
        mask = masking_texts(mask, labels.schema, [one for one in labels.columns if one not in spoken])
    # A rejection or flag of a pair changes no label, and the pairs that are made after the labels all the same.
    standing = [*sorted(standing_decisions(ledger)["decision_id"]), *edit_decisions(ledger)]
    content = [labels.drop("labeled_at", "last_modified_at").rows(), standing]
    covered = coverage(labels, snapshot.height)
    return report(labels, json.loads(json.dumps(content)), mask=mask, metadata={"coverage": covered})


@dg.asset(
    key=EXAMPLE_STORE,
    group_name="label",
    partitions_def=PARTITIONS.store,
    metadata={"partition_column": "store"},
    ins={
        # A Sheet that was never taken has no example to give.
        "snapshots": dg.AssetIn(
            ["data", "sheet_snapshot"],
            partition_mapping=PARTITIONS.sheet_to_store,
            metadata={"allow_missing_partitions": True},
        ),
        "labels": dg.AssetIn(
            CANONICAL_LABELS, partition_mapping=PARTITIONS.sheet_to_store, metadata={"allow_missing_partitions": True}
        ),
    },
    automation_condition=WHEN_UPSTREAM_CHANGES,
    kinds={"polars", "deltalake"},
    owners=["team:experts"],
    tags={"room": "label"},
    code_version="1",
)
@one_line_failures
def example_store(
    context: dg.AssetExecutionContext,
    snapshots: dict[str, pl.DataFrame],
    labels: dict[str, pl.DataFrame],
    workbench: dg.ResourceParam[Workbench],
) -> dg.MaterializeResult:
    """Experts' labels as few-shot examples: what a template shows of an item, and the answer, for prompts to learn from.

    Only what permits `few_shot` is there; the other labels stand in `example_store_refusals`. Content that changed is a new
    numbered snapshot in `records/example_snapshots`; the older ones stay readable, for prompts that are pinned to them.

    Input columns: those of sheet_snapshot and canonical_labels.
    Output columns: example_id, store, input, expected_output, explanation, search_keys, embedding, embedding_model,
    function_name, domain, label_type, quality_score, usage_count, effectiveness_score, pair_id, snapshot, sheet, item_ref,
    item_hash, canonical_label_id, template, template_version, inputs, seen_columns, usage_statements, allowed_uses,
    data_classification, item_statements, item_columns, group_tokens, grouped_by.
    """
    name = context.partition_key
    made = make_store(workbench, name, snapshots, labels)
    number, is_new = keep_snapshot(workbench, name, made)
    keep_refusals(workbench, EXAMPLE_STORE, "store", name, made.refusals)
    frame = numbered(made, number).frame
    mask = mask_of("example_store", frame.columns, restrictions_of(workbench.catalog()))
    figures = {"snapshot": number, "new_snapshot": is_new}
    return report(frame, store_digest(made), refused=made.refusals.height, mask=mask, metadata=figures)


@dg.asset(
    key=LABELED_PAIRS,
    group_name="label",
    partitions_def=PARTITIONS.training_sheet,
    metadata={"partition_column": "training_sheet"},
    ins={
        "generated": dg.AssetIn(["generate", "generated_pairs"]),
        "rendered": dg.AssetIn(["generate", "rendered_prompts"]),
        "labels": dg.AssetIn(CANONICAL_LABELS, partition_mapping=PARTITIONS.sheet_to_training_sheet),
        # Where nobody has looked yet, the columns of quality say so.
        "quality": dg.AssetIn(["label", "pair_quality"], metadata={"allow_missing_partitions": True}),
    },
    automation_condition=WHEN_UPSTREAM_CHANGES,
    kinds={"polars", "deltalake"},
    owners=["team:experts"],
    tags={"room": "label"},
    code_version="3",
)
@one_line_failures
def labeled_pairs(
    context: dg.AssetExecutionContext,
    generated: pl.DataFrame,
    rendered: pl.DataFrame,
    labels: pl.DataFrame,
    quality: pl.LazyFrame,
    workbench: dg.ResourceParam[Workbench],
) -> dg.MaterializeResult:
    """Every question/answer pair of a TrainingSheet with its status, its permitted uses and who vouches for it.

    A pair whose item has a canonical label that fits the output schema is approved before anyone looks. The label of an item
    says nothing of what is derived from it, unless its label type covers that. Where a person edited the inputs of a prompt,
    `inputs` and `messages` are the edited ones. What people typed goes through the net of personal data, as prompts and drafts
    do; a pair that holds what is blocked stands in `labeled_pairs_refusals`. A judge approves only where its TrainingSheet says
    so and its bound holds, and the pair says that it did.

    Input columns: those of generated_pairs, rendered_prompts, canonical_labels and pair_quality.
    Output columns: training_sheet, pair_id, pair_hash, sheet, item_ref, item_hash, seen_hash, template, template_version,
    label_type, messages, response, inputs, attributes, tags, canonical_label_id, status, labeling_mode, allowed_uses,
    prohibited_uses, usage_reason, data_classification, model, quality and review columns, trace, created_at, updated_at, policies.
    """
    name = context.partition_key
    catalog = workbench.catalog()
    training_sheet = catalog.training_sheet(name)
    template = catalog.template_for(training_sheet)
    ledger = workbench.sheet_decisions(catalog.sheet(training_sheet.spec.sheet))
    if catalog.covers_derived(template.spec.label_type):
        labels = cover_derived(labels, rendered)
    schema = json_schema_of(template.spec.output_schema)
    net = net_of(workbench, catalog, training_sheet.spec.sheet)
    refusals = REFUSALS.to_frame()
    if net is not None:
        rendered, generated, labels, refusals = netted_sources(net, rendered, generated, labels, schema)
    keep_refusals(workbench, LABELED_PAIRS, "training_sheet", name, refusals)
    pairs = label_pairs(
        rendered,
        generated,
        labels,
        ledger,
        schema=schema,
        trusted=training_sheet.spec.trusted,
        vocabulary=catalog.vocabulary(),
        edit=editor_of(template, compiled_template(catalog, template)),
        held_edits=_held_edits(workbench, training_sheet.spec.sheet, ledger),
        quality=quality,
        net=net,
    )
    counts = status_counts(pairs)
    approved = auto_approvals(pairs, labels, ledger, dt.datetime.now(dt.UTC))
    if not approved.is_empty():
        workbench.lake.append_new(
            "records", "auto_approvals", frame=approved, key=APPROVAL_KEY, partition_by="training_sheet"
        )
    keep_taints(workbench, catalog, name, pairs, rendered)
    forget_former_names(workbench, training_sheet)
    tainted = taint_lines(workbench, name)
    _keep_version(workbench, name, pairs, counts, generated, template.spec.version, template.name)
    mask = mask_of("labeled_pairs", pairs.columns, restrictions_of(catalog))
    content = [pairs_digest(pairs), quality_digest(pairs), *policy_content(catalog, training_sheet.spec.sheet)]
    figures: dict[str, object] = {**counts, "auto_approved": judged_alone(pairs).height}
    if tainted:
        figures["tainted_exports"] = tainted
    return report(pairs, content, refused=refusals.height, mask=mask, metadata=figures)


def _held_edits(workbench: Workbench, sheet: str, ledger: pl.DataFrame) -> frozenset[str]:
    """The edits of prompts that hold; the snapshot, whose labels these pairs are made of, is read where there are any."""
    if not edit_decisions(ledger):
        return frozenset()
    snapshot = workbench.lake.read("data", "sheet_snapshot", sheet)
    catalog = workbench.catalog()
    return edits_that_hold(
        ledger, with_derived(snapshot, ledger["item_ref"].unique(), catalog.training_sheets_of(sheet))
    )


def _keep_version(
    workbench: Workbench,
    name: str,
    pairs: pl.DataFrame,
    counts: dict[str, int],
    generated: pl.DataFrame,
    template_version: str,
    template: str,
) -> None:
    history = workbench.record("training_sheets", TRAINING_SHEETS).filter(pl.col("training_sheet") == name)
    models = sorted(set(generated["model"].drop_nulls()))
    row = next_training_sheet_row(
        history,
        name,
        content_hash=pairs_digest(pairs),
        counts={"pairs": pairs.height, **counts},
        now=dt.datetime.now(dt.UTC),
        template=template,
        template_version=template_version,
        model=",".join(models) or None,
        cost_usd=_cost(generated),
    )
    if pending_questions(workbench, name):
        row["status"] = "generating"  # a batch is out that will bring more of its answers
    workbench.lake.replace_partition(
        "records", "training_sheets", frame=with_state(history, row), partition_by="training_sheet", keys=[name]
    )


def _cost(generated: pl.DataFrame) -> float | None:
    """What the drafts cost; None where a price is unknown, which is not the same as nothing."""
    asked = generated.filter(pl.col("model").is_not_null())
    return None if asked["cost_usd"].null_count() else float(asked["cost_usd"].sum())
