"""A reviewer's desk: one pair with everything that is known of it, and the way a decision takes.

What a person may not see is never handed out, so that no template can show it.
"""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Mapping
from typing import Any

import polars as pl

from workbench_pipelines.bindings import bindings_of
from workbench_pipelines.decisions import undone_decisions
from workbench_pipelines.edited_inputs import editor_of, standing_edits
from workbench_pipelines.errors import LabelError
from workbench_pipelines.identity import response_hash
from workbench_pipelines.rendering import compiled_template
from workbench_pipelines.restrictions import OPEN_CLASSIFICATIONS
from workbench_pipelines.review import parse_judgement
from workbench_pipelines.review_inbox import settle
from workbench_pipelines.review_page.item_views import ItemViews
from workbench_pipelines.review_page.queues import Queues
from workbench_pipelines.review_page.tables import Tables
from workbench_pipelines.review_page.views import Badge, PairView
from workbench_pipelines.workbench import Workbench

BACK_END = "page"


class Conflict(LabelError):
    """Somebody else decided meanwhile: nothing was saved, and what was typed stays."""


class Desk:
    """The work of one project's reviewers: its queues, its items, and what is decided of them."""

    def __init__(self, workbench: Workbench) -> None:
        self.workbench = workbench
        self.tables = Tables(workbench)
        self.queues = Queues(self.tables)
        self.items = ItemViews(self.tables)
        self._writing = threading.Lock()

    # One pair

    def pair(self, name: str, pair_id: str, person: str) -> PairView:
        """A pair with its item, prompt, answer and history, as far as this person may see them.

        Raises:
            ArgumentError: for a pair that there is not.
        """
        catalog = self.tables.catalog
        pair = self.tables.pair(name, pair_id)
        sheet, label_type = pair["sheet"], pair["label_type"]
        training_sheet = catalog.training_sheet(name)
        template = catalog.template_for(training_sheet)
        compiled = compiled_template(catalog, template)
        row = next(iter(self.tables.queue(name).filter(pl.col("pair_id") == pair_id).to_dicts()), None)
        label = self.tables.label(sheet, pair["item_ref"], label_type)
        proposal = label is not None and label["proposed_by"] is not None and not label["stale"]
        response = label["label_data"] if label is not None and proposal else pair["response"]
        if pair["labeling_mode"] == "canonical" and self.items.sight(sheet, pair["item_ref"], label_type, person).blind:
            response = None  # what somebody else said when one answer was enough
        may_see = self.tables.roles().sees_restricted(person) or pair["data_classification"] in OPEN_CLASSIFICATIONS
        bound = set(bindings_of(training_sheet, template, compiled.variables).values())
        item = self.items.item(sheet, pair["item_ref"], label_type, person, open_columns=bound, closed=not may_see)
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
        edits = standing_edits(self.tables.ledger(sheet)).filter(pl.col("pair_id") == pair_id)
        return json.loads(edits["edited"][0]) if edits.height else {}

    def check_inputs(self, name: str, pair_id: str, changed: Mapping[str, Any]) -> None:
        """Refuses edited inputs that do not fit the template.

        Raises:
            LabelError: naming the input.
        """
        catalog = self.tables.catalog
        template = catalog.template_for(catalog.training_sheet(name))
        pair = self.tables.pair(name, pair_id)
        edit = editor_of(template, compiled_template(catalog, template))
        edit(json.loads(pair["inputs"] or "{}"), changed, pair["messages"])

    # Decisions

    def decide(self, judgement: Mapping[str, Any], state: str) -> None:
        """Takes a judgement into the ledger, unless somebody decided of the item since the page was opened.

        Raises:
            Conflict: naming who was faster, and nothing is written.
            LabelError: for a judgement that is refused, with its reason.
        """
        parsed = parse_judgement(judgement)
        with self._writing:
            sight = self.items.sight(*parsed.key, parsed.by)
            if parsed.adjudicates and not sight.adjudicates:
                raise LabelError("an approver who has not answered for this item decides between its annotators")
            if self.items.state(*parsed.key, parsed.by) != state:
                known = self.items.decisions(*parsed.key, parsed.by).sort("at", "decision_id").to_dicts()
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
        self.decide(judgement, self.items.state(last["sheet"], last["item_ref"], last["label_type"], person))
        return last


def now() -> str:
    """The time of a decision."""
    return dt.datetime.now(dt.UTC).isoformat()


def _badges(pair: Mapping[str, Any]) -> list[Badge]:
    """What may be done with a pair, each with the reason where something may not."""
    why = pair["usage_reason"] or "nothing states that it is allowed"
    allowed = set(pair["allowed_uses"] or ())
    badges = [Badge(use, True, "allowed") for use in sorted(allowed)]
    refused = sorted({"training", "validation", "evaluation", "few_shot", "testing", *(pair["prohibited_uses"] or ())})
    badges += [Badge(f"no {use}", False, why) for use in refused if use not in allowed]
    return [Badge(pair["data_classification"] or "restricted", True, "data classification"), *badges]
