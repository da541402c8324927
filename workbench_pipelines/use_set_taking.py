"""Taking a set for a use: a Collection's pairs through the gates into a file, and onto record before it is there.

Where the sets of a project lie is known: an erasure takes its pairs out of them, and a recall names them.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from workbench_pipelines.access import roles_of
from workbench_pipelines.catalog import SampleSpec
from workbench_pipelines.clients.byte_search import find_texts
from workbench_pipelines.clients.use_set_files import write_privately
from workbench_pipelines.erasure_texts import SoughtText
from workbench_pipelines.errors import ArgumentError, ExportError, NothingApproved
from workbench_pipelines.identity import digest
from workbench_pipelines.member_filters import chosen_pairs
from workbench_pipelines.netting import nets_of, withheld_pairs
from workbench_pipelines.pairs import LABELED_PAIRS
from workbench_pipelines.pairs_now import pairs_now
from workbench_pipelines.samples import sample_items
from workbench_pipelines.use_sets import (
    FORMATS,
    USE_SETS,
    admit,
    known_set_use,
    refusal_rows,
    refused_in_sets,
    set_rows,
    without_pairs,
    written,
)
from workbench_pipelines.workbench import Workbench

SETS = ("records", "use_sets")
REFUSALS = ("records", "use_set_refusals")
PAIRS = ("label", "labeled_pairs")


@dataclass(frozen=True)
class Taken:
    """A set that was taken.

    Attributes:
        refused: how many pairs each reason keeps out.
        learned_from: how many of its pairs stand in train or val of which Collection's newest export.
    """

    set_id: str
    use: str
    path: Path
    pairs: int
    refused: Mapping[str, int]
    learned_from: Mapping[str, int]


def take_set(
    workbench: Workbench, name: str, use: str, file: Path | None, *, sample: int | None = None, seed: int = 0
) -> Taken:
    """Takes the pairs of a Collection that permit a use; a file that is there is not overwritten.

    Args:
        file: `.jsonl` or `.csv`; by default one in the state folder of the project, named by what is in it.
        sample: at most so many pairs of those that are permitted, those of the lowest hashes of (seed, item_ref).

    Raises:
        ArgumentError: for another use, or a file of another ending or that is there.
        NothingApproved, ExportError: when no pair is approved, or none that is permits the use.
    """
    catalog = workbench.catalog()
    vocabulary = catalog.vocabulary()
    known_set_use(use, vocabulary)
    kind = _kind(file)
    collection = catalog.collection(name)
    members = [catalog.training_sheet(one.training_sheet).name for one in collection.spec.members]
    pairs = _pairs(workbench, members)
    now = pl.concat([LABELED_PAIRS.to_frame(), *(pairs_now(workbench, one) for one in members)])
    user = workbench.settings.user
    chosen = chosen_pairs(collection, pairs)
    held = withheld_pairs(nets_of(workbench, catalog, chosen["sheet"]), chosen)
    if held:
        why = pl.col("pair_id").replace_strict(held, default=None, return_dtype=pl.String)
        chosen = chosen.with_columns(why.alias("personal_data"))
    admitted, refusals = admit(
        chosen, now, use, vocabulary, sees_restricted=roles_of(catalog).sees_restricted(user), person=user
    )
    if admitted.is_empty():
        raise _nothing(name, use, chosen, refusals)
    if sample is not None:
        admitted = sample_items(admitted, SampleSpec(size=sample, method="random", seed=seed), f"Collection {name}")
    content = written(admitted, kind)
    sha256 = hashlib.sha256(content).hexdigest()
    at = dt.datetime.now(dt.UTC)
    set_id = digest(["use_set", name, use, sha256, user, at])
    path = file or workbench.settings.state / "sets" / f"{name}-{use}-{set_id[:12]}.{kind}"
    named = {"set_id": set_id, "collection": name, "use": use}
    # Before the file: whatever lies about is known of.
    workbench.lake.append(*SETS, frame=set_rows(admitted, **named, path=str(path), sha256=sha256, by=user, at=at))
    workbench.lake.append(*REFUSALS, frame=refusal_rows(refusals, **named))
    write_privately(path, content)
    refused = dict(Counter(refusals["reason"]).most_common())
    return Taken(set_id, use, path, admitted.height, refused, _learned_from(workbench, admitted))


def set_states(workbench: Workbench) -> list[dict[str, Any]]:
    """Each set that was taken, the newest last: how many pairs it holds, and how many of these may not be used for it any more."""
    sets = workbench.record("use_sets", USE_SETS)
    pairs = _pairs(workbench, None).select("pair_id", "allowed_uses", "prohibited_uses", "usage_reason")
    refused = refused_in_sets(sets, pairs, workbench.catalog().vocabulary())
    states = []
    for (set_id,), rows in sets.sort("at", "set_id").group_by("set_id", maintain_order=True):
        first, own = rows.row(0, named=True), refused.filter(pl.col("set_id") == set_id)
        named = {name: first[name] for name in ("set_id", "collection", "use", "path", "by", "at")}
        reason = own["reason"].sort()[0] if own.height else None
        states.append({**named, "pairs": rows.height, "refused_now": own.height, "reason": reason})
    return states


def tainted_set_lines(workbench: Workbench) -> list[str]:
    """A line for each set that holds what may not be used for it any more."""
    return [
        f"set {one['path']} was taken for {one['use']} by {one['by']}: {one['refused_now']} of its {one['pairs']} pairs may not "
        f"be used for that any more; {one['reason']}; delete it, and take it anew: `workbench export set {one['collection']}`"
        for one in set_states(workbench)
        if one["refused_now"]
    ]


def sets_holding(
    workbench: Workbench, pair_ids: Collection[str], texts: Sequence[str | SoughtText] = ()
) -> list[dict[str, Any]]:
    """The sets that hold one of these pairs, or whose file shows one of some texts: set_id, collection, use, path, by, at, and
    how many of the pairs."""
    rows = workbench.record("use_sets", USE_SETS)
    named = rows.filter(_among(pair_ids))
    if texts:
        showing = [path for path in rows["path"].unique() if find_texts([Path(path)], texts)]
        named = pl.concat([named, rows.filter(pl.col("path").is_in(showing))]).unique()
    keys = ["set_id", "collection", "use", "path", "by", "at"]
    return named.group_by(keys).agg(_among(pair_ids).sum().alias("pairs")).sort("at", "set_id").to_dicts()


def forget_in_sets(
    workbench: Workbench, held: Collection[Mapping[str, Any]], pair_ids: Collection[str], texts: Collection[str]
) -> list[str]:
    """Takes pairs, and what shows some texts, out of the files of sets; gives a line for each file that is not there or not a
    set any more.

    Args:
        held: by `sets_holding`, before the records of the pairs are gone.
    """
    left = []
    for one in held:
        path = Path(one["path"])
        try:
            kept = without_pairs(path.read_bytes(), path.suffix.removeprefix("."), pair_ids, texts)
            write_privately(path, kept)
        except (OSError, ValueError, LookupError, TypeError, ExportError):
            left.append(
                f"the set {path.name} of {one['collection']}, taken for {one['use']} by {one['by']}: its file is not where it was "
                "written, or was changed; delete every copy"
            )
    return left


def _nothing(name: str, use: str, pairs: pl.DataFrame, refusals: pl.DataFrame) -> ExportError | NothingApproved:
    approved = pairs.filter(pl.col("status") == "labeled").height
    if not approved:
        return NothingApproved(
            f"Collection {name}: 0 of {pairs.height} pairs approved; there is nothing to take for {use}"
        )
    later = refusals.filter(pl.col("gate") != "approved")
    reason = (later if later.height else refusals)["reason"].value_counts(sort=True)["reason"][0]
    return ExportError(
        f"Collection {name}: none of {approved} approved pairs may be taken for {use}; most common: {reason}"
    )


def _pairs(workbench: Workbench, members: list[str] | None) -> pl.DataFrame:
    if not workbench.lake.exists(*PAIRS):
        return LABELED_PAIRS.to_frame()
    return workbench.lake.read(*PAIRS, partition=None if members is None else {"training_sheet": members})


def _learned_from(workbench: Workbench, rows: pl.DataFrame) -> dict[str, int]:
    """How many pairs are of items that stand in train or val of the newest export of which Collection."""
    if not workbench.lake.exists("train", "governed_export"):
        return {}
    learned = workbench.lake.scan("train", "governed_export").filter(pl.col("split").is_in(["train", "val"]))
    items = learned.select("collection", "sheet", "item_ref").unique().collect()
    return dict(rows.join(items, on=["sheet", "item_ref"]).group_by("collection").len().sort("collection").iter_rows())


def _kind(file: Path | None) -> str:
    kind = FORMATS[0] if file is None else file.suffix.removeprefix(".").lower()
    if kind not in FORMATS:
        raise ArgumentError(f"--out {file}: a set is written as .{' or .'.join(FORMATS)}")
    if file is not None and not file.parent.is_dir():
        raise ArgumentError(f"--out {file}: there is no folder {file.parent}")
    if file is not None and file.exists():
        raise ArgumentError(f"--out {file}: is there already, and is not overwritten; name another file")
    return kind


def _among(pair_ids: Collection[str]) -> pl.Expr:
    return pl.col("pair_id").is_in(pl.Series(sorted(pair_ids), dtype=pl.String).implode())
