"""The record of batches in the lake: what was handed in, for whom, how far it is, and which lines were no answers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable, Mapping

import polars as pl

from workbench_pipelines.batch_lines import LineRefusal
from workbench_pipelines.batches import (
    BATCH_REFUSALS,
    BATCH_REQUESTS,
    BATCHES,
    Batch,
    fold_batches,
    request_of,
    request_rows,
)
from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.requests import Refusal, Request

_BATCHES = ("records", "batches")
_REQUESTS = ("records", "batch_requests")
_REFUSALS = ("records", "batch_refusals")


class BatchLedger:
    """The batches of a lake; rows are only added, and a second delivery adds none."""

    def __init__(self, lake: Lake) -> None:
        self.lake = lake

    def batches(self) -> list[Batch]:
        """Every batch after its last step, the oldest first."""
        if not self.lake.exists(*_BATCHES):
            return []
        return fold_batches(self.lake.read(*_BATCHES))

    def find(self, submission_id: str) -> Batch:
        return next(one for one in self.batches() if one.submission_id == submission_id)

    def versions(self) -> list[int | None]:
        """What changes with every row that is added."""
        return [self.lake.version(*table) if self.lake.exists(*table) else None for table in (_BATCHES, _REQUESTS)]

    def intend(self, batch: Batch, asked: Mapping[str, tuple[Request, Iterable[Request]]]) -> None:
        """Write down a batch that is about to be handed in: its questions by hash, each with all who wait for it."""
        self.wait_for({batch.submission_id: asked})
        self.record(batch)

    def wait_for(self, asked: Mapping[str, Mapping[str, tuple[Request, Iterable[Request]]]]) -> None:
        """Write down who waits for questions of batches, by submission_id."""
        rows = [row for name, questions in asked.items() for row in request_rows(name, questions)]
        if rows:
            self.lake.append_new(
                *_REQUESTS,
                frame=pl.DataFrame(rows, schema=BATCH_REQUESTS),
                key=["submission_id", "request_hash", "training_sheet", "pair_id"],
            )

    def record(self, batch: Batch) -> None:
        """Write down a step of a batch."""
        frame = pl.DataFrame([batch.row()], schema=BATCHES)
        self.lake.append_new(*_BATCHES, frame=frame, key=["submission_id", "status"])

    def refuse(self, batch: Batch, refusals: Iterable[LineRefusal], at: dt.datetime) -> None:
        """Write down which lines of a batch were no answers."""
        rows = [{"submission_id": batch.submission_id, "at": at, **one._asdict()} for one in refusals]
        if rows:
            frame = pl.DataFrame(rows, schema=BATCH_REFUSALS)
            self.lake.append_new(*_REFUSALS, frame=frame, key=["submission_id", "place"])

    def requests_of(self, batch: Batch) -> dict[str, list[Request]]:
        """The questions of a batch by hash: one for each who waits."""
        found: dict[str, list[Request]] = {}
        rows = self.lake.scan(*_REQUESTS).filter(pl.col("submission_id") == batch.submission_id).collect()
        for row in rows.iter_rows(named=True):
            found.setdefault(row["request_hash"], []).append(request_of(row))
        return found

    def waiting_for(self, hashes: Collection[str]) -> dict[str, Batch]:
        """The open batches that ask these questions, by their hashes."""
        still_open = {one.submission_id: one for one in self.batches() if one.is_open}
        if not still_open or not hashes:
            return {}
        wanted = pl.LazyFrame({"request_hash": sorted(hashes)})
        rows = (
            self.lake.scan(*_REQUESTS)
            .filter(pl.col("submission_id").is_in(sorted(still_open)))
            .select("submission_id", "request_hash")
            .join(wanted, on="request_hash", how="semi")
            .collect()
        )
        return {key: still_open[name] for name, key in rows.unique().sort("submission_id").iter_rows()}

    def refusals(self, hashes: Collection[str]) -> dict[str, list[Refusal]]:
        """Why questions got no answer from batches that ended, by their hashes, the oldest first."""
        if not hashes or not self.lake.exists(*_REFUSALS):
            return {}
        wanted = pl.LazyFrame({"request_hash": sorted(hashes)})
        rows = self.lake.scan(*_REFUSALS).join(wanted, on="request_hash", how="semi").collect().sort("at", "place")
        found: dict[str, list[Refusal]] = {}
        for row in rows.unique(["submission_id", "request_hash"], keep="first", maintain_order=True).to_dicts():
            found.setdefault(row["request_hash"], []).append(Refusal(row["reason"], row["detail"], calls=0))
        return found

    def concerned(self) -> dict[str, list[Batch]]:
        """The batches that each TrainingSheet waits or waited for, the oldest first."""
        batches = {one.submission_id: one for one in self.batches()}
        if not batches:
            return {}
        found: dict[str, list[Batch]] = {}
        names = self.lake.scan(*_REQUESTS).select("training_sheet", "submission_id").unique().collect()
        for training_sheet, submission_id in names.sort("training_sheet").iter_rows():
            if submission_id in batches:
                found.setdefault(training_sheet, []).append(batches[submission_id])
        return {
            name: sorted(ones, key=lambda one: (one.submitted_at, one.submission_id)) for name, ones in found.items()
        }
