"""Taking 500 JSONL files of prompts and enhancements, and looking for their rows among a million.

    python benchmarks/folder_import.py [--files N] [--rows N] [--rounds N] [--takes N] [--queries N]

Taking, each side in a process of its own over the same files: `polars reads` is the bare `read_ndjson` of every file,
which checks nothing and names nothing; `reads, hashes, writes` adds what a script would: a SHA-256 of prompt and enhancement a
row, one item of each, one Delta append; `ours` is the whole intake: every row checked by type, bounds and unknown fields,
named by canonical JSON, each item once, a table laid out for queries, refusals and ledger. Every hundredth file has a bad row,
which `ours` has to name.

Looking, in one process, interleaved: the four queries by random values, the first 100 rows by name, each on a table that is
opened anew, beside bare polars over one Parquet file of the same rows with the same filter, order and limit. Then again right
after many small intakes, of 50 rows each, with no other maintenance than what the intake itself does.

A session is 20 rows scattered over all files, the worst case for whoever lays rows out by name.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import multiprocessing
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from side_by_side import Side, compare, print_table

ROWS_A_SECOND = 100_000  # aim of taking
P95_MS = 200.0  # aim of each query
SOURCES = 20
ROWS_A_SESSION = 20
ROWS_A_TAKE = 50
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
WORDS = [f"w{number:04}x" for number in range(3000)]


def make_row(chance: random.Random, rows: int) -> dict[str, Any]:
    """Some 600 bytes of JSON."""
    return {
        "prompt": " ".join(chance.choices(WORDS, k=25)),
        "enhancement": " ".join(chance.choices(WORDS, k=45)),
        "data_source": f"source-{chance.randrange(SOURCES)}",
        "training_priority": chance.randint(1, 1000),
        "session_id": f"session-{chance.randrange(max(1, rows // ROWS_A_SESSION)):08}",
    }


def write_inputs(folder: Path, files: int, rows: int) -> None:
    chance = random.Random(7)
    (folder / "batches").mkdir(parents=True)
    for number in range(files):
        with (folder / f"batches/b{number:04}.jsonl").open("w") as file:
            for _ in range(rows // files):
                file.write(json.dumps(make_row(chance, rows)) + "\n")
            if number % 100 == 0:
                file.write(json.dumps({**make_row(chance, rows), "training_priority": 1001}) + "\n")


def make_intake(folder: Path, lake: Path) -> Any:
    from workbench_pipelines.catalog.documents import KINDS
    from workbench_pipelines.clients.file_intake import FileIntake
    from workbench_pipelines.clients.lake import Lake
    from workbench_pipelines.clients.source_folder import SourceFolder

    spec = {"primary_table": "batches", "item_ref": {"content_of": ["prompt", "enhancement"]}, "intake": {}}
    document = {"apiVersion": "workbench/v1", "kind": "Sheet", "metadata": {"name": "bench"}, "spec": spec}
    source = SourceFolder(folder / "batches", "bench")
    return FileIntake(KINDS["Sheet"].model_validate(document), source, Lake(str(lake)), lake / "state")


def prepare(folder: Path) -> Path:
    """A lake of this side's own, with everything imported."""
    import polars  # noqa: F401
    from deltalake import write_deltalake  # noqa: F401

    lake = Path(tempfile.mkdtemp(dir=folder, prefix="lake-"))
    make_intake(folder, lake)
    return lake


def polars_reads(folder: Path, lake: Path) -> Any:
    import polars as pl

    return pl.concat([pl.read_ndjson(file) for file in sorted((folder / "batches").iterdir())]).height


def reads_hashes_writes(folder: Path, lake: Path) -> Any:
    import hashlib

    import polars as pl
    from deltalake import write_deltalake

    frame = pl.concat([pl.read_ndjson(file) for file in sorted((folder / "batches").iterdir())])
    texts = frame.select(pl.concat_str("prompt", "enhancement", separator="\n")).to_series()
    refs = pl.Series("item_ref", [hashlib.sha256(text.encode()).hexdigest() for text in texts])
    frame = frame.with_columns(refs).unique("item_ref")
    write_deltalake(str(lake / "table"), frame)
    return frame.height


def ours(folder: Path, lake: Path) -> Any:
    return make_intake(folder, lake).take(by="bench", now=NOON)


def witness(result: Any) -> str:
    return f"{result.items} items, {result.refused} refused" if hasattr(result, "items") else f"{result} rows"


def look(folder: Path, lake: Path, takes: int, queries: int, rows: int) -> None:
    """Prints p50 and p95 of the four queries, before and after small intakes."""
    import polars as pl

    intake = make_intake(folder, lake)
    print(f"\nlooking for rows, {queries} queries each, interleaved; ms")
    print(f"{'':<44}{'ours p50':>9}{'p95':>7}{'cpu':>7}{'polars p50':>12}{'p95':>7}{'cpu':>7}")
    _queries(intake, folder, queries, f"{intake.items.scan().select(pl.len()).collect().item():,} rows")
    if not takes:
        return
    chance = random.Random(11)
    start, most = time.perf_counter(), 0
    for number in range(takes):
        lines = [json.dumps(make_row(chance, rows)) for _ in range(ROWS_A_TAKE)]
        (folder / f"batches/later-{number:05}.jsonl").write_text("\n".join(lines) + "\n")
        intake.take(by="bench", now=NOON)
        most = max(most, _files(intake))
    took = time.perf_counter() - start
    told = f"after {takes:,} intakes of {ROWS_A_TAKE} rows"
    print(f"{told}: {took / takes * 1e3:.0f} ms an intake, {most} files at most, {_files(intake)} now")
    _queries(intake, folder, queries, told)


