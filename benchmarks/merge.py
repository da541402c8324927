"""Merging canonical labels into pairs: `label_pairs` from Parquet to Parquet against the joins alone, by DuckDB and polars.

    python benchmarks/merge.py [--rows 100000 1000000] [--rounds N]

Every side reads the same three files (rendered prompts, drafts, canonical labels: as many labels as pairs), joins them and
writes one file, all with Snappy and row groups of one size. The joins alone decide no status and make no hash. `DuckDB,
same table` does what SQL can of the rest: status, trace, the SHA-256 of each pair (not the uses, and in any order); the
witness, a digest of all pair hashes, shows that both came to the same. Then our side by its stages.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from side_by_side import Side, compare, print_table

ROW_GROUP = 122_880  # DuckDB's own
AIM = 1.2
CLASSES = ("setosa", "versicolor", "virginica")
SCHEMA = {
    "type": "object",
    "properties": {"species": {"type": "string", "enum": list(CLASSES)}},
    "required": ["species"],
    "additionalProperties": False,
}

JOIN = """
FROM read_parquet('{rendered}') r
JOIN read_parquet('{generated}') g USING (pair_id)
LEFT JOIN (SELECT * FROM read_parquet('{labels}') WHERE active AND NOT stale) l
  ON l.sheet = r.sheet AND l.item_ref = r.item_ref AND l.label_type = r.label_type
