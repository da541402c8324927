"""Folding the decisions ledger into canonical labels: `fold_labels` against the plain last word of each label, in polars.

    python benchmarks/labels.py [--rows 1000000] [--rounds N]

Every side reads one Parquet file of `label/decisions`, in which one label in ten was changed once. The reference keeps the last
decision of each label and nothing else. `ours` folds versions, withdrawals, restrictions, confirmations and uses; `ours, with
staleness` also hashes what each labeled item shows now. The witness counts the labels and digests them.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from side_by_side import Side, compare, print_table

CHANGED = 10  # one label in so many


def write_inputs(folder: Path, rows: int) -> None:
    """The ledger and the snapshot of `rows` labeled items."""
    import polars as pl

    from workbench_pipelines.decisions import DECISIONS
    from workbench_pipelines.identity import seen_hash

    snapshot = pl.DataFrame(
        {
            "item_ref": [f"flower-{number:09d}" for number in range(rows)],
            "petal_length": [number % 69 / 10 for number in range(rows)],
            "petal_width": [number % 26 / 10 for number in range(rows)],
        }
    )
    columns = ["petal_length", "petal_width"]
    seen = pl.Series([seen_hash(row, columns) for row in snapshot.iter_rows(named=True)])

    def said(kind: str, every: int, answer: str, minutes: int) -> pl.DataFrame:
        numbers = pl.int_range(0, rows, every, eager=True)
        known: dict[str, Any] = {
            "decision_id": pl.Series([hashlib.sha256(f"{kind} {number}".encode()).hexdigest() for number in numbers]),
            "sheet": pl.lit("iris"),
            "item_ref": snapshot["item_ref"].gather(numbers),
            "label_type": pl.lit("iris_species"),
            "action": pl.lit(kind),
            "label_data": pl.lit(answer),
            "seen_columns": pl.lit(columns, pl.List(pl.String)),
            "seen_hash": seen.gather(numbers),
            "source": pl.lit("review"),
            "by": pl.lit("ann"),
            "at": pl.datetime(2026, 3, 1, 12, time_zone="UTC") + pl.duration(minutes=minutes),
            "confidence": pl.lit("high"),
        }
        columns_of = {name: known.get(name, pl.lit(None)) for name in DECISIONS}
        frame = pl.DataFrame({"n": numbers}).with_columns(**columns_of)
        return frame.select([pl.col(name).cast(dtype) for name, dtype in DECISIONS.items()])

    ledger = [said("label", 1, '{"species":"setosa"}', 0), said("edit", CHANGED, '{"species":"virginica"}', 5)]
    pl.concat(ledger).write_parquet(folder / "decisions.parquet", compression="snappy")
    snapshot.write_parquet(folder / "snapshot.parquet", compression="snappy")


def last_words(folder: Path) -> Any:
    import polars as pl

    ledger = pl.scan_parquet(folder / "decisions.parquet")
    keys = ["sheet", "item_ref", "label_type"]
    return ledger.sort("at").group_by(keys).agg(pl.all().last()).sort(keys).collect()


def fold(folder: Path, stale: bool = False) -> Any:
    import polars as pl

    from workbench_pipelines.labels import fold_labels

    snapshot = pl.read_parquet(folder / "snapshot.parquet") if stale else None
    return fold_labels(pl.read_parquet(folder / "decisions.parquet"), snapshot)


def imported(folder: Path) -> Path:
    import polars

    import workbench_pipelines.labels

    assert polars
    assert workbench_pipelines.labels
    return folder


def witness(labels: Any) -> str:
    answers = hashlib.sha256("".join(labels["label_data"]).encode()).hexdigest()[:8]
    return f"{labels.height:,} labels {answers}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="+", default=[100_000, 1_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    for rows in given.rows:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            child = multiprocessing.get_context("fork").Process(target=write_inputs, args=(folder, rows))
            child.start()
            child.join()
            sides = [
                Side("polars, last words", last_words, partial(imported, folder), witness),
                Side("ours", fold, partial(imported, folder), witness),
                Side("ours, with staleness", partial(fold, stale=True), partial(imported, folder), witness),
            ]
            print_table(f"{rows:,} labels, {rows // CHANGED:,} of them changed", compare(sides, given.rounds), {})


if __name__ == "__main__":
    main()
