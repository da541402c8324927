"""What lies on a reviewer's desk: the queues, one item with everything that is known of it, and the way a decision takes.

What a person may not see is never handed out, so that no template can show it.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Callable, Collection, Mapping
from typing import Any

import polars as pl

from workbench_pipelines.consensus import ADJUDICATOR
from workbench_pipelines.decisions import undone_decisions
from workbench_pipelines.edited_inputs import editor_of, standing_edits
from workbench_pipelines.errors import LabelError, WorkbenchError
from workbench_pipelines.fields import json_schema_of, schema_violation
from workbench_pipelines.identity import digest, response_hash, seen_hash
from workbench_pipelines.label_changes import changes_of
from workbench_pipelines.label_coverage import tasks_of_sheet
from workbench_pipelines.pair_judgements import standing_decisions
from workbench_pipelines.prompts import bindings_of
from workbench_pipelines.rendering import compiled_template, seen_by_default
from workbench_pipelines.restrictions import OPEN_CLASSIFICATIONS, SNAPSHOT_COLUMNS, restrictions_of
from workbench_pipelines.review import parse_judgement
from workbench_pipelines.review_inbox import settle
from workbench_pipelines.review_page.blindness import Sight, answers_by_person, sight_of
from workbench_pipelines.review_page.tables import Tables
from workbench_pipelines.review_page.views import Badge, ItemView, PairView, Progress, Said, Task
from workbench_pipelines.volumes import IMAGE_PREFIX, image_columns, path_column, text_columns, volumes_of
from workbench_pipelines.workbench import Workbench

BACK_END = "page"


class Conflict(LabelError):
    """Somebody else decided meanwhile: nothing was saved, and what was typed stays."""


class Desk(Tables):
    """The work of one project's reviewers."""

    def __init__(self, workbench: Workbench) -> None:
        super().__init__(workbench)
        self._writing = threading.Lock()

    # Queues

    def progress(self) -> list[Progress]:
        """Every TrainingSheet with how many of its pairs are done, and what the others wait for."""
        names = sorted(one.name for one in self.catalog.training_sheets())
        return [found for name in names if (found := self.progress_of(name)) is not None]

    def progress_of(self, name: str) -> Progress | None:
        """The same for one TrainingSheet; None where it has no pairs yet."""
        total = self._total(name)
        if not total:
            return None
        open_rows = self.open_rows(name)
        needs = dict(open_rows.group_by("need", maintain_order=True).len().iter_rows())
        return Progress(name, total - open_rows.height, total, needs)

    def open_rows(self, name: str, person: str | None = None) -> pl.DataFrame:
        """The rows of a queue that nobody settled since it was made; without those that wait for somebody other than `person`."""
        catalog = self.catalog
        sheet = catalog.training_sheet(name).spec.sheet
        rows = self._queue(name)
        if rows.is_empty():
            return rows
        labels = self._labels(sheet)
        schema = json_schema_of(catalog.template_for(catalog.training_sheet(name)).spec.output_schema)
        fits = {text for text in labels["label_data"].unique() if schema_violation(json.loads(text), schema) is None}
        standing = standing_decisions(self._ledger(sheet)).select("pair_id", "action", "decided_on", "decided_at")
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
        between = (pl.col("awaits") == ADJUDICATOR) & pl.lit(not self.roles().may(person, "approve"))
        return (pl.col("awaits").is_not_null() & (answered | between)).fill_null(False)

    def next_open(self, name: str, after: str | None, person: str, step: int = 1) -> str | None:
        """The pair that comes next in the queue (or before, with a step of -1); None at its end."""
        ranks = dict(self._queue(name).select("pair_id", "rank").iter_rows())
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

    # One pair

    def pair(self, name: str, pair_id: str, person: str) -> PairView:
        """A pair with its item, prompt, answer and history, as far as this person may see them.

        Raises:
            ArgumentError: for a pair that there is not.
        """
        catalog = self.catalog
        pair = self._pair_row(name, pair_id)
        sheet, label_type = pair["sheet"], pair["label_type"]
        training_sheet = catalog.training_sheet(name)
        template = catalog.template_for(training_sheet)
        compiled = compiled_template(catalog, template)
        row = next(iter(self._queue(name).filter(pl.col("pair_id") == pair_id).to_dicts()), None)
        label = self._label(sheet, pair["item_ref"], label_type)
        proposal = label is not None and label["proposed_by"] is not None and not label["stale"]
        response = label["label_data"] if label is not None and proposal else pair["response"]
        if pair["labeling_mode"] == "canonical" and self.sight(sheet, pair["item_ref"], label_type, person).blind:
            response = None  # what somebody else said when one answer was enough
        may_see = self.roles().sees_restricted(person) or pair["data_classification"] in OPEN_CLASSIFICATIONS
        bound = set(bindings_of(training_sheet, template, compiled.variables).values())
        item = self._item(sheet, pair["item_ref"], label_type, person, open_columns=bound, closed=not may_see)
        # What somebody proposed is as closed as what they saw.
        may_see = may_see and (not proposal or item.label is not None)
        editable = {k: v for k, v in json.loads(pair["inputs"] or "{}").items() if k not in template.spec.attachments}
        return PairView(
            item=item,
            training_sheet=name,
            pair_id=pair_id,
            visible=may_see,
            rank=None if row is None else row["rank"],
            need=None if row is None else row["need"],
            detail=None if row is None or not may_see else row["detail"],
            waits_for=None if row is None else row["waits_for"],
            messages=[(m["role"], m["content"]) for m in pair["messages"] or []] if may_see else [],
            response=response if may_see else None,
            response_hash=None if response is None else response_hash(response),
            draft=pair["response"] if may_see and proposal else None,
            proposed_by=label["proposed_by"] if label is not None and proposal else None,
            model=pair["model"],
            status=pair["status"],
            inputs={k: v for k, v in editable.items() if k in compiled.variables} if may_see else {},
            edited=self._edited(sheet, pair_id),
            badges=_badges(pair),
            schema=catalog.label_schema(label_type),
        )

    def _edited(self, sheet: str, pair_id: str) -> dict[str, Any]:
        edits = standing_edits(self._ledger(sheet)).filter(pl.col("pair_id") == pair_id)
        return json.loads(edits["edited"][0]) if edits.height else {}

    def check_inputs(self, name: str, pair_id: str, changed: Mapping[str, Any]) -> None:
        """Refuses edited inputs that do not fit the template.

        Raises:
            LabelError: naming the input.
        """
        catalog = self.catalog
        template = catalog.template_for(catalog.training_sheet(name))
        pair = self._pair_row(name, pair_id)
        edit = editor_of(template, compiled_template(catalog, template))
        edit(json.loads(pair["inputs"] or "{}"), changed, pair["messages"])

    # Items without a pair

    def tasks(self) -> list[Task]:
        """Every Sheet with the tasks that its items can be labeled for, and how many are."""
        catalog = self.catalog
        found = []
        for sheet in catalog.names("Sheet"):
            try:
                items = self._items(sheet)
            except WorkbenchError as error:
                found.append(Task(sheet, "", 0, 0, error.line))
                continue
            labels = self._labels(sheet)
            asked = {*tasks_of_sheet(catalog, sheet), *catalog.names("LabelType"), *labels["label_type"]}
            for label_type in sorted(asked):
                live = labels.filter((pl.col("label_type") == label_type) & pl.col("active") & ~pl.col("stale"))
                done = live.filter(pl.col("item_ref").is_in(items["item_ref"].implode())).height
                found.append(Task(sheet, label_type, done, items.height))
        return found

    def open_items(self, sheet: str, label_type: str, person: str) -> list[str]:
        """The items of a Sheet without a live label for a task, and without one that this person proposed."""
        labels = self._labels(sheet).filter(pl.col("label_type") == label_type)
        done = labels.filter(
            (pl.col("active") & ~pl.col("stale")) | (pl.col("proposed_by") == person) | self._not_for(person)
        )
        items = self._items(sheet).select("item_ref")
        return items.join(done.select("item_ref"), on="item_ref", how="anti", maintain_order="left")[
            "item_ref"
        ].to_list()

    def item(self, sheet: str, item_ref: str, label_type: str, person: str) -> ItemView:
        """An item to be labeled before there is any pair, as far as this person may see it."""
        return self._item(sheet, item_ref, label_type, person)

    def image(self, sheet: str, item_ref: str, column: str, person: str) -> tuple[bytes, str] | None:
        """An image of an item; None where there is none, or where this person may not see it."""
        document = self.catalog.sheet(sheet)
        path = image_columns(document).get(column)
        row = self._row(sheet, item_ref)
        hidden = restrictions_of(self.catalog).sheets.get(sheet)
        open_to_all = hidden is not None and column not in hidden
        if path is None or not row.get(column) or not (open_to_all or self.roles().sees_restricted(person)):
            return None
        found = self.workbench.attachments.read(row[path], str(row[column]).removeprefix(IMAGE_PREFIX))
        return found if isinstance(found, tuple) else None

    def document(self, sheet: str, item_ref: str, column: str, person: str) -> tuple[bytes, str] | None:
        """The PDF that a text of an item was taken from; None where there is none, or where this person may not see all of it."""
        sheet_document = self.catalog.sheet(sheet)
        path, digest_of = text_columns(sheet_document).get(column, ("", ""))
        row = self._row(sheet, item_ref)
        hidden = restrictions_of(self.catalog).sheets.get(sheet)
        # A file holds more than its text.
        open_to_all = hidden is not None and hidden.isdisjoint({column, path, digest_of})
        if not row.get(path) or not row.get(digest_of) or not (open_to_all or self.roles().sees_restricted(person)):
            return None
        found = self.workbench.attachments.read_pdf(row[path], row[digest_of])
        return found if isinstance(found, tuple) else None

    # Decisions

    def sight(self, sheet: str, item_ref: str, label_type: str, person: str) -> Sight:
        """What a person may see of what others said of an item."""
        in_panel = self._panels().asks_several((sheet, item_ref, label_type))
        label = self._label(sheet, item_ref, label_type) if in_panel else None
        return sight_of(label, in_panel, person, self.roles())

    def _visible(self, sheet: str, item_ref: str, label_type: str, person: str) -> pl.DataFrame:
        """The decisions of an item for a task that a person may know of."""
        said = self._of_key(sheet, item_ref, label_type)
        return said.filter(pl.col("by") == person) if self.sight(sheet, item_ref, label_type, person).blind else said

    def state(self, sheet: str, item_ref: str, label_type: str, person: str) -> str:
        """What was decided of an item for a task so far, as one word: a save on an older one is refused.

        People who answer on their own do not stand in each other's way.
        """
        return digest(sorted(self._visible(sheet, item_ref, label_type, person)["decision_id"]))[:16]

    def decide(self, judgement: Mapping[str, Any], state: str) -> None:
        """Takes a judgement into the ledger, unless somebody decided of the item since the page was opened.

        Raises:
            Conflict: naming who was faster, and nothing is written.
            LabelError: for a judgement that is refused, with its reason.
        """
        parsed = parse_judgement(judgement)
        with self._writing:
            sight = self.sight(*parsed.key, parsed.by)
            if parsed.adjudicates and not sight.adjudicates:
                raise LabelError("an approver who has not answered for this item decides between its annotators")
            if self.state(*parsed.key, parsed.by) != state:
                known = self._visible(*parsed.key, parsed.by).sort("at", "decision_id").to_dicts()
                if not known:
                    raise Conflict("several people answer for this item on their own now; look at it again, then save")
                newest = known[-1]
                raise Conflict(
                    f"{newest['by']} decided of this item at {newest['at']:%H:%M:%S} UTC, after you opened it ({newest['action']}). "
                    "Nothing was saved and what you typed is still here: look at the item again, then save."
                )
            settle(self.workbench, judgement, BACK_END)

    def undo(self, person: str) -> dict[str, Any]:
        """Takes back what this person decided last; the decision it was.

        Raises:
            LabelError: where there is nothing to take back.
        """
        ledger = self.workbench.decisions()
        own = ledger.filter(
            (pl.col("by") == person)
            & pl.col("action").is_in(["label", "approve", "edit", "reject", "flag"])
            & (pl.col("source") == "review")
            & ~undone_decisions(ledger)
        )
        if own.is_empty():
            raise LabelError("there is nothing of yours to take back")
        last = own.sort("at", "decision_id").row(-1, named=True)
        names = ("sheet", "item_ref", "label_type", "training_sheet", "pair_id")
        judgement = {name: last[name] for name in names}
        judgement |= {"action": "restore", "undoes": last["decision_id"], "by": person, "at": now()}
        self.decide(judgement, self.state(last["sheet"], last["item_ref"], last["label_type"], person))
        return last

    # What is shown

    def _item(
        self,
        sheet: str,
        item_ref: str,
        label_type: str,
        person: str,
        open_columns: Collection[str] = (),
        closed: bool = False,
    ) -> ItemView:
        """An item; `open_columns` are known to be open, and of a closed one nothing is shown."""
        catalog = self.catalog
        document = catalog.sheet(sheet)
        row = self._row(sheet, item_ref)
        hidden = restrictions_of(catalog).sheets.get(sheet)
        sees = self.roles().sees_restricted(person)
        default = set(seen_by_default(catalog, sheet, label_type, tuple(row)))
        technical = {path_column(source) for source in volumes_of(document)} | {
            name for name in row if name.endswith("_sha256")
        }
        images, texts = image_columns(document), text_columns(document)
        first: list[tuple[str, Any]] = []
        more: list[tuple[str, Any]] = []
        masked: list[str] = []
        for column, value in row.items():
            if column in SNAPSHOT_COLUMNS or column in technical:
                continue
            is_open = column in open_columns or (hidden is not None and column not in hidden)
            if closed or not (sees or is_open):
                masked.append(column)
            elif column in default:
                first.append((column, value))
            else:
                more.append((column, value))
        columns = sorted(default & {column for column, _ in first})
        everything = sorted(column for column, _ in (*first, *more))
        label = self._label(sheet, item_ref, label_type)
        changes = self._changes(sheet, label, {column for column, _ in (*first, *more)})
        may_see_answers = bool(columns) or not masked
        # An answer tells of what its author saw, and a label may be closed itself.
        closed_columns = frozenset(masked)
        label_is_open = may_see_answers and (sees or label is None or _is_open(label, closed_columns, default))

        def row_is_open(row: Mapping[str, Any]) -> bool:
            return label_is_open and (sees or _saw_open(row, closed_columns, default))

        key = (sheet, item_ref, label_type)
        sight = self.sight(*key, person)
        answers = {}
        if self._panels().asks_several(key):
            answers = answers_by_person(self._of_key(*key), self._items(sheet).filter(pl.col("item_ref") == item_ref))
        if sight.blind:
            own = answers.get(person)
            label = None if label is None or own is None else {**label, "label_data": own}
            answers = {}
        return ItemView(
            sheet=sheet,
            item_ref=item_ref,
            label_type=label_type,
            rows=first,
            more=more,
            masked=masked,
            documents=[
                column
                for column, value in (*first, *more)
                if column in texts
                and value
                and str(row.get(texts[column][0])).lower().endswith(".pdf")
                and not {*texts[column]} & (hidden if hidden is not None and not sees else set())
            ],
            images=[column for column, value in (*first, *more) if column in images and value],
            columns=columns,
            all_columns=everything,
            seen_hash=seen_hash(row, columns),
            all_seen_hash=seen_hash(row, everything),
            state=self.state(*key, person),
            label=label if label_is_open else None,
            changes=changes if label_is_open else [],
            history=self._history(*key, row_is_open, person if sight.blind else None),
            two_persons=document.spec.review.two_persons,
            visible=may_see_answers,
            answers=list(answers.items()) if label_is_open else [],
            adjudicates=sight.adjudicates,
            waiting=sight.waiting,
        )

    def _changes(self, sheet: str, label: Mapping[str, Any] | None, visible: set[str]) -> list[tuple[str, Any, Any]]:
        if label is None or not label["stale"] or not label["active"]:
            return []
        found = changes_of(self.workbench, sheet, pl.DataFrame([label], infer_schema_length=None))
        change = found.get((label["item_ref"], label["label_type"]), {})
        return [(column, *values) for column, values in change.items() if column in visible]

    def _history(
        self,
        sheet: str,
        item_ref: str,
        label_type: str,
        visible: Callable[[Mapping[str, Any]], bool],
        blind: str | None = None,
    ) -> list[Said]:
        """What was decided of an item; `blind` names who may see nothing of what others said."""

        def shown(row: Mapping[str, Any]) -> bool:
            return visible(row) and blind in (None, row["by"])

        rows = self._of_key(sheet, item_ref, label_type)
        rows = rows.with_columns(undone_decisions(rows).alias("undone")).sort("at", "decision_id", descending=True)
        return [
            Said(
                at=f"{row['at']:%Y-%m-%d %H:%M} UTC",
                by=row["by"],
                action="undo" if row["undoes"] else row["action"],
                answer=(row["label_data"] or row["proposed_response"]) if shown(row) else None,
                remark="; ".join(filter(None, (row["reason"], row["notes"]))) if shown(row) else "",
                undone=row["undone"],
            )
            for row in rows.to_dicts()
        ]


