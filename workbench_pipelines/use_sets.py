"""Use sets: pairs that somebody takes for a use that no training, evaluation or prompt of the project's own is, such as `testing`.

A set passes the gates that an export passes, judged by the use that it is for. What is in it, and what was refused, stays on
record: a set that lies somewhere is found by whoever recalls, erases or tightens.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import orjson
import polars as pl

from workbench_pipelines.errors import ArgumentError, nearest
from workbench_pipelines.formats.lines import one_line_each
from workbench_pipelines.gates import EXCLUSIONS, judge, refusal
from workbench_pipelines.restrictions import OPEN_CLASSIFICATIONS
from workbench_pipelines.spreadsheet_text import neutralised, restored

TESTING = "testing"
OWN_DOORS: Mapping[str, str] = {
    "training": "`workbench run` exports it with its splits",
    "validation": "`workbench run` exports it with its splits",
    "evaluation": "`workbench run` exports it with its splits",
    "few_shot": "`workbench examples` has what permits it",
}
"""The uses that no set is taken for, and what each has in place of that."""

_TIME = pl.Datetime("us", "UTC")
USE_SETS = pl.Schema(
    {
        "set_id": pl.String(),
        "collection": pl.String(),
        "use": pl.String(),
        "pair_id": pl.String(),
        "pair_hash": pl.String(),
        "training_sheet": pl.String(),
        "sheet": pl.String(),
        "item_ref": pl.String(),
        "path": pl.String(),
        "sha256": pl.String(),
        "by": pl.String(),
        "at": _TIME,
    }
)
"""Columns of `records/use_sets`: one row a pair of a set; `sha256` is that of the file as it was written."""

USE_SET_REFUSALS = pl.Schema({"set_id": pl.String(), "collection": pl.String(), "use": pl.String(), **EXCLUSIONS})
"""Columns of `records/use_set_refusals`: one row a pair that was refused, with the gate and who refuses."""

COLUMNS = ("pair_id", "item_ref", "training_sheet", "label_type", "inputs", "messages", "response")
FORMATS = ("jsonl", "csv")
_THE_SET = "the set"
_NOW = ("pair_hash", "allowed_uses", "prohibited_uses", "usage_reason", "data_classification")


def known_set_use(use: str, vocabulary: Sequence[str]) -> str:
    """The use itself.

    Raises:
        ArgumentError: for a use that no policy knows, and for one that has a door of its own.
    """
    if use not in vocabulary:
        raise ArgumentError(f"--use: unknown use '{use}'{nearest(use, vocabulary)}")
    if use in OWN_DOORS:
        raise ArgumentError(f"--use {use}: no set is taken for it; {OWN_DOORS[use]}")
    return use


def admit(
    pairs: pl.DataFrame,
    now: pl.DataFrame,
    use: str,
    vocabulary: Collection[str],
    *,
    sees_restricted: bool,
    person: str,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The pairs that may be taken for a use, and `gates.EXCLUSIONS` for the others.

    A pair has to be permitted by what stands in the lake and by what is stated now: nothing that was tightened since its
    pair was made is let out, and nothing that was lifted before that went on record.

    Input columns: those of `label/labeled_pairs`.

    Args:
        now: the same pairs as they would be made now; one that is not among them is no pair any more.
        sees_restricted: whether the person may see what is restricted.
    """
    use_of = {_THE_SET: use}
    admitted, refused = judge(pairs.with_columns(pl.lit(_THE_SET).alias("split")), vocabulary, use_of)
    by_id = {row["pair_id"]: row for row in now.select("pair_id", *_NOW).iter_rows(named=True)}
    verdicts: list[tuple[str | None, str | None]] = []
    for row in admitted.select("pair_id", "pair_hash", "data_classification").iter_rows(named=True):
        current = by_id.get(row["pair_id"])
        if current is None or current["pair_hash"] != row["pair_hash"]:
            verdicts.append(("permitted", "it is another pair by now, or none: run its TrainingSheet again"))
            continue
        why = refusal(_THE_SET, current, sorted(vocabulary), use_of)
        opened = {row["data_classification"], current["data_classification"]} <= set(OPEN_CLASSIFICATIONS)
        if why is not None:
            verdicts.append(("permitted", f"by what is stated now, {why}"))
        elif not (opened or sees_restricted):
            verdicts.append(
                ("seen", f"it is restricted, and {person} may not see that; the Access document names who may")
            )
        else:
            verdicts.append((None, None))
    said = pl.DataFrame(verdicts, schema={"gate": pl.String, "reason": pl.String}, orient="row")
    judged = admitted.hstack(said)
    later = judged.filter(pl.col("gate").is_not_null())
    refusals = pl.concat([refused, later.select([pl.col(name).cast(to) for name, to in EXCLUSIONS.items()])])
    return judged.filter(pl.col("gate").is_null()).select(admitted.columns), refusals.sort("pair_id")


