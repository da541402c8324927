"""The audit between writing an export and publishing it: every blocking check of `train/governed_export`, over what was written.

What fails is not published: the version before it stays, and the folder goes. The checks look again afterwards, at rows of the lake.
"""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl

from workbench_pipelines import export_checks as rules
from workbench_pipelines.catalog import Catalog, Collection
from workbench_pipelines.clients.expectations import run_suite
from workbench_pipelines.errors import ExportError
from workbench_pipelines.export_taints import refused_pairs
from workbench_pipelines.exports import Export
from workbench_pipelines.ground_truth import GroundTruth
from workbench_pipelines.restrictions import restrictions_of
from workbench_pipelines.workbench import Workbench

JUDGED = ("pair_id", "pair_hash", "sheet", "status", "allowed_uses", "prohibited_uses", "trace")
"""What is read of `label/labeled_pairs` to judge the rows of an export."""
_PAIRS = ("label", "labeled_pairs")
_ITSELF = ("pair_id", "pair_hash", "status", "allowed_uses", "prohibited_uses", "usage_reason", "data_classification")
_LONG = ("inputs", "attributes")


def refuse_changed(workbench: Workbench, collection: Collection, pairs: pl.DataFrame, commit: int | None) -> None:
    """Refuses pairs that are not those of the commit which the manifest will name: nobody could make the export again.

    Input columns: those of `label/labeled_pairs`.

    Raises:
        ExportError: where somebody wrote them anew after they were read.
    """
    if commit is None:
        raise ExportError(f"Collection {collection.name}: its pairs are not in the lake")
    then = workbench.lake.scan(*_PAIRS, partition=_of(collection), version=commit)
    kept = [pl.col(name) for name in _ITSELF] + [pl.col(name).hash() for name in _LONG]
    if not then.select(kept).collect().sort("pair_id").equals(pairs.select(kept).sort("pair_id")):
        raise ExportError(
            f"Collection {collection.name}: its pairs were written anew while it was exported; run it again"
        )


def audit_export(
    workbench: Workbench,
    catalog: Catalog,
    collection: Collection,
    export: Export,
    written: pl.DataFrame,
    *,
    commit: int,
    ground_truth: GroundTruth,
) -> None:
    """Refuses to publish what a blocking check of the export would fail for.

    Args:
        written: the columns `export_folder.AUDITED` of every pair, read from the files.
        commit: of `label/labeled_pairs`, that the export was made of.

    Raises:
        ExportError: naming the check and what it counted.
    """
    for name, finding in _findings(workbench, catalog, collection, export, written, commit, ground_truth):
        if not finding.holds:
            raise ExportError(f"export {collection.name} is not published, {name} does not hold: {finding.said}")


def _findings(
    workbench: Workbench,
    catalog: Catalog,
    collection: Collection,
    export: Export,
    written: pl.DataFrame,
    commit: int,
    ground_truth: GroundTruth,
) -> Iterator[tuple[str, rules.Finding]]:
    """Each check by its name, the cheap ones first."""
    pairs = workbench.lake.scan(*_PAIRS, partition=_of(collection), version=commit).select(JUDGED).collect()
    written = written.join(pairs.select("pair_id", "sheet"), on="pair_id", how="left")
    for check in (
        rules.every_training_pair_permits_training,
        rules.every_exported_pair_is_approved,
        rules.no_item_appears_in_two_splits,
    ):
        yield check.__name__, check(written, pairs)
    found = rules.no_ground_truth_is_trained_on(written, pairs, ground_truth)
    yield rules.no_ground_truth_is_trained_on.__name__, found
    # By what is permitted now: a constraint may be tighter than when the pairs were read.
    refused = refused_pairs(workbench, written)
    reasons = sorted(set(refused["reason"].to_list()))
    said = ": ".join([f"{refused.height} pairs may not be used any more", *reasons[:1]])
    yield "exports_are_not_tainted", rules.Finding(refused.is_empty(), said)
    threshold = collection.spec.splits.near_threshold
    found = rules.no_near_duplicate_crosses_splits(written, threshold)
    yield rules.no_near_duplicate_crosses_splits.__name__, found
    if collection.spec.expectations is not None:
        suite = workbench.beside("Collection", collection.name, collection.spec.expectations)
        restricted = not set(export.rows["sheet"]) <= set(restrictions_of(catalog).open_sheets)
        broken = [
            one.name for one in run_suite(suite.read_text(), export.rows, restricted, suite.name) if not one.success
        ]
        said = f"{', '.join(broken)} of {suite.name}"
        yield "the_rows_meet_the_expectations_of_the_collection", rules.Finding(not broken, said)


def _of(collection: Collection) -> dict[str, list[str]]:
    return {"training_sheet": sorted({member.training_sheet for member in collection.spec.members})}