def now() -> str:
    """The time of a decision."""
    return dt.datetime.now(dt.UTC).isoformat()


def _is_open(label: Mapping[str, Any], masked: Collection[str], default: Collection[str]) -> bool:
    """Whether a label may be shown to somebody from whom these columns are kept."""
    classified = label["data_classification"]
    return (classified is None or classified in OPEN_CLASSIFICATIONS) and _saw_open(label, masked, default)


def _saw_open(said: Mapping[str, Any], masked: Collection[str], default: Collection[str]) -> bool:
    """Whether its author saw none of these columns."""
    seen = default if said["seen_columns"] is None else said["seen_columns"]
    return set(seen).isdisjoint(masked)


def _badges(pair: Mapping[str, Any]) -> list[Badge]:
    """What may be done with a pair, each with the reason where something may not."""
    why = pair["usage_reason"] or "nothing states that it is allowed"
    allowed = set(pair["allowed_uses"] or ())
    badges = [Badge(use, True, "allowed") for use in sorted(allowed)]
    refused = sorted({"training", "validation", "evaluation", "few_shot", "testing", *(pair["prohibited_uses"] or ())})
    badges += [Badge(f"no {use}", False, why) for use in refused if use not in allowed]
    return [Badge(pair["data_classification"] or "restricted", True, "data classification"), *badges]
