"""Generation: from rendered prompts to drafts, asking only for what no expert and no column has answered."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import polars as pl

from workbench_pipelines.answers import MENDABLE, Read, answer_reader
from workbench_pipelines.catalog.documents import PromptTemplate, TrainingSheet
from workbench_pipelines.decisions import UTC_TIME
from workbench_pipelines.fields import json_schema_of
from workbench_pipelines.identity import response_hash
from workbench_pipelines.personal_data import REFUSED
from workbench_pipelines.requests import (
    Answered,
    Completion,
    Refusal,
    Request,
    total_cost,
)  # fmt: skip

GENERATED_PAIRS = pl.Schema(
    {
        "training_sheet": pl.String(),
        "pair_id": pl.String(),
        "sheet": pl.String(),
        "item_ref": pl.String(),
        "label_type": pl.String(),
        "seen_hash": pl.String(),
        "prompt_hash": pl.String(),
        "request_hash": pl.String(),
        "response": pl.String(),
        "response_hash": pl.String(),
        "labeling_mode": pl.String(),
        "canonical_label_id": pl.String(),
        "model": pl.String(),
        "prompt_tokens": pl.Int64(),
        "completion_tokens": pl.Int64(),
        "cost_usd": pl.Float64(),
        "answered_at": UTC_TIME,
        "repaired": pl.Boolean(),
        "language": pl.String(),
        "ai_confidence": pl.Float64(),
    }
)
"""Columns of `generate/generated_pairs`; `model` is the one that answered, tokens and cost are those of its answer, a null
cost is unknown, `repaired` says that the answer was no JSON until it was mended, `language` is that of the answer where the
TrainingSheet asks for one, and `ai_confidence` what the model thinks of its answer where it is asked."""

REFUSALS = pl.Schema(
    {
        "training_sheet": pl.String(),
        "item_ref": pl.String(),
        "pair_id": pl.String(),
        "reason": pl.String(),
        "detail": pl.String(),
    }
)
"""Columns of `generate/generated_pairs_refusals`."""

Answer = Callable[[Iterable[Request], int], Iterable[Answered]]
"""Questions, and how many they are, to their outcomes in any order."""
# What a draft takes over from its prompt.
_SHARED = ("training_sheet", "pair_id", "sheet", "item_ref", "label_type", "seen_hash", "prompt_hash")
# Rows that are Python objects at one time.
_CHUNK = 10_000
SHOWN_BACK = 2_000  # characters of an unusable answer that its model is shown again


@dataclass(frozen=True)
class Model:
    """A model that is asked: its id, the digest of its file if it is local, its address if it is not the usual one."""

    name: str
    revision: str | None = None
    endpoint: str | None = None


@dataclass(frozen=True)
class Standing:
    """How a stratum stands: how many rows are wanted, accepted, asked without one coming of it, left to ask, and to come with a
    batch."""

    stratum: str
    wanted: int
    accepted: int
    failed: int
    left: int
    pending: int = 0

    @property
    def short(self) -> int:
        return max(0, self.wanted - self.accepted)


@dataclass(frozen=True)
class Drafts:
    """The drafts of one TrainingSheet and what this run paid for them; `cost_usd` None where a price is unknown.

    `standings` says how its targets stand, where it has some.
    """

    frame: pl.DataFrame
    refusals: pl.DataFrame
    calls: int = 0
    store_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = 0.0
    standings: tuple[Standing, ...] = ()


def draft_pairs(
    training_sheet: TrainingSheet,
    template: PromptTemplate,
    rendered: pl.DataFrame,
    live_labels: Mapping[str, str],
    *,
    model: Model,
    answer: Answer,
    read: Read | None = None,
) -> Drafts:
    """One draft a prompt: as the model wrote it, as its column holds it, or none where an expert has answered.

    Input columns: those of `generate/rendered_prompts`, of one TrainingSheet.

    Output columns: `GENERATED_PAIRS`, sorted by item whatever the order of the answers; `REFUSALS` for the prompts
    without a usable answer, which make no pair.

    Args:
        live_labels: by item, the id of its canonical label for this task, where that is active and not stale.
        model: who is asked first.
        read: what an answer says; where it is not given, what fits the output schema of the template.
    """
    asked = asked_prompts(training_sheet, rendered, live_labels)
    read = read or answer_reader(json_schema_of(template.spec.output_schema))
    outcomes = _Outcomes(read)
    if asked.height:
        for one in answer(make_requests(template, asked, model, training_sheet), asked.height):
            outcomes.take(one)
    drafts, refusals = outcomes.frames()
    undrafted = rendered.filter(~pl.col("pair_id").is_in(asked["pair_id"].implode()))
    unanswered = _unanswered(undrafted, training_sheet.spec.labeling_mode, live_labels)
    undrafted = undrafted.join(unanswered, on="pair_id", how="anti", maintain_order="left")
    shared = [name for name in _SHARED if name in rendered.columns]
    mode = pl.lit(training_sheet.spec.labeling_mode).alias("labeling_mode")
    parts = [
        asked.select(shared).join(drafts, on="pair_id", how="inner").with_columns(mode),
        _undrafted(undrafted, training_sheet.spec.labeling_mode, live_labels).with_columns(mode),
    ]
    columns = [pl.col(name).cast(dtype) for name, dtype in GENERATED_PAIRS.items()]
    frame = pl.concat([GENERATED_PAIRS.to_frame(), *parts], how="diagonal_relaxed").select(columns)
    named = asked.select("training_sheet", "pair_id", "item_ref").join(refusals, on="pair_id", how="inner")
    return Drafts(
        frame=frame.sort("item_ref", "pair_id"),
        refusals=pl.concat([named.select(list(REFUSALS)), unanswered]).sort("item_ref", "pair_id"),
        calls=outcomes.calls,
        store_hits=outcomes.store_hits,
        prompt_tokens=outcomes.prompt_tokens,
        completion_tokens=outcomes.completion_tokens,
        cost_usd=outcomes.cost_usd,
    )


def asked_prompts(
    training_sheet: TrainingSheet, rendered: pl.DataFrame, live_labels: Mapping[str, str]
) -> pl.DataFrame:
    """The prompts that a model is asked, in the order of their items: none for an item with a live canonical label."""
    if training_sheet.spec.labeling_mode != "ai_generated":
        return rendered.clear()
    labeled = pl.Series(list(live_labels), dtype=pl.String)
    return rendered.filter(~pl.col("item_ref").is_in(labeled.implode())).sort("item_ref", "pair_id")


def make_requests(
    template: PromptTemplate, prompts: pl.DataFrame, model: Model, training_sheet: TrainingSheet
) -> Iterator[Request]:
    """The questions that prompts are, one after the other."""
    spec = template.spec
    parameters: dict[str, Any] = {
        "temperature": spec.temperature,
        "max_tokens": spec.max_tokens,
        "top_p": spec.top_p,
        "seed": spec.seed,
    }
    if training_sheet.spec.generation.confidence:
        parameters["logprobs"] = True
    schema = json_schema_of(spec.output_schema)
    columns = ["training_sheet", "sheet", "item_ref", "pair_id", "messages"]
    for chunk in prompts.select([name for name in columns if name in prompts.columns]).iter_slices(_CHUNK):
        for row in chunk.to_dicts():
            yield Request(
                model=model.name,
                revision=model.revision,
                endpoint=model.endpoint,
                parameters=parameters,
                schema=schema,
                **row,
            )


def ask_once_more(read: Read) -> Callable[[Request, Completion], Request | None]:
    """What to ask after an answer that breaks its schema: the same, with the answer and what was wrong with it.

    Once, and only where being told helps: a cut, empty or declined answer is not asked for again.
    """

    def follow_up(request: Request, completion: Completion) -> Request | None:
        parsed = read(request, completion)
        if request.attempt or parsed.response is not None or parsed.reason not in MENDABLE:
            return None
        told = (
            f"That answer can not be used: {parsed.detail}. Answer the question again, with nothing but one JSON object "
            "that fits the schema."
        )
        turns = [
            {"role": "assistant", "content": completion.text[:SHOWN_BACK], "parts": None},
            {"role": "user", "content": told, "parts": None},
        ]
        return replace(request.again(), messages=[*request.messages, *turns])

    return follow_up


class _Outcomes:
    """What came of the questions, as columns that grow by chunks."""

    _DRAFTED = pl.Schema(
        {
            name: GENERATED_PAIRS[name]
            for name in (
                "pair_id", "request_hash", "response", "response_hash", "model", "prompt_tokens", "completion_tokens",
                "cost_usd", "answered_at", "repaired", "ai_confidence",
            )
        }
    )  # fmt: skip
    _REFUSED = pl.Schema({name: REFUSALS[name] for name in ("pair_id", "reason", "detail")})

    def __init__(self, read: Read) -> None:
        self.read = read
        self.calls = self.store_hits = self.prompt_tokens = self.completion_tokens = 0
        self.cost_usd: float | None = 0.0
        self._drafts = _Columns(self._DRAFTED)
        self._refusals = _Columns(self._REFUSED)

    def take(self, answered: Answered) -> None:
        request, outcome = answered.request, answered.outcome
        self.store_hits += answered.from_store
        for one in answered.paid:
            self.calls += one.calls
            if isinstance(one, Completion):
                self.prompt_tokens += one.prompt_tokens
                self.completion_tokens += one.completion_tokens
                self.cost_usd = total_cost([self.cost_usd, one.cost_usd])
        if isinstance(outcome, Refusal):
            self._refusals.add((request.pair_id, outcome.reason, outcome.detail))
            return
        parsed = self.read(request, outcome)
        if parsed.response is None:
            self._refusals.add((request.pair_id, parsed.reason, parsed.detail))
            return
        self._drafts.add(
            (
                request.pair_id,
                outcome.request_hash,
                parsed.response,
                response_hash(parsed.response),
                outcome.model,
                outcome.prompt_tokens,
                outcome.completion_tokens,
                outcome.cost_usd,
                outcome.answered_at,
                parsed.repaired,
                outcome.confidence,
            )
        )

    def frames(self) -> tuple[pl.DataFrame, pl.DataFrame]:
        return self._drafts.frame(), self._refusals.frame()


class _Columns:
    """Rows that become columns by chunks, so that few of them are Python objects at one time."""

    def __init__(self, schema: pl.Schema) -> None:
        self.schema = schema
        self._parts = [schema.to_frame()]
        self._rows: list[tuple[Any, ...]] = []

    def add(self, row: tuple[Any, ...]) -> None:
        self._rows.append(row)
        if len(self._rows) >= _CHUNK:
            self._close()

    def frame(self) -> pl.DataFrame:
        self._close()
        return pl.concat(self._parts)

    def _close(self) -> None:
        self._parts.append(pl.DataFrame(self._rows, schema=self.schema, orient="row"))
        self._rows = []


def _unanswered(rendered: pl.DataFrame, mode: str, live_labels: Mapping[str, str]) -> pl.DataFrame:
    """The prompts whose column holds no usable answer and which no expert has answered either; rows of `REFUSALS`."""
    if mode != "existing_column" or "column_problem" not in rendered.columns:
        return REFUSALS.to_frame()
    open_ones = pl.col("column_problem").is_not_null() & ~pl.col("item_ref").is_in(list(live_labels))
    held = pl.col("column_problem").str.contains(f": {REFUSED}: ", literal=True)
    said = rendered.filter(open_ones).with_columns(
        pl.when(held).then(pl.lit(REFUSED)).otherwise(pl.lit("column_breaks_schema")).alias("reason"),
        pl.col("column_problem").alias("detail"),
    )
    return said.select(pl.col(name).cast(dtype) for name, dtype in REFUSALS.items())


def _undrafted(rendered: pl.DataFrame, mode: str, live_labels: Mapping[str, str]) -> pl.DataFrame:
    """The drafts of prompts that ask no model."""
    responses = rendered["column_response"] if mode == "existing_column" else pl.Series([None] * rendered.height)
    hashes = {text: response_hash(text) for text in responses.drop_nulls().unique()}
    return rendered.with_columns(
        responses.cast(pl.String).alias("response"),
        responses.cast(pl.String).replace_strict(hashes, default=None, return_dtype=pl.String).alias("response_hash"),
        pl.col("item_ref")
        .replace_strict(dict(live_labels), default=None, return_dtype=pl.String)
        .alias("canonical_label_id"),
    ).select(*(name for name in _SHARED if name in rendered.columns), "response", "response_hash", "canonical_label_id")
