"""The inbox of reviews: what any back end delivered, and how it comes into the ledger.

A delivery is named by the decision it makes, so that one which comes twice, late or from two back ends is one row. The inbox is
append-only; what is taken of it stands in `label/decisions`, what is refused in `records/review_refusals` with its reason.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from workbench_pipelines.access import roles_of
from workbench_pipelines.clients.table_maintenance import TableMaintenance
from workbench_pipelines.decisions import UTC_TIME, Refusal
from workbench_pipelines.errors import LabelError
from workbench_pipelines.identity import canonical_text, digest
from workbench_pipelines.label_import import SeenItems
from workbench_pipelines.review import Judged, Judgement, decide_judgements, delivery_of
from workbench_pipelines.usage_audit import keep_audit
from workbench_pipelines.workbench import Workbench

INBOX = ("records", "review_inbox")
REFUSALS = ("records", "review_refusals")
# A commit adds a file to a table; from so many on, opening them is what a look takes.
MANY_FILES = 50

REVIEW_INBOX = pl.Schema(
    {"delivery_id": pl.String(), "judgement": pl.String(), "back_end": pl.String(), "received_at": UTC_TIME}
)
"""Columns of `records/review_inbox`; `judgement` is JSON as it was delivered."""

REVIEW_REFUSALS = pl.Schema(
    {"delivery_id": pl.String(), "where": pl.String(), "reason": pl.String(), "back_end": pl.String()}
)
"""Columns of `records/review_refusals`."""


@dataclass(frozen=True)
class Reviewed:
    """What was taken: decisions written, deliveries known already, refusals, and the new version of the ledger by Sheet."""

    decisions: int
    repeated: int
    refusals: tuple[Refusal, ...]
    versions: Mapping[str, str]


def receive(workbench: Workbench, judgements: Iterable[Mapping[str, Any]], back_end: str) -> int:
    """Puts judgements into the inbox as they were delivered; how many of them are new."""
    now = dt.datetime.now(dt.UTC)
    rows = [
        {"delivery_id": delivery_of(raw), "judgement": canonical_text(raw), "back_end": back_end, "received_at": now}
        for raw in judgements
    ]
    if not rows:
        return 0
    return workbench.lake.append_new(
        *INBOX, frame=pl.DataFrame(rows, schema=REVIEW_INBOX), key="delivery_id", partition_by="back_end"
    )


def waiting_deliveries(workbench: Workbench) -> pl.DataFrame:
    """The deliveries that were neither taken nor refused yet; rows of `REVIEW_INBOX`, in the order of their names."""
    inbox = workbench.record("review_inbox", REVIEW_INBOX)
    if inbox.is_empty():
        return inbox
    refused = workbench.record("review_refusals", REVIEW_REFUSALS)["delivery_id"]
    taken = workbench.decisions().select(pl.col("decision_id").alias("delivery_id"))
    return (
        inbox.filter(~pl.col("delivery_id").is_in(refused.implode()))
        .join(taken, on="delivery_id", how="anti")
        .sort("delivery_id")
    )


def take_deliveries(workbench: Workbench) -> Reviewed:
    """Takes what waits in the inbox into `label/decisions`; taking it again changes nothing.

    Raises:
        DefinitionError: for a broken Access or UsagePolicy document.
    """
    waiting = waiting_deliveries(workbench)
    if waiting.is_empty():
        return Reviewed(0, 0, (), {})
    back_ends = dict(waiting.select("delivery_id", "back_end").iter_rows())
    rows = [
        (f"{row['back_end']} {row['delivery_id'][:12]}", json.loads(row["judgement"])) for row in waiting.to_dicts()
    ]
    judged = judge(workbench, rows)
    kept = [
        {"delivery_id": name, "where": one.where, "reason": one.reason, "back_end": back_ends.get(name)}
        for name, one in judged.refusals
    ]
    if kept:
        frame = pl.DataFrame(kept, schema=REVIEW_REFUSALS)
        workbench.lake.append_new(*REFUSALS, frame=frame, key="delivery_id")
    added = 0
    if not judged.decisions.is_empty():
        sheets = sorted(set(judged.decisions["sheet"]))
        known = workbench.decisions(sheets)
        # First the audit: stopped in between, the delivery is still in the inbox, and both are written once.
        keep_audit(workbench, judged.decisions, pl.concat([known, judged.decisions], how="diagonal_relaxed"))
        added = workbench.lake.append_new(
            "label", "decisions", frame=judged.decisions, key=["decision_id"], partition_by="sheet"
        )
    _tidy(workbench)
    return Reviewed(
        added,
        judged.decisions.height - added,
        tuple(one for _, one in judged.refusals),
        ledger_versions(workbench, sorted(set(judged.decisions["sheet"]))),
    )


def settle(workbench: Workbench, raw: Mapping[str, Any], back_end: str) -> Reviewed:
    """Takes one judgement into the ledger at once, with whatever else waits in the inbox.

    Raises:
        LabelError: where it is refused, with the reason; then it is not in the inbox either.
    """
    judged = judge(workbench, [(back_end, raw)])
    if judged.refusals:
        raise LabelError(judged.refusals[0][1].reason)
    receive(workbench, [raw], back_end)
    taken = take_deliveries(workbench)
    names = judged.decisions["decision_id"]
    if not set(names) <= set(workbench.decisions(judged.decisions["sheet"].unique().to_list())["decision_id"]):
        why = next((one.reason for one in taken.refusals), "it was refused before")
        raise LabelError(f"not saved ({delivery_of(raw)[:12]}): {why}")
    return taken


def _tidy(workbench: Workbench) -> None:
    """Puts the small files of many decisions together, unless another process is at it: a page adds two with each."""
    maintenance = TableMaintenance(workbench.lake, workbench.settings.state / "locks")
    for table in (INBOX, ("label", "decisions")):
        if maintenance.files(*table) > MANY_FILES:
            maintenance.compact(*table, wait=False)


def judge(workbench: Workbench, rows: Sequence[tuple[str, Mapping[str, Any]]]) -> Judged:
    """The decisions that judgements make as the project stands now; nothing is written."""
    catalog = workbench.catalog()
    items = SeenItems(workbench)

    def seen(judgement: Judgement) -> Any:
        return items.by_key(*judgement.key, judgement.seen_columns)

    return decide_judgements(
        rows,
        schema_of=catalog.label_schema,
        seen=seen,
        roles=roles_of(catalog),
        vocabulary=catalog.vocabulary(),
        now=dt.datetime.now(dt.UTC),
    )


def ledger_versions(workbench: Workbench, sheets: Sequence[str]) -> dict[str, str]:
    """What each Sheet's part of the ledger amounts to now, for those who wait for news of it."""
    if not sheets:
        return {}
    ledger = workbench.decisions(sheets)
    return {name: digest(sorted(ledger.filter(pl.col("sheet") == name)["decision_id"])) for name in sheets}
