"""Rows of a review file: each task with what was shown of it, and open cells for what a person says of it.

Columns: `item_ref, need, detail`, `input.<name>` for each thing shown, `prompt`, `proposed_answer`; then the cells to fill,
`decision, answer.<field>` for each field of the task's schema, `notes, reason, confidence, decided_at`; then what the row is
known by: `training_sheet, sheet, label_type, pair_id, response_hash, seen_columns, seen_hash, exported_at, checks`. All of them
are text. `checks` holds a short digest of each locked cell, so that a row whose shown text was changed is noticed and named.
A row of which people decided nothing says nothing.

An edit starts from the proposed answer: a filled `answer` cell replaces that field, `(none)` leaves it out.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from workbench_pipelines.decisions import Refusal, in_utc
from workbench_pipelines.errors import LabelError, WorkbenchError, nearest
from workbench_pipelines.identity import canonical_text, digest
from workbench_pipelines.label_form import WHOLE, FormField, form_fields, read_text
from workbench_pipelines.review import CLOCKS_DIFFER
from workbench_pipelines.review_tasks import Asked, Pulled, ReviewTask, text_of

DECISIONS_OF_PAIRS = ("approve", "edit", "reject", "flag", "skip")
DECISIONS_OF_ITEMS = ("label", "skip")
INPUT, ANSWER = "input.", "answer."
NO_VALUE = "(none)"
_REMARKS = ("notes", "reason", "confidence", "decided_at")
_KNOWN_BY = ("training_sheet", "sheet", "label_type", "pair_id", "response_hash", "seen_columns", "seen_hash")
_NEEDED = ("item_ref", "sheet", "label_type", "decision", "exported_at", "checks")
_OF_PAIR = ("training_sheet", "pair_id", "response_hash", "proposed_answer")

Cells = Mapping[str, Any]
"""A row of a file by column: text, or in JSONL any value."""


def columns_of(asked: Asked) -> list[str]:
    """The columns of a file of these tasks, in their order."""
    shown = list(dict.fromkeys(name for task in asked.tasks for name in task.shown))
    of_pairs = any(task.pair_id for task in asked.tasks)
    prompt = ["prompt", "proposed_answer"] if of_pairs else []
    first = ["item_ref", *(("need", "detail") if of_pairs else ())]
    return [
        *first,
        *(INPUT + name for name in shown),
        *prompt,
        *open_columns(asked.schema),
        *_KNOWN_BY,
        "exported_at",
        "checks",
    ]


def open_columns(schema: Mapping[str, Any]) -> list[str]:
    """The columns that people fill."""
    return ["decision", *(ANSWER + one.name for one in form_fields(schema)), *_REMARKS]


def choices_of(asked: Asked) -> dict[str, list[str]]:
    """What can be chosen in the columns that have a list."""
    of_pairs = any(task.pair_id for task in asked.tasks)
    found = {
        "decision": list(DECISIONS_OF_PAIRS if of_pairs else DECISIONS_OF_ITEMS),
        "confidence": ["high", "medium", "low"],
    }
    for one in form_fields(asked.schema):
        if one.kind == "choice":
            unsaid = [] if one.required else [NO_VALUE]
            found[ANSWER + one.name] = [shown for value, shown in one.options if value] + unsaid
    return found


def row_of(task: ReviewTask, columns: Sequence[str], exported_at: dt.datetime) -> dict[str, str]:
    """A task as the text of each cell; those that people fill are empty."""
    cells = {
        "item_ref": task.item_ref,
        "need": task.need,
        "detail": task.detail,
        **{INPUT + name: text_of(value) for name, value in task.shown.items()},
        "prompt": task.prompt,
        "proposed_answer": task.response,
        "training_sheet": task.training_sheet,
        "sheet": task.sheet,
        "label_type": task.label_type,
        "pair_id": task.pair_id,
        "response_hash": task.response_hash,
        "seen_columns": canonical_text(list(task.seen_columns)),
        "seen_hash": task.seen_hash,
        "exported_at": exported_at.isoformat(timespec="seconds"),
    }
    locked = {name: cells.get(name) or "" for name in columns if name in cells}
    checks = canonical_text({name: _check(text) for name, text in locked.items()})
    return {name: locked.get(name, "") for name in columns} | {"checks": checks}


def read_rows(
    rows: Iterable[tuple[str, Cells | str]],
    *,
    schema_of: Callable[[str], Mapping[str, Any]],
    by: str,
    now: dt.datetime,
) -> Pulled:
    """What people decided in the rows of a file, in their order, and the rows that can not be read, each with its column.

    Args:
        rows: each with the place that a refusal names; a row that is no row is its reason as text.
        schema_of: the JSON Schema of a label type; raises a WorkbenchError for an unknown one.
        by: whose decisions they are.
        now: nobody decided after it.
    """
    judgements: list[tuple[str, Mapping[str, Any]]] = []
    refusals: list[Refusal] = []
    undecided = 0
    for where, row in rows:
        if isinstance(row, str):
            refusals.append(Refusal(where, row))
            continue
        try:
            said = _judgement(row, schema_of, by, now)
        except WorkbenchError as error:
            refusals.append(Refusal(where, error.line))
        else:
            undecided += said is None
            judgements += [] if said is None else [(where, said)]
    return Pulled(judgements, refusals, undecided)


def _judgement(
    row: Cells, schema_of: Callable[[str], Mapping[str, Any]], by: str, now: dt.datetime
) -> dict[str, Any] | None:
    decision = _text(row, "decision").strip().lower()
    typed = [name for name in row if name.startswith(ANSWER) and not _is_empty(row[name])]
    if not decision and not typed:
        return None
    missing = next((name for name in _NEEDED if name not in row), None)
    if missing:
        raise LabelError(f"column {missing} is missing; it stands in every file that was exported")
    if decision == "skip":
        return None
    is_pair = bool(_text(row, "pair_id"))
    known = DECISIONS_OF_PAIRS if is_pair else DECISIONS_OF_ITEMS
    if not decision:
        raise LabelError(f"column decision is empty, and {typed[0]} is filled; say {known[1] if is_pair else known[0]}")
    if decision not in known:
        raise LabelError(f"column decision: none of {', '.join(known)}")
    _refuse_changed(row)
    if typed and decision not in ("edit", "label"):
        raise LabelError(f"column {typed[0]} is filled, and decision is {decision}; another answer is an edit")
    at = _time(row, "decided_at", now) or _time(row, "exported_at", now)
    said: dict[str, Any] = {
        "sheet": _text(row, "sheet"),
        "item_ref": _text(row, "item_ref"),
        "label_type": _text(row, "label_type"),
        "action": decision,
        "by": by,
        "at": None if at is None else at.isoformat(),
        "seen_columns": _list(row, "seen_columns") or None,
        "seen_hash": _text(row, "seen_hash") or None,
    }
    if is_pair:
        names = {"training_sheet": "training_sheet", "pair_id": "pair_id", "response_hash": "response_hash"}
        said |= {name: _text(row, column) or None for name, column in names.items()}
        said["proposed_response"] = _text(row, "proposed_answer") or None
    if decision in ("edit", "label"):
        said["label_data"] = _answer(row, typed, schema_of(said["label_type"]), said.get("proposed_response"))
    said |= {name: _text(row, name).strip() or None for name in ("notes", "reason")}
    confidence = _text(row, "confidence").strip().lower()
    if confidence and confidence not in ("high", "medium", "low"):
        raise LabelError("column confidence: none of high, medium, low")
    return said | {"confidence": confidence or None}


def _refuse_changed(row: Cells) -> None:
    """Refuses a row of which a cell that was only shown says something else than it did."""
    try:
        checks = dict(json.loads(_text(row, "checks")))
    except (ValueError, TypeError):
        raise LabelError("column checks was changed; export the row again") from None
    lost = next((name for name in _OF_PAIR if checks.get(name) and name not in row), None)
    if lost:
        raise LabelError(f"column {lost} is missing; it stands in every file that was exported")
    for name, check in checks.items():
        if name in row and _check(_text(row, name)) != check:
            mend = (
                "; the right answer goes into the answer columns, with decision edit"
                if name == "proposed_answer"
                else ""
            )
            raise LabelError(f"column {name} was changed, and is only shown{mend or '; export the row again'}")
    unchecked = next((name for name in ("item_ref", *_KNOWN_BY, "exported_at") if name not in checks), None)
    if unchecked:
        raise LabelError("column checks was changed; export the row again")


def _answer(row: Cells, typed: Sequence[str], schema: Mapping[str, Any], proposed: str | None) -> Any:
    """The proposed answer with the cells that were filled."""
    if not typed:
        raise LabelError("an answer is needed, and every answer column is empty")
    fields = {ANSWER + one.name: one for one in form_fields(schema)}
    answer: dict[str, Any] = {}
    if proposed:
        held = json.loads(proposed)
        answer = held if isinstance(held, dict) else {}
    for name in typed:
        field = fields.get(name)
        if field is None:
            raise LabelError(f"column {name}: the task has no such field{nearest(name, fields)}")
        value = row[name]
        if isinstance(value, str) and value.strip() == NO_VALUE:
            answer.pop(field.name, None)
            continue
        try:
            answer[field.name] = _value(field, value)
        except ValueError as error:
            raise LabelError(f"column {name} {error}") from None
    return answer.get(WHOLE, answer)


def _value(field: FormField, value: Any) -> Any:
    """What a cell says; raises ValueError with what is wrong."""
    if not isinstance(value, str):
        return value
    if field.kind == "choice":
        wanted = value.strip().casefold()
        also = (
            {"true": "yes", "false": "no", "1": "yes", "0": "no"}
            if {v for v, _ in field.options} >= {"true", "false"}
            else {}
        )
        found = [chosen for chosen, shown in field.options if chosen and shown.casefold() in (wanted, also.get(wanted))]
        exact = [chosen for chosen, shown in field.options if chosen and shown == value]
        if len(exact or found) != 1:
            raise ValueError(f"is none of {', '.join(shown for chosen, shown in field.options if chosen)}")
        return json.loads((exact or found)[0])
    if field.kind == "date":
        # A spreadsheet gives a day as the midnight it begins with.
        value = value.strip().removesuffix(" 00:00:00")
    return read_text(field, value)


def _time(row: Cells, column: str, now: dt.datetime) -> dt.datetime | None:
    text = _text(row, column).strip()
    if not text:
        return None
    try:
        found = in_utc(dt.datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise LabelError(f"column {column} is no time; write it like 2026-03-01T12:00:00Z") from None
    if found > now + CLOCKS_DIFFER:
        raise LabelError(f"column {column} lies in the future")
    return found


def _list(row: Cells, column: str) -> list[str]:
    found = json.loads(_text(row, column) or "[]")
    return [str(one) for one in found] if isinstance(found, list) else []


def _text(row: Cells, column: str) -> str:
    return text_of(row.get(column))


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _check(text: str) -> str:
    # Programs write line ends as they like.
    return digest(text.replace("\r\n", "\n").replace("\r", "\n"))[:12]
