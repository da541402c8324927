"""Gathering the texts of an item before it is erased: what its source says of it, and what people and models wrote of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from workbench_pipelines.clients.lake_erasure import LakeErasure, sheet_of
from workbench_pipelines.erasure import ERASURES, Erasing, item_digest
from workbench_pipelines.erasure_texts import (
    DEFINED,
    NO_TEXT,
    SHARED,
    TOO_SHORT,
    WRITTEN,
    NotSearched,
    SoughtText,
    beginnings,
    counted,
    cuts_of,
    forms,
    leaves,
    sought,
    standing_in,
    tells,
    values_in,
    windows,
)
from workbench_pipelines.errors import WorkbenchError
from workbench_pipelines.workbench import Workbench

SNAPSHOT = ("data", "sheet_snapshot")
_OF_ROW = ("item_ref", "item_hash", "row_tags", "usage_statements")
"""What a snapshot holds beside the values of the source."""
# What a program says of a row it refused is no text of anybody.
_REFUSALS = "_refusals"
# What says of which item a row speaks: what is written elsewhere is held by no other item, whoever quotes it.
_NAMING = {"item_ref", "pair_id", "request_hash", "example_id", "canonical_label_id", "delivery_id", "feedback_id"}


@dataclass(frozen=True)
class Said:
    """A value of an item, and where it stands."""

    where: str
    value: Any
    of_source: bool


def gather_texts(
    workbench: Workbench, lake: LakeErasure, erasing: Erasing, sheet: str, ref: str
) -> tuple[list[SoughtText], list[NotSearched]]:
    """What an item alone says, the longest first, and what of it can not be looked for.

    A value counts where no other item holds it: one of the source among the items of the Sheet, any other one among all that
    is written of other items. Of a long one those pieces count that no row which stays holds.

    Args:
        erasing: the item by its names.
    """
    own_rows, others = _rows_of_sheet(workbench, sheet, ref)
    said = [*_said_in_source(own_rows, sheet), *_written(workbench, lake, erasing)]
    left: list[tuple[str, str, Any]] = []
    candidates: dict[str, Said] = {}
    for one in said:
        if not isinstance(one.value, str):
            left.append((one.where, NO_TEXT, one.value))
        elif one.value in erasing.item_refs and not one.of_source:
            continue  # a name, which prompts show like a value
        elif not tells(one.value, of_source=one.of_source):
            left.append((one.where, TOO_SHORT, one.value))
        else:
            candidates.setdefault(one.value, one)
    defined = [*(one.text for one in workbench.files.definitions()), *workbench.files.partials().values()]
    in_definitions = {text for text in candidates if _stands_in(text, defined)}
    shared = _held_by_others(workbench, lake, erasing, candidates.values(), others)
    for one in said:
        if isinstance(one.value, str) and one.value in candidates and one.value in shared | in_definitions:
            left.append((one.where, DEFINED if one.value in in_definitions else SHARED, one.value))
    texts = [text for text in candidates if text not in shared | in_definitions]
    known = _shared_windows(workbench, lake, erasing, texts, others)
    asked = {piece for text in texts for piece in (*windows(text), *beginnings(text))} - known
    known |= {piece for piece in asked if _stands_in(piece, defined)}
    texts.sort(key=lambda text: (-len(text), text))
    found = []
    for text in texts:
        cuts = cuts_of(text, known, of_source=candidates[text].of_source)
        found.append(sought(text, candidates[text].where, known, cuts))
    return found, counted(left)


def _rows_of_sheet(workbench: Workbench, sheet: str, ref: str) -> tuple[list[pl.DataFrame], list[pl.DataFrame]]:
    """The rows of the item in its source and its snapshot, and those of the items that stay."""
    frames = [source_of(workbench, sheet)]
    if workbench.lake.exists(*SNAPSHOT, sheet):
        frames.append(workbench.lake.read(*SNAPSHOT, sheet))
    gone = set(workbench.record("erasures", ERASURES).filter(pl.col("sheet") == sheet)["item_digest"])
    own, others = [], []
    for rows in frames:
        own.append(rows.filter(pl.col("item_ref") == ref))
        rest = rows.filter(pl.col("item_ref") != ref)
        if gone:
            stays = [item_digest(one) not in gone for one in rest["item_ref"]]
            rest = rest.filter(pl.Series(stays, dtype=pl.Boolean))
        others.append(rest.drop([name for name in _OF_ROW[1:] if name in rest.columns]))
    return own, others


def source_of(workbench: Workbench, sheet: str) -> pl.DataFrame:
    """The items as the source has them, erased ones included; none where it can not be read."""
    try:
        return workbench.read_snapshot(workbench.catalog().sheet(sheet), sampled=False, with_erased=True).frame
    except WorkbenchError:
        return pl.DataFrame(schema={"item_ref": pl.String})


def _said_in_source(frames: Iterable[pl.DataFrame], sheet: str) -> Iterator[Said]:
    for rows in frames:
        for column in rows.columns:
            if column not in _OF_ROW:
                for value in rows[column].drop_nulls().to_list():
                    yield from (Said(f"{sheet}.{column}", one, True) for one in values_in(value))


def _written(workbench: Workbench, lake: LakeErasure, erasing: Erasing) -> Iterator[Said]:
    """What stands in the rows that are named for the item."""
    named = replace(erasing, texts=(), showing=frozenset())
    for parts, rows, schema in _tables(workbench, lake):
        columns = [name for name in schema if name in WRITTEN]
        if not columns or parts[:2] == SNAPSHOT or parts[-1].endswith(_REFUSALS):
            continue
        own = rows.filter(named.rows_of(schema, sheet_of(parts))).select(columns).collect()
        for column in columns:
            for value in own[column].drop_nulls().to_list():
                yield from (Said(f"{'/'.join(parts)}.{column}", one, False) for one in leaves(value, column))


def _held_by_others(
    workbench: Workbench, lake: LakeErasure, erasing: Erasing, said: Iterable[Said], others: list[pl.DataFrame]
) -> set[str]:
    """Those values that other items hold as well."""
    said = list(said)
    written = [one.value for one in said if not one.of_source]
    held = set[str]()
    for frame in others:
        held |= standing_in(frame.lazy(), (one.value for one in said))
    named = replace(erasing, texts=())
    for parts, rows, schema in _tables(workbench, lake):
        columns = [name for name in schema if name in WRITTEN]
        if written and columns and parts[:2] != SNAPSHOT and _NAMING & schema.keys():
            held |= standing_in(_others(rows, named.rows_of(schema, sheet_of(parts)), columns), written)
    return held


def _shared_windows(
    workbench: Workbench, lake: LakeErasure, erasing: Erasing, texts: list[str], others: list[pl.DataFrame]
) -> set[str]:
    """The windows and beginnings of some texts that stand in rows which stay: those that do not show a whole one."""
    cut = [piece for text in texts if len(pieces := windows(text)) > 1 for piece in pieces]
    cut += [piece for text in texts for piece in beginnings(text)]
    held = set[str]()
    for frame in others:
        held |= standing_in(frame.lazy(), cut)
    whole = replace(erasing, texts=tuple(SoughtText("", text, (text,)) for text in texts))
    for parts, rows, schema in _tables(workbench, lake):
        if parts[:2] == SNAPSHOT:
            columns = [name for name in schema if name not in _OF_ROW[1:]]
        else:
            columns = [name for name in schema if name in WRITTEN or name == "messages"]
        if cut and columns and _NAMING & schema.keys():
            held |= standing_in(_others(rows, whole.rows_of(schema, sheet_of(parts)), columns), cut)
    return held


def _others(rows: pl.LazyFrame, own: pl.Expr, columns: list[str]) -> pl.LazyFrame:
    return rows.filter(~own).select(columns)


def _tables(
    workbench: Workbench, lake: LakeErasure
) -> Iterator[tuple[tuple[str, ...], pl.LazyFrame, dict[str, pl.DataType]]]:
    for parts in lake.tables():
        rows = workbench.lake.scan(*parts)
        yield parts, rows, dict(rows.collect_schema())


def _stands_in(text: str, definitions: Iterable[str]) -> bool:
    return any(form in one for one in definitions for form in forms(text))
