"""Governed exports: from the labeled pairs of a Collection to the rows that may be used, and what proves it.

Nothing here depends on the clock: the same pairs, definitions and ledger give the same rows, root, manifest and card.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import orjson
import polars as pl

from workbench_pipelines.alike_items import Alike
from workbench_pipelines.catalog import Collection, SplitSpec
from workbench_pipelines.equal_pairs import without_copies
from workbench_pipelines.errors import ExportError, NothingApproved
from workbench_pipelines.formats.preferences import PREFERENCES
from workbench_pipelines.gates import judge
from workbench_pipelines.ground_truth import GroundTruth, held_back
from workbench_pipelines.identity import digest
from workbench_pipelines.member_filters import chosen_pairs
from workbench_pipelines.merkle import merkle_root
from workbench_pipelines.pairs import MESSAGE
from workbench_pipelines.split_tokens import has_values
from workbench_pipelines.splits import SPLITS, assign_splits, deviation_of
from workbench_pipelines.usage import strictest

_TIME = pl.Datetime("us", "UTC")

GOVERNED_EXPORT = pl.Schema(
    {
        "collection": pl.String(),
        "export_version": pl.Int64(),
        "pair_id": pl.String(),
        "pair_hash": pl.String(),
        "training_sheet": pl.String(),
        "sheet": pl.String(),
        "item_ref": pl.String(),
        "label_type": pl.String(),
        "template": pl.String(),
        "template_version": pl.String(),
        "messages": pl.List(MESSAGE),
        "response": pl.String(),
        "inputs": pl.String(),
        "attributes": pl.String(),
        "canonical_label_id": pl.String(),
        "split": pl.String(),
        "weight": pl.Float64(),
    }
)
"""Columns of `train/governed_export`, one row a pair that passed every gate; attributes never leave the lake."""

EXPORT_VERSIONS = pl.Schema(
    {
        "collection": pl.String(),
        "version": pl.Int64(),
        "merkle_root": pl.String(),
        "export_identity": pl.String(),
        "path": pl.String(),
        "train": pl.Int64(),
        "val": pl.Int64(),
        "test": pl.Int64(),
        "excluded": pl.Int64(),
        "formats": pl.List(pl.String()),
        "manifest_sha256": pl.String(),
        "created_at": _TIME,
    }
)
"""One row a published export; the commit of this row is what publishes it."""

COLLECTION_MEMBERS = pl.Schema(
    {
        "collection": pl.String(),
        "pair_id": pl.String(),
        "split": pl.String(),
        "weight": pl.Float64(),
        "added_by": pl.String(),
        "added_at": _TIME,
    }
)
"""One row a pair of a Collection's newest export, and since when it is one."""


@dataclass(frozen=True)
class Export:
    """What a Collection may be trained and measured on now.

    Attributes:
        rows: rows of `GOVERNED_EXPORT` sorted by pair_id; `export_version` is null until it is `numbered`.
        exclusions: rows of `gates.EXCLUSIONS`, one for every other pair.
        new_assignments: rows of `splits.SPLIT_ASSIGNMENTS` to write before anything is published.
        merkle_root: over the rows, by `merkle.merkle_root`.
        counts: pairs, approved, train, val, test, excluded.
        deviation: of the exported rows, by `splits.deviation_of`.
        near_duplicates: how many pairs say nearly what others say, by `alike_items.figures_of`.
        data_classification: the strictest one of the rows.
        preferences: rows of `formats.preferences.PREFERENCES`, where the Collection asks for dpo.
        alike: the near-duplicates among all pairs, for another try with a newer ledger.
    """

    collection: str
    rows: pl.DataFrame
    exclusions: pl.DataFrame
    new_assignments: pl.DataFrame
    merkle_root: str
    counts: Mapping[str, int]
    deviation: Mapping[str, Any]
    data_classification: str
    near_duplicates: Mapping[str, Any] = field(default_factory=dict)
    preferences: pl.DataFrame = field(default_factory=PREFERENCES.to_frame)
    alike: Alike | None = None

    @cached_property
    def content_root(self) -> str:
        """The root of the first scheme: what exports were told apart by before there was another, and still are."""
        return merkle_root(self.rows, scheme=1)

    def numbered(self, version: int) -> Export:
        """The export with its version in every row."""
        return replace(self, rows=self.rows.with_columns(pl.lit(version, pl.Int64).alias("export_version")))


