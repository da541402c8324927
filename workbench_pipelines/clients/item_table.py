"""The table of a Sheet's taken items: one Delta table, laid out so that a few rows of millions are found in milliseconds.

Rows lie in *generations*, partitions of up to `GENERATION_ROWS` rows, each in the order of `item_ref` and in small row
groups: a look for one item, or for the first hundred of something, opens a few row groups and not the table. A large intake
writes generations of its own; a small one adds a file to the newest, and files and generations are put together as they
become many, so that thousands of small intakes leave tens of files. Only a generation is ever rewritten.

Whoever writes holds the Sheet's lock (`file_intake`); a writer on another machine makes the commit conflict, and it is
decided anew.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl
from deltalake import (
    ColumnProperties,
    CommitProperties,
    DeltaTable,
    Transaction,
    WriterProperties,
    write_deltalake,
)

from workbench_pipelines.catalog.intake_specs import GENERATION
from workbench_pipelines.clients.lake import Lake, commit_with_retry
from workbench_pipelines.clients.lake_types import fit_to_table
from workbench_pipelines.clients.table_maintenance import KEEP_HOURS
from workbench_pipelines.intake import AUDIT, Settled, settle

GENERATION_ROWS = 131_072  # some 60 MB of prompts and answers, which is what a rewrite holds in memory
TAIL_ROWS = 16_384  # the generation that small intakes add to; it is rewritten often
MANY_FILES = 16
# Texts are decoded by the row group, and a look at a narrow column goes through all of them: of a million rows, 20 scattered
# ones take the same time by either at some 4,000 rows.
ROW_GROUP_ROWS = 4096
FEW_REFS = 2000  # so many names go into a predicate; more are joined

_APPLICATION = "workbench.items"


class ItemTable:
    """The taken items of one Sheet.

    Args:
        columns: those of `intake.taken_columns`.
        texts: the columns of which hardly two values are equal.
    """

    def __init__(self, lake: Lake, sheet: str, columns: pl.Schema, texts: Sequence[str]) -> None:
        self.sheet = sheet
        self.parts = ("records", "items", sheet)
        self._lake = lake
        self._columns = columns
        # A dictionary of values that are all different doubles the time it takes to find one of them, and their least and
        # largest are of no use; LZ4 takes half as much disk again as ZSTD, and half its time.
        unlike = ColumnProperties(dictionary_enabled=False, statistics_enabled="NONE")
        self._writer = WriterProperties(
            compression="LZ4_RAW",
            max_row_group_size=ROW_GROUP_ROWS,
            column_properties={
                "item_ref": ColumnProperties(dictionary_enabled=False),
                **{name: unlike for name in texts if name in columns},
            },
        )

    @property
    def exists(self) -> bool:
        return self._lake.exists(*self.parts)

    @property
    def version(self) -> int | None:
        """The number of the newest commit; None before the first."""
        return self._lake.version(*self.parts) if self.exists else None

    def scan(self) -> pl.LazyFrame:
        """All items, deleted ones too; a column that was declared after rows were written is null in them."""
        if not self.exists:
            return self._columns.to_frame().lazy()
        return self._rows(self._lake.scan(*self.parts))

    def of(self, item_refs: pl.Series) -> pl.DataFrame:
        """The rows of these items that are there."""
        rows = self.scan()
        if item_refs.len() > FEW_REFS:
            wanted = item_refs.unique().to_frame("item_ref").lazy()
            there = rows.select("item_ref").join(wanted, on="item_ref", how="semi").collect(engine="streaming")
            item_refs = there["item_ref"]
            if item_refs.len() > FEW_REFS:
                return rows.join(there.lazy(), on="item_ref", how="semi").collect(engine="streaming")
        if item_refs.is_empty():
            return self._columns.to_frame()
        return rows.filter(pl.col("item_ref").is_in(item_refs.to_list())).collect()

    def first(self, condition: pl.Expr, count: int) -> pl.DataFrame:
        """The first items by name for which a condition holds, deleted ones too."""
        rows = self.scan()
        # By the narrow columns first: their texts are read of the rows that are shown alone.
        found = rows.filter(condition).select("item_ref").bottom_k(count, by="item_ref").collect()["item_ref"]
        return self.of(found).sort("item_ref")

    def take(self, rows: pl.DataFrame, *, by: str, now: dt.datetime) -> Settled:
        """Adds new rows (columns of `intake.row_columns`), each item once; says what they came to."""

        def change() -> Settled:
            there = self.of(rows["item_ref"])
            settled = settle(self.sheet, rows, there)
            if settled.changed.height:
                self._change(_in_place_of(there, settled.changed, by, now))
            if settled.fresh.height:
                audit = {"created_at": now, "created_by": by, "updated_at": now, "updated_by": by}
                self._append(
                    settled.fresh.with_columns(
                        pl.lit(audit.get(name), dtype=dtype).alias(name) for name, dtype in AUDIT.items()
                    )
                )
            return settled

        return commit_with_retry(change, "/".join(self.parts))

    def mark(self, item_refs: Sequence[str], marks: Mapping[str, Any]) -> None:
        """Gives these items other audit columns."""

        def change() -> None:
            there = self.of(pl.Series(item_refs, dtype=pl.String))
            columns = [pl.lit(value, dtype=self._columns[name]).alias(name) for name, value in marks.items()]
            self._change(there.with_columns(columns))

        commit_with_retry(change, "/".join(self.parts))

    def tidy(self) -> None:
        """Puts files and generations together where they are many; cheap where they are not."""
        if not self.exists:
            return
        generations = self._generations()
        tail = generations[GENERATION].max()
        for name, files in generations.filter(pl.col("files") > 1).select(GENERATION, "files").iter_rows():
            if files > MANY_FILES or name != tail:
                self._rewrite([name])
        small = generations.filter((pl.col("rows") < GENERATION_ROWS // 2) & (pl.col(GENERATION) != tail))
        if small.height >= MANY_FILES:
            together: list[str] = []
            held = 0
            for name, rows in small.select(GENERATION, "rows").iter_rows():
                if held + rows > GENERATION_ROWS:
                    self._rewrite(together)
                    together, held = [], 0
                together, held = [*together, name], held + rows
            self._rewrite(together)
            self._table().vacuum(KEEP_HOURS, dry_run=False)

    def _rows(self, stored: pl.LazyFrame) -> pl.LazyFrame:
        names = stored.collect_schema().names()
        return stored.select(
            pl.col(name) if name in names else pl.lit(None, dtype=dtype).alias(name)
            for name, dtype in self._columns.items()
        )

    def _append(self, rows: pl.DataFrame) -> None:
        generations = self._generations() if self.exists else None
        tail, held = 0, 0
        if generations is not None and generations.height:
            name, held = generations.sort(GENERATION).select(GENERATION, "rows").row(-1)
            tail = int(name)
        if held + rows.height > TAIL_ROWS and held:
            tail += 1
        number = tail + pl.int_range(pl.len(), dtype=pl.Int64) // GENERATION_ROWS
        numbered = rows.with_columns(number.cast(pl.String).str.zfill(8).alias(GENERATION))
        self._write(numbered.sort(GENERATION, "item_ref"), mode="append")

    def _change(self, rows: pl.DataFrame) -> None:
        """Puts rows in place of those of the same name, by rewriting the generations that hold them."""
        stored = self._lake.scan(*self.parts)
        names = rows.select("item_ref").lazy()
        where = stored.select("item_ref", GENERATION).join(names, on="item_ref", how="semi").collect(engine="streaming")
        for generation in where[GENERATION].unique().sort():
            old = stored.filter(pl.col(GENERATION) == generation).collect()
            own = rows.join(where.filter(pl.col(GENERATION) == generation), on="item_ref", how="inner")
            kept = old.join(own.select("item_ref"), on="item_ref", how="anti")
            self._replace([generation], pl.concat([kept, own], how="diagonal"))

    def _rewrite(self, generations: Sequence[str]) -> None:
        """Puts the files of some generations together, under the name of the first."""
        if not generations:
            return

        def change() -> None:
            rows = self._lake.scan(*self.parts).filter(pl.col(GENERATION).is_in(list(generations))).collect()
            self._replace(generations, rows.with_columns(pl.lit(generations[0]).alias(GENERATION)))

        commit_with_retry(change, "/".join(self.parts))

    def _replace(self, generations: Sequence[str], rows: pl.DataFrame) -> None:
        listed = ", ".join(f"'{name}'" for name in generations)
        self._write(rows.sort("item_ref"), mode="overwrite", predicate=f"{GENERATION} IN ({listed})")

    def _write(self, rows: pl.DataFrame, **how: Any) -> None:
        stored = self._lake.schema(*self.parts) if self.exists else {}
        table = self._table() if self.exists else self._created(rows)
        turn = Transaction(_APPLICATION, (table.transaction_version(_APPLICATION) or 0) + 1)
        write_deltalake(
            table,
            fit_to_table(rows, stored, "/".join(self.parts)),
            schema_mode="merge",
            writer_properties=self._writer,
            commit_properties=CommitProperties(app_transactions=[turn]),
            **how,
        )

    def _created(self, rows: pl.DataFrame) -> DeltaTable:
        empty = fit_to_table(rows.clear(), {}, "/".join(self.parts))
        return DeltaTable.create(
            self._lake.path(*self.parts),
            schema=empty.to_arrow().schema,
            mode="ignore",
            partition_by=[GENERATION],
            # Of the fields nothing enters the log: what is deleted for good is not to be found there.
            configuration={"delta.dataSkippingStatsColumns": "item_ref", "delta.checkpointInterval": "20"},
            storage_options=self._lake.storage_options,
        )

    def _table(self) -> DeltaTable:
        return DeltaTable(self._lake.path(*self.parts), storage_options=self._lake.storage_options)

    def _generations(self) -> pl.DataFrame:
        """How many files and rows each generation has, by name."""
        actions = pl.DataFrame(self._table().get_add_actions(flatten=True))
        counts = (pl.len().alias("files"), pl.col("num_records").sum().alias("rows"))
        return actions.rename({f"partition.{GENERATION}": GENERATION}).group_by(GENERATION).agg(counts).sort(GENERATION)


def _in_place_of(there: pl.DataFrame, changed: pl.DataFrame, by: str, now: dt.datetime) -> pl.DataFrame:
    """The rows of items that another row became: whoever took them first, and a deletion, stay."""
    kept = there.select("item_ref", "created_at", "created_by", "deleted_at", "deleted_by", "delete_reason")
    own = changed.with_columns(pl.lit(now).alias("updated_at"), pl.lit(by).alias("updated_by"))
    return own.join(kept, on="item_ref", how="left").select(there.columns)
