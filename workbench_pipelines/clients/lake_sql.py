"""SQL over the lake's tables, read-only, with restricted content masked before the query sees it.

The text is parsed first and only its parsed form is run, so nothing reaches the engine (DataFusion, through deltalake)
that was not looked at: one SELECT, over known lake tables alone, no function that names a file. Each table stands in
the query as a sub-select that replaces restricted values by `•••` (text) or null: no filter, join or function looks
behind it.

Tables are named as they are in the lake: ``labeled_pairs``, or with their folder ``label.labeled_pairs``; the snapshot
of a Sheet is ``sheet_snapshot_<sheet>``, the items that it took from files are ``items_<sheet>``, the typed answers of a
TrainingSheet are ``typed_answers_<training_sheet>``, where ``.`` and ``-`` of the name are written ``_``.
"""

from __future__ import annotations

import re
import secrets
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl
from deltalake import DeltaTable, QueryBuilder
from sqlglot import exp

from workbench_pipelines import lineage
from workbench_pipelines.alerts import ALERTS
from workbench_pipelines.annotation_tasks import ANNOTATION_TASKS, TASK_HISTORY
from workbench_pipelines.annotator_agreement import ANNOTATOR_AGREEMENT
from workbench_pipelines.auto_approvals import AUTO_APPROVALS
from workbench_pipelines.batches import BATCH_REFUSALS, BATCH_REQUESTS, BATCHES
from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.collection_versions import COLLECTION_VERSIONS
from workbench_pipelines.decisions import DECISIONS
from workbench_pipelines.diversity import DIVERSITY
from workbench_pipelines.erasure import ERASED_EXPORTS, ERASURES
from workbench_pipelines.errors import ArgumentError, LakeError, nearest
from workbench_pipelines.examples import EXAMPLE_SNAPSHOTS, EXAMPLES, KEPT_EXAMPLES
from workbench_pipelines.exports import COLLECTION_MEMBERS
from workbench_pipelines.generation import GENERATED_PAIRS
from workbench_pipelines.intake import ITEM_MARKS, SOURCE_FILES, SOURCE_REFUSALS
from workbench_pipelines.judge_calibration import JUDGE_CALIBRATIONS, JUDGEMENTS
from workbench_pipelines.label_coverage import LABELSET_COVERAGE
from workbench_pipelines.labels import CANONICAL_LABELS
from workbench_pipelines.pair_quality import PAIR_QUALITY
from workbench_pipelines.pairs import LABELED_PAIRS
from workbench_pipelines.prompts import RENDERED_PROMPTS
from workbench_pipelines.read_only_sql import EngineDialect, Scalar, parse_select, plain, with_parameters
from workbench_pipelines.restrictions import MASK, OPEN_CLASSIFICATIONS, Mask, Restrictions, mask_of
from workbench_pipelines.review_queue import REVIEW_QUEUE
from workbench_pipelines.steps import DERIVED_ITEMS
from workbench_pipelines.tainting import EXPORT_TAINTS
from workbench_pipelines.usage_policies import USAGE_POLICIES
from workbench_pipelines.use_sets import USE_SET_REFUSALS, USE_SETS

