"""Feedback files come into the inbox, and people's approval turns corrections into label decisions."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import polars as pl

from workbench_pipelines.decisions import Refusal
from workbench_pipelines.errors import ArgumentError
from workbench_pipelines.feedback import (
    FEEDBACK,
    FEEDBACK_INBOX,
    approval_of,
    decisions_for,
    parse_feedback,
    split_known,
)
from workbench_pipelines.feedback_matching import PAIR_COLUMNS, match_feedback
from workbench_pipelines.identity import digest
from workbench_pipelines.label_import import SeenItems
from workbench_pipelines.labels import fold_labels
from workbench_pipelines.lineage import MODEL_TRAINING_LINEAGE
from workbench_pipelines.pairs import LABELED_PAIRS
from workbench_pipelines.workbench import Workbench

INBOX = ("monitor", "feedback_inbox")


@dataclass(frozen=True)
class Arrived:
    """What an import or approval did, and the new version of each partition it touched."""

    rows: int
    repeated: int
    refusals: tuple[Refusal, ...]
    versions: Mapping[str, str]
    days: Mapping[str, str] = field(default_factory=dict)
    """The new version of each day of the inbox on whose feedback an approval decided."""


def import_feedback(workbench: Workbench, files: Sequence[Path]) -> Arrived:
    """Takes feedback files into the inbox; a feedback_id that is there already changes nothing.

    Raises:
        ArgumentError: for a file that can not be read at all; bad lines are refused one by one instead.
    """
    inbox = read_inbox(workbench)
    added, repeated = 0, 0
    refusals: list[Refusal] = []
    days: set[str] = set()
    for file in files:
        rows, bad = parse_feedback(_lines(file), file.name)
        new, differing = split_known(rows, inbox, file.name)
        refusals += [*bad, *differing]
        repeated += rows.height - new.height - len(differing)
        days |= set(rows["day"])  # known ones are announced again, in case their announcement was lost
        if not new.is_empty():
            workbench.lake.append_new(*INBOX, frame=new, key=["feedback_id"], partition_by="day")
            added += new.height
            inbox = read_inbox(workbench)
    return Arrived(added, repeated, tuple(refusals), _day_versions(feedback_rows(workbench, inbox), days))


def approve_corrections(workbench: Workbench, feedback_ids: Sequence[str], by: str) -> Arrived:
    """Turns pending corrections into label decisions: the named ones, or all where none is named.

    Raises:
        ArgumentError: for a feedback_id that is not in the inbox.
    """
    standing = feedback_rows(workbench, read_inbox(workbench))
    unknown = set(feedback_ids) - set(standing["feedback_id"])
    if unknown:
        raise ArgumentError(f"the inbox holds no feedback '{min(unknown)}'")
    chosen = standing.filter(pl.col("feedback_id").is_in(list(feedback_ids))) if feedback_ids else standing
    pending = chosen.filter(pl.col("status") == "pending")
    made, refusals = decisions_for(
        pending,
        by=by,
        at=dt.datetime.now(dt.UTC),
        schema_of=workbench.catalog().label_schema,
        seen=SeenItems(workbench).by_key,
    )
    # Another process may have approved the same meanwhile: one feedback and one label are one decision.
    new = made.filter(~pl.col("decision_id").is_in(workbench.decisions()["decision_id"].implode()))
    if not new.is_empty():
        workbench.lake.append_new("label", "decisions", frame=new, key=["decision_id"], partition_by="sheet")
    ledger = workbench.decisions()
    # What was approved before is announced again: the same version moves nothing, and a lost announcement is made up for.
    sheets = set(made["sheet"])
    versions = {name: digest(sorted(ledger.filter(pl.col("sheet") == name)["decision_id"])) for name in sheets}
    known = chosen.filter(pl.col("status") == "approved").height + made.height - new.height
    if feedback_ids:
        refusals += [_no_approval(row) for row in chosen.iter_rows(named=True) if row["status"] in _NOT_APPROVABLE]
    days = _day_versions(feedback_rows(workbench, read_inbox(workbench)), set(chosen["day"]))
    return Arrived(new.height, known, tuple(refusals), versions, days)


def outdated_days(workbench: Workbench) -> list[str]:
    """The days whose feedback stands otherwise than `monitor/feedback` says, oldest first."""
    columns = ["day", "feedback_id", "status", "decision_id", "pair_id"]
    standing = feedback_rows(workbench, read_inbox(workbench)).select(columns)
    told = _table(workbench, ("monitor", "feedback"), FEEDBACK, columns)
    changed = standing.join(told, on=columns, how="anti", nulls_equal=True)
    return sorted(set(changed["day"]))


def _day_versions(standing: pl.DataFrame, days: Iterable[str]) -> dict[str, str]:
    """What a day's feedback amounts to: which there is, and how it stands."""
    rows = standing.select("day", "feedback_id", "status").sort("feedback_id")
    return {day: digest([list(row) for row in rows.filter(pl.col("day") == day).rows()]) for day in days}


_NOT_APPROVABLE = {
    "recorded": "corrects nothing",
    "unmatched": "belongs to no item",
    "declined": "a later label says something else",
}


def _no_approval(row: Mapping[str, str | None]) -> Refusal:
    """Why a feedback that was named can not be approved."""
    return Refusal(f"feedback {row['feedback_id']}", row["reason"] or _NOT_APPROVABLE[str(row["status"])])


def feedback_rows(workbench: Workbench, inbox: pl.DataFrame) -> pl.DataFrame:
    """The inbox's rows tied to the pairs they speak of, with the status that the decisions in the ledger give them.

    Returns:
        Rows of `feedback.FEEDBACK`.
    """
    pairs = _table(workbench, ("label", "labeled_pairs"), LABELED_PAIRS, [*PAIR_COLUMNS, "inputs", "messages"])
    lineage = workbench.record("model_training_lineage", MODEL_TRAINING_LINEAGE)
    sheets_of_model: dict[str, set[str]] = {}
    for name, training_sheets in lineage.select("model_name", "training_sheets").iter_rows():
        sheets_of_model.setdefault(name, set()).update(training_sheets)
    decisions = workbench.decisions()
    labels = fold_labels(decisions, None, workbench.catalog().two_person_sheets(), workbench.panels())
    return approval_of(match_feedback(inbox, pairs, sheets_of_model), labels, decisions)


def read_inbox(workbench: Workbench, days: Sequence[str] | None = None) -> pl.DataFrame:
    """The inbox, of some days or of all; rows of `FEEDBACK_INBOX`."""
    if not workbench.lake.exists(*INBOX):
        return FEEDBACK_INBOX.to_frame()
    rows = workbench.lake.read(*INBOX, partition=None if days is None else {"day": list(days)})
    return rows.select(list(FEEDBACK_INBOX))


def _table(workbench: Workbench, parts: tuple[str, str], schema: pl.Schema, columns: Sequence[str]) -> pl.DataFrame:
    if not workbench.lake.exists(*parts):
        return schema.to_frame().select(columns)
    return workbench.lake.scan(*parts).select(columns).collect()


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        raise ArgumentError(f"there is no file {file.name}")
    try:
        return file.read_bytes().decode("utf-8-sig").split("\n")
    except UnicodeDecodeError as error:
        raise ArgumentError(f"{file.name}: not UTF-8 at byte {error.start}; save it as UTF-8") from None
