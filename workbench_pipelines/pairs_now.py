"""The pairs of a TrainingSheet as they would be made now, from definitions, sources and decisions as they stand; nothing is written.

Drafts and what was found in them are taken from the lake: no model is asked.
"""

from __future__ import annotations

import polars as pl

from workbench_pipelines.derivation import cover_derived, with_derived
from workbench_pipelines.edited_inputs import editor_of, edits_that_hold, seen_by_editors
from workbench_pipelines.fields import json_schema_of
from workbench_pipelines.label_inheritance import inherit_uses
from workbench_pipelines.labels import fold_labels
from workbench_pipelines.netting import net_of, netted_sources
from workbench_pipelines.pairs import LABELED_PAIRS, label_pairs
from workbench_pipelines.planning import render_now
from workbench_pipelines.rendering import compiled_template, sheet_of
from workbench_pipelines.workbench import Workbench


def pairs_now(workbench: Workbench, name: str) -> pl.DataFrame:
    """Rows of `pairs.LABELED_PAIRS`.

    Raises:
        WorkbenchError: for what a run would fail with: a broken definition, a source that is gone.
    """
    catalog = workbench.catalog()
    training_sheet = catalog.training_sheet(name)
    template = catalog.template_for(training_sheet)
    sheet = sheet_of(catalog, training_sheet)
    own = {"training_sheet": [name]}
    if not workbench.lake.exists("generate", "generated_pairs"):
        return LABELED_PAIRS.to_frame()
    rendered = render_now(workbench, name).frame
    ledger = workbench.sheet_decisions(sheet)
    items = with_derived(
        workbench.read_items(sheet), ledger["item_ref"].unique(), catalog.training_sheets_of(sheet.name)
    )
    folded = fold_labels(ledger, items, catalog.two_person_sheets(), workbench.panels())
    labels = inherit_uses(folded, items, catalog.closed_label_types(), seen_by_editors(ledger))
    if catalog.covers_derived(template.spec.label_type):
        labels = cover_derived(labels, rendered)
    generated: pl.DataFrame | pl.LazyFrame = workbench.lake.scan("generate", "generated_pairs", partition=own)
    schema = json_schema_of(template.spec.output_schema)
    net = net_of(workbench, catalog, sheet.name, items)
    if net is not None:
        rendered, generated, labels, _ = netted_sources(net, rendered, generated.lazy().collect(), labels, schema)
    has_quality = workbench.lake.exists("label", "pair_quality")
    return label_pairs(
        rendered,
        generated,
        labels,
        ledger,
        schema=schema,
        trusted=training_sheet.spec.trusted,
        vocabulary=catalog.vocabulary(),
        edit=editor_of(template, compiled_template(catalog, template)),
        held_edits=edits_that_hold(ledger, items),
        quality=workbench.lake.scan("label", "pair_quality", partition=own) if has_quality else None,
        net=net,
    )