"""
SHOWN = """r.training_sheet, r.pair_id, r.sheet, r.item_ref, r.item_hash, r.seen_hash, r.template, r.template_version,
  r.label_type, r.messages, coalesce(l.label_data, g.response) AS response, r.inputs, r.attributes, r.tags,
  l.canonical_label_id, g.labeling_mode, r.usage_statements, l.allowed_uses, l.prohibited_uses, l.usage_reason,
  l.data_classification, g.model, l.last_modified_by, l.last_modified_at, g.answered_at"""
SAME = """r.training_sheet, r.pair_id,
  sha256('["pair",' || to_json(r.prompt_hash) || ',' || coalesce(to_json(coalesce(l.label_data, g.response)), 'null') || ','
    || to_json(r.label_type) || ',' || coalesce(to_json(l.canonical_label_id), 'null') || ']') AS pair_hash,
  r.sheet, r.item_ref, r.item_hash, r.seen_hash, r.template, r.template_version, r.label_type, r.messages,
  coalesce(l.label_data, g.response) AS response, r.inputs, r.attributes, r.tags, l.canonical_label_id,
  CASE WHEN l.label_data IS NULL THEN 'unlabeled' WHEN l.label_data IN ({fitting}) THEN 'labeled' ELSE 'flagged' END AS status,
  CASE WHEN l.label_data IS NULL THEN g.labeling_mode ELSE 'canonical' END AS labeling_mode,
  r.usage_statements, l.allowed_uses, l.prohibited_uses, l.usage_reason, l.data_classification, g.model,
  NULL::DOUBLE AS ai_confidence, NULL::DOUBLE AS quality_score, NULL::VARCHAR AS language, NULL::VARCHAR AS duplicate_of,
  NULL::VARCHAR[] AS pii, l.last_modified_by AS reviewed_by, l.last_modified_at AS reviewed_at, NULL::VARCHAR AS review_notes,
  {{'parent_ids': []::VARCHAR[], 'steps': list_filter([
    {{'name': 'draft', 'at': g.answered_at, 'params': '{{"model": ' || to_json(g.model) || '}}'}},
    {{'name': 'label', 'at': l.last_modified_at,
      'params': '{{"canonical_label_id": ' || to_json(l.canonical_label_id) || '}}'}}
  ], lambda step: step.params IS NOT NULL)}} AS trace,
  coalesce(g.answered_at, l.last_modified_at) AS created_at, coalesce(l.last_modified_at, g.answered_at) AS updated_at"""


def write_inputs(folder: Path, rows: int) -> None:
    """The three files: `rows` pairs, all drafted, and a live label for each item; one label in a hundred restricts.

    They are sorted by item, as the graph writes them.
    """
    import polars as pl

    from workbench_pipelines.decisions import UTC_TIME
    from workbench_pipelines.generation import GENERATED_PAIRS
    from workbench_pipelines.labels import CANONICAL_LABELS
    from workbench_pipelines.prompts import RENDERED_PROMPTS
    from workbench_pipelines.usage import USES, UsageStatement, statements_to_json

    def name(kind: str) -> pl.Series:
        return pl.Series([hashlib.sha256(f"{kind} {n}".encode()).hexdigest() for n in range(rows)])

    def answer(turn: int) -> pl.Expr:
        answers = pl.Series([f'{{"species":"{species}"}}' for species in CLASSES])
        return pl.lit(answers).gather((pl.col("n") * 7 // (turn + 1)) % len(CLASSES))

    item = pl.format("flower-{}", pl.col("n").cast(pl.String).str.zfill(9))
    content = pl.format(
        "An iris flower has sepals {} cm long and {} cm wide, and petals {} cm long and {} cm wide. Which species is it?",
        *(pl.col("n") % width / 10 for width in (79, 45, 69, 26)),
    )
    message = pl.struct(role=pl.lit("user"), content=content, parts=pl.lit(None, pl.String))
    said = statements_to_json([UsageStatement("sheet iris", allowed_uses=USES, data_classification="public")])
    noon = pl.datetime(2026, 3, 1, 12, time_zone="UTC") + pl.duration(seconds=pl.col("n"))
    numbers = pl.DataFrame({"n": pl.int_range(rows, eager=True)})
    named = {"training_sheet": pl.lit("iris_drafted"), "sheet": pl.lit("iris"), "item_ref": item}
    named |= {"label_type": pl.lit("iris_species")}
    hashes = {kind: name(kind) for kind in ("pair_id", "item_hash", "seen_hash", "prompt_hash")}
    rendered = {
        "variant": pl.lit(""),
        "seen_columns": pl.lit(["petal_length", "petal_width", "sepal_length", "sepal_width"], pl.List(pl.String)),
        "template": pl.lit("iris_species"),
        "template_version": pl.lit("1.0.0"),
        "messages": pl.concat_list(message),
        "inputs": pl.format('{{"petal_length":{},"petal_width":{}}}', pl.col("n") % 69 / 10, pl.col("n") % 26 / 10),
        "attributes": pl.lit("{}"),
        "tags": pl.lit([], pl.List(pl.String)),
        "usage_statements": pl.lit(said),
    }
    drafts = {
        "request_hash": name("request_hash"),
        "response": answer(1),
        "response_hash": name("response_hash"),
        "labeling_mode": pl.lit("ai_generated"),
        "model": pl.lit("local/smollm2"),
        "prompt_tokens": pl.lit(60),
        "completion_tokens": pl.lit(9),
        "cost_usd": pl.lit(0.0),
        "answered_at": noon,
    }
    restricts = pl.col("n") % 100 == 0
    label = {
        "canonical_label_id": name("label_id"),
        "label_data": answer(0),
        "confidence": pl.lit("high"),
        "prohibited_uses": pl.when(restricts)
        .then(pl.lit(["training"], pl.List(pl.String)))
        .otherwise(pl.lit([], pl.List(pl.String))),
        "labeled_by": pl.lit("ann"),
        "labeled_at": noon,
        "last_modified_by": pl.lit("ann"),
        "last_modified_at": noon.cast(UTC_TIME),
        "version": pl.lit(1),
        "seen_hash": hashes["seen_hash"],
        "stale": pl.lit(False),
        "active": pl.lit(True),
    }

    def keep(file: str, schema: pl.Schema, columns: dict[str, Any]) -> None:
        known = {column: columns.get(column, pl.lit(None)) for column in schema}
        frame = numbers.with_columns(**known).select([pl.col(c).cast(dtype) for c, dtype in schema.items()])
        frame.write_parquet(folder / f"{file}.parquet", compression="snappy", row_group_size=ROW_GROUP)

    keep("rendered", RENDERED_PROMPTS, named | hashes | rendered)
    keep("generated", GENERATED_PAIRS, named | hashes | drafts)
    keep("labels", CANONICAL_LABELS, named | label)


def files(folder: Path) -> dict[str, str]:
    return {name: str(folder / f"{name}.parquet") for name in ("rendered", "generated", "labels")}


def out_of(folder: Path) -> str:
    return str(folder / f"out-{os.getpid()}.parquet")


def duckdb_to_parquet(folder: Path, columns: str) -> str:
    import duckdb

    fitting = ", ".join(f"""'{{"species":"{species}"}}'""" for species in CLASSES)
    query = f"SELECT {columns.format(fitting=fitting)} {JOIN.format(**files(folder))}"
    out = out_of(folder)
    connection = duckdb.connect()
    connection.execute(f"COPY ({query}) TO '{out}' (FORMAT parquet, COMPRESSION snappy, ROW_GROUP_SIZE {ROW_GROUP})")
    return out


def polars_to_parquet(folder: Path) -> str:
    import polars as pl

    rendered, generated, labels = (pl.scan_parquet(file) for file in files(folder).values())
    drafts = generated.select("pair_id", "response", "labeling_mode", "model", "answered_at")
    live = labels.filter(pl.col("active") & ~pl.col("stale")).select(
        "sheet", "item_ref", "label_type", "canonical_label_id", "label_data", "allowed_uses", "prohibited_uses",
        "usage_reason", "data_classification", "last_modified_by", "last_modified_at",
    )  # fmt: skip
    joined = rendered.join(drafts, on="pair_id").join(live, on=["sheet", "item_ref", "label_type"], how="left")
    out = out_of(folder)
    kept = joined.with_columns(response=pl.coalesce("label_data", "response")).drop(
        "label_data", "variant", "seen_columns", "prompt_hash", "column_response"
    )
    kept.sink_parquet(out, compression="snappy", row_group_size=ROW_GROUP)
    return out


def label(folder: Path) -> Any:
    """The pairs, from files of which only the columns that count are read."""
    import polars as pl

    from workbench_pipelines.decisions import DECISIONS
    from workbench_pipelines.pairs import label_pairs
    from workbench_pipelines.usage import USES

    inputs = [pl.scan_parquet(file) for file in files(folder).values()]
    return label_pairs(*inputs, DECISIONS.to_frame(), schema=SCHEMA, trusted=False, vocabulary=USES)


def write(pairs: Any, folder: Path) -> str:
    out = out_of(folder)
    pairs.write_parquet(out, compression="snappy", row_group_size=ROW_GROUP)
    return out


def hash_pairs(pairs: Any) -> Any:
    from workbench_pipelines.row_digests import row_digests

    return row_digests(pairs, "pair", ["item_hash", "response", "label_type", "canonical_label_id"])


def imported(folder: Path) -> Path:
    """The folder, once every library that any side needs is loaded."""
    import duckdb
    import polars

    import workbench_pipelines.pairs

    assert duckdb
    assert polars
    assert workbench_pipelines.pairs
    return folder


def witness(out: str) -> str:
    """How many rows there are and, where they have hashes, the digest of all of them in the order of their names."""
    import polars as pl

    written = pl.scan_parquet(out)
    told = f"{written.select(pl.len()).collect().item():,} rows"
    if "pair_hash" in written.collect_schema():
        hashes = written.select("pair_id", "pair_hash").sort("pair_id").collect()["pair_hash"]
        told += f" {hashlib.sha256(''.join(hashes).encode()).hexdigest()[:8]}"
    Path(out).unlink()
    return told


def in_a_child(run: Callable[[], None]) -> None:
    """The parent must not start the threads of polars, or its children could not be forked."""
    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    child.join()
    if child.exitcode != 0:
        raise RuntimeError("the inputs could not be made")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    for rows in given.rows:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            in_a_child(partial(write_inputs, folder, rows))
            sides = [
                ("DuckDB join", lambda f: duckdb_to_parquet(f, SHOWN)),
                ("polars join", polars_to_parquet),
                ("DuckDB, same table", lambda f: duckdb_to_parquet(f, SAME)),
                ("ours", lambda f: write(label(f), f)),
            ]
            title = f"{rows:,} pairs x {rows:,} labels"
            figures = compare([Side(n, run, partial(imported, folder), witness) for n, run in sides], given.rounds)
            print_table(f"{title}, Parquet to Parquet", figures, {"ours": AIM})
            stages = [
                Side("ours", lambda f: write(label(f), f), partial(imported, folder), witness),
                Side("read, join, decide, hash", label, partial(imported, folder)),
                Side("of this, hash each pair", hash_pairs, partial(label, folder)),
                Side("write", lambda pairs, f=folder: write(pairs, f), partial(label, folder), witness),
            ]
            print_table(f"{title}, our stages", compare(stages, given.rounds))


if __name__ == "__main__":
    main()
