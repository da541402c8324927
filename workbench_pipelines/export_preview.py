"""What an export would hold now, before anything is written: its first rows in a format, and who may train on how much."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import orjson
import polars as pl

from workbench_pipelines.decided_since import closed_since
from workbench_pipelines.errors import ArgumentError, WorkbenchError, nearest
from workbench_pipelines.export_formats import FORMATS, batches_of, parquet_rows
from workbench_pipelines.export_taints import refused_pairs
from workbench_pipelines.exporting import image_files
from workbench_pipelines.exports import Export, prepare_export
from workbench_pipelines.formats import FILE_FORMATS
from workbench_pipelines.formats.conversation import Images
from workbench_pipelines.formats.preferences import preference_pairs
from workbench_pipelines.gates import refusal
from workbench_pipelines.ground_truth_items import ground_truth_of
from workbench_pipelines.member_filters import chosen_pairs
from workbench_pipelines.netting import nets_of, netted_decisions, withheld_pairs
from workbench_pipelines.pairs import LABELED_PAIRS
from workbench_pipelines.personal_data import REFUSED
from workbench_pipelines.restrictions import MASK, OPEN_CLASSIFICATIONS
from workbench_pipelines.split_ledger import split_ledger
from workbench_pipelines.stated_policies import refuse_outdated
from workbench_pipelines.workbench import Workbench

# An image as text is longer than any word.
_ENCODED = re.compile(r"[A-Za-z0-9+/]{120,}=*")
_TAG = re.compile(r"\btag (\S+)")


@dataclass(frozen=True)
class Preview:
    """The first rows of an export, and what stands before the others.

    Attributes:
        rows: pair_id, item_ref, split, restricted, and the text of the row in the format; masked where it is restricted.
        counts: pairs, approved, training_allowed, prohibited.
        prohibited_by: why approved pairs may not train, and how many each keeps out.
        problem: why nothing can be exported, or None.
        exit_code: that of the problem, or 0.
    """

    rows: list[dict[str, Any]]
    counts: Mapping[str, int]
    prohibited_by: Mapping[str, int]
    problem: str | None = None
    exit_code: int = 0

    @property
    def sentence(self) -> str:
        """`approved 100, training allowed 85, prohibited 15 (PHI)`."""
        named = Counter[str]()
        for why, n in self.prohibited_by.items():
            for name in dict.fromkeys(_TAG.findall(why)) or [why]:
                named[name] += n
        of = ", ".join(name if len(named) == 1 else f"{name} {n}" for name, n in named.most_common())
        return (
            f"approved {self.counts['approved']}, training allowed {self.counts['training_allowed']}, "
            f"prohibited {self.counts['prohibited']}{f' ({of})' if of else ''}"
        )


def preview_export(workbench: Workbench, name: str, format_name: str, limit: int) -> Preview:
    """What the next export of a Collection would hold; nothing is written, and no split is assigned.

    Raises:
        ArgumentError: for an unknown format.
        DefinitionError: for a Collection that there is not, or a broken one.
        FilterError: for a filter of a membership that is none.
        ExportError: when a definition states other uses than when the pairs were judged; for a row that the format can
            not hold, and a filter over what no pair has or what is tagged.
    """
    if format_name not in FORMATS:
        raise ArgumentError(f"--format: unknown format '{format_name}'{nearest(format_name, FORMATS)}")
    catalog = workbench.catalog()
    collection = catalog.collection(name)
    members = [
        catalog.training_sheet(member.training_sheet, f"Collection {name}") for member in collection.spec.members
    ]
    pairs = chosen_pairs(collection, _pairs(workbench, [member.name for member in members]))
    refuse_outdated(catalog, pairs, name)
    nets = nets_of(workbench, catalog, pairs["sheet"].unique())
    withheld = withheld_pairs(nets, pairs)
    closed = closed_since(workbench, catalog, pairs.select("pair_id", pl.lit("train").alias("split")), pairs)
    kept_back = dict(closed.select("pair_id", "reason").iter_rows()) | dict.fromkeys(withheld, REFUSED)
    counts, prohibited_by = count_permissions(pairs, catalog.vocabulary(), kept_back)
    waits_for = {member.name: catalog.reviewers_of(member) for member in members}
    try:
        export = prepare_export(
            collection,
            pairs,
            split_ledger(workbench, catalog),
            catalog.vocabulary(),
            waits_for=waits_for,
            ground_truth=ground_truth_of(workbench, catalog),
            personal_data=withheld,
        )
        refused = refused_pairs(workbench, export.rows)
        export = replace(export, rows=export.rows.join(refused, on="pair_id", how="anti"))
    except WorkbenchError as error:
        return Preview([], counts, prohibited_by, error.line, error.exit_code)
    if format_name == "dpo":
        edits = workbench.decisions(sorted(set(export.rows["sheet"])))
        export = replace(export, preferences=preference_pairs(export.rows, netted_decisions(nets, edits)))
    opened = set(pairs.filter(pl.col("data_classification").is_in(OPEN_CLASSIFICATIONS))["pair_id"])
    return Preview(_rows(export, format_name, limit, opened, image_files(workbench)), counts, prohibited_by)


def count_permissions(
    pairs: pl.DataFrame, vocabulary: Sequence[str], kept_back: Mapping[str, str]
) -> tuple[dict[str, int], dict[str, int]]:
    """How many pairs are approved and may train, and why the others that are approved may not.

    Input columns: pair_id, status, allowed_uses, prohibited_uses, usage_reason.

    Args:
        kept_back: by pair, why it may not train though its uses permit it.
    """
    approved = pairs.filter(pl.col("status") == "labeled")
    said = ["allowed_uses", "prohibited_uses", "usage_reason"]
    refused: Counter[str] = Counter()
    why_not = pl.col("pair_id").replace_strict(dict(kept_back), default=None, return_dtype=pl.String).alias("kept_back")
    for row in approved.group_by(*said, why_not).len("pairs").iter_rows(named=True):
        why = refusal("train", row, vocabulary) or row["kept_back"]
        if why is not None:
            refused[why.removeprefix("train needs training: ")] += row["pairs"]
    prohibited = sum(refused.values())
    counts = {
        "pairs": pairs.height,
        "approved": approved.height,
        "training_allowed": approved.height - prohibited,
        "prohibited": prohibited,
    }
    return counts, dict(refused.most_common())


def _pairs(workbench: Workbench, training_sheets: list[str]) -> pl.DataFrame:
    if not workbench.lake.exists("label", "labeled_pairs"):
        return LABELED_PAIRS.to_frame()
    return workbench.lake.read("label", "labeled_pairs", partition={"training_sheet": training_sheets})


def _rows(export: Export, format_name: str, limit: int, opened: set[str], images: Images) -> list[dict[str, Any]]:
    rows = export.rows
    if format_name == "dpo":
        rows = rows.join(export.preferences, on="pair_id", how="semi", maintain_order="left")
    shown = []
    for row in parquet_rows(rows).head(limit).iter_slices(1):
        pair_id, item_ref, split = row.select("pair_id", "item_ref", "split").row(0)
        text = _text(row, format_name, export.preferences, images) if pair_id in opened else MASK
        shown.append(
            {
                "pair_id": pair_id,
                "item_ref": item_ref,
                "split": split,
                "restricted": pair_id not in opened,
                "text": text,
            }
        )
    return shown


def _text(row: pl.DataFrame, format_name: str, preferences: pl.DataFrame, images: Images) -> str:
    if format_name not in FILE_FORMATS:  # Parquet, and the folder of datasets, which holds the same messages
        return orjson.dumps(row.to_dicts()[0]).decode()
    content = b"".join(FILE_FORMATS[format_name].write(batches_of(row, preferences), images)).decode()
    if format_name == "csv":
        content = content.partition("\n")[2]
    shows = bool(row["messages"].explode().struct.field("parts").is_not_null().any())
    return _ENCODED.sub("…", content.rstrip("\n")) if shows else content.rstrip("\n")
