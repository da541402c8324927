"""One item as one person may see it: its columns, what was said of it, and the files that it names.

What a person may not see is never handed out, so that no template can show it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import polars as pl

from workbench_pipelines.catalog import Sheet
from workbench_pipelines.decisions import undone_decisions
from workbench_pipelines.identity import digest, seen_hash
from workbench_pipelines.label_changes import changes_of
from workbench_pipelines.rendering import seen_by_default
from workbench_pipelines.restrictions import SNAPSHOT_COLUMNS, restrictions_of
from workbench_pipelines.review_page.blindness import Sight, answers_by_person, sight_of
from workbench_pipelines.review_page.openness import Eyes, Reader, ShownColumns, shown_columns
from workbench_pipelines.review_page.tables import Tables
from workbench_pipelines.review_page.views import ItemView, Said
from workbench_pipelines.volumes import IMAGE_PREFIX, image_columns, path_column, text_columns, volumes_of


class ItemViews:
    """The items of one project, each as the person before it may see it."""

    def __init__(self, tables: Tables) -> None:
        self.tables = tables

    def item(
        self,
        sheet: str,
        item_ref: str,
        label_type: str,
        person: str,
        open_columns: Collection[str] = (),
        closed: bool = False,
    ) -> ItemView:
        """An item that is labeled for a task; `open_columns` are known to be open, and of a closed one nothing is shown."""
        key = (sheet, item_ref, label_type)
        document = self.tables.catalog.sheet(sheet)
        row = self.tables.row(sheet, item_ref)
        decisive = frozenset(seen_by_default(self.tables.catalog, sheet, label_type, tuple(row)))
        eyes = self._eyes(sheet, person)
        shown = shown_columns(_values(document, row), decisive, eyes, open_columns, closed)
        columns = sorted(column for column, _ in shown.first)
        everything = sorted(column for column, _ in shown.every)
        label = self.tables.label(*key)
        reader = Reader(eyes.sees_restricted, frozenset(shown.masked), decisive)
        label_is_open = shown.answers_may_show and reader.may_read_label(label)
        sight = self.sight(*key, person)
        answers = self._answers(*key)
        return ItemView(
            sheet=sheet,
            item_ref=item_ref,
            label_type=label_type,
            rows=shown.first,
            more=shown.more,
            masked=shown.masked,
            documents=_documents(document, row, shown, eyes),
            images=[column for column, value in shown.every if column in image_columns(document) and value],
            columns=columns,
            all_columns=everything,
            seen_hash=seen_hash(row, columns),
            all_seen_hash=seen_hash(row, everything),
            state=self.state(*key, person),
            label=_label_before(person, label, answers, sight) if label_is_open else None,
            changes=self._changes(sheet, label, everything) if label_is_open else [],
            history=self._history(*key, reader if label_is_open else None, person if sight.blind else None),
            two_persons=document.spec.review.two_persons,
            visible=shown.answers_may_show,
            answers=list(answers.items()) if label_is_open and not sight.blind else [],
            adjudicates=sight.adjudicates,
            waiting=sight.waiting,
        )

    def image(self, sheet: str, item_ref: str, column: str, person: str) -> tuple[bytes, str] | None:
        """An image of an item; None where there is none, or where this person may not see it."""
        path = image_columns(self.tables.catalog.sheet(sheet)).get(column)
        row = self.tables.row(sheet, item_ref)
        if path is None or not row.get(column) or not self._eyes(sheet, person).may_see(column):
            return None
        found = self.tables.workbench.attachments.read(row[path], str(row[column]).removeprefix(IMAGE_PREFIX))
        return found if isinstance(found, tuple) else None

    def document(self, sheet: str, item_ref: str, column: str, person: str) -> tuple[bytes, str] | None:
        """The PDF that a text of an item was taken from; None where there is none, or where this person may not see all of it."""
        path, digest_of = text_columns(self.tables.catalog.sheet(sheet)).get(column, ("", ""))
        row = self.tables.row(sheet, item_ref)
        # A file holds more than its text.
        may_see = self._eyes(sheet, person).may_see(column, path, digest_of)
        if not row.get(path) or not row.get(digest_of) or not may_see:
            return None
        found = self.tables.workbench.attachments.read_pdf(row[path], row[digest_of])
        return found if isinstance(found, tuple) else None

    # What was said

    def sight(self, sheet: str, item_ref: str, label_type: str, person: str) -> Sight:
        """What a person may see of what others said of an item."""
        in_panel = self.tables.panels().asks_several((sheet, item_ref, label_type))
        label = self.tables.label(sheet, item_ref, label_type) if in_panel else None
        return sight_of(label, in_panel, person, self.tables.roles())

    def decisions(self, sheet: str, item_ref: str, label_type: str, person: str) -> pl.DataFrame:
        """The decisions of an item for a task that a person may know of."""
        said = self.tables.decisions_of(sheet, item_ref, label_type)
        return said.filter(pl.col("by") == person) if self.sight(sheet, item_ref, label_type, person).blind else said

    def state(self, sheet: str, item_ref: str, label_type: str, person: str) -> str:
        """What was decided of an item for a task so far, as one word: a save on an older one is refused.

        People who answer on their own do not stand in each other's way.
        """
        return digest(sorted(self.decisions(sheet, item_ref, label_type, person)["decision_id"]))[:16]

    def _eyes(self, sheet: str, person: str) -> Eyes:
        hidden = restrictions_of(self.tables.catalog).sheets.get(sheet)
        return Eyes(self.tables.roles().sees_restricted(person), hidden)

    def _answers(self, sheet: str, item_ref: str, label_type: str) -> dict[str, str]:
        """What each annotator says, where several answer on their own."""
        key = (sheet, item_ref, label_type)
        if not self.tables.panels().asks_several(key):
            return {}
        item = self.tables.items(sheet).filter(pl.col("item_ref") == item_ref)
        return answers_by_person(self.tables.decisions_of(*key), item)

    def _changes(
        self, sheet: str, label: Mapping[str, Any] | None, visible: Collection[str]
    ) -> list[tuple[str, Any, Any]]:
        if label is None or not label["stale"] or not label["active"]:
            return []
        found = changes_of(self.tables.workbench, sheet, pl.DataFrame([label], infer_schema_length=None))
        change = found.get((label["item_ref"], label["label_type"]), {})
        return [(column, *values) for column, values in change.items() if column in visible]

    def _history(
        self, sheet: str, item_ref: str, label_type: str, reader: Reader | None, alone: str | None
    ) -> list[Said]:
        """Every decision of an item, with what it said where `reader` may read it (None for nobody), and of one who answers
        `alone` only their own."""
        rows = self.tables.decisions_of(sheet, item_ref, label_type)
        rows = rows.with_columns(undone_decisions(rows).alias("undone")).sort("at", "decision_id", descending=True)
        return [
            _said(row, reader is not None and reader.may_read(row) and alone in (None, row["by"]))
            for row in rows.to_dicts()
        ]


def _values(document: Sheet, row: Mapping[str, Any]) -> dict[str, Any]:
    """What an item says to people: without the names and digests of its files, and what the snapshot adds."""
    technical = {*SNAPSHOT_COLUMNS, *(path_column(source) for source in volumes_of(document))}
    return {name: value for name, value in row.items() if name not in technical and not name.endswith("_sha256")}


def _documents(document: Sheet, row: Mapping[str, Any], shown: ShownColumns, eyes: Eyes) -> list[str]:
    """The texts before a person that were taken from a PDF which nothing keeps from them."""
    texts = text_columns(document)
    return [
        column
        for column, value in shown.every
        if column in texts
        and value
        and str(row.get(texts[column][0])).lower().endswith(".pdf")
        and eyes.may_see(column, *texts[column])
    ]


def _label_before(
    person: str, label: Mapping[str, Any] | None, answers: Mapping[str, str], sight: Sight
) -> Mapping[str, Any] | None:
    """The label before a person; who answers on their own has their own answer in its place."""
    if label is None or not sight.blind:
        return label
    own = answers.get(person)
    return None if own is None else {**label, "label_data": own}


def _said(row: Mapping[str, Any], readable: bool) -> Said:
    return Said(
        at=f"{row['at']:%Y-%m-%d %H:%M} UTC",
        by=row["by"],
        action="undo" if row["undoes"] else row["action"],
        answer=(row["label_data"] or row["proposed_response"]) if readable else None,
        remark="; ".join(filter(None, (row["reason"], row["notes"]))) if readable else "",
        undone=row["undone"],
    )
