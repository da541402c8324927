"""Reviews in other places than the own page: tasks go out to a back end, and what was said comes back through the inbox."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from workbench_pipelines.catalog import Catalog
from workbench_pipelines.clients.review_files import format_of, read_review_file, write_review_file
from workbench_pipelines.consensus import KEY
from workbench_pipelines.decisions import REVIEWED, Refusal
from workbench_pipelines.errors import LabelError
from workbench_pipelines.identity import digest
from workbench_pipelines.review import delivery_of, parse_judgement
from workbench_pipelines.review_inbox import REFUSALS, REVIEW_REFUSALS, judge, receive, take_deliveries
from workbench_pipelines.review_rows import choices_of, columns_of, open_columns, read_rows, row_of
from workbench_pipelines.review_tasks import Asked, Pulled, Pushed, ReviewBackEnd
from workbench_pipelines.workbench import Workbench


@dataclass(frozen=True)
class Exchanged:
    """What came back: decisions written, deliveries known before, tasks nobody decided, refusals, and the ledger's new
    version by Sheet."""

    decisions: int
    repeated: int
    undecided: int
    refusals: tuple[Refusal, ...]
    versions: Mapping[str, str]


class ReviewFile:
    """A file as a back end: its tasks are rows, and what was said stands in their open cells.

    A decision is of the time that its row says (`decided_at`), else of the time of the export: the person looked at what the
    file showed, so that whatever was decided since was decided with more in view, and a file that is read twice says the same
    thing at the same time.

    Args:
        by: whose decisions the file holds.
    """

    name = "files"

    def __init__(self, path: Path, kind: str | None = None, *, by: str, catalog: Catalog) -> None:
        self.path, self.kind, self.by = path, format_of(path, kind), by
        self._catalog = catalog

    def push(self, asked: Asked) -> Pushed:
        """Writes the file whole or not at all; one that is there is replaced.

        Raises:
            ArgumentError, LakeError: for a place where it can not be written.
        """
        columns = columns_of(asked)
        now = dt.datetime.now(dt.UTC)
        rows = [row_of(task, columns, now) for task in asked.tasks]
        fills = open_columns(asked.schema)
        write_review_file(self.path, self.kind, columns, rows, fills=fills, choices=choices_of(asked))
        return Pushed(added=len(rows))

    def pull(self) -> Pulled:
        """What people wrote into it.

        Raises:
            ArgumentError: for a file that can not be read at all; bad rows are refused one by one instead.
        """
        rows = read_review_file(self.path, self.kind)
        now = dt.datetime.now(dt.UTC)
        return read_rows(rows, schema_of=self._catalog.label_schema, by=self.by, now=now)


def deliver(workbench: Workbench, back_end: ReviewBackEnd) -> Exchanged:
    """Takes in what a back end gives back; what it gave before changes nothing.

    What one person says of one task at one time and contradicts is refused: nobody knows which of it is meant.

    Raises:
        WorkbenchError: where the back end can not be read.
    """
    pulled = back_end.pull()
    before = workbench.decisions()
    clear, refusals = _without_contradictions(pulled.judgements, before)
    judged = judge(workbench, clear)
    refusals = [*pulled.refusals, *refusals, *(refusal for _, refusal in judged.refusals)]
    _keep(workbench, refusals, back_end.name)
    good = set(judged.decisions["decision_id"])
    places = {name: where for where, raw in clear if (name := delivery_of(raw)) in good}
    receive(workbench, [raw for _, raw in clear if delivery_of(raw) in good], back_end.name)
    taken = take_deliveries(workbench)
    missing = good - set(workbench.decisions()["decision_id"])
    refusals += [
        Refusal(places[name], "was refused before; records/review_refusals says why") for name in sorted(missing)
    ]
    known = good & set(before["decision_id"])
    return Exchanged(
        len(good) - len(known) - len(missing), len(known), pulled.undecided, tuple(refusals), taken.versions
    )


def _without_contradictions(
    delivered: Sequence[tuple[str, Mapping[str, Any]]], ledger: pl.DataFrame
) -> tuple[list[tuple[str, Mapping[str, Any]]], list[Refusal]]:
    """The judgements of which nobody said something else at the same time, here or before, and the others."""
    said: dict[tuple[Any, ...], dict[str, str]] = {}
    reviewed = ledger.filter(pl.col("source") == REVIEWED)
    for row in reviewed.select("by", "at", *KEY, "pair_id", "decision_id").iter_rows():
        said.setdefault(row[:-1], {})[row[-1]] = "what was delivered before"
    moments: list[tuple[Any, ...] | None] = []
    for where, raw in delivered:
        try:
            one = parse_judgement(raw)
        except LabelError:
            moments.append(None)  # the inbox says what is wrong with it
            continue
        moment = (one.by, one.at, *one.key, one.pair_id)
        moments.append(moment)
        said.setdefault(moment, {}).setdefault(one.decision_id, where)
    clear: list[tuple[str, Mapping[str, Any]]] = []
    refusals: list[Refusal] = []
    known = set(ledger["decision_id"])
    for (where, raw), said_at in zip(delivered, moments, strict=True):
        mine = delivery_of(raw)
        others = [] if said_at is None else [place for name, place in said[said_at].items() if name != mine]
        if others and mine not in known:
            reason = f"{others[0]} says something else of it at the same time; keep one, or fill decided_at"
            refusals.append(Refusal(where, reason))
        else:
            clear.append((where, raw))
    return clear, refusals


def _keep(workbench: Workbench, refusals: Sequence[Refusal], back_end: str) -> None:
    """Keeps what was refused with its reason, once; a row that is mended, or that its author may say by then, is taken."""
    rows = [
        {"delivery_id": digest(["refused", one.where, one.reason]), "where": one.where, "reason": one.reason}
        for one in refusals
    ]
    if rows:
        frame = pl.DataFrame([row | {"back_end": back_end} for row in rows], schema=REVIEW_REFUSALS)
        workbench.lake.append_new(*REFUSALS, frame=frame, key="delivery_id")