def _files(intake: Any) -> int:
    from deltalake import DeltaTable

    return len(DeltaTable(intake._lake.path(*intake.items.parts)).file_uris())


def _queries(intake: Any, folder: Path, queries: int, told: str) -> None:
    import polars as pl

    from workbench_pipelines.item_search import ItemSearch

    everything = intake.items.scan().collect()
    bare = folder / "bare.parquet"
    everything.sample(fraction=1.0, shuffle=True, seed=3).write_parquet(bare)
    chance = random.Random(5)
    picked = everything.sample(queries, seed=9).select("item_ref", "session_id", "data_source")
    del everything
    searches: dict[str, list[ItemSearch]] = {"item": [], "session": [], "source": [], "priority of 10": []}
    for item, session, source in picked.iter_rows():
        low = chance.randint(1, 991)
        searches["item"].append(ItemSearch(item_ref=item))
        searches["session"].append(ItemSearch(session_id=session))
        searches["source"].append(ItemSearch(data_source=source))
        searches["priority of 10"].append(ItemSearch(priority=(low, low + 9)))

    def by_polars(search: ItemSearch) -> Any:
        return pl.scan_parquet(bare).filter(search.condition).bottom_k(100, by="item_ref").collect()

    for name, each in searches.items():
        figures: dict[str, list[tuple[float, float]]] = {"ours": [], "polars": []}
        for search in each:
            found = _timed(partial(intake.items.first, search.condition, 100), figures["ours"])
            other = _timed(partial(by_polars, search), figures["polars"])
            if set(found["item_ref"]) != set(other["item_ref"]):
                raise RuntimeError(f"{name}: ours found other rows than polars")
        ours_p50, ours_p95, ours_cpu = _percentiles(figures["ours"])
        p50, p95, cpu = _percentiles(figures["polars"])
        met = "met" if ours_p95 < P95_MS else "MISSED"
        print(
            f"{f'{told}: {name}':<44}{ours_p50:>9.0f}{ours_p95:>7.0f}{ours_cpu:>7.0f}{p50:>12.0f}{p95:>7.0f}{cpu:>7.0f}"
            f"  aim p95 < {P95_MS:.0f} ms: {met}"
        )


def _timed(run: Callable[[], Any], figures: list[tuple[float, float]]) -> Any:
    wall, cpu = time.perf_counter(), time.process_time()
    found = run()
    figures.append(((time.perf_counter() - wall) * 1e3, (time.process_time() - cpu) * 1e3))
    return found


def _percentiles(figures: list[tuple[float, float]]) -> tuple[float, float, float]:
    """p50 and p95 of wall, p50 of processor time."""
    walls, cpus = (sorted(one) for one in zip(*figures, strict=True))
    return walls[len(walls) // 2], walls[min(len(walls) - 1, int(len(walls) * 0.95))], cpus[len(cpus) // 2]


def in_a_child(run: Callable[[], Any]) -> None:
    """The parent must not start the threads of polars, or its children could not be forked."""
    child = multiprocessing.get_context("fork").Process(target=run)
    child.start()
    child.join()
    if child.exitcode != 0:
        raise RuntimeError("a part of the benchmark failed")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--takes", type=int, default=2000)
    parser.add_argument("--queries", type=int, default=100)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        in_a_child(partial(write_inputs, folder, given.files, given.rows))
        sides = [
            Side("polars reads", partial(polars_reads, folder), partial(prepare, folder), witness),
            Side("reads, hashes, writes", partial(reads_hashes_writes, folder), partial(prepare, folder), witness),
            Side("ours", partial(ours, folder), partial(prepare, folder), witness),
        ]
        figures = compare(sides, given.rounds)
        print_table(f"{given.rows:,} rows in {given.files} files", figures)
        for one in figures:
            best = min(run.wall for run in one.runs)
            speeds = f"{given.rows / one.median('wall'):,.0f} rows/s, best round {given.rows / best:,.0f}"
            aim = (
                f"  aim >= {ROWS_A_SECOND:,}: {'met' if given.rows / one.median('wall') >= ROWS_A_SECOND else 'MISSED'}"
            )
            print(f"{one.name:<34}{speeds}{aim if one.name == 'ours' else ''}")
        sys.stdout.flush()
        lake = folder / "lake"
        in_a_child(lambda: ours(folder, lake))
        in_a_child(partial(look, folder, lake, given.takes, given.queries, given.rows))
        print(f"load after: {' '.join(f'{one:.1f}' for one in os.getloadavg())}")


if __name__ == "__main__":
    main()
