"""Erasing an item: out of the lake, the request store, MLflow, Dagster's events, reviews, examples and exports; then the proof.

The source is the user's and stays as it is: a record keeps the item out of every later snapshot. What is erased is written down
first, in a file of this project alone that goes at the end, so that an erasure that was killed is finished by doing it again.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from workbench_pipelines.access import roles_of
from workbench_pipelines.clients.byte_search import Hit, find_texts
from workbench_pipelines.clients.export_folder import ExportFolder
from workbench_pipelines.clients.export_verification import superseded_line
from workbench_pipelines.clients.lake_erasure import LakeErasure, TableErased
from workbench_pipelines.clients.text_scrubbing import scrub_database, scrub_file
from workbench_pipelines.clients.trace_names import SQLITE
from workbench_pipelines.erasing_outside import deliveries_about, erase_elsewhere
from workbench_pipelines.erasure import ERASURES, MIN_TEXT, Erasing, item_digest, own_texts
from workbench_pipelines.errors import ArgumentError, WorkbenchError
from workbench_pipelines.exporting import point_to_newest, publish_export
from workbench_pipelines.exports import EXPORT_VERSIONS
from workbench_pipelines.recalling import Recalled, recall, seeds_of_item
from workbench_pipelines.use_set_taking import forget_in_sets, sets_holding
from workbench_pipelines.workbench import Workbench

# A response shorter than this is an answer that others give as well.
MIN_ANSWER = 20
_NAMED = ("labeled_pairs", "rendered_prompts", "generated_pairs", "derived_items")
_DATABASES = (".db", ".sqlite", ".sqlite3")


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
    """

    tables: list[TableErased]
    files: list[str]
    exports: list[dict[str, Any]]
    models: list[str]
    hits: list[str]
    searched: int
    left: list[str]
    elsewhere: int = 0


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
    erasing = _gathered(workbench, sheet, ref, known)
    lake = LakeErasure(workbench.lake, workbench.store.maintenance)
    models = sorted(f"{one['model_name']}/{one['model_version']}" for one in known.models) if known else []
    held = _exports_of(workbench, erasing, known)
    if dry_run:
        outside = _outside(workbench, erasing, further)
        elsewhere = erase_elsewhere(workbench, erasing, models, dry_run=True)
        files = sorted({*map(str, outside), *(one["path"] for one in _sets(workbench, erasing))})
        return Erased(lake.found(erasing), files, held, models, [], 0, elsewhere.left, elsewhere.gone)
    kept = _keep(workbench, sheet, ref, erasing, models, held, reason)
    erasing, models, held = kept.erasing, kept.models, kept.exports
    # First where it was shown: a review that comes back from there would be about the item.
    elsewhere = erase_elsewhere(workbench, erasing, models)
    # While the record of them is there.
    sets = _sets(workbench, erasing)
    changed = forget_in_sets(workbench, sets, erasing.pair_ids | erasing.showing, _long(erasing.texts))
    tables = lake.erase(erasing)
    exports = [_superseded(workbench, one) for one in held]
    # A rebuilt export wrote tables again, of what is left; the item is in none of it.
    outside = _outside(workbench, erasing, further)
    for path in outside:
        if path.suffix in _DATABASES:
            scrub_database(path, erasing.texts)
        else:
            scrub_file(path, erasing.texts)
    file = _pending(workbench, sheet, ref)
    hits = [one for one in search(workbench, erasing.texts, further) if one.path != file]
    if not hits and not elsewhere.unreached:
        file.unlink(missing_ok=True)
    shown = [_shown(one) for one in hits]
    files = sorted({*map(str, outside), *(one["path"] for one in sets)})
    left = [*changed, *elsewhere.left]
    return Erased(tables, files, exports, models, shown, len(erasing.texts), left, elsewhere.gone)


def search(workbench: Workbench, texts: Sequence[str], further: Iterable[Path] = ()) -> list[Hit]:
    """Where a piece of a text stands in the lake, in the state of the project, in MLflow's database and with Dagster."""
    return find_texts(_places(workbench, further), texts)


