"""The guard of the generate room: what was asked and answered can be trusted to be what it says it is."""

import json

import dagster as dg
import polars as pl

from workbench_pipelines.defs.checking import held, one_line_check
from workbench_pipelines.defs.partitions import PARTITIONS
from workbench_pipelines.drafting import rejected_pairs
from workbench_pipelines.example_rendering import wrongly_shown
from workbench_pipelines.example_store import stored
from workbench_pipelines.few_shot import example_figures
from workbench_pipelines.fields import json_schema_of, schema_violation
from workbench_pipelines.publishing import lock_problems, parse_lock
from workbench_pipelines.quotas import shortfall_lines, standings_of, target_figures
from workbench_pipelines.workbench import Workbench


@dg.asset_check(asset=["generate", "prompt_templates"], blocking=True, partitions_def=PARTITIONS.template)
@one_line_check
def every_published_version_is_as_it_was_published(
    prompt_templates: pl.DataFrame, workbench: dg.ResourceParam[Workbench]
) -> dg.AssetCheckResult:
    """Every published version holds what templates/published.lock says it held when it was published."""
    names = set(prompt_templates["template"])
    lock = parse_lock(workbench.files.published_lock() or "")
    changed = [problem.line for problem in lock_problems(workbench.catalog(), lock) if problem.name in names]
    return held(not changed, "; ".join(changed) or f"{prompt_templates.height} versions")


@dg.asset_check(asset=["generate", "derived_items"], blocking=True, partitions_def=PARTITIONS.training_sheet)
@one_line_check
def every_derived_item_has_a_name_of_its_own(derived_items: pl.DataFrame) -> dg.AssetCheckResult:
    """Every item that steps made is called `<parent>#<n>`, and no two are called the same."""
    repeated = int(derived_items["item_ref"].is_duplicated().sum())
    of_parent = pl.col("item_ref").str.starts_with(pl.concat_str(pl.col("parent_ids").list.last(), pl.lit("#")))
    strays = derived_items.filter((pl.col("parent_ids").list.len() > 0) & ~of_parent).height
    return held(
        repeated == 0 and strays == 0, f"{derived_items.height} items, {repeated} repeated, {strays} of another name"
    )


@dg.asset_check(asset=["generate", "rendered_prompts"], blocking=True, partitions_def=PARTITIONS.training_sheet)
@one_line_check
def every_item_is_asked_once(rendered_prompts: pl.DataFrame) -> dg.AssetCheckResult:
    """Every item of the TrainingSheet has one prompt, under one name."""
    repeated = rendered_prompts["pair_id"].is_duplicated().sum()
    return held(repeated == 0, f"{rendered_prompts.height} prompts, {repeated} repeated")


@dg.asset_check(asset=["generate", "rendered_prompts"], blocking=True, partitions_def=PARTITIONS.training_sheet)
@one_line_check
def every_prompt_shows_only_examples_that_it_may(
    context: dg.AssetCheckExecutionContext, rendered_prompts: pl.DataFrame, workbench: dg.ResourceParam[Workbench]
) -> dg.AssetCheckResult:
    """Every example in a prompt permits few_shot, stands in train in every Collection, and is not of the item itself."""
    catalog = workbench.catalog()
    training_sheet = catalog.training_sheet(context.partition_key)
    few_shot = training_sheet.spec.few_shot
    if few_shot is None:
        shown = int(rendered_prompts["example_ids"].list.len().fill_null(0).sum())
        return held(shown == 0, f"no examples are asked for, {shown} are shown")
    wrongs = wrongly_shown(workbench, catalog, training_sheet, rendered_prompts, stored(workbench, few_shot.store))
    figures = example_figures(rendered_prompts, few_shot.k)
    return held(not wrongs, "; ".join(wrongs) or f"{figures['examples_shown']} different examples", figures)


@dg.asset_check(asset=["generate", "generated_pairs"], blocking=True, partitions_def=PARTITIONS.training_sheet)
@one_line_check
def every_answer_fits_its_schema(
    context: dg.AssetCheckExecutionContext, generated_pairs: pl.DataFrame, workbench: dg.ResourceParam[Workbench]
) -> dg.AssetCheckResult:
    """Every answer is JSON that fits the output schema of its template."""
    catalog = workbench.catalog()
    template = catalog.template_for(catalog.training_sheet(context.partition_key))
    schema = json_schema_of(template.spec.output_schema)
    answers = generated_pairs["response"].drop_nulls().unique()
    broken = sum(1 for answer in answers if schema_violation(json.loads(answer), schema))
    return held(broken == 0, f"{len(answers)} different answers, {broken} break the schema")


@dg.asset_check(asset=["generate", "generated_pairs"], partitions_def=PARTITIONS.training_sheet)
@one_line_check
def every_target_is_met(
    context: dg.AssetCheckExecutionContext, generated_pairs: pl.DataFrame, workbench: dg.ResourceParam[Workbench]
) -> dg.AssetCheckResult:
    """As many rows are accepted as the TrainingSheet asks for, in all and in each stratum; else there was no more to ask."""
    training_sheet = workbench.catalog().training_sheet(context.partition_key)
    targets = training_sheet.spec.targets
    if targets is None:
        return held(True, "no targets")
    prompts = workbench.lake.read("generate", "rendered_prompts", partition={"training_sheet": [training_sheet.name]})
    standings = standings_of(targets, prompts, generated_pairs, rejected_pairs(workbench, training_sheet))
    lines = shortfall_lines(training_sheet.name, target_figures(standings).get("targets", {}))
    return dg.AssetCheckResult(
        passed=not lines,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(lines) or f"{targets.total} rows accepted",
    )


@dg.asset_check(asset=["generate", "generated_pairs"], blocking=True, partitions_def=PARTITIONS.training_sheet)
@one_line_check
def no_labeled_item_was_asked(generated_pairs: pl.DataFrame) -> dg.AssetCheckResult:
    """No model was asked about an item that an expert had labeled already."""
    labeled = pl.col("canonical_label_id").is_not_null()
    asked = generated_pairs.filter(labeled & pl.col("request_hash").is_not_null()).height
    return held(asked == 0, f"{generated_pairs.filter(labeled).height} labeled items, {asked} asked all the same")
