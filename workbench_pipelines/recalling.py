"""Recalling: the doors of `recall`, from what a person names to everything in the lake and in MLflow that came of it.

Only names are read and given: no value of an item, no answer, no text of a prompt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

import orjson
import polars as pl

from workbench_pipelines.clients.export_folder import ExportFolder
from workbench_pipelines.clients.export_tombstone import MANIFEST, TOMBSTONE, superseded_line
from workbench_pipelines.clients.trace_names import traces_of
from workbench_pipelines.domains import SCHEME
from workbench_pipelines.erasure import ERASED_EXPORTS, ERASURES, erased_days
from workbench_pipelines.errors import ArgumentError, ExportError, LakeError, WorkbenchError, nearest
from workbench_pipelines.exports import EXPORT_VERSIONS
from workbench_pipelines.identity import canonical_label_id
from workbench_pipelines.labels import CANONICAL_LABELS
from workbench_pipelines.lineage import MODEL_EVALUATIONS, MODEL_TRAINING_LINEAGE
from workbench_pipelines.pairs import LABELED_PAIRS
from workbench_pipelines.rebuilding import RebuildPlan, rebuild_plan
from workbench_pipelines.recall import (
    PAIR_COLUMNS,
    Seeds,
    evaluations_of,
    models_of,
    touched_in_export,
    touched_pairs,
)
from workbench_pipelines.use_set_taking import sets_holding
from workbench_pipelines.workbench import Workbench

PAIRS = ("label", "labeled_pairs")
_KEPT = ("example_id", "store", "sheet", "item_ref", "canonical_label_id")


@dataclass(frozen=True)
class Recalled:
    """Everything that came of what was called back, by name.

    Attributes:
        of: what was asked, in words.
        labels: canonical labels.
        pairs: rows of `recall.TOUCHED` as the pairs stand now; those that are in no TrainingSheet any more as they last stood in
            an export that holds them.
        exports: collection, version, path and how many touched pairs each split holds.
        models: model_name, model_version, collection, export_version, mlflow_run_id, and how many pairs.
        sets: by `use_set_taking.sets_holding`.
        unread: exports whose files are gone or damaged, one line each: what they hold is not known.
        superseded: exports whose files were taken away for an erased item, with the version that takes their place.
        erased: how many of the items were erased, by day: what came of them is gone.
    """

    of: str
    labels: list[str]
    pairs: pl.DataFrame
    exports: list[dict[str, Any]]
    models: list[dict[str, Any]]
    evaluations: list[dict[str, Any]]
    examples: list[dict[str, Any]]
    optimized_prompts: list[dict[str, Any]]
    traces: list[str]
    plan: RebuildPlan
    unread: list[str]
    sets: list[dict[str, Any]]
    superseded: list[dict[str, Any]] = field(default_factory=list)
    erased: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        return not (self.labels or self.pairs.height or self.exports or self.models or self.examples or self.sets)


def seeds_of_item(workbench: Workbench, name: str) -> Seeds:
    """An item, written SHEET/REF, with its labels.

    Raises:
        ArgumentError: for another form, or a Sheet that there is not.
    """
    sheet, slash, ref = name.partition("/")
    if not slash or not ref:
        raise ArgumentError(f"'{name}' is no item; write SHEET/REF")
    known = workbench.catalog().names("Sheet")
    if sheet not in known and not workbench.lake.exists("data", "sheet_snapshot", sheet):
        raise ArgumentError(f"there is no Sheet '{sheet}'{nearest(sheet, known)}")
    labels = _labels(workbench).filter((pl.col("sheet") == sheet) & (pl.col("item_ref") == ref))
    return Seeds({sheet: frozenset([ref])}, frozenset(labels["canonical_label_id"]))


def seeds_of_label(workbench: Workbench, label: str) -> Seeds:
    """A canonical label by its id."""
    return Seeds(labels=frozenset([label]))


def seeds_of_annotator(workbench: Workbench, person: str) -> Seeds:
    """Every label that a person made, changed or approved, and every pair that they decided on."""
    catalog = workbench.catalog()
    said = workbench.decisions().filter(pl.col("by") == person)
    keys = said.select("sheet", "item_ref", "label_type").drop_nulls().unique()
    labels = frozenset(
        canonical_label_id(catalog.today("Sheet", sheet), item_ref, label_type)
        for sheet, item_ref, label_type in keys.iter_rows()
    )
    return Seeds(labels=labels, pair_ids=frozenset(said["pair_id"].drop_nulls()), people=frozenset([person]))


def seeds_of_source(workbench: Workbench, table: str) -> Seeds:
    """All items of the Sheets that read a table: a join or a filter decides which items there are, whatever is shown.

    Args:
        table: the path as a Sheet writes it, its file name with or without ending, or the name of a joined source.

    Raises:
        ArgumentError: where no Sheet reads it.
    """
    catalog = workbench.catalog()
    readers: dict[str, set[str]] = {}
    for name in catalog.names("Sheet"):
        try:
            spec = catalog.sheet(name).spec
        except WorkbenchError:
            continue  # `validate` says what is wrong with it
        for path in (spec.primary_table, *(one.path for one in spec.secondary_sources)):
            plain = PurePosixPath(path.removeprefix(SCHEME))
            for known in (path, plain.name, plain.stem):
                readers.setdefault(known, set()).add(name)
        for source in spec.secondary_sources:
            readers.setdefault(source.name, set()).add(name)
    if table not in readers:
        raise ArgumentError(f"no Sheet reads '{table}'{nearest(table, readers)}")
    sheets = readers[table]
    labels = _labels(workbench).filter(pl.col("sheet").is_in(sorted(sheets)))
    return Seeds(dict.fromkeys(sorted(sheets)), frozenset(labels["canonical_label_id"]))


def recall(workbench: Workbench, of: str, seeds: Seeds) -> Recalled:
    """Everything that came of some seeds.

    Raises:
        ArgumentError: when nothing at all did, which is what a misspelt name looks like.
        RegistryError: where MLflow can not be asked for traces.
    """
    search = _Search(workbench, seeds)
    seeds = search.seeds
    exports, touched, measured = search.exports()
    lineage = workbench.record("model_training_lineage", MODEL_TRAINING_LINEAGE)
    models = models_of(lineage, touched)
    figures = workbench.record("model_evaluations", MODEL_EVALUATIONS)
    every_pair = frozenset(search.touched["pair_id"]).union(*touched.values())
    taught = {(one["model_name"], one["model_version"]) for one in models}
    found = Recalled(
        of=of,
        labels=sorted(seeds.labels & set(_labels(workbench)["canonical_label_id"])),
        pairs=pl.concat([search.touched, *search.gone]).unique("pair_id", keep="last", maintain_order=True),
        exports=exports,
        models=models,
        evaluations=evaluations_of(figures, models, measured),
        examples=search.examples.sort("store", "example_id").to_dicts(),
        optimized_prompts=_optimized(workbench, every_pair, seeds.examples),
        traces=traces_of(workbench.registry, every_pair),
        plan=rebuild_plan(workbench, search.touched, {one["collection"] for one in exports}, taught),
        unread=search.unread,
        sets=sets_holding(workbench, every_pair),
        superseded=search.superseded,
        erased=erased_days(_erasures(workbench), items=seeds.items, labels=seeds.labels, people=seeds.people),
    )
    if found.is_empty and not found.erased and not _is_known_item(workbench, seeds):
        raise ArgumentError(f"nothing in the lake is {of}, or came of it; is the name right?")
    return found


class _Search:
    """One recall: the pairs as they stand and stood, each read once."""

    def __init__(self, workbench: Workbench, seeds: Seeds) -> None:
        self._workbench = workbench
        self._pairs = _pairs(workbench, None)
        direct = touched_pairs(self._pairs, seeds)
        kept = _examples(workbench)
        self.seeds = seeds.with_examples(kept, direct.filter(pl.col("how") == "derived"))
        self.touched = touched_pairs(self._pairs, self.seeds) if self.seeds.examples else direct
        named = kept.filter(pl.col("example_id").is_in(sorted(self.seeds.examples)))
        self.examples = named.select("store", "example_id", "sheet", "item_ref").unique()
        self.gone: list[pl.DataFrame] = []
        self.unread: list[str] = []
        self.superseded: list[dict[str, Any]] = []
        self._then: dict[int, pl.DataFrame] = {}

    @cached_property
    def _now(self) -> pl.DataFrame:
        return self._pairs.select("pair_id", "pair_hash")

    def exports(self) -> tuple[list[dict[str, Any]], dict[tuple[str, int], frozenset[str]], dict[tuple[str, int], int]]:
        """The exports that hold a touched pair; the touched pairs of each, all of them where its files were taken away, and how
        many stand in its test split."""
        listed, touched, measured = [], {}, {}
        history = self._workbench.record("export_versions", EXPORT_VERSIONS).sort("collection", "version")
        gone = self._workbench.record("erased_exports", ERASED_EXPORTS)
        erased = set(gone.select("collection", "version").iter_rows())
        for row in history.select("collection", "version", "path").iter_rows(named=True):
            name = f"{row['collection']} v{row['version']}"
            line = superseded_line(Path(row["path"]))
            if line is not None and (row["collection"], row["version"]) not in erased:
                self.unread.append(
                    f"export {name}: its {TOMBSTONE} is on no record of this lake: nothing was erased of it"
                )
                continue
            if line is not None:
                self.superseded.append({"collection": row["collection"], "version": row["version"], "said": line})
                # Its pairs are gone with its files; what models learned of it stands in their lineage.
                touched[row["collection"], row["version"]] = frozenset(self.touched["pair_id"])
                continue
            try:
                rows = ExportFolder.leaves(row["path"])
                then = self._as_it_stood(row["path"], rows)
                found = touched_in_export(rows, self._now, self.touched, then)
            except (ExportError, LakeError) as error:
                self.unread.append(f"export {name}: {error.line}")
                continue
            if found.is_empty():
                continue
            if then is not None:
                held = then.join(found, on="pair_id", how="semi")
                self.gone.append(held.join(self._now, on="pair_id", how="anti"))
            splits = dict(found.group_by("split").len().iter_rows())
            listed.append({**row, "pairs": found.height, "splits": dict(sorted(splits.items()))})
            touched[row["collection"], row["version"]] = frozenset(found["pair_id"])
            measured[row["collection"], row["version"]] = splits.get("test", 0)
        return listed, touched, measured

    def _as_it_stood(self, path: str, rows: pl.DataFrame) -> pl.DataFrame | None:
        """The touched pairs at the commit that an export was made of, where one of its pairs is another now."""
        both = ["pair_id", "pair_hash"]
        if rows.join(self._now, on=both, how="anti").is_empty():
            return None
        versions = orjson.loads((Path(path) / MANIFEST).read_bytes()).get("delta_versions", {})
        version = versions.get("/".join(PAIRS))
        if version is None:
            raise LakeError("its manifest does not say which pairs of the lake it was made of")
        if version not in self._then:
            self._then[version] = touched_pairs(_pairs(self._workbench, version), self.seeds)
        return self._then[version]


def _pairs(workbench: Workbench, version: int | None) -> pl.DataFrame:
    if not workbench.lake.exists(*PAIRS):
        return LABELED_PAIRS.to_frame().select(PAIR_COLUMNS)
    rows = workbench.lake.scan(*PAIRS, version=version).select(PAIR_COLUMNS)
    return _read(rows.collect, "/".join(PAIRS))


def _read(collect: Callable[[], pl.DataFrame], table: str) -> pl.DataFrame:
    try:
        return collect()
    except (pl.exceptions.PanicException, pl.exceptions.PolarsError, OSError):
        raise LakeError(f"table {table} can not be read; a file of it is gone or damaged") from None


def _erasures(workbench: Workbench) -> pl.DataFrame:
    """Rows of `ERASURES`, each under the name that its Sheet has today."""
    catalog, rows = workbench.catalog(), workbench.record("erasures", ERASURES)
    return rows.with_columns(
        pl.col("sheet").replace({name: catalog.today("Sheet", name) for name in rows["sheet"].unique()})
    )


def _labels(workbench: Workbench) -> pl.DataFrame:
    """canonical_label_id, sheet and item_ref of every label."""
    columns = ["canonical_label_id", "sheet", "item_ref"]
    if not workbench.lake.exists("label", "canonical_labels"):
        return CANONICAL_LABELS.to_frame().select(columns)
    rows = workbench.lake.scan("label", "canonical_labels").select(columns)
    return _read(rows.collect, "label/canonical_labels")


def _examples(workbench: Workbench) -> pl.DataFrame:
    """Every example that ever stood in a snapshot of a store, by name."""
    if not workbench.lake.exists("records", "examples"):
        return pl.DataFrame(schema=dict.fromkeys(_KEPT, pl.String))
    return _read(workbench.lake.scan("records", "examples").select(_KEPT).collect, "records/examples")


def _optimized(workbench: Workbench, pair_ids: frozenset[str], examples: frozenset[str]) -> list[dict[str, Any]]:
    """The rows of `records/dspy_runs` whose demonstrations are among these; the table is there once prompts are optimized."""
    if not workbench.lake.exists("records", "dspy_runs"):
        return []
    rows = workbench.lake.read("records", "dspy_runs")
    touched = [
        pl.col(column).list.eval(pl.element().is_in(sorted(names))).list.any().fill_null(False)
        for column, names in (("pair_ids", pair_ids), ("example_ids", examples))
        if column in rows.columns
    ]
    shown = [name for name in ("run_id", "training_sheet", "template", "template_version") if name in rows.columns]
    return rows.filter(pl.any_horizontal(touched)).select(shown).to_dicts() if touched and shown else []


def _is_known_item(workbench: Workbench, seeds: Seeds) -> bool:
    """Whether the seeds are items that a snapshot holds."""
    for sheet, refs in seeds.items.items():
        table = ("data", "sheet_snapshot", sheet)
        if refs is None:
            return True
        if workbench.lake.exists(*table):
            found = workbench.lake.scan(*table).filter(pl.col("item_ref").is_in(sorted(refs))).select("item_ref")
            if not found.collect().is_empty():
                return True
    return False