# Assets and records by folder. Of two tables with one name the later is meant, unless the query names the folder.
_FOLDERS: Mapping[str, str] = {
    "generate": "prompt_templates derived_items rendered_prompts generated_pairs diversity",
    "label": "decisions canonical_labels labelset_coverage agreement example_store pair_quality labeled_pairs review_queue",
    "train": "governed_export trained_model eval_report optimized_prompts",
    "deploy": "deployed_model",
    "monitor": "requests feedback_inbox endpoint_metrics feedback drift_report",
    "improve": "gap_analysis annotation_tasks curated_feedback",
    "records": "training_sheets template_versions split_assignments usage_constraint_audit collection_members "
    "export_versions model_training_lineage model_evaluations label_history dspy_runs gaps alerts requests "
    "request_uses examples example_snapshots batches batch_requests batch_refusals auto_approvals review_inbox "
    "review_refusals source_files source_refusals item_marks annotation_tasks annotation_task_history "
    "judge_judgements judge_calibrations collection_versions usage_policies export_taints use_sets use_set_refusals erasures "
    "erased_exports",
}
# Columns of tables that stand empty until something is written to them, so that a question to a new lake has an answer.
KNOWN_SCHEMAS: Mapping[str, pl.Schema] = {
    **lineage.SCHEMAS,
    "decisions": DECISIONS,
    "canonical_labels": CANONICAL_LABELS,
    "derived_items": DERIVED_ITEMS,
    "diversity": DIVERSITY,
    "generated_pairs": GENERATED_PAIRS,
    "labeled_pairs": LABELED_PAIRS,
    "review_queue": REVIEW_QUEUE,
    "labelset_coverage": LABELSET_COVERAGE,
    "agreement": ANNOTATOR_AGREEMENT,
    "annotation_tasks": ANNOTATION_TASKS,
    "annotation_task_history": TASK_HISTORY,
    "auto_approvals": AUTO_APPROVALS,
    "collection_members": COLLECTION_MEMBERS,
    "rendered_prompts": RENDERED_PROMPTS,
    "example_store": EXAMPLES,
    "examples": KEPT_EXAMPLES,
    "example_snapshots": EXAMPLE_SNAPSHOTS,
    "batches": BATCHES,
    "batch_requests": BATCH_REQUESTS,
    "batch_refusals": BATCH_REFUSALS,
    "source_files": SOURCE_FILES,
    "source_refusals": SOURCE_REFUSALS,
    "item_marks": ITEM_MARKS,
    "pair_quality": PAIR_QUALITY,
    "judge_judgements": JUDGEMENTS,
    "judge_calibrations": JUDGE_CALIBRATIONS,
    "collection_versions": COLLECTION_VERSIONS,
    "alerts": ALERTS,
    "usage_policies": USAGE_POLICIES,
    "export_taints": EXPORT_TAINTS,
    "use_sets": USE_SETS,
    "use_set_refusals": USE_SET_REFUSALS,
    "erasures": ERASURES,
    "erased_exports": ERASED_EXPORTS,
}

MOST_ITEMS = 2_000
"""So many items of a Sheet are masked one by one."""


@dataclass(frozen=True)
class LakeTable:
    """A table a query may name: its place in the lake, and the Sheet or TrainingSheet whose alone it is."""

    parts: tuple[str, ...]
    snapshot_of: str | None = None
    answers_of: str | None = None


def lake_tables(restrictions: Restrictions) -> dict[str, LakeTable]:
    """The tables by every name a query may use: bare, and with the folder before a dot."""
    tables: dict[str, LakeTable] = {}
    for folder, names in _FOLDERS.items():
        for name in names.split():
            for suffix in ("", "_refusals") if folder != "records" else ("",):
                table = LakeTable((folder, name + suffix))
                tables[name + suffix] = tables[f"{folder}.{name}{suffix}"] = table
    refusals = LakeTable(("data", "sheet_snapshot_refusals"))
    tables["sheet_snapshot_refusals"] = tables["data.sheet_snapshot_refusals"] = refusals
    snapshots = {
        sheet: LakeTable(("data", "sheet_snapshot", sheet), snapshot_of=sheet) for sheet in restrictions.sheets
    }
    answers = {
        name: LakeTable(("generate", "typed_answers", name), answers_of=name) for name in restrictions.training_sheets
    }
    items = {sheet: LakeTable(("records", "items", sheet), snapshot_of=sheet) for sheet in restrictions.sheets}
    for room, asset, own in (
        ("data", "sheet_snapshot", snapshots),
        ("generate", "typed_answers", answers),
        ("records", "items", items),
    ):
        for folder in ("", f"{room}."):
            tables |= {f"{folder}{asset}_{name}": table for name, table in own.items()}
            for name in sorted(own):
                # Another one may be called so already: `a-b` gives way to `a_b`, and is still there in double quotes.
                tables.setdefault(f"{folder}{asset}_{re.sub('[.-]', '_', name)}", own[name])
    return tables


