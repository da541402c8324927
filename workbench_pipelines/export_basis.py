"""What an export is made of: splits that are settled, the ground truth written down, and the commits of tables it was read at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import polars as pl

from workbench_pipelines.alike_items import Alike
from workbench_pipelines.catalog import Catalog, Collection
from workbench_pipelines.errors import ExportError
from workbench_pipelines.example_leaks import refuse_leaks
from workbench_pipelines.exports import Export, prepare_export
from workbench_pipelines.ground_truth import GroundTruth
from workbench_pipelines.ground_truth_items import record_ground_truth
from workbench_pipelines.split_ledger import split_ledger
from workbench_pipelines.workbench import Workbench

# The ledger is written by every Collection: each try sees all that the others assigned before it.
LEDGER_TRIES = 5
PAIRS, LEDGER, DECISIONS, TRUTH = (
    "label/labeled_pairs", "records/split_assignments", "label/decisions", "records/ground_truth",
)  # fmt: skip
"""The tables whose commits an export is made of, as its manifest names them."""
_TABLES = (PAIRS, DECISIONS, "label/canonical_labels")


@dataclass(frozen=True)
class ExportBasis:
    """What an export was made of: the commits of tables by name, and the ground truth at one of them."""

    commits: Mapping[str, int]
    ground_truth: GroundTruth


def read_commits(workbench: Workbench) -> dict[str, int]:
    """The newest commits of the tables that an export reads, by their names: taken before anything is read of them."""
    return {name: commit for name in _TABLES if (commit := _commit_of(workbench, name)) is not None}


def _commit_of(workbench: Workbench, table: str) -> int | None:
    """The newest commit of a table by its name; None where it is not there."""
    parts = table.split("/")
    return workbench.lake.version(*parts) if workbench.lake.exists(*parts) else None


def settled_export(
    workbench: Workbench,
    catalog: Catalog,
    collection: Collection,
    pairs: pl.DataFrame,
    commits: Mapping[str, int],
    personal_data: Mapping[str, str],
) -> tuple[Export, ExportBasis]:
    """The export with every split it rests on written into the ledger first, and what it was made of.

    Args:
        commits: those of what it is made of beside the ledger and the ground truth.
        personal_data: by pair, what stands in it that may not leave.
    """
    members = [catalog.training_sheet(member.training_sheet) for member in collection.spec.members]
    waits_for = {member.name: catalog.reviewers_of(member) for member in members}
    truth, of_truth = record_ground_truth(workbench, catalog)
    alike: Alike | None = None
    for _ in range(LEDGER_TRIES):
        of_ledger = _commit_of(workbench, LEDGER)
        ledger = split_ledger(workbench, catalog, version=of_ledger)
        export = prepare_export(
            collection,
            pairs,
            ledger,
            catalog.vocabulary(),
            waits_for=waits_for,
            ground_truth=truth,
            personal_data=personal_data,
            alike=alike,
        )
        alike = export.alike  # the pairs are the same in every try
        if export.new_assignments.is_empty():
            refuse_leaks(workbench, catalog, collection, pairs.join(export.rows, on="pair_id", how="semi"))
            named = {LEDGER: of_ledger, TRUTH: of_truth}
            made_of = {**commits, **{name: commit for name, commit in named.items() if commit is not None}}
            return replace(export, alike=None), ExportBasis(made_of, truth)
        workbench.lake.append_new("records", "split_assignments", frame=export.new_assignments, key=["group", "seed"])
    raise ExportError(
        f"Collection {collection.name}: the splits did not settle; other exports keep assigning: run again"
    )