def prepare_export(
    collection: Collection,
    pairs: pl.DataFrame,
    ledger: pl.DataFrame,
    vocabulary: Iterable[str],
    *,
    waits_for: Mapping[str, Sequence[str]] | None = None,
    ground_truth: GroundTruth | None = None,
    personal_data: Mapping[str, str] | None = None,
    alike: Alike | None = None,
) -> Export:
    """Assign splits to the pairs of a Collection, and let those through that pass every gate.

    Args:
        pairs: rows of `label/labeled_pairs` of its members.
        ledger: rows of `records/split_assignments`.
        vocabulary: the uses that are known.
        waits_for: the reviewers of each TrainingSheet, for the line that says who is waited for.
        ground_truth: the items that no Collection may train on.
        personal_data: by pair, what stands in it that may not leave.
        alike: what an export of these very pairs had, so that they are not compared again.

    Raises:
        NothingApproved: when no pair is approved.
        ExportError: when none of the approved pairs passes, for pairs of no member, and for a pair that stands twice.
    """
    name, members = collection.name, {one.training_sheet: one for one in collection.spec.members}
    _check_pairs(name, pairs, set(members))
    pairs = chosen_pairs(collection, pairs)
    approved = pairs.filter(pl.col("status") == "labeled").height
    if pairs.is_empty():
        raise ExportError(
            f"Collection {name}: there is no pair; every item of its TrainingSheets was refused, left out or not chosen"
        )
    if not approved:
        raise NothingApproved(_waiting_line(name, pairs, members, waits_for or {}))
    grouped = collection.spec.splits.group_by
    if grouped is not None and not has_values(pairs, grouped):
        raise ExportError(
            f"Collection {name}: spec.splits.group_by: no pair has a value in the column '{grouped}'; "
            "name one of its Sheet, or leave group_by out"
        )
    of_member = pl.col("training_sheet")
    overrides = {sheet: one.split for sheet, one in members.items()}
    pairs = pairs.with_columns(of_member.replace_strict(overrides, return_dtype=pl.String).alias("override"))
    assigned = assign_splits(pairs, collection.spec.splits, ledger, assigned_by=name, alike=alike)
    placed = pairs.with_columns(assigned.splits["split"], assigned.splits["quarantine"])
    if personal_data:
        why = pl.col("pair_id").replace_strict(dict(personal_data), default=None, return_dtype=pl.String)
        placed = placed.with_columns(why.alias("personal_data"))
    admitted, exclusions = judge(held_back(placed, ground_truth or GroundTruth()), vocabulary)
    if admitted.is_empty():
        raise ExportError(_refused_line(name, approved, exclusions))
    admitted, exclusions = without_copies(admitted, exclusions)
    weights = {sheet: one.weight for sheet, one in members.items()}
    rows = admitted.with_columns(
        of_member.replace_strict(weights, return_dtype=pl.Float64).alias("weight"),
        pl.lit(name).alias("collection"),
        pl.lit(None, pl.Int64).alias("export_version"),
    ).select([pl.col(column).cast(dtype) for column, dtype in GOVERNED_EXPORT.items()])
    return Export(
        collection=name,
        rows=rows,
        exclusions=exclusions,
        new_assignments=assigned.new_ledger_rows,
        merkle_root=merkle_root(rows),
        counts={"pairs": pairs.height, "approved": approved, **_split_counts(rows), "excluded": exclusions.height},
        deviation=deviation_of(admitted, collection.spec.splits),
        data_classification=strictest(admitted["data_classification"].unique()),
        near_duplicates=assigned.near_duplicates,
        alike=assigned.alike,
    )


def export_identity(export: Export, collection: Collection) -> str:
    """What makes an export a new version: its pairs, the inputs they bind, formats and splits as they are asked for, and
    the drafts that answers are preferred to, where dpo is asked for.

    Exclusions are no part of it: a pair that still waits changes no training data.
    """
    # A pair_hash holds the prompt; trainers read the inputs, which may change where a template does not show it.
    content = hashlib.sha256()
    for pair in export.rows.select("pair_id", "item_ref", "inputs").sort("pair_id").iter_rows():
        content.update(orjson.dumps(pair))
    spec = collection.spec
    # What is new in here says nothing where it is not asked for, so that what was exported before keeps its identity.
    preferred = {"preferences": export.preferences.rows()} if "dpo" in spec.formats else {}
    return digest(
        {
            **preferred,
            "collection": export.collection,
            "merkle_root": export.content_root,
            "content": content.hexdigest(),
            "formats": sorted(set(spec.formats)),
            "splits": _stated(spec.splits),
        }
    )


