"""Erasing an item: out of the lake, the request store, MLflow, Dagster's events, reviews, examples and exports; then the proof.

The source is the user's and stays as it is: a record keeps the item out of every later snapshot. What is looked for is gathered
first (`erasing_texts`) and written down (`erasing_pending`), so that an erasure that was killed is finished by doing it again.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from workbench_pipelines.access import roles_of
from workbench_pipelines.clients.byte_search import Hit
from workbench_pipelines.clients.lake_erasure import LakeErasure, TableErased
from workbench_pipelines.erased_exports import exports_holding, supersede
from workbench_pipelines.erasing_outside import deliveries_about, erase_elsewhere
from workbench_pipelines.erasing_pending import Pending, pending_of
from workbench_pipelines.erasing_places import holding_files, scrub, search
from workbench_pipelines.erasing_texts import gather_texts, source_of
from workbench_pipelines.erasure import ERASURES, Erasing, item_digest
from workbench_pipelines.erasure_texts import NotSearched
from workbench_pipelines.errors import ArgumentError
from workbench_pipelines.recalling import Recalled, recall, seeds_of_item
from workbench_pipelines.use_set_taking import forget_in_sets, sets_holding
from workbench_pipelines.workbench import Workbench

_NAMED = ("labeled_pairs", "rendered_prompts", "generated_pairs", "derived_items")


@dataclass(frozen=True)
class Erased:
    """What an erasure took away, and what is left to do.

    Attributes:
        tables: what went of each table.
        files: databases and files outside the lake that were rewritten.
        exports: each export that held the item, and the version that takes its place.
        models: name/version of models that learned from it; their files keep what they learned: train them again.
        hits: where a piece of one of its texts still is; empty is the proof of absence.
        searched: how many texts were looked for.
        left: what this could not reach, one line each.
        elsewhere: how many tasks of Label Studio and traces of an MLflow server went.
        not_searched: the columns with values that were not looked for, how many and why.
    """

    tables: list[TableErased]
    files: list[str]
    exports: list[dict[str, Any]]
    models: list[str]
    hits: list[str]
    searched: int
    left: list[str]
    elsewhere: int = 0
    not_searched: list[NotSearched] = field(default_factory=list)


def erase_item(
    workbench: Workbench, name: str, *, reason: str, dry_run: bool = False, further: Sequence[Path] = ()
) -> Erased:
    """Erases an item, written SHEET/REF, and looks whether anything of it is left.

    Args:
        dry_run: only says what would go.
        further: folders where Dagster keeps its events, beside the state of the project.

    Raises:
        ArgumentError: for an item that is not known, and who may not erase.
        LakeError, ExportError: for a table, database or export that can not be written; erase again goes on.
    """
    sheet, ref, known = _known_item(workbench, name)
    may = roles_of(workbench.catalog())
    if may.reviewers is not None and not may.may(workbench.settings.user, "restrict"):
        raise ArgumentError(
            f"{workbench.settings.user} may not erase items: the Access documents name who is a steward"
        )
    workbench.store.commit()  # what ended runs left in their logs is in the lake then
    lake = LakeErasure(workbench.lake, workbench.store.maintenance)
    pending = _known_of(workbench, lake, sheet, ref, known)
    erasing = pending.erasing
    if dry_run:
        outside = holding_files(workbench, erasing.texts, further)
        elsewhere = erase_elsewhere(workbench, erasing, pending.models, dry_run=True)
        files = sorted({*map(str, outside), *(one["path"] for one in _sets(workbench, erasing))})
        return Erased(
            tables=lake.found(erasing),
            files=files,
            exports=pending.exports,
            models=pending.models,
            hits=[],
            searched=0,
            left=elsewhere.left,
            elsewhere=elsewhere.gone,
            not_searched=pending.left_out,
        )
    pending.keep()
    _record(workbench, sheet, ref, erasing, reason)
    # First where it was shown: a review that comes back from there would be about the item.
    elsewhere = erase_elsewhere(workbench, erasing, pending.models)
    # While the record of them is there.
    sets = _sets(workbench, erasing)
    pieces = [*erasing.wholes, *(piece for one in erasing.texts for piece in one.pieces)]
    changed = forget_in_sets(workbench, sets, erasing.pair_ids | erasing.showing, pieces)
    tables = lake.erase(erasing)
    for held in pending.exports:
        held.update(supersede(workbench, held))
        pending.keep()  # which version takes its place is known from here on
    # A rebuilt export wrote tables again, of what is left; the item is in none of it.
    outside = holding_files(workbench, erasing.texts, further)
    for path in outside:
        scrub(path, erasing.texts)
    hits = search(workbench, erasing.texts, further)
    found = {erasing.texts[one.text].number for one in hits if one.text >= 0}
    pending.end(found, is_done=not hits and not elsewhere.unreached)
    return Erased(
        tables=tables,
        files=sorted({*map(str, outside), *(one["path"] for one in sets)}),
        exports=pending.exports,
        models=pending.models,
        hits=[_shown(one, erasing) for one in hits],
        searched=len(erasing.texts),
        left=[*changed, *elsewhere.left],
        elsewhere=elsewhere.gone,
        not_searched=pending.left_out,
    )


def _known_item(workbench: Workbench, name: str) -> tuple[str, str, Recalled | None]:
    seeds = seeds_of_item(workbench, name)
    sheet, _, ref = name.partition("/")
    try:
        return sheet, ref, recall(workbench, f"item {name}", seeds)
    except ArgumentError:
        recorded = workbench.record("erasures", ERASURES).filter(pl.col("sheet") == sheet)["item_digest"]
        if item_digest(ref) not in set(recorded) and ref not in set(source_of(workbench, sheet)["item_ref"]):
            raise
        return sheet, ref, None


def _known_of(workbench: Workbench, lake: LakeErasure, sheet: str, ref: str, known: Recalled | None) -> Pending:
    """What is to be erased, with what an earlier try wrote down of it."""
    before = pending_of(workbench, sheet, ref)
    named = _named(workbench, sheet, ref, known)
    texts, left = gather_texts(workbench, lake, named, sheet, ref)
    models = sorted(f"{one['model_name']}/{one['model_version']}" for one in known.models) if known else []
    joined = before.joined(replace(named, texts=tuple(texts)), models, [], left)
    exports = exports_holding(workbench, joined.erasing, known, before.exports)
    return joined.joined(joined.erasing, [], exports, [])


def _named(workbench: Workbench, sheet: str, ref: str, known: Recalled | None) -> Erasing:
    """The item by all its names."""
    lake = workbench.lake
    formerly: Sequence[str] = ()
    if sheet in workbench.catalog().names("Sheet"):
        formerly = workbench.catalog().sheet(sheet).metadata.formerly
    sheets, refs = frozenset([sheet, *formerly]), {ref}
    pair_ids: set[str] = set()
    if known is not None:
        own = known.pairs.filter(pl.col("how").is_in(["item", "derived"]))
        refs |= set(own["item_ref"])
        pair_ids |= set(own["pair_id"])
    for room in ("generate", "label"):
        for table in _NAMED:
            if not lake.exists(room, table):
                continue
            columns = lake.schema(room, table)
            if {"pair_id", "sheet", "item_ref"} <= columns.keys():
                of = pl.col("sheet").is_in(sorted(sheets)) & pl.col("item_ref").is_in(sorted(refs))
                pair_ids |= set(lake.scan(room, table).filter(of).select("pair_id").collect()["pair_id"])
    of_item = pl.col("sheet").is_in(sorted(sheets)) & pl.col("item_ref").is_in(sorted(refs))
    asked = workbench.store.uses().filter(of_item | pl.col("pair_id").is_in(sorted(pair_ids))).select("request_hash")
    erasing = Erasing(
        sheets=sheets,
        item_refs=frozenset(refs),
        pair_ids=frozenset(pair_ids),
        showing=frozenset(known.pairs.filter(pl.col("how") == "example")["pair_id"] if known else ()),
        request_hashes=frozenset(asked.collect()["request_hash"]),
        example_ids=frozenset(
            one["example_id"] for one in (known.examples if known else ()) if one["item_ref"] in refs
        ),
        labels=frozenset(known.labels if known else ()),
    )
    return replace(
        erasing, deliveries=deliveries_about(workbench, erasing), feedback_ids=_feedback_about(workbench, erasing)
    )


def _feedback_about(workbench: Workbench, erasing: Erasing) -> frozenset[str]:
    """What people said of answers for the item, by `feedback_id`: as it came in, it does not say of which item it is."""
    if not workbench.lake.exists("monitor", "feedback"):
        return frozenset()
    rows = workbench.lake.scan("monitor", "feedback")
    own = rows.filter(erasing.rows_of(rows.collect_schema())).select("feedback_id").collect()
    return frozenset(own["feedback_id"].drop_nulls())


def _record(workbench: Workbench, sheet: str, ref: str, erasing: Erasing, reason: str) -> None:
    """Keeps the item out of later snapshots, and says whose decisions and which labels went with it."""
    said = workbench.decisions()
    people = said.filter(replace(erasing, texts=()).rows_of(said.schema))["by"].drop_nulls().unique()
    row = {
        "sheet": sheet,
        "item_digest": item_digest(ref),
        "reason": reason,
        "by": workbench.settings.user,
        "at": dt.datetime.now(dt.UTC),
        "labels": sorted(erasing.labels),
        "people": sorted(people),
    }
    frame = pl.DataFrame([row], schema=ERASURES)
    workbench.lake.append_new("records", "erasures", frame=frame, key=["sheet", "item_digest"])


def _sets(workbench: Workbench, erasing: Erasing) -> list[dict[str, Any]]:
    """The sets that were taken and hold a pair of the item, or one whose prompt shows it."""
    return sets_holding(workbench, erasing.pair_ids | erasing.showing, erasing.texts)


def _shown(hit: Hit, erasing: Erasing) -> str:
    if hit.text < 0:
        return f"{hit.path}: can not be looked into"
    text = erasing.texts[hit.text]
    return f"{hit.path}: text {text.number}, of {text.where} ({hit.inside})"
