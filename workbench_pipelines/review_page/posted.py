"""What a person sent by a form of the page, as the judgement it makes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from workbench_pipelines.decisions import LABELING_ACTIONS
from workbench_pipelines.errors import LabelError
from workbench_pipelines.identity import canonical_text
from workbench_pipelines.label_form import form_fields, read_form
from workbench_pipelines.review_page.desk import Desk, now
from workbench_pipelines.review_page.views import ItemView, PairView

Posted = Mapping[str, str]
"""The fields of a form; of several with one name the values in lines."""


class FormProblems(LabelError):
    """Fields of a form that hold no answer, each with what is wrong."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("not saved: " + "; ".join(f"{name} {why}".strip() for name, why in problems.items()))
        self.problems = problems


def judgement_of(
    desk: Desk, item: ItemView, person: str, posted: Posted, pair: PairView | None = None
) -> dict[str, Any]:
    """What a person says by a form.

    Raises:
        FormProblems: for fields that hold no answer.
    """
    action = posted.get("action", "")
    looked = posted.get("looked") == "1"
    said: dict[str, Any] = {
        "sheet": item.sheet,
        "item_ref": item.item_ref,
        "label_type": item.label_type,
        "action": action,
        "by": person,
        "at": now(),
        "reason": posted.get("reason", "").strip() or None,
        # As the page that was looked at had them, and not as they are now.
        "seen_columns": words_of(posted, "all_columns" if looked else "columns") or None,
        "seen_hash": posted.get("all_seen_hash" if looked else "seen_hash") or None,
    }
    if pair is not None:
        said |= {"training_sheet": pair.training_sheet, "pair_id": pair.pair_id}
        said |= {"response_hash": pair.response_hash, "proposed_response": pair.response}
    # Who had the answers before them when the page was opened decides between them; anybody else answers on their own.
    if posted.get("adjudicates") == "1" and action in LABELING_ACTIONS:
        said["adjudicates"] = True
    if action == "approve" and pair is not None and _is_edited(pair, posted):
        raise FormProblems({"": "you changed the form; save it as an edit, or load the page anew to approve"})
    if action in ("edit", "label"):
        schema = desk.tables.catalog.label_schema(item.label_type)
        answer, problems = read_form(schema, posted)
        if problems:
            raise FormProblems(problems)
        said |= {"label_data": answer, "confidence": posted.get("confidence") or None}
        said["notes"] = posted.get("notes", "").strip() or None
        # A label that is there already is changed by an edit, which keeps what is stated of its uses.
        said["action"] = "edit" if item.label is not None or pair is not None else "label"
    if action == "edit" and pair is not None:
        changed = _changed_inputs(pair.inputs, posted)
        if changed:
            desk.check_inputs(pair.training_sheet, pair.pair_id, changed)
            said["inputs"] = {**pair.edited, **changed}
    if action in ("edit", "label", "restrict"):
        said["prohibited_uses"] = words_of(posted, "prohibit", canonical=False)
        said["usage_reason"] = posted.get("usage_reason", "").strip() or None
    if action in ("restrict", "restore"):
        # These are about the label, whatever pair it was looked at in.
        said |= dict.fromkeys(("training_sheet", "pair_id", "response_hash", "proposed_response"))
        said["reason"] = posted.get("usage_reason", "").strip() or None
    return said


def words_of(posted: Posted, name: str, canonical: bool = True) -> list[str]:
    text = posted.get(name, "")
    if not canonical:
        return [line for line in text.split("\n") if line]
    try:
        found = json.loads(text or "[]")
    except ValueError:
        return []
    return [str(one) for one in found] if isinstance(found, list) else []


def _is_edited(pair: PairView, posted: Posted) -> bool:
    """Whether a form says something else than the answer that was proposed."""
    answer = None if pair.response is None else json.loads(pair.response)
    fields = form_fields(pair.schema, answer)
    typed = any(posted.get(one.input_name, one.text).replace("\r\n", "\n") != one.text for one in fields)
    return typed or bool(_changed_inputs(pair.inputs, posted))


def _changed_inputs(inputs: Mapping[str, Any], posted: Posted) -> dict[str, Any]:
    """The prompt inputs that a person changed: text as it is, anything else as JSON."""
    changed: dict[str, Any] = {}
    for name, value in inputs.items():
        text = posted.get(f"input.{name}")
        if text is None or text.replace("\r\n", "\n") == shown_text(value):
            continue
        text = text.replace("\r\n", "\n")
        if isinstance(value, str):
            changed[name] = text
            continue
        try:
            changed[name] = json.loads(text)
        except ValueError:
            changed[name] = text
    return changed


def shown_text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, str):
        return value
    try:
        return canonical_text(value)
    except TypeError:
        return str(value)
