"""The prompts of a TrainingSheet with the examples that it asks for, and what proves that they show no others."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import polars as pl

from workbench_pipelines.catalog import Catalog, FewShotSpec, PromptTemplate, TrainingSheet
from workbench_pipelines.clients.embeddings import EMBEDDING_MODEL, embed
from workbench_pipelines.errors import DefinitionError, WorkbenchError
from workbench_pipelines.example_splits import held_out, takers_of
from workbench_pipelines.example_standing import standing_now
from workbench_pipelines.example_store import kept_examples, read_snapshot, snapshots_of, store_now
from workbench_pipelines.examples import Examples
from workbench_pipelines.few_shot import is_same_item, near_duplicates, pool_of, shingles, show_examples
from workbench_pipelines.fields import json_schema_of, schema_violation
from workbench_pipelines.ground_truth_items import ground_truth_of
from workbench_pipelines.netting import net_of
from workbench_pipelines.prompts import Rendered
from workbench_pipelines.rendering import (
    compiled_template,
    place_of,
    render_training_sheet,
    sheet_of,
    with_netted_messages,
)
from workbench_pipelines.split_ledger import split_ledger
from workbench_pipelines.stated_policies import outdated
from workbench_pipelines.workbench import Workbench


def render_shown(
    workbench: Workbench,
    catalog: Catalog,
    name: str,
    snapshot: pl.DataFrame,
    store: Examples | None = None,
    derived: pl.DataFrame | None = None,
) -> Rendered:
    """The prompts of a TrainingSheet over a snapshot of its Sheet, with the examples that its `few_shot` asks for.

    Args:
        store: the content of its example store; None takes what the store would hold if it were made now.
        derived: rows of `generate/derived_items`, where the TrainingSheet has steps.

    Raises:
        DefinitionError, TemplateError, SourceError, FilterError: in one line that names file and field.
    """
    training_sheet = catalog.training_sheet(name)
    net = net_of(workbench, catalog, sheet_of(catalog, training_sheet).name, snapshot)
    rendered = render_training_sheet(catalog, name, snapshot, derived, net)
    few_shot = training_sheet.spec.few_shot
    if few_shot is None:
        return rendered
    catalog.example_store(few_shot.store, f"{place_of(catalog, training_sheet)}: spec.few_shot.store")
    if store is None:
        store = store_now(workbench, catalog, few_shot.store)
    template = catalog.template_for(training_sheet)
    usable = usable_examples(workbench, catalog, training_sheet, store)
    frame = show_examples(
        rendered.frame,
        pool_of(usable, embed, EMBEDDING_MODEL),
        k=few_shot.k,
        lead=compiled_template(catalog, template).lead,
        embed=embed,
    )
    rendered = rendered._replace(frame=frame)
    # What an example shows of its own item went through the net of that one's Sheet; of this item it may hold something, too.
    return rendered if net is None else with_netted_messages(rendered, net)


def usable_examples(
    workbench: Workbench, catalog: Catalog, training_sheet: TrainingSheet, store: Examples
) -> pl.DataFrame:
    """The examples of the asked snapshot that prompts of a TrainingSheet may show.

    These are of the same task, with an answer that fits the template, permitted for `few_shot` as things stand now, and in
    the train split of every Collection that takes the TrainingSheet.

    Raises:
        DefinitionError: for a snapshot that there is not, and for a store that is older than a Collection's grouping.
    """
    template = catalog.template_for(training_sheet)
    asked = _asked_snapshot(workbench, catalog, training_sheet, store)
    rows = _judged(workbench, catalog, training_sheet, template, asked, store)
    return rows.filter(pl.col("reason").is_null())


def pin_problems(workbench: Workbench, catalog: Catalog) -> Iterator[str]:
    """The TrainingSheets that are pinned to a snapshot that there is not, or that can never give them as many examples.

    A store that never held an example may come to have the snapshot, and is not spoken of.
    """
    for training_sheet in catalog.training_sheets():
        few_shot = training_sheet.spec.few_shot
        if few_shot is None or few_shot.snapshot is None or snapshots_of(workbench, few_shot.store).is_empty():
            continue
        where = f"{place_of(catalog, training_sheet)}: spec.few_shot"
        found = read_snapshot(workbench, few_shot.store, few_shot.snapshot)
        if found is None:
            yield f"{where}.snapshot: {_no_snapshot(workbench, few_shot)}"
            continue
        try:
            task = catalog.template_for(training_sheet).spec.label_type
        except WorkbenchError:
            continue  # the reference itself is a problem that is said
        held = found.filter(pl.col("label_type") == task).height
        if held < few_shot.k:
            of = f"snapshot {few_shot.snapshot} of ExampleStore {few_shot.store}"
            yield f"{where}.k: {few_shot.k} examples are asked for, and {of} holds {held} of label_type '{task}'"


def wrongly_shown(
    workbench: Workbench, catalog: Catalog, training_sheet: TrainingSheet, prompts: pl.DataFrame, store: Examples
) -> list[str]:
    """A line for each reason why a prompt shows an example that it must not; none where all is well.

    Input columns: sheet, item_ref, inputs, example_ids.
    """
    few_shot = training_sheet.spec.few_shot
    shown = (
        prompts.select("sheet", "item_ref", "inputs", "example_ids").explode("example_ids").drop_nulls("example_ids")
    )
    if shown.is_empty():
        return []
    if few_shot is None:
        return [f"{shown.height} examples stand in prompts that ask for none"]
    template = catalog.template_for(training_sheet)
    kept = kept_examples(workbench, few_shot.store).filter(pl.col("example_id").is_in(shown["example_ids"].implode()))
    judged = _judged(workbench, catalog, training_sheet, template, kept, store)
    known = {row["example_id"]: row for row in judged.to_dicts()}
    counts: dict[str, int] = {}
    for row in shown.iter_rows(named=True):
        for reason in _wrongs(row, known.get(row["example_ids"])):
            counts[reason] = counts.get(reason, 0) + 1
    return [f"{count} times: {reason}" for reason, count in sorted(counts.items())]


def _wrongs(prompt: Mapping[str, Any], example: Mapping[str, Any] | None) -> Iterator[str]:
    if example is None:
        yield "an example that no snapshot holds"
        return
    if example["reason"] is not None:
        yield str(example["reason"])
    if is_same_item(prompt["sheet"], prompt["item_ref"], example["sheet"], example["item_ref"]):
        yield "an item is shown its own answer"
    elif near_duplicates(shingles(prompt["inputs"]), shingles(example["inputs"])):
        yield "an item is shown the answer of a near-duplicate"


def _judged(
    workbench: Workbench,
    catalog: Catalog,
    training_sheet: TrainingSheet,
    template: PromptTemplate,
    examples: pl.DataFrame,
    store: Examples,
) -> pl.DataFrame:
    """Examples with `reason`, why prompts of a TrainingSheet may not show them, and `statements`, what is stated of them."""
    rows = standing_now(examples, store, catalog.vocabulary(), partial(outdated, catalog))
    schema = json_schema_of(template.spec.output_schema)
    fits = {text: schema_violation(json.loads(text), schema) for text in rows["expected_output"].unique()}
    # Of what is not permitted or not known, the groups do not matter any more.
    permitted = rows.filter(pl.col("refusal").is_null())
    ledger = split_ledger(workbench, catalog)
    outside = dict(
        zip(permitted["example_id"], held_out(permitted, takers_of(catalog, training_sheet.name), ledger), strict=True)
    )
    truth = ground_truth_of(workbench, catalog)
    # What an older snapshot holds was never looked at by the net of today; what the store holds now was.
    acting = {name for name in rows["sheet"].unique() if catalog.personal_data(name).acting}
    looked_at = set(store.frame["example_id"])
    reasons: list[str | None] = []
    for example_id, label_type, answer, refusal, sheet, item_ref in rows.select(
        "example_id", "label_type", "expected_output", "refusal", "sheet", "item_ref"
    ).iter_rows():
        if label_type != template.spec.label_type:
            reasons.append(f"an example of another task, {label_type}")
        elif refusal is not None:
            reasons.append(refusal)
        elif fits[answer] is not None:
            reasons.append(f"its answer does not fit the template: {fits[answer]}")
        elif sheet in acting and example_id not in looked_at:
            reasons.append("it was kept before personal data was acted on as it is today: take a newer snapshot")
        elif (measures := truth.said_by(sheet, item_ref)) is not None:
            reasons.append(f"its item is ground truth of Collection {measures}")
        elif outside[example_id] is not None:
            reasons.append(f"it is not of the train split of Collection {outside[example_id]}")
        else:
            reasons.append(None)
    return rows.with_columns(pl.Series("reason", reasons, dtype=pl.String))


def _asked_snapshot(
    workbench: Workbench, catalog: Catalog, training_sheet: TrainingSheet, store: Examples
) -> pl.DataFrame:
    few_shot = training_sheet.spec.few_shot
    assert few_shot is not None
    if few_shot.snapshot is None or few_shot.snapshot in store.frame["snapshot"]:
        return store.frame
    found = read_snapshot(workbench, few_shot.store, few_shot.snapshot)
    if found is None:
        where = f"{place_of(catalog, training_sheet)}: spec.few_shot.snapshot"
        raise DefinitionError(f"{where}: {_no_snapshot(workbench, few_shot)}")
    return found


def _no_snapshot(workbench: Workbench, few_shot: FewShotSpec) -> str:
    known = snapshots_of(workbench, few_shot.store)["snapshot"].to_list()
    said = f"the newest is {known[-1]}" if known else "it has none yet"
    return f"ExampleStore {few_shot.store} has no snapshot {few_shot.snapshot}; {said}"
