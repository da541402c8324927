"""Ours with everything on: the store on a Delta lake, claims, pacing, retries, the schema reader, prices, a log on disk."""

from __future__ import annotations

import os
from pathlib import Path

from side import KEY, MODEL, PARAMETERS, SCHEMA, messages_of, take_part

from workbench_pipelines.answers import answer_reader
from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.clients.llm import LLM
from workbench_pipelines.clients.request_store import RequestStore
from workbench_pipelines.clients.runner import Runner
from workbench_pipelines.pacing import Pace
from workbench_pipelines.requests import Request


def prepare(url: str, at_once: int):
    os.environ |= {"OPENAI_API_BASE": url, "OPENAI_API_KEY": KEY}
    store = RequestStore(Path("logs"), Lake("lake"))
    llm = LLM()
    read = answer_reader(SCHEMA)
    parameters = PARAMETERS | {"top_p": None, "seed": None}
    endpoint = llm.endpoint(f"openai/{MODEL}")

    def request(number: int, question: str) -> Request:
        return Request(
            messages=messages_of(question),
            model=f"openai/{MODEL}",
            revision=None,
            endpoint=endpoint,
            parameters=parameters,
            schema=SCHEMA,
            training_sheet="bench",
            sheet="bench",
            item_ref=f"{number:07}",
            pair_id=f"pair-{number:07}",
        )

    def answer(questions: list[str]) -> list[str]:
        runner = Runner(store, llm.connected, otherwise=Pace(at_once))
        asked = ((request(number, question),) for number, question in enumerate(questions))
        answered = runner.answer(asked, len(questions), read)
        return [read(one.request, one.outcome).response or "" for one in answered]

    return answer


if __name__ == "__main__":
    take_part(prepare)
