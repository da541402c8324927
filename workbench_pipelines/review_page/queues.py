"""What lies in the queues of a reviewer: how far each is, what is open in it, and what comes next.

What waits for somebody else, or is settled since the queue was made, is not open.
"""

from __future__ import annotations

import json

import polars as pl

from workbench_pipelines.consensus import ADJUDICATOR
from workbench_pipelines.errors import WorkbenchError
from workbench_pipelines.fields import json_schema_of, schema_violation
from workbench_pipelines.label_coverage import tasks_of_sheet
from workbench_pipelines.pair_judgements import standing_decisions
from workbench_pipelines.review_page.tables import Tables
from workbench_pipelines.review_page.views import Progress, Task


class Queues:
    """The pairs of TrainingSheets and the items of Sheets that wait for a person."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    # Pairs

    def progress(self) -> list[Progress]:
        """Every TrainingSheet with how many of its pairs are done, and what the others wait for."""
        names = sorted(one.name for one in self.tables.catalog.training_sheets())
        return [found for name in names if (found := self.progress_of(name)) is not None]

    def progress_of(self, name: str) -> Progress | None:
        """The same for one TrainingSheet; None where it has no pairs yet."""
        total = self.tables.pair_count(name)
        if not total:
            return None
        open_rows = self.open_rows(name)
        needs = dict(open_rows.group_by("need", maintain_order=True).len().iter_rows())
        return Progress(name, total - open_rows.height, total, needs)

    def open_rows(self, name: str, person: str | None = None) -> pl.DataFrame:
        """The rows of a queue that nobody settled since it was made; without those that wait for somebody other than `person`."""
        catalog = self.tables.catalog
        sheet = catalog.training_sheet(name).spec.sheet
        rows = self.tables.queue(name)
        if rows.is_empty():
            return rows
        labels = self.tables.labels(sheet)
        schema = json_schema_of(catalog.template_for(catalog.training_sheet(name)).spec.output_schema)
        fits = {text for text in labels["label_data"].unique() if schema_violation(json.loads(text), schema) is None}
        standing = standing_decisions(self.tables.ledger(sheet)).select("pair_id", "action", "decided_on", "decided_at")
        said = labels.select(
            "item_ref",
            "label_type",
            (pl.col("active") & ~pl.col("stale") & pl.col("label_data").is_in(list(fits))).alias("live"),
            "proposed_by",
            "annotators",
            "awaits",
            pl.col("last_modified_at").alias("label_at"),
        )
        known = rows.join(said, on=["item_ref", "label_type"], how="left", maintain_order="left").join(
            standing, on="pair_id", how="left", maintain_order="left"
        )
        binds = pl.col("decided_on").is_null() | pl.col("decided_on").eq_missing(pl.col("response_hash"))
        was_flagged = (pl.col("need") == "flagged") & (pl.col("action") == "flag")
        overruled = pl.col("decided_at").is_not_null() & (pl.col("label_at") > pl.col("decided_at"))
        live = pl.col("live").fill_null(False) & (~was_flagged | overruled)
        settled = pl.col("action").is_not_null() & binds & ~was_flagged
        proposed = pl.col("proposed_by").is_not_null()
        mine = proposed & (pl.col("proposed_by") == person) if person else pl.lit(False)
        if person:
            mine = mine.fill_null(False) | self._not_for(person)
        return known.filter(~(live | settled | mine.fill_null(False))).select(rows.columns)

    def _not_for(self, person: str) -> pl.Expr:
        """Whether a label waits for annotators or an adjudicator, and this person can be neither."""
        answered = pl.col("annotators").list.contains(person).fill_null(False)
        between = (pl.col("awaits") == ADJUDICATOR) & pl.lit(not self.tables.roles().may(person, "approve"))
        return (pl.col("awaits").is_not_null() & (answered | between)).fill_null(False)

    def next_open(self, name: str, after: str | None, person: str, step: int = 1) -> str | None:
        """The pair that comes next in the queue (or before, with a step of -1); None at its end."""
        ranks = dict(self.tables.queue(name).select("pair_id", "rank").iter_rows())
        open_rows = self.open_rows(name, person).sort("rank")
        here = ranks.get(after or "", 0)
        if step < 0:
            before = open_rows.filter(pl.col("rank") < here)
            return before["pair_id"][-1] if before.height else None
        later = open_rows.filter(pl.col("rank") > here)
        for rows in (later, open_rows.filter(pl.col("pair_id") != (after or ""))):
            if rows.height:
                return str(rows["pair_id"][0])
        return None

    # Items without a pair

    def tasks(self) -> list[Task]:
        """Every Sheet with the tasks that its items can be labeled for, and how many are."""
        catalog = self.tables.catalog
        found = []
        for sheet in catalog.names("Sheet"):
            try:
                items = self.tables.items(sheet)
            except WorkbenchError as error:
                found.append(Task(sheet, "", 0, 0, error.line))
                continue
            labels = self.tables.labels(sheet)
            asked = {*tasks_of_sheet(catalog, sheet), *catalog.names("LabelType"), *labels["label_type"]}
            for label_type in sorted(asked):
                live = labels.filter((pl.col("label_type") == label_type) & pl.col("active") & ~pl.col("stale"))
                done = live.filter(pl.col("item_ref").is_in(items["item_ref"].implode())).height
                found.append(Task(sheet, label_type, done, items.height))
        return found

    def open_items(self, sheet: str, label_type: str, person: str) -> list[str]:
        """The items of a Sheet without a live label for a task, and without one that this person proposed."""
        labels = self.tables.labels(sheet).filter(pl.col("label_type") == label_type)
        done = labels.filter(
            (pl.col("active") & ~pl.col("stale")) | (pl.col("proposed_by") == person) | self._not_for(person)
        )
        items = self.tables.items(sheet).select("item_ref")
        return items.join(done.select("item_ref"), on="item_ref", how="anti", maintain_order="left")[
            "item_ref"
        ].to_list()
