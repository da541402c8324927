"""The partition sets, read from the definitions, and the mappings between them.

One partition is a dataset, never an item. A broken definition keeps its partition, so that it fails with its own line and
nothing disappears.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import dagster as dg

from workbench_pipelines.catalog import Catalog
from workbench_pipelines.defs.resources import CATALOG
from workbench_pipelines.example_views import sheets_of_store, stores_of

# The first day feedback can arrive on; a partition a day, the running one included.
FIRST_DAY = "2025-01-01"
# Dagster wants a partition set to hold something; no name can be this one.
EMPTY = "(none-defined)"


@dataclass(frozen=True)
class Partitions:
    """The partition sets of a project and how keys of one map to keys of another."""

    sheet: dg.StaticPartitionsDefinition
    template: dg.StaticPartitionsDefinition
    training_sheet: dg.StaticPartitionsDefinition
    collection: dg.StaticPartitionsDefinition
    store: dg.StaticPartitionsDefinition
    day: dg.DailyPartitionsDefinition
    sheet_to_training_sheet: dg.StaticPartitionMapping
    template_to_training_sheet: dg.StaticPartitionMapping
    training_sheet_to_collection: dg.StaticPartitionMapping
    sheet_to_store: dg.StaticPartitionMapping
    store_to_training_sheet: dg.StaticPartitionMapping
    derived_to_training_sheet: dg.StaticPartitionMapping
    """Only a TrainingSheet with steps asks of items that models made."""


def partitions_of(catalog: Catalog) -> Partitions:
    """The partition sets of a catalog."""
    by_sheet: dict[str, set[str]] = {name: set() for name in catalog.names("Sheet")}
    by_template: dict[str, set[str]] = {name: set() for name in catalog.names("PromptTemplate")}
    by_store: dict[str, set[str]] = {name: set() for name in stores_of(catalog)}
    stores_by_sheet: dict[str, set[str]] = {name: set() for name in catalog.names("Sheet")}
    for store in by_store:
        for sheet in sheets_of_store(catalog, store):
            stores_by_sheet[sheet].add(store)
    for training_sheet in catalog.training_sheets():
        if training_sheet.spec.few_shot is not None:
            by_store.get(training_sheet.spec.few_shot.store, set()).add(training_sheet.name)
        by_sheet.get(training_sheet.spec.sheet, set()).add(training_sheet.name)
        for template in training_sheet.spec.template_names:
            by_template.get(template, set()).add(training_sheet.name)
    with_steps = {one.name: {one.name} for one in catalog.training_sheets() if one.spec.steps}
    by_training_sheet = {name: set(catalog.collections_of(name)) for name in catalog.names("TrainingSheet")}
    return Partitions(
        sheet=_static(catalog.names("Sheet")),
        template=_static(catalog.names("PromptTemplate")),
        training_sheet=_static(catalog.names("TrainingSheet")),
        collection=_static(catalog.collections()),
        store=_static(list(by_store)),
        day=dg.DailyPartitionsDefinition(start_date=FIRST_DAY, end_offset=1),
        sheet_to_training_sheet=_mapping(by_sheet),
        template_to_training_sheet=_mapping(by_template),
        training_sheet_to_collection=_mapping(by_training_sheet),
        sheet_to_store=_mapping(stores_by_sheet),
        store_to_training_sheet=_mapping(by_store),
        derived_to_training_sheet=_mapping(with_steps),
    )


def _static(names: list[str]) -> dg.StaticPartitionsDefinition:
    return dg.StaticPartitionsDefinition(names or [EMPTY])


def _mapping(downstream_by_upstream: Mapping[str, set[str]]) -> dg.StaticPartitionMapping:
    return dg.StaticPartitionMapping({up: sorted(down) for up, down in downstream_by_upstream.items() if down})


PARTITIONS = partitions_of(CATALOG)