@dataclass(frozen=True)
class _Kept:
    """What is erased, as it was when that began."""

    erasing: Erasing
    models: list[str]
    exports: list[dict[str, Any]]


def _known_item(workbench: Workbench, name: str) -> tuple[str, str, Recalled | None]:
    seeds = seeds_of_item(workbench, name)
    sheet, _, ref = name.partition("/")
    try:
        return sheet, ref, recall(workbench, f"item {name}", seeds)
    except ArgumentError:
        recorded = workbench.record("erasures", ERASURES).filter(pl.col("sheet") == sheet)["item_digest"]
        in_source = ref in set(_source(workbench, sheet)["item_ref"])
        if item_digest(ref) not in set(recorded) and not in_source:
            raise
        return sheet, ref, None


def _source(workbench: Workbench, sheet: str) -> pl.DataFrame:
    """The items as the source has them; none where it can not be read."""
    try:
        return workbench.read_snapshot(workbench.catalog().sheet(sheet), sampled=False, with_erased=True).frame
    except WorkbenchError:
        return pl.DataFrame(schema={"item_ref": pl.String})


def _gathered(workbench: Workbench, sheet: str, ref: str, known: Recalled | None) -> Erasing:
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
        texts=tuple(_texts(workbench, sheet, ref, pair_ids)),
    )
    return replace(erasing, deliveries=deliveries_about(workbench, erasing))


def _texts(workbench: Workbench, sheet: str, ref: str, pair_ids: set[str]) -> list[str]:
    """The values that only this item has, in its source, its snapshot and the answers of its pairs."""
    found: list[str] = []
    table = ("data", "sheet_snapshot", sheet)
    frames = [_source(workbench, sheet)]
    if workbench.lake.exists(*table):
        frames.append(workbench.lake.read(*table))
    for rows in frames:
        if ref in set(rows["item_ref"]):
            shown = rows.drop([name for name in ("item_hash", "row_tags", "usage_statements") if name in rows.columns])
            found += own_texts(shown, ref)
    if workbench.lake.exists("label", "labeled_pairs"):
        answers = workbench.lake.scan("label", "labeled_pairs").select("pair_id", "response").collect().drop_nulls()
        own = answers.filter(pl.col("pair_id").is_in(sorted(pair_ids)))
        others = answers.filter(~pl.col("pair_id").is_in(sorted(pair_ids)))["response"]
        for response in own["response"]:
            said = [value for value in orjson.loads(response).values() if isinstance(value, str)]
            found += [
                value
                for value in said
                if len(value) >= MIN_ANSWER
                and not others.str.contains(orjson.dumps(value)[1:-1].decode(), literal=True).any()
            ]
    return list(dict.fromkeys(found))


def _exports_of(workbench: Workbench, erasing: Erasing, known: Recalled | None) -> list[dict[str, Any]]:
    """The exports that hold the item, by recall or by a text of it in their files."""
    named = {(one["collection"], one["version"]) for one in (known.exports if known else ())}
    found = []
    for row in workbench.record("export_versions", EXPORT_VERSIONS).sort("collection", "version").to_dicts():
        folder = Path(row["path"])
        if not folder.is_dir() or superseded_line(folder) is not None:
            continue
        if (row["collection"], row["version"]) in named or find_texts([folder], erasing.texts):
            found.append({"collection": row["collection"], "version": row["version"]})
    return found


def _superseded(workbench: Workbench, held: dict[str, Any]) -> dict[str, Any]:
    """Publishes what is left of a Collection, and takes the files of an export of it away."""
    exports = ExportFolder(workbench.lake.uri)
    collection, version = held["collection"], held["version"]
    if superseded_line(exports.path(collection, version)) is not None:
        return held
    by: int | None = None
    try:
        document = workbench.catalog().collection(collection)
        members = [one.training_sheet for one in document.spec.members]
        pairs = workbench.lake.read("label", "labeled_pairs", partition={"training_sheet": members})
        by = int(publish_export(workbench, document, pairs, instead_of=version).figures["export_version"])
    except WorkbenchError:
        by = None  # nothing is left that may be exported, or the Collection is no more
    exports.bury(collection, version, by)
    point_to_newest(workbench, collection)
    return {**held, "superseded_by": by}