def next_version(history: pl.DataFrame, collection: str, identity: str) -> tuple[int, dict[str, Any] | None]:
    """The version of an export, and the row of the newest published one where this one is no different from it.

    Args:
        history: rows of `EXPORT_VERSIONS`.
        identity: by `export_identity`.
    """
    last = history.filter(pl.col("collection") == collection).sort("version").tail(1).to_dicts()
    if last and last[0]["export_identity"] == identity:
        return int(last[0]["version"]), last[0]
    return (int(last[0]["version"]) + 1 if last else 1), None


def version_row(
    export: Export, collection: Collection, version: int, *, path: str, manifest_sha256: str, created_at: dt.datetime
) -> pl.DataFrame:
    """The one row of `EXPORT_VERSIONS` whose commit publishes an export."""
    row = {
        "collection": export.collection,
        "version": version,
        "merkle_root": export.merkle_root,
        "export_identity": export_identity(export, collection),
        "path": path,
        **{name: export.counts[name] for name in (*SPLITS, "excluded")},
        "formats": sorted(set(collection.spec.formats)),
        "manifest_sha256": manifest_sha256,
        "created_at": created_at,
    }
    return pl.DataFrame([row], schema=EXPORT_VERSIONS)


def member_rows(export: Export, known: pl.DataFrame, *, by: str, at: dt.datetime) -> pl.DataFrame:
    """The pairs of an export as `COLLECTION_MEMBERS`; one that was a member before keeps who added it, and when.

    Args:
        known: rows of `COLLECTION_MEMBERS`.
    """
    before = known.filter(pl.col("collection") == export.collection).select("pair_id", "added_by", "added_at")
    rows = export.rows.select("collection", "pair_id", "split", "weight").join(
        before.cast({"added_at": _TIME}), on="pair_id", how="left", maintain_order="left"
    )
    added = (pl.col("added_by").fill_null(by), pl.col("added_at").fill_null(pl.lit(at, _TIME)))
    return rows.with_columns(added).select(list(COLLECTION_MEMBERS))


def _stated(splits: SplitSpec) -> dict[str, Any]:
    """What a Collection asks for, without what it did not have to say."""
    stated = splits.model_dump(mode="json")
    if splits.near_duplicates == SplitSpec().near_duplicates:
        del stated["near_duplicates"]
    return stated


def _split_counts(rows: pl.DataFrame) -> dict[str, int]:
    return {split: rows.filter(pl.col("split") == split).height for split in SPLITS}


def _check_pairs(collection: str, pairs: pl.DataFrame, members: set[str]) -> None:
    strays = sorted(set(pairs["training_sheet"].unique()) - members)
    if strays:
        raise ExportError(f"Collection {collection}: pairs of {strays[0]}, which is none of its members")
    twice = pairs.filter(pl.col("pair_id").is_duplicated())
    if not twice.is_empty():
        of, item = twice.sort("pair_id").select("training_sheet", "item_ref").row(0)
        raise ExportError(f"Collection {collection}: the pair of item {item} stands twice in {of}")


def _waiting_line(
    collection: str, pairs: pl.DataFrame, members: Iterable[str], waits_for: Mapping[str, Sequence[str]]
) -> str:
    waiting = pairs.filter(pl.col("status").is_in(["unlabeled", "flagged"]))
    counts = dict(waiting.group_by("training_sheet").len().iter_rows())
    parts = [
        f"{counts[name]} pairs of {name} wait for {' or '.join(waits_for.get(name) or ['a reviewer'])}"
        for name in sorted(members)
        if counts.get(name)
    ]
    said = ", ".join(parts) or "every answer was rejected"
    return f"Collection {collection}: 0 of {pairs.height} pairs approved; {said}"


def _refused_line(collection: str, approved: int, exclusions: pl.DataFrame) -> str:
    refused = exclusions.filter(pl.col("gate") != "approved")
    by_gate = dict(refused.group_by("gate").len().iter_rows())
    # A labeled pair without an answer stops at the first gate; everything else that is approved stops at a later one.
    counts = f"{by_gate.get('permitted', 0)} are not permitted, {by_gate.get('split', 0)} are quarantined"
    if by_gate.get("personal_data"):
        counts += f", {by_gate['personal_data']} hold personal data"
    reasons = (refused if refused.height else exclusions.filter(pl.col("status") == "labeled"))["reason"]
    reason = reasons.value_counts(name="n").sort(["n", "reason"], descending=[True, False])["reason"][0]
    said = f"none of {approved} approved pairs may be exported: {counts}"
    return f"Collection {collection}: {said}; most common: {reason}"