def query(
    lake: Lake,
    sql: str,
    *,
    restrictions: Restrictions,
    params: Mapping[str, Scalar] | None = None,
    schemas: Mapping[str, pl.Schema] = KNOWN_SCHEMAS,
) -> pl.DataFrame:
    """The rows of one SELECT over the lake's tables; `:name` in it takes the value of `params`.

    A table that nothing was written to yet is empty where `schemas` (by bare table name) knows its columns.

    Raises:
        ArgumentError: for anything but one SELECT over known tables, with known columns and all its parameters.
        LakeError: when a table does not exist yet or can not be read.
    """
    tree = with_parameters(parse_select(sql), params or {})
    tables = lake_tables(restrictions)
    named = _lake_references(tree, tables)
    limited = tree.find(exp.Limit, exp.Offset, exp.Fetch) is not None
    engine = QueryBuilder()
    sources: dict[LakeTable, tuple[str, pl.Schema]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for table in dict.fromkeys(table for _, table in named):
            # A name no query can guess: the table itself is within reach of its masking sub-select only.
            alias = f"t{secrets.token_hex(8)}"
            delta = _opened(lake, table, schemas, f"{folder}/{alias}")
            engine.register(alias, delta)
            sources[table] = (alias, pl.scan_delta(delta).collect_schema())
        for node, table in named:
            alias, schema = sources[table]
            mask = mask_of(table.parts[-1], schema.names(), restrictions, table.snapshot_of, table.answers_of)
            node.replace(_masked(node, alias, schema, mask, limited))
        return _run(engine, tree.sql(dialect=EngineDialect, comments=False))


def _lake_references(tree: exp.Expression, tables: Mapping[str, LakeTable]) -> list[tuple[exp.Table, LakeTable]]:
    """Every place in the tree that names a lake table; one that names anything else is refused."""
    defined = set()
    for node in tree.find_all(exp.CTE):
        if node.alias in tables:
            raise ArgumentError(f"WITH {node.alias}: a table of the lake has that name; choose another")
        defined.add(node.alias)
    found = [node for node in tree.find_all(exp.Table) if node.db or node.name not in defined or node.catalog]
    return [(node, _known(node, tables)) for node in found]


def _known(node: exp.Table, tables: Mapping[str, LakeTable]) -> LakeTable:
    if not isinstance(node.this, exp.Identifier) or node.catalog:
        raise ArgumentError(
            f"FROM {plain(node.sql(dialect=EngineDialect))}: a query reads the lake's tables only, by name"
        )
    # As the engine reads names: in lower case, unless they are quoted.
    parts = [part.name if part.quoted else part.name.lower() for part in node.parts if isinstance(part, exp.Identifier)]
    name = ".".join(parts)
    if name not in tables:
        known = [other for other in tables if ("." in other) == bool(node.db) and not other.endswith("_refusals")]
        raise ArgumentError(f"there is no table '{name}' in the lake{nearest(name, known)}")
    odd = sorted({key for key, value in node.args.items() if value} - {"this", "db", "alias", "joins"})
    if odd:
        raise ArgumentError(f"table {name}: {', '.join(odd).upper()} is not available; write the table's name alone")
    return tables[name]


def _opened(lake: Lake, table: LakeTable, schemas: Mapping[str, pl.Schema], empty: str) -> DeltaTable:
    """The table, or an empty one of the known columns in the folder `empty` where nothing was written yet."""
    if lake.exists(*table.parts):
        return DeltaTable(lake.path(*table.parts), storage_options=lake.storage_options)
    schema = schemas.get(table.parts[-1])
    if schema is None:
        raise LakeError(f"table {'/'.join(table.parts)} does not exist in {lake.uri}; nothing was written to it yet")
    return DeltaTable.create(empty, schema=schema.to_frame().to_arrow().schema)


def _masked(node: exp.Table, alias: str, schema: pl.Schema, mask: Mask, limited: bool) -> exp.Subquery:
    """The sub-select that stands for a table: all its columns by name, the masked ones with nothing to see."""
    columns: list[exp.Expr] = []
    for name, dtype in schema.items():
        column = exp.column(name, quoted=True)
        if name in mask.columns:
            hidden = exp.Literal.string(MASK) if dtype == pl.String else exp.null()
            there = exp.Is(this=column.copy(), expression=exp.null()).not_()
            case = exp.Case().when(exp.and_(_restricted(mask), there), hidden).else_(column)
            columns.append(exp.alias_(case, name, quoted=True))
        else:
            columns.append(column)
    inner = exp.select(*columns).from_(exp.to_table(alias))
    if limited:
        # deltalake's scan forgets a limit pushed down to it where only partition columns or none are read; below a
        # condition that may change from row to row none is pushed.
        inner = inner.where("random() >= 0")
    table_alias = node.args.get("alias") or exp.TableAlias(this=exp.to_identifier(node.name, quoted=node.this.quoted))
    return exp.Subquery(this=inner, alias=table_alias.copy(), joins=node.args.get("joins"))


def _restricted(mask: Mask) -> exp.Expr:
    """The condition that holds for a restricted row."""
    conditions: list[exp.Expr] = []
    if mask.classified:
        conditions += [_none_of(name, OPEN_CLASSIFICATIONS, or_null=mask.or_unstated) for name in mask.classifications]
    if mask.sheets is not None:
        conditions.append(_none_of("sheet", mask.sheets, or_null=mask.unknown_sheet))
    for sheet, refs in sorted(mask.items.items()):
        of_sheet = exp.column("sheet", quoted=True).eq(sheet)
        # A list of thousands takes the engine as long as all the rest: from there on, all of the Sheet is masked.
        among = exp.column("item_ref", quoted=True).isin(*sorted(refs)) if len(refs) <= MOST_ITEMS else exp.true()
        conditions.append(exp.and_(of_sheet, among))
    held = exp.or_(*conditions) if conditions else exp.true()
    if mask.subjects is None:
        return held
    return exp.and_(held, exp.column("subject", quoted=True).like(f"{mask.subjects}%"))


def _none_of(column: str, values: Sequence[str], *, or_null: bool) -> exp.Expr:
    here = exp.column(column, quoted=True)
    null = exp.Is(this=here.copy(), expression=exp.null())
    other = here.isin(*values).not_() if values else null.copy().not_()
    return exp.or_(null, other) if or_null else exp.and_(null.not_(), other)


def _run(engine: QueryBuilder, sql: str) -> pl.DataFrame:
    try:
        rows = engine.execute(sql).read_all()
    except Exception as error:
        # The engine raises plain Exception for what goes wrong in a row.
        raise _explained(plain(str(error))) from None
    names = rows.schema.names
    # Two columns may have one name in SQL (`a.pair_id, b.pair_id`), not in a frame.
    unique = [name if names.index(name) == at else f"{name}_{at + 1}" for at, name in enumerate(names)]
    return pl.DataFrame(rows.rename_columns(unique))


def _explained(message: str) -> ArgumentError | LakeError:
    """An error of the engine in one line, with the nearest known column where one is unknown."""
    unknown = re.search(r"No field named (\S+?)\.(?: Did you mean|  ?Valid fields are|$)", message + " ")
    if unknown:
        column = unknown.group(1).strip('"').rpartition(".")[2].strip('"')
        fields = re.findall(r'(?:\w+\.)?"?([\w.-]+?)"?[,.](?:\s|$)', message.partition("Valid fields are")[2] + " ")
        return ArgumentError(f"there is no column '{column}'{nearest(column, fields)}")
    if re.search(r"Parquet ?error|Object at location|Object Store", message, re.I):
        return LakeError(f"a table can not be read: {message}")
    return ArgumentError(f"the query can not be run: {message}")
