"""A million pairs from the Parquet file of an export to the files of its formats, beside a raw write of as many bytes.

    python benchmarks/exports.py [--rows 1000000] [--rounds N] [--formats openai sharegpt csv hf ...]

Every side writes one file of the same size and brings it to the disk (fsync), as an export is. The reference writes bytes
that are there already. `ours` reads the Parquet file by row groups, as `workbench run` does, and streams the lines of a format. The
peer is polars' own streaming writer of the same lines. The witness is the size and, of text files, the digest of the content.
"""

from __future__ import annotations

import argparse
import hashlib
import multiprocessing
import os
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from side_by_side import Side, compare, print_table

TEXT = "the amount of this invoice was paid for work on a roof in spring and nobody asked why it took so long"
WORDS = TEXT.split()
AIM, MIB = 2.5, 400


def write_pairs(path: Path, rows: int) -> None:
    """An export of `rows` pairs of about 1 KB, a row group at a time."""
    import polars as pl
    import pyarrow.parquet as pq

    from workbench_pipelines.export_formats import PARQUET_ROWS

    writer = None
    for start in range(0, rows, 50_000):
        numbers = range(start, min(rows, start + 50_000))
        texts = [" ".join(WORDS[(at * 7 + k * k) % len(WORDS)] for k in range(150)) + f" – {at}" for at in numbers]
        messages = [
            [
                {"role": "system", "content": "You route invoices.", "parts": None},
                {"role": "user", "content": text, "parts": None},
            ]
            for text in texts
        ]
        known: dict[str, Any] = {
            "pair_id": [f"{at:064d}" for at in numbers],
            "pair_hash": [f"{at:064x}" for at in numbers],
            "item_ref": [f"I-{at}" for at in numbers],
            "messages": messages,
            "response": ['{"department":"surgery"}'] * len(texts),
        }
        constant = {"training_sheet": "ts", "label_type": "t", "inputs": '{"x":1}', "split": "train", "weight": 1.0}
        frame = pl.DataFrame(known, schema={name: PARQUET_ROWS[name] for name in known}).with_columns(
            **{name: pl.lit(value) for name, value in constant.items()}, canonical_label_id=pl.lit(None, pl.String)
        )
        table = frame.select(list(PARQUET_ROWS)).to_arrow()
        writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
        writer.write_table(table, row_group_size=50_000)
    assert writer is not None
    writer.close()


def raw_write(folder: Path, size: int) -> Path:
    """As many bytes, all of them there before."""
    block = b"x" * 2**21
    path = folder / "out"
    with path.open("wb") as file:
        left = size
        while left:
            left -= file.write(block[:left])
    return brought_to_disk(path)


def brought_to_disk(path: Path) -> Path:
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return path


def ours(folder: Path, name: str) -> Path:
    from workbench_pipelines.clients.export_folder import row_groups
    from workbench_pipelines.clients.hf_dataset import write_hf_split
    from workbench_pipelines.formats import FILE_FORMATS
    from workbench_pipelines.formats.conversation import no_images

    source = folder / "train.parquet"
    if name == "hf":
        shutil.rmtree(folder / "hf", ignore_errors=True)
        write_hf_split(folder / "hf", "train", row_groups(source), no_images, shows=False)
        return brought_to_disk(folder / "hf/train/data-00000-of-00001.arrow")
    path = folder / "out"
    with path.open("wb") as file:
        file.writelines(FILE_FORMATS[name].write(row_groups(source), no_images))
    return brought_to_disk(path)


def polars_sink(folder: Path) -> Path:
    """The same lines, but for null parts, by polars' streaming engine."""
    import polars as pl

    answer = pl.struct(pl.lit("assistant").alias("role"), pl.col("response").alias("content"))
    said = pl.col("messages").list.eval(
        pl.struct(pl.element().struct.field("role"), pl.element().struct.field("content"))
    )
    lines = pl.scan_parquet(folder / "train.parquet").select(messages=pl.concat_list(said, answer))
    lines.sink_ndjson(folder / "out")
    return brought_to_disk(folder / "out")


def imported(folder: Path) -> Path:
    import polars
    import pyarrow.parquet

    import workbench_pipelines.clients.export_folder

    assert polars
    assert pyarrow
    assert workbench_pipelines
    (folder / "out").unlink(missing_ok=True)
    return folder


def witness(path: Path) -> str:
    with path.open("rb") as file:
        return f"{path.stat().st_size / 2**20:,.0f} MiB {hashlib.file_digest(file, 'sha256').hexdigest()[:8]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--formats", nargs="+", default=["openai"])
    parser.add_argument("--no-peer", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for name in given.formats:
            if not (folder / "train.parquet").exists():
                _child(write_pairs, folder / "train.parquet", given.rows)
            with multiprocessing.get_context("fork").Pool(1) as pool:
                size = pool.apply(_size_of, (folder, name))
            sides = [
                Side(f"raw write of {name}'s bytes", partial(raw_write, size=size), partial(imported, folder), witness),
                Side(f"ours, {name}", partial(ours, name=name), partial(imported, folder), witness),
            ]
            if name == "openai" and not given.no_peer:
                sides.append(Side("polars sink_ndjson", polars_sink, partial(imported, folder), witness))
            figures = compare(sides, given.rounds)
            print_table(f"{given.rows:,} pairs as {name}", figures, {f"ours, {name}": AIM})
            peak = figures[1].median("peak") / 2**20
            print(f"memory of ours: {peak:.0f} MiB, aim <= {MIB} MiB: {'met' if peak <= MIB else 'MISSED'}")


def _size_of(folder: Path, name: str) -> int:
    return ours(folder, name).stat().st_size


def _child(target: Any, *arguments: Any) -> None:
    child = multiprocessing.get_context("fork").Process(target=target, args=arguments)
    child.start()
    child.join()
    assert child.exitcode == 0


if __name__ == "__main__":
    main()