def written(rows: pl.DataFrame, kind: str) -> bytes:
    """The file of a set: a line or a row a pair with `COLUMNS`, its inputs, messages and answer as JSON.

    In CSV no cell begins with what a spreadsheet program would run.
    """
    if kind == "csv":
        return _csv(rows)
    lines = (orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE) for row in _records(rows))
    return one_line_each(b"".join(lines))


def without_pairs(content: bytes, kind: str, pair_ids: Collection[str], texts: Collection[str] = ()) -> bytes:
    """The file of a set without some of its pairs, and without those in which one of some texts stands."""

    def stays(row: Mapping[str, Any]) -> bool:
        return row["pair_id"] not in pair_ids and not any(text in said for said in _texts_in(row) for text in texts)

    if kind == "csv":
        csv.field_size_limit(2**31 - 1)
        head, *lines = csv.reader(io.StringIO(content.decode(), newline=""))
        kept = [cells for cells in lines if stays(_read_cells(dict(zip(head, cells, strict=True))))]
        return "".join(map(_csv_line, [head, *kept])).encode()
    return b"".join(line + b"\n" for line in content.split(b"\n") if line and stays(orjson.loads(line)))


def set_rows(
    rows: pl.DataFrame, *, set_id: str, collection: str, use: str, path: str, sha256: str, by: str, at: dt.datetime
) -> pl.DataFrame:
    """Rows of `USE_SETS` for the pairs of a set."""
    said = {"set_id": set_id, "collection": collection, "use": use, "path": path, "sha256": sha256, "by": by, "at": at}
    return rows.with_columns(pl.lit(value).alias(name) for name, value in said.items()).select(
        [pl.col(name).cast(dtype) for name, dtype in USE_SETS.items()]
    )


def refusal_rows(refusals: pl.DataFrame, *, set_id: str, collection: str, use: str) -> pl.DataFrame:
    """Rows of `USE_SET_REFUSALS`."""
    said = {"set_id": set_id, "collection": collection, "use": use}
    return refusals.with_columns(pl.lit(value).alias(name) for name, value in said.items()).select(
        [pl.col(name).cast(dtype) for name, dtype in USE_SET_REFUSALS.items()]
    )


def refused_in_sets(sets: pl.DataFrame, pairs: pl.DataFrame, vocabulary: Sequence[str]) -> pl.DataFrame:
    """The pairs of sets that may not be used for what they were taken for any more: rows of `USE_SETS` with `reason`.

    A pair that there is no more is not spoken of: its item left its Sheet, and nothing is known of it.

    Args:
        pairs: pair_id, allowed_uses, prohibited_uses and usage_reason of `label/labeled_pairs`.
    """
    known = sets.join(pairs.select("pair_id", *_NOW[1:4]), on="pair_id", how="inner", maintain_order="left")
    reasons = [
        refusal(_THE_SET, row, vocabulary, {_THE_SET: row["use"]})
        for row in known.select("use", *_NOW[1:4]).iter_rows(named=True)
    ]
    judged = known.with_columns(pl.Series("reason", reasons, pl.String)).filter(pl.col("reason").is_not_null())
    return judged.select(*USE_SETS, "reason")


def _records(rows: pl.DataFrame) -> Iterator[dict[str, Any]]:
    for row in rows.select(COLUMNS).iter_rows(named=True):
        parts = [
            {**message, "parts": orjson.loads(message["parts"])} if message["parts"] else
            {"role": message["role"], "content": message["content"]}
            for message in row["messages"]
        ]  # fmt: skip
        read = {name: orjson.loads(row[name]) if row[name] is not None else None for name in ("inputs", "response")}
        yield row | read | {"messages": parts}


def _texts_in(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, (Mapping, list)):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts_in(inner)


def _read_cells(cells: Mapping[str, str]) -> dict[str, Any]:
    plain = {name: restored(cell) for name, cell in cells.items()}
    return plain | {name: orjson.loads(plain[name]) for name in ("inputs", "messages", "response")}


def _csv(rows: pl.DataFrame) -> bytes:
    lines = [list(COLUMNS)]
    for row in _records(rows):
        cells = [value if isinstance(value, str) else orjson.dumps(value).decode() for value in row.values()]
        lines.append([neutralised(one_line_each(cell.encode()).decode()) for cell in cells])
    return "".join(map(_csv_line, lines)).encode()


def _csv_line(cells: Sequence[str]) -> str:
    return ",".join('"' + cell.replace('"', '""') + '"' for cell in cells) + "\n"
