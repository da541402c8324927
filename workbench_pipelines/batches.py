"""Batches: questions that a provider takes as a file and answers within a day, and the record of each of their steps.

A batch is known by a name of ours before its provider hears of it: the name travels with it, so that what became of a
batch whose run was killed can be found out, and nothing is handed in twice.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from workbench_pipelines.decisions import UTC_TIME
from workbench_pipelines.identity import canonical_text
from workbench_pipelines.requests import Request

# What OpenAI takes as one file; other providers that speak its interface take no more.
MAX_REQUESTS = 50_000
MAX_BYTES = 200_000_000
# A question that expired so often in a row is not handed in again by itself.
MAX_EXPIRED = 3

BATCHES = pl.Schema(
    {
        "submission_id": pl.String(),
        "status": pl.String(),
        "at": UTC_TIME,
        "batch_id": pl.String(),
        "input_file_id": pl.String(),
        "training_sheet": pl.String(),
        "model": pl.String(),
        "endpoint": pl.String(),
        "requests": pl.Int64(),
        "max_cost_usd": pl.Float64(),
        "answers": pl.Int64(),
        "refused": pl.Int64(),
        "cost_usd": pl.Float64(),
        "submitted_at": UTC_TIME,
        "detail": pl.String(),
    }
)
"""Columns of `records/batches`: one step of a batch a row, told by its `status`.

`intended` is written before the provider hears of it, `uploaded` before the batch is asked for, `submitted` once the
provider took it, and one of `completed, expired, cancelled, failed` once its answers are in the request store. `refused`
was not taken, `lost` never came to be. `submission_id` is our name of it, `batch_id` the provider's."""

BATCH_REQUESTS = pl.Schema(
    {
        "submission_id": pl.String(),
        "request_hash": pl.String(),
        "model": pl.String(),
        "revision": pl.String(),
        "endpoint": pl.String(),
        "parameters": pl.String(),
        "attempt": pl.Int64(),
        "training_sheet": pl.String(),
        "sheet": pl.String(),
        "item_ref": pl.String(),
        "pair_id": pl.String(),
    }
)
"""Columns of `records/batch_requests`: what a batch asks, and for whom; several items may wait for one question."""

BATCH_REFUSALS = pl.Schema(
    {
        "submission_id": pl.String(),
        "place": pl.String(),
        "request_hash": pl.String(),
        "reason": pl.String(),
        "detail": pl.String(),
        "at": UTC_TIME,
    }
)
"""Columns of `records/batch_refusals`: a line that is no answer, by file and number, or a question without a line.

Reasons: `unreadable_line`, `unknown_custom_id` and `duplicate_custom_id` (bound to no item), `missing_line`, `expired`,
`cancelled`, `batch_failed`, and as for a call `transient`, `permanent` and `filtered`."""

PENDING = "pending_batch"
INTENDED, UPLOADED, SUBMITTED = "intended", "uploaded", "submitted"
_OPEN = (INTENDED, UPLOADED, SUBMITTED)
# The provider's words for a batch that it works on no more.
ENDS = frozenset({"completed", "expired", "cancelled", "failed"})


@dataclass(frozen=True)
class Batch:
    """A batch after its last step.

    Attributes:
        requests: how many questions it asks.
        max_cost_usd: what it may cost at most, None where no price is known.
        answers, refused, cost_usd: what came of it, once it is collected.
        at: when its last step was; submitted_at: when it was begun.
    """

    submission_id: str
    training_sheet: str
    model: str
    endpoint: str | None
    requests: int
    max_cost_usd: float | None
    submitted_at: dt.datetime
    at: dt.datetime
    status: str = INTENDED
    batch_id: str | None = None
    input_file_id: str | None = None
    answers: int | None = None
    refused: int | None = None
    cost_usd: float | None = None
    detail: str | None = None

    @property
    def is_open(self) -> bool:
        """Whether answers may still come of it."""
        return self.status in _OPEN

    def after(self, status: str, at: dt.datetime, **found: Any) -> Batch:
        """The batch after a further step."""
        return replace(self, status=status, at=at, **found)

    def row(self) -> dict[str, Any]:
        """This step as a row of `BATCHES`."""
        return {name: getattr(self, name) for name in BATCHES}

    @property
    def line(self) -> str:
        """Who waits for what, as a refusal of a question that it asks says it."""
        if self.status != SUBMITTED:
            return "its batch is being handed in, or the run that did so was ended; run again in a minute"
        return f"waits for batch {self.batch_id} of {self.submitted_at:%Y-%m-%d %H:%M} UTC"


def fold_batches(rows: pl.DataFrame) -> list[Batch]:
    """The batches of `BATCHES` rows as they are after their last steps, the oldest first."""
    rank = {status: number for number, status in enumerate(_OPEN)}
    last: dict[str, dict[str, Any]] = {}
    steps = sorted(rows.iter_rows(named=True), key=lambda row: (rank.get(row["status"], len(rank)), row["at"]))
    for row in steps:
        last[row["submission_id"]] = row
    batches = [Batch(**{name: row[name] for name in BATCHES}) for row in last.values()]
    return sorted(batches, key=lambda batch: (batch.submitted_at, batch.submission_id))


def request_rows(submission_id: str, asked: Mapping[str, tuple[Request, Iterable[Request]]]) -> list[dict[str, Any]]:
    """Rows of `BATCH_REQUESTS`: of each question by its hash, and of all who wait for it."""
    return [
        {
            "submission_id": submission_id,
            "request_hash": key,
            "model": request.model,
            "revision": request.revision,
            "endpoint": request.endpoint,
            "parameters": canonical_text(dict(request.parameters)),
            "attempt": request.attempt,
            "training_sheet": one.training_sheet,
            "sheet": one.sheet,
            "item_ref": one.item_ref,
            "pair_id": one.pair_id,
        }
        for key, (request, waiting) in asked.items()
        for one in waiting
    ]


def request_of(row: Mapping[str, Any]) -> Request:
    """The question of a row of `BATCH_REQUESTS`, without its words: its hash names it."""
    names = ("model", "revision", "endpoint", "attempt", "training_sheet", "sheet", "item_ref", "pair_id")
    request = Request(
        messages=(), schema=None, parameters=json.loads(row["parameters"]), **{name: row[name] for name in names}
    )
    # What the cached property would have worked out from the words.
    request.__dict__["request_hash"] = row["request_hash"]
    return request
