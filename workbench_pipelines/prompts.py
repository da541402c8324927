"""Prompts: what each item of a TrainingSheet is asked, rendered from its template and its snapshot row."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import polars as pl

from workbench_pipelines import identity
from workbench_pipelines.catalog import Domain, PromptTemplate, TrainingSheet
from workbench_pipelines.derivation import Derived
from workbench_pipelines.filters import compile_filter
from workbench_pipelines.personal_data_net import Net
from workbench_pipelines.prompt_plan import ADDED_COLUMNS, ItemRefused, PromptPlan, plan_prompts
from workbench_pipelines.samples import sample_items
from workbench_pipelines.templates import CompiledTemplate

MESSAGE = pl.Struct({"role": pl.String, "content": pl.String, "parts": pl.String})
RENDERED_PROMPTS = pl.Schema(
    {
        "training_sheet": pl.String(),
        "pair_id": pl.String(),
        "sheet": pl.String(),
        "item_ref": pl.String(),
        "variant": pl.String(),
        "item_hash": pl.String(),
        "seen_hash": pl.String(),
        "seen_columns": pl.List(pl.String),
        "template": pl.String(),
        "template_version": pl.String(),
        "label_type": pl.String(),
        "messages": pl.List(MESSAGE),
        "prompt_hash": pl.String(),
        "inputs": pl.String(),
        "attributes": pl.String(),
        "tags": pl.List(pl.String),
        "usage_statements": pl.String(),
        "column_response": pl.String(),
        "column_problem": pl.String(),
        "parent_ids": pl.List(pl.String),
        "derivation": pl.List(pl.Struct({"name": pl.String, "params": pl.String})),
        "example_ids": pl.List(pl.String),
    }
)
REFUSALS = pl.Schema(dict.fromkeys(("training_sheet", "item_ref", "pair_id", "reason", "detail"), pl.String()))
_CHUNK = 10_000  # rows that are Python objects at one time, so that memory follows the columns and not their rows


class Rendered(NamedTuple):
    """The prompts of one TrainingSheet and the items that got none, each with its reason."""

    frame: pl.DataFrame
    refusals: pl.DataFrame


def render_prompts(
    training_sheet: TrainingSheet,
    template: PromptTemplate,
    compiled: CompiledTemplate,
    snapshot: pl.DataFrame,
    *,
    attribute_columns: Sequence[str] = (),
    column_tags: Mapping[str, Collection[str]] | None = None,
    image_paths: Mapping[str, str] | None = None,
    domain: Domain | None = None,
    made: Mapping[str, Sequence[Derived]] | None = None,
    shown_before: Sequence[tuple[PromptTemplate, CompiledTemplate]] = (),
    net: Net | None = None,
    known_as: tuple[str, str] | None = None,
    where: str,
) -> Rendered:
    """Render the prompt of each item that a TrainingSheet takes; an item that can not be asked is refused alone.

    Input columns: item_ref, item_hash, row_tags, usage_statements, and the columns of the source.

    Output columns: `RENDERED_PROMPTS`, sorted by item_ref, and `REFUSALS` with the reasons `input_breaks_schema`,
    `undefined_variable`, `template_error`, `no_image`, `column_breaks_schema`, `item_ref_taken`, `nothing_to_cut` and
    `personal_data`. The sample and the filter of `items` count items of the Sheet; what is derived of them comes after.

    Args:
        attribute_columns: columns that Collections group or stratify by; one with restrictions enters as its digest.
        column_tags: the tags of each tagged column.
        image_paths: the columns that hold images of a volume, each with the column of their paths.
        domain: what the template sees as `domain`.
        made: what steps made of each item; without it the chunks and variants of the item.
        shown_before: the templates with which steps asked: what they showed is in what they made, and counts as shown.
        net: what is done with personal data in bound values; none looks for none.
        known_as: by `Catalog.pair_names`, where TrainingSheet or Sheet had other names before.
        where: the file and document that error lines begin with.

    Raises:
        DefinitionError: when a bound column is not in the snapshot.
        FilterError: when the filter of `items` is no boolean expression over the columns.
    """
    plan = plan_prompts(
        training_sheet,
        template,
        compiled,
        snapshot,
        attribute_columns,
        column_tags or {},
        image_paths or {},
        domain,
        shown_before,
        net,
        where,
    )
    spec = training_sheet.spec
    items = taken_items(training_sheet, snapshot, where)
    prompts, refusals = [RENDERED_PROMPTS.to_frame()], [REFUSALS.to_frame()]
    for chunk in items.iter_slices(_CHUNK):
        rendered = _rendered(training_sheet, plan, chunk, made, known_as)
        prompts.append(rendered.frame)
        refusals.append(rendered.refusals)
    found = Rendered(pl.concat(prompts, rechunk=False), pl.concat(refusals, rechunk=False))
    # `a#1` comes after `a!`, and before `aa`: what is derived need not lie where its parent lay.
    return Rendered(found.frame.sort("item_ref"), found.refusals.sort("item_ref")) if spec.derives else found


def _rendered(
    training_sheet: TrainingSheet,
    plan: PromptPlan,
    items: pl.DataFrame,
    made: Mapping[str, Sequence[Derived]] | None,
    known_as: tuple[str, str] | None,
) -> Rendered:
    """The prompts of some items, and of what is derived of them."""
    names = known_as or (training_sheet.name, training_sheet.spec.sheet)
    rows: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    plan.look_ahead(items)
    for item in items.to_dicts():
        for one in plan.derived(item) if made is None else made.get(item["item_ref"], ()):
            pair_id = identity.pair_id(*names, one.item_ref, one.variant)
            try:
                rows.append({"pair_id": pair_id, **plan.row(one, item)})
            except ItemRefused as error:
                why = {"reason": error.reason, "detail": error.detail}
                refused.append(
                    {"training_sheet": training_sheet.name, "item_ref": one.item_ref, "pair_id": pair_id, **why}
                )
    return Rendered(pl.DataFrame(rows, schema=RENDERED_PROMPTS), pl.DataFrame(refused, schema=REFUSALS))


def taken_items(training_sheet: TrainingSheet, snapshot: pl.DataFrame, where: str) -> pl.DataFrame:
    """The items a TrainingSheet takes of its Sheet, by name: those its filter keeps, then its sample of them."""
    spec = training_sheet.spec.items
    source = [column for column in snapshot.columns if column not in ADDED_COLUMNS]
    if spec.filter_condition is not None:
        schema = {column: snapshot.schema[column] for column in ("item_ref", *source)}
        kept = compile_filter(spec.filter_condition, schema, f"{where}: spec.items.filter_condition")
        snapshot = snapshot.filter(kept)
    return sample_items(snapshot, spec.sample, f"{where}: spec.items.sample").sort("item_ref")
