"""Intake: from the rows of JSONL files to the items of a Sheet, each named by its content.

Rows of the same content are one item. Which of them the item is, where their other fields differ, depends on what they say
and never on the order in which files come: the one whose fields read lowest. So files taken one by one, in any order, make
the same items as all of them at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from workbench_pipelines.catalog import IntakeSpec
from workbench_pipelines.catalog.intake_specs import OTHER_FIELDS, PLACE_COLUMNS
from workbench_pipelines.identity import digest

UTC_TIME = pl.Datetime("us", "UTC")
_TYPES: Mapping[str, pl.DataType] = {
    "string": pl.String(),
    "integer": pl.Int64(),
    "float": pl.Float64(),
    "number": pl.Float64(),
    "boolean": pl.Boolean(),
    "date": pl.Date(),
    "datetime": UTC_TIME,
}
_PLACE = pl.Schema({"source_file": pl.String(), "source_hash": pl.String(), "source_line": pl.Int64()})

AUDIT = pl.Schema(
    {
        "created_at": UTC_TIME,
        "created_by": pl.String(),
        "updated_at": UTC_TIME,
        "updated_by": pl.String(),
        "deleted_at": UTC_TIME,
        "deleted_by": pl.String(),
        "delete_reason": pl.String(),
    }
)
"""Who took, changed and deleted an item and when; no part of its content."""

SOURCE_FILES = pl.Schema(
    {
        "sheet": pl.String(),
        "source_file": pl.String(),
        "source_hash": pl.String(),
        "bytes": pl.Int64(),
        "rows": pl.Int64(),
        "bad_rows": pl.Int64(),
        "taken_by": pl.String(),
        "taken_at": UTC_TIME,
    }
)
"""Columns of `records/source_files`: a content that was taken, under the path it was first seen at; `rows` are all that are
not blank, `bad_rows` those refused for what they are. Rows that say what another one says are good ones."""

SOURCE_REFUSALS = pl.Schema(
    {
        "sheet": pl.String(),
        "item_ref": pl.String(),
        "source_file": pl.String(),
        "source_hash": pl.String(),
        "source_line": pl.Int64(),
        "reason": pl.String(),
        "detail": pl.String(),
    }
)
"""Columns of `records/source_refusals`. Reasons: `not_json`, `not_utf8`, `cut_short`, `not_an_object`, `key_twice`,
`missing_field`, `empty_value`, `wrong_type`, `out_of_range`, `unknown_field`, `empty_file` for what a row or file is;
`repeated` for a row whose item is another row."""

ITEM_MARKS = pl.Schema(
    {
        "sheet": pl.String(),
        "item_ref": pl.String(),
        "action": pl.String(),
        "reason": pl.String(),
        "by": pl.String(),
        "at": UTC_TIME,
    }
)
"""Columns of `records/item_marks`: every `delete` and `restore` of an item, append-only."""


class Refused(NamedTuple):
    """A row that is not taken: its line, the short reason, and one line that never quotes it."""

    line: int
    reason: str
    detail: str


def item_columns(spec: IntakeSpec) -> pl.Schema:
    """The columns that an item has of its row, with their types."""
    own = {field.name: _TYPES[field.type] for field in spec.fields}
    return pl.Schema(own | ({OTHER_FIELDS: pl.String()} if spec.other_fields == "keep" else {}))


def row_columns(spec: IntakeSpec) -> pl.Schema:
    """An item with its name and the file and line it stands in."""
    return pl.Schema({"item_ref": pl.String(), **item_columns(spec), **_PLACE})


def taken_columns(spec: IntakeSpec) -> pl.Schema:
    """The columns of the table of taken items: rows with who took, changed or deleted them."""
    return pl.Schema({**row_columns(spec), **AUDIT})


def content_ref(content: Mapping[str, Any]) -> str:
    """The name of an item by its content: the SHA-256 of its canonical JSON."""
    return digest(content)


def content_refs(frame: pl.DataFrame, columns: Sequence[str]) -> pl.Series:
    """`content_ref` of every row."""
    refs = [digest(row) for row in frame.select(columns).iter_rows(named=True)]
    return pl.Series("item_ref", refs, dtype=pl.String)


def refusal_rows(sheet: str, source_file: str, source_hash: str, refused: Sequence[Refused]) -> pl.DataFrame:
    """Rows of `SOURCE_REFUSALS`."""
    rows = [
        {
            "sheet": sheet,
            "item_ref": None,
            "source_file": source_file,
            "source_hash": source_hash,
            "source_line": one.line,
            "reason": one.reason,
            "detail": one.detail,
        }
        for one in refused
    ]
    return pl.DataFrame(rows, schema=SOURCE_REFUSALS)


@dataclass(frozen=True)
class Settled:
    """What new rows come to beside those that are there.

    Attributes:
        fresh: rows of items that were not there, each once.
        changed: items that were there, with the row that takes the place of theirs.
        refusals: rows of `SOURCE_REFUSALS`, for every row that is not the one its item is.
    """

    fresh: pl.DataFrame
    changed: pl.DataFrame
    refusals: pl.DataFrame


def settle(sheet: str, new: pl.DataFrame, there: pl.DataFrame) -> Settled:
    """Which of the rows of each item counts: the one whose fields read lowest; of equal ones the one that is there, or the
    one of the lowest file and line.

    A row that is there itself, as after an intake that was killed, is neither new nor refused.

    Args:
        new: rows with their place.
        there: the rows that are there of the same items.
    """
    repeated = new["item_ref"].is_duplicated()
    contested = repeated if there.is_empty() else repeated | new["item_ref"].is_in(there["item_ref"].implode())
    fresh = new.filter(~contested)
    none = Settled(fresh, new.clear(), SOURCE_REFUSALS.to_frame())
    if fresh.height == new.height:
        return none
    fields = [name for name in new.columns if name != "item_ref" and name not in PLACE_COLUMNS]
    rows = pl.concat(
        [
            new.filter(contested).with_columns(known=pl.lit(False)),
            there.select(*new.columns, known=pl.lit(True)),
        ]
    )
    reads = pl.struct(fields).struct.json_encode()
    order = ["item_ref", reads, ~pl.col("known"), "source_hash", "source_line"]
    rows = rows.sort(order).unique(["item_ref", "source_hash", "source_line"], keep="first", maintain_order=True)
    rows = rows.with_columns(
        first=pl.col("item_ref").is_first_distinct(), any_known=pl.col("known").any().over("item_ref")
    )
    chosen = rows.filter(pl.col("first"))
    lost = rows.filter(~pl.col("first"))
    columns = new.columns
    return Settled(
        fresh=pl.concat([fresh, chosen.filter(~pl.col("any_known")).select(columns)]),
        changed=chosen.filter(pl.col("any_known") & ~pl.col("known")).select(columns),
        refusals=_lost_rows(sheet, lost, chosen, fields),
    )


def _lost_rows(sheet: str, lost: pl.DataFrame, chosen: pl.DataFrame, fields: Sequence[str]) -> pl.DataFrame:
    """The refusals of rows whose item is another row: where that one stands, and in which fields the two differ."""
    if lost.is_empty():
        return SOURCE_REFUSALS.to_frame()
    both = lost.join(chosen, on="item_ref", how="left", suffix=" chosen", maintain_order="left")
    differs = pl.concat_list(
        pl.when(pl.col(name).ne_missing(pl.col(f"{name} chosen"))).then(pl.lit(name)) for name in fields
    ).list.drop_nulls()
    other = (
        pl.when(differs.list.len() > 0)
        .then(pl.lit(", which differs in ") + differs.list.join(", "))
        .otherwise(pl.lit(""))
    )
    where = pl.col("source_file chosen") + pl.lit(" line ") + pl.col("source_line chosen").cast(pl.String)
    return both.select(
        pl.lit(sheet).alias("sheet"),
        "item_ref",
        *PLACE_COLUMNS,
        pl.lit("repeated").alias("reason"),
        (pl.lit("the same item stands in ") + where + other).alias("detail"),
    ).select(list(SOURCE_REFUSALS))


def snapshot_refusals(refusals: pl.DataFrame) -> pl.DataFrame:
    """Rows of `SOURCE_REFUSALS` as they stand in the refusals of a snapshot: the file and line lead the detail."""
    line = pl.when(pl.col("source_line") > 0).then(pl.format(" line {}", "source_line")).otherwise(pl.lit(""))
    detail = pl.concat_str("source_file", line, pl.lit(": "), "detail").alias("detail")
    return refusals.select("sheet", "item_ref", "reason", detail)