def _keep(
    workbench: Workbench,
    sheet: str,
    ref: str,
    erasing: Erasing,
    models: list[str],
    exports: list[dict[str, Any]],
    reason: str,
) -> _Kept:
    """Writes down what is erased, and keeps the item out of later snapshots; what an earlier try wrote down is added."""
    file = _pending(workbench, sheet, ref)
    if file.exists():
        before = orjson.loads(file.read_bytes())
        merged = {name: sorted({*before["erasing"].get(name, ()), *getattr(erasing, name)}) for name in asdict(erasing)}
        texts = tuple(merged.pop("texts"))
        erasing = Erasing(**{name: frozenset(values) for name, values in merged.items()}, texts=texts)
        models = sorted({*models, *before["models"]})
        exports = [*before["exports"], *(one for one in exports if one not in before["exports"])]
    file.parent.mkdir(parents=True, exist_ok=True)
    said = {
        "erasing": {name: sorted(values) for name, values in asdict(erasing).items()},
        "models": models,
        "exports": exports,
    }
    beside = file.with_suffix(".writing")
    descriptor = os.open(beside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as written:
        written.write(orjson.dumps(said))
    os.replace(beside, file)
    row = {"sheet": sheet, "item_digest": item_digest(ref), "reason": reason, "by": workbench.settings.user}
    frame = pl.DataFrame([{**row, "at": dt.datetime.now(dt.UTC)}], schema=ERASURES)
    workbench.lake.append_new("records", "erasures", frame=frame, key=["sheet", "item_digest"])
    return _Kept(replace(erasing), models, exports)


def _pending(workbench: Workbench, sheet: str, ref: str) -> Path:
    return workbench.settings.state / "erasing" / f"{sheet}-{item_digest(ref)[:16]}.json"


def _outside(workbench: Workbench, erasing: Erasing, further: Sequence[Path]) -> list[Path]:
    """The databases and files outside the tables and exports that hold a text of the item."""
    tables = Path(workbench.lake.uri.removeprefix("file://"))
    pending = workbench.settings.state / "erasing"
    found = {_database_of(one.path) for one in search(workbench, erasing.texts, further) if one.text >= 0}
    return sorted(path for path in found if not path.is_relative_to(tables) and not path.is_relative_to(pending))


def _sets(workbench: Workbench, erasing: Erasing) -> list[dict[str, Any]]:
    """The sets that were taken and hold a pair of the item, or one whose prompt shows it."""
    return sets_holding(workbench, erasing.pair_ids | erasing.showing, _long(erasing.texts))


def _long(texts: Iterable[str]) -> list[str]:
    """The texts that do not stand anywhere by chance."""
    return [text for text in texts if len(text.strip()) >= MIN_TEXT]


def _database_of(path: Path) -> Path:
    """The database that a file of its latest writes belongs to; every other file itself."""
    for ending in ("-wal", "-journal"):
        if path.name.endswith(ending):
            return path.with_name(path.name.removesuffix(ending))
    return path


def _places(workbench: Workbench, further: Iterable[Path]) -> list[Path]:
    places = [Path(workbench.lake.uri.removeprefix("file://")), workbench.settings.state, *further]
    if workbench.settings.mlflow_uri.startswith(SQLITE):
        places.append(Path(workbench.settings.mlflow_uri.removeprefix(SQLITE)))
    return places


def _shown(hit: Hit) -> str:
    return f"{hit.path}: {'can not be looked into' if hit.text < 0 else f'text {hit.text + 1} ({hit.inside})'}"
