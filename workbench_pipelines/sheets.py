"""Sheets: from the tables a Sheet names to the rows of its snapshot.

A snapshot row is one item: ``item_ref`` (its key as text; a JSON array for a composite key), ``item_hash`` (what all
its source columns hold), the source columns under their own names, ``row_tags`` (tags of the table and of the row rules
that hold) and ``usage_statements`` (JSON; what each source states of its uses).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from workbench_pipelines.catalog import SecondarySource, Sheet, TagPolicy
from workbench_pipelines.errors import FilterError, SourceError
from workbench_pipelines.filters import compile_filter
from workbench_pipelines.identity import item_hash, item_ref_of
from workbench_pipelines.intake import content_refs
from workbench_pipelines.joins import as_text, join_source
from workbench_pipelines.row_usage import (
    Policies,
    Rule,
    flagged,
    row_rules,
    source_rules,
    standing_statements,
    with_usage,
)
from workbench_pipelines.samples import sample_items
from workbench_pipelines.sheet_columns import (
    JoinedColumns,
    joined_columns,
    joined_sources,
    key_names,
    sheet_problems,
)
from workbench_pipelines.volumes import Extracted, ReadFiles, path_column, volumes_of

_ROW = "__row"
_SHOWN_ROWS = 3  # enough to find the trouble, few enough for one line

SNAPSHOT_REFUSALS = pl.Schema(dict.fromkeys(("sheet", "item_ref", "reason", "detail"), pl.String()))
"""Columns of `data/sheet_snapshot_refusals`: an item of which a file could not be read, which goes on without its content;
a row that says what another one says (`repeated`), of a Sheet whose items are named by content; a row of a file that was taken
and what is wrong with it (`intake`)."""


@dataclass(frozen=True)
class Snapshot:
    """The items of a Sheet, and what of their files could not be read.

    Attributes:
        frame: item_ref, item_hash, the source columns, row_tags, usage_statements.
        refusals: rows of `SNAPSHOT_REFUSALS`.
        files: by volume, how many items have a `file`, how many rows none (`missing`; with an inner join they fell away) and
            how many a file that could not be read (`refused`).
    """

    frame: pl.DataFrame
    refusals: pl.DataFrame
    files: Mapping[str, Mapping[str, int]]


def take_snapshot(
    sheet: Sheet,
    primary: pl.DataFrame,
    secondaries: Mapping[str, pl.DataFrame],
    *,
    policies: Mapping[str, TagPolicy],
    vocabulary: Sequence[str],
    where: str,
    read_files: ReadFiles | None = None,
) -> Snapshot:
    """One row per item of a Sheet: joined, filtered, named, sampled, with what is stated of its uses.

    `secondaries` holds the table of each secondary source by its name, `read_files` opens the volumes; `where` names the
    Sheet and its file. Rows keep the order of the primary table. Files that neither the filter nor the sample asks for are
    opened for the items that are left.

    Output columns: item_ref, item_hash, the source columns, row_tags, usage_statements.

    Raises:
        DefinitionError, FilterError: the Sheet names a column, tag, use or condition that does not hold.
        SourceError: the data is not what the Sheet says: no key or the same key twice, a join that fans out, a file name
            that leads out of its volume.
    """
    known = Policies(policies, vocabulary)
    schemas = {name: dict(frame.schema) for name, frame in secondaries.items()}
    own_columns = {
        name: dtype for name, dtype in primary.schema.items() if not (sheet.spec.intake and name == "item_ref")
    }
    for problem in sheet_problems(sheet, own_columns, schemas, known, where):
        raise problem
    joined = joined_columns(sheet, own_columns, schemas, where)
    primary, repeated = _named_by_content(primary, sheet)
    join = _Join(sheet, secondaries, joined, known, where, read_files)
    rows = as_text(primary, [k for k in join.keys if k in primary.columns], f"{where}: {sheet.spec.primary_table}")
    rows = rows if _ROW in rows.columns else rows.with_row_index(_ROW, offset=1)
    late = _read_last(sheet, joined)
    for source in joined_sources(sheet, where):
        rows = rows if source in late else join.joined(rows, source)
    rows = _kept(rows, sheet.spec.filter_condition, joined, f"{where}: spec.filter_condition")
    rows = _named(rows, sheet, where)
    rows = sample_items(rows, sheet.spec.sample, f"{where}: spec")
    for source in late:
        rows = join.joined(rows, source)
    own = row_rules(sheet, known, where)
    columns = list(joined.schema)
    hashes = pl.Series("item_hash", list(_hashes(rows.select(columns), where)), dtype=pl.String)
    rows = flagged(rows, joined.schema, own).with_columns(hashes)
    standing = list(standing_statements(sheet, joined.origins, known, where))
    rows = with_usage(rows, standing, sheet.spec.source_tags, [*join.rules, *own])
    others = [name for name in columns if name != "item_ref"]
    refusals, files = join.of_files(rows)
    items = rows.select("item_ref", "item_hash", *others, "row_tags", "usage_statements")
    return Snapshot(items, pl.concat([repeated, refusals]), files)


class _Join:
    """Joins the sources of a Sheet one by one; keeps their row rules, and what its files could not give."""

    def __init__(
        self,
        sheet: Sheet,
        secondaries: Mapping[str, pl.DataFrame],
        joined: JoinedColumns,
        policies: Policies,
        where: str,
        read_files: ReadFiles | None,
    ) -> None:
        self.keys = key_names(sheet)
        self.rules: list[Rule] = []
        self._sheet, self._secondaries, self._columns = sheet, secondaries, joined
        self._policies, self._where, self._read_files = policies, where, read_files
        self._refused: dict[str, Mapping[str, Extracted]] = {}
        self._missing: dict[str, int] = {}

    def joined(self, rows: pl.DataFrame, source: SecondarySource) -> pl.DataFrame:
        """The rows with the columns and rule flags of a source."""
        place = f"{self._where}: spec.secondary_sources.{source.name}"
        table = self._files(rows, source, place) if source.type == "volume" else self._secondaries[source.name]
        table = as_text(table, [k for k in self.keys if k in table.columns], f"{self._where}: {source.path}")
        names = self._columns.names[source.name]
        own = source_rules(source.usage, source.name, tuple(names.values()), self._policies, self._where)
        self.rules += own
        return join_source(rows, source, flagged(table, dict(table.schema), own), names, place)

    def of_files(self, rows: pl.DataFrame) -> tuple[pl.DataFrame, dict[str, dict[str, int]]]:
        """The refusals of the items that are left, and the counts of each volume."""
        refusals = []
        counts = {}
        for source in volumes_of(self._sheet):
            refused = self._refused[source.name]
            found = rows.filter(pl.col(path_column(source)).is_not_null()).select("item_ref", name=source.join_keys[0])
            unread = [(item, refused[name]) for item, name in found.iter_rows() if name in refused]
            refusals += [
                {
                    "sheet": self._sheet.name,
                    "item_ref": item,
                    "reason": why.reason,
                    "detail": f"{source.name}: {why.detail}",
                }
                for item, why in unread
            ]
            missing = self._missing[source.name] if source.how == "inner" else rows.height - found.height
            counts[source.name] = {"files": found.height, "missing": missing, "refused": len(unread)}
        return pl.DataFrame(refusals, schema=SNAPSHOT_REFUSALS), counts

    def _files(self, rows: pl.DataFrame, source: SecondarySource, place: str) -> pl.DataFrame:
        """The files that these rows name.

        Raises:
            SourceError: for names that lead out of the folder, with their rows and never the names.
        """
        assert self._read_files is not None, "a Sheet with volumes needs a way to open them"
        key = source.join_keys[0]
        read = self._read_files(source, rows[key].drop_nulls().unique(maintain_order=True).to_list())
        astray = rows.filter(pl.col(key).is_in(sorted(read.outside)))
        if astray.height:
            raise SourceError(
                f"{place}: {astray.height} {_rows(astray.height)} a name in '{key}' that leads out of {source.path} or to no "
                f"file ({_numbers(astray)}); a name is the path of a file below that folder"
            )
        self._refused[source.name] = read.refused
        self._missing[source.name] = rows.height - rows.filter(pl.col(key).is_in(read.frame[key].implode())).height
        return read.frame


def _read_last(sheet: Sheet, joined: JoinedColumns) -> list[SecondarySource]:
    """The volumes that choose no items: their files are opened for the items that are chosen without them."""
    spec = sheet.spec
    named = {*spec.key_columns, *(key for source in spec.secondary_sources for key in source.join_keys)}
    named |= {spec.sample.by} if spec.sample is not None and spec.sample.by is not None else set()

    def chooses(source: SecondarySource) -> bool:
        own = set(joined.names[source.name].values())
        if source.how == "inner" or own & named:
            return True
        if spec.filter_condition is None:
            return False
        others = {name: dtype for name, dtype in joined.schema.items() if name not in own}
        try:
            compile_filter(spec.filter_condition, others, "")
        except FilterError:
            return True
        return False

    return [source for source in volumes_of(sheet) if not chooses(source)]


def _kept(rows: pl.DataFrame, condition: str | None, joined: JoinedColumns, where: str) -> pl.DataFrame:
    if condition is None:
        return rows
    try:
        return rows.filter(compile_filter(condition, joined.schema, where))
    except pl.exceptions.PolarsError:
        # Their text may quote a value of the row.
        raise FilterError(f"{where}: the filter can not be applied to the rows") from None


def _named_by_content(rows: pl.DataFrame, sheet: Sheet) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows of a Sheet whose items are named by content, each item once, and the refusals of the others; of rows that
    differ in other columns the one that reads lowest counts, wherever it stands."""
    none = SNAPSHOT_REFUSALS.to_frame()
    content = sheet.spec.content_columns
    if not content or "item_ref" in rows.columns:
        return rows, none
    named = rows.with_columns(content_refs(rows, content)).with_row_index(_ROW, offset=1)
    twice = named.filter(pl.col("item_ref").is_duplicated())
    if twice.is_empty():
        return named, none
    # A struct is ordered as no reader would expect; its JSON is the same everywhere.
    twice = twice.sort("item_ref", pl.struct(rows.columns).struct.json_encode(), _ROW)
    kept = pl.col(_ROW).first().over("item_ref").alias("kept")
    lost = twice.with_columns(kept).filter(pl.col(_ROW) != pl.col("kept")).sort(_ROW)
    refusals = lost.select(
        pl.lit(sheet.name).alias("sheet"),
        "item_ref",
        pl.lit("repeated").alias("reason"),
        pl.format("row {}: the same item stands in row {}", _ROW, "kept").alias("detail"),
    )
    return named.join(lost, on=_ROW, how="anti", maintain_order="left"), refusals


