"""Peak memory of answering 10,000, 100,000 and 1,000,000 questions: it should not grow with their number.

    python benchmarks/memory.py [--counts N ...] [--what runner|drafts|found ...]

The model is a coroutine in the same process that answers at once; the store, its claims and its Delta lake are real. Each
measurement is a process of its own.

`runner` takes questions from a generator and lets each answer go: what is left is the runner's own. `found` is the same again
in a process that finds every answer in the store. `drafts` is `generation.draft_pairs`, whose prompts come and whose drafts go
as one data frame each; what these two take is printed beside the peak, and growth is of the peak without them.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

COUNTS = (10_000, 100_000, 1_000_000)
AIM = 1.2  # of the first count, frames aside: flat, with some room for what allocators do
AT_ONCE = 64
MODEL = "openai/gpt-4o-mini"
_TO_BYTES = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in KiB on Linux


@asynccontextmanager
async def connected() -> AsyncIterator[Any]:
    """A model that says yes at once."""
    from workbench_pipelines.requests import Completion

    answered_at = dt.datetime.now(dt.UTC)

    async def ask(request: Any, timeout_s: float) -> Any:
        return Completion(
            request_hash=request.request_hash,
            text='{"answer":"yes"}',
            finish_reason="stop",
            model=MODEL,
            prompt_tokens=120,
            completion_tokens=5,
            cost_usd=0.0,
            latency_s=0.0,
            answered_at=answered_at,
        )

    yield ask


def make_runner(folder: Path) -> Any:
    from workbench_pipelines.clients.lake import Lake
    from workbench_pipelines.clients.request_store import RequestStore
    from workbench_pipelines.clients.runner import Runner
    from workbench_pipelines.pacing import Pace

    return Runner(RequestStore(folder / "logs", Lake(str(folder / "lake"))), connected, otherwise=Pace(AT_ONCE))


def template() -> Any:
    from workbench_pipelines.catalog import PromptTemplate

    return PromptTemplate.model_validate(
        {
            "apiVersion": "workbench/v1",
            "kind": "PromptTemplate",
            "metadata": {"name": "bench"},
            "spec": {
                "version": "1.0.0",
                "label_type": "bench",
                "user_prompt_template": "{{ text }}",
                "output_schema": [{"name": "answer", "type": "string", "enum": ["yes", "no"]}],
            },
        }
    )


def answer_from_a_generator(folder: Path, count: int) -> dict[str, int]:
    """Questions that nobody holds on to, to a runner; how many were answered, and how many of them found."""
    from workbench_pipelines.answers import answer_reader
    from workbench_pipelines.fields import json_schema_of
    from workbench_pipelines.requests import Completion, Request

    schema = json_schema_of(template().spec.output_schema)
    parameters = {"temperature": 0.0, "max_tokens": 20, "top_p": None, "seed": None}

    def questions() -> Iterator[tuple[Request]]:
        for number in range(count):
            text = f"Statement {number:07}: " + "the invoice was paid on the day of the visit " * 10
            yield (
                Request(
                    messages=[{"role": "user", "content": text, "parts": None}],
                    model=MODEL,
                    revision=None,
                    endpoint=None,
                    parameters=parameters,
                    schema=schema,
                    training_sheet="bench",
                    sheet="bench",
                    item_ref=f"{number:07}",
                    pair_id=f"{number:064x}",
                ),
            )

    answered = make_runner(folder).answer(questions(), count, answer_reader(schema))
    done = found = 0
    for one in answered:
        done += isinstance(one.outcome, Completion)
        found += one.from_store
    return {"done": done, "found": found, "held": 0}


def draft_all(folder: Path, count: int) -> dict[str, int]:
    """The same through `draft_pairs`; `held` is what the prompts and the drafts take as data frames."""
    import polars as pl

    from workbench_pipelines.answers import answer_reader
    from workbench_pipelines.catalog import TrainingSheet
    from workbench_pipelines.fields import json_schema_of
    from workbench_pipelines.generation import Model, draft_pairs

    number = pl.int_range(count, eager=True).cast(pl.String).str.zfill(7)
    said = pl.lit("the invoice was paid on the day of the visit " * 10)
    message = pl.struct(
        pl.lit("user").alias("role"),
        pl.concat_str(pl.lit("Statement "), "item_ref", pl.lit(": "), said).alias("content"),
        pl.lit(None, dtype=pl.String).alias("parts"),
    )
    prompts = pl.DataFrame({"item_ref": number}).select(
        pl.lit("bench").alias("training_sheet"),
        pl.col("item_ref").str.zfill(64).alias("pair_id"),
        pl.lit("bench").alias("sheet"),
        "item_ref",
        pl.lit("bench").alias("label_type"),
        pl.col("item_ref").str.zfill(64).alias("seen_hash"),
        pl.col("item_ref").str.zfill(64).alias("prompt_hash"),
        pl.concat_list(message).alias("messages"),
    )
    spec = {"sheet": "bench", "template": "bench", "labeling_mode": "ai_generated", "model": MODEL}
    document = {"apiVersion": "workbench/v1", "kind": "TrainingSheet", "metadata": {"name": "bench"}, "spec": spec}
    read = answer_reader(json_schema_of(template().spec.output_schema))
    runner = make_runner(folder)
    drafts = draft_pairs(
        TrainingSheet.model_validate(document),
        template(),
        prompts,
        {},
        model=Model(MODEL),
        answer=lambda questions, total: runner.answer(((one,) for one in questions), total, read),
    )
    held = prompts.estimated_size() + drafts.frame.estimated_size()
    return {"done": drafts.frame.height, "found": drafts.store_hits, "held": int(held)}


def measure(what: str, count: int, folder: Path) -> dict[str, float]:
    """One measurement, in this process."""
    start = time.perf_counter()
    made = draft_all(folder, count) if what == "drafts" else answer_from_a_generator(folder, count)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _TO_BYTES
    return made | {"wall": time.perf_counter() - start, "peak": peak}


def measure_in_a_child(what: str, count: int, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", what, "--counts", str(count), "--folder", str(folder)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=os.environ)
    measured: dict[str, float] = json.loads(done.stdout)
    found = count if what == "found" else 0
    if (measured["done"], measured["found"]) != (count, found):
        raise RuntimeError(f"{what} of {count} questions did other work: {measured}")
    return measured


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=list(COUNTS))
    parser.add_argument(
        "--what", nargs="+", choices=["runner", "found", "drafts"], default=["runner", "found", "drafts"]
    )
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(measure(given.one, given.counts[0], given.folder)))
        return
    print(f"{'what':<9}{'questions':>11}{'wall s':>9}{'a second':>10}{'peak MiB':>10}{'frames MiB':>12}{'growth':>8}")
    first: dict[str, float] = {}
    for count in given.counts:
        with tempfile.TemporaryDirectory() as folder:
            for what in given.what:
                where = Path(folder) / ("drafts" if what == "drafts" else "runner")
                if what == "found" and "runner" not in given.what:
                    measure_in_a_child("runner", count, where)
                one = measure_in_a_child(what, count, where)
                own = one["peak"] - one["held"]
                growth = own / first.setdefault(what, own)
                met = "" if count == given.counts[0] else f"  aim <= {AIM:g}x: {'met' if growth <= AIM else 'MISSED'}"
                print(
                    f"{what:<9}{count:>11,}{one['wall']:>9.1f}{count / one['wall']:>10.0f}{one['peak'] / 2**20:>10.0f}"
                    f"{one['held'] / 2**20:>12.0f}{growth:>7.2f}x{met}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
