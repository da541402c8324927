"""The quality of pairs: what was found in each answer, before and after a person has looked."""

import dagster as dg
import polars as pl

from workbench_pipelines.defs.automation import JUDGE_IS_FREE, WHEN_UPSTREAM_CHANGES
from workbench_pipelines.defs.checking import held, one_line_check
from workbench_pipelines.defs.partitions import PARTITIONS
from workbench_pipelines.defs.reporting import keep_refusals, one_line_failures, report
from workbench_pipelines.derivation import cover_derived
from workbench_pipelines.judge_assessments import keep_assessments
from workbench_pipelines.pair_looking import look_at_pairs
from workbench_pipelines.pair_quality import content_of
from workbench_pipelines.restrictions import mask_of, restrictions_of
from workbench_pipelines.workbench import Workbench

PAIR_QUALITY = dg.AssetKey(["label", "pair_quality"])


@dg.asset(
    key=PAIR_QUALITY,
    group_name="label",
    partitions_def=PARTITIONS.training_sheet,
    metadata={"partition_column": "training_sheet"},
    ins={
        "generated": dg.AssetIn(["generate", "generated_pairs"]),
        "rendered": dg.AssetIn(["generate", "rendered_prompts"]),
        "labels": dg.AssetIn(["label", "canonical_labels"], partition_mapping=PARTITIONS.sheet_to_training_sheet),
    },
    automation_condition=WHEN_UPSTREAM_CHANGES & JUDGE_IS_FREE,
    pool="llm",
    kinds={"polars", "deltalake"},
    owners=["team:experts"],
    tags={"room": "label"},
    code_version="1",
)
@one_line_failures
def pair_quality(
    context: dg.AssetExecutionContext,
    generated: pl.LazyFrame,
    rendered: pl.LazyFrame,
    labels: pl.DataFrame,
    workbench: dg.ResourceParam[Workbench],
) -> dg.MaterializeResult:
    """What was found in the answer of each pair: faults, copies, personal data, toxic words, its language, labels that can not
    both be right, and what a judge says of it.

    Nothing here rejects a pair: `needs` says why a person should look. No model is asked unless the TrainingSheet names a judge,
    which is measured on labels it was never calibrated on. What came to no judgement is refused with its reason.

    Input columns: those of generated_pairs, rendered_prompts and canonical_labels.
    Output columns: training_sheet, pair_id, sheet, item_ref, label_type, response_hash, quality_score, faults, toxicity,
    input_toxicity, language, duplicate_of, duplicate, pii, inconsistent, judge, judge_score, judge_probability, judged_at,
    judge_statements, error_bound, auto_approved, needs.
    """
    name = context.partition_key
    catalog = workbench.catalog()
    training_sheet = catalog.training_sheet(name)
    template = catalog.template_for(training_sheet)
    if catalog.covers_derived(template.spec.label_type):
        labels = cover_derived(labels, rendered.collect())
    looked = look_at_pairs(workbench, training_sheet, template, rendered, generated, labels, context.log.info)
    assessed = keep_assessments(workbench, training_sheet, looked.judged, labels) if looked.judged else {}
    keep_refusals(workbench, PAIR_QUALITY, "training_sheet", name, looked.refusals)
    mask = mask_of("pair_quality", looked.frame.columns, restrictions_of(catalog))
    return report(
        looked.frame,
        content_of(looked.frame),
        refused=looked.refusals.height,
        mask=mask,
        metadata={**looked.figures, **assessed},
    )


@dg.asset_check(asset=PAIR_QUALITY, blocking=True, partitions_def=PARTITIONS.training_sheet)
@one_line_check
def every_answer_was_looked_at(
    context: dg.AssetCheckExecutionContext, pair_quality: pl.DataFrame, workbench: dg.ResourceParam[Workbench]
) -> dg.AssetCheckResult:
    """Every pair with an answer was looked at once, and its score lies between 0 and 1."""
    partition = {"training_sheet": [context.partition_key]}
    answered = workbench.lake.scan("generate", "generated_pairs", partition=partition)
    drafts = answered.filter(pl.col("response").is_not_null()).select("pair_id").collect()
    missing = drafts.join(pair_quality, on="pair_id", how="anti").height
    repeated = int(pair_quality["pair_id"].is_duplicated().sum())
    odd = pair_quality.filter(~pl.col("quality_score").is_between(0, 1).fill_null(False)).height
    return held(
        missing + repeated + odd == 0,
        f"{pair_quality.height} answers, {missing} not looked at, {repeated} twice, {odd} without a score",
    )


@dg.asset_check(asset=PAIR_QUALITY, partitions_def=PARTITIONS.training_sheet)
@one_line_check
def no_answer_contradicts_a_related_label(pair_quality: pl.DataFrame) -> dg.AssetCheckResult:
    """No answer breaks a rule that its TrainingSheet states of the item's labels for other tasks."""
    # A warning: of two labels that can not both be right nobody knows yet which is wrong, and a person is asked.
    broken = pair_quality.select(pl.col("inconsistent").explode()).drop_nulls().to_series()
    counts = ", ".join(f"{name}: {count}" for name, count in sorted(broken.value_counts().iter_rows()))
    return dg.AssetCheckResult(
        passed=broken.is_empty(), severity=dg.AssetCheckSeverity.WARN, description=counts or "no rule is broken"
    )