def _named(rows: pl.DataFrame, sheet: Sheet, where: str) -> pl.DataFrame:
    """The rows with their `item_ref`.

    Raises:
        SourceError: when a row has no key, or two rows have the same.
    """
    place = f"{where}: {sheet.spec.primary_table}"
    keys = sheet.spec.key_columns
    for name in keys:
        empty = rows.filter(pl.col(name).is_null() | (pl.col(name).str.strip_chars() == ""))
        if empty.height:
            raise SourceError(
                f"{place}: {empty.height} {_rows(empty.height)} no value in the key column '{name}' "
                f"({_numbers(empty)}); item_ref has to name every row"
            )
    if keys:
        refs = (
            rows[keys[0]] if len(keys) == 1 else pl.Series([item_ref_of(key) for key in rows.select(keys).iter_rows()])
        )
        rows = rows.with_columns(refs.cast(pl.String).alias("item_ref"))
    repeated = rows.filter(pl.col("item_ref").is_duplicated())
    if repeated.height:
        shown = (
            ""
            if _is_restricted(sheet)
            else f": {', '.join(repeated['item_ref'].unique(maintain_order=True)[:_SHOWN_ROWS])}"
        )
        fan_out = any(source.allow_fan_out for source in sheet.spec.secondary_sources)
        hint = "; name a column of the joined source in item_ref as well" if fan_out else ""
        raise SourceError(
            f"{place}: {repeated.height} rows share their {', '.join(keys) or 'item_ref'} with another "
            f"({_numbers(repeated)}){shown}; item_ref has to be unique{hint}"
        )
    return rows


def _is_restricted(sheet: Sheet) -> bool:
    """Whether a key is no matter for an error line: its table or column is tagged, or the Sheet is restricted."""
    spec = sheet.spec
    tagged = any(spec.columns[name].tags for name in spec.key_columns if name in spec.columns)
    return tagged or bool(spec.source_tags) or spec.usage.data_classification == "restricted"


def _rows(count: int) -> str:
    return "row has" if count == 1 else "rows have"


def _numbers(rows: pl.DataFrame) -> str:
    """``rows 3, 7, 9 and 4 more``, counted from 1 without the header."""
    shown = ", ".join(str(number) for number in rows[_ROW][:_SHOWN_ROWS])
    more = f" and {rows.height - _SHOWN_ROWS} more" if rows.height > _SHOWN_ROWS else ""
    return f"row{'s' if rows.height > 1 else ''} {shown}{more}"


def _hashes(rows: pl.DataFrame, where: str) -> Iterator[str]:
    try:
        for row in rows.iter_rows(named=True):
            yield item_hash(row)
    except TypeError as error:
        raise SourceError(f"{where}: a column can not be hashed: {error}") from None
