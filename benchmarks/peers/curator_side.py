"""bespokelabs-curator, its openai back end: a schema as a pydantic model, one LLM over a dataset of questions.

At once as asked; its limits of requests and tokens a minute, which it always holds, far out of reach. The address comes from
OPENAI_BASE_URL: given as `base_url`, it would ask one question more in each run, to try the schema. It asks once when it is
made, for the provider's limits; that is before the work. Each work has a fresh folder and no cache; no viewer, no telemetry.
The token table that it would download is the one that litellm brings along.
"""

from __future__ import annotations

import importlib.util
import json
import os
import tempfile
from pathlib import Path
from typing import Literal

from side import KEY, MODEL, PARAMETERS, take_part

OUT_OF_REACH = 10**9


def prepare(url: str, at_once: int):
    (litellm,) = importlib.util.find_spec("litellm").submodule_search_locations
    os.environ |= {
        "TIKTOKEN_CACHE_DIR": str(Path(litellm) / "litellm_core_utils" / "tokenizers"),
        "OPENAI_BASE_URL": url,
        "OPENAI_API_KEY": KEY,
        "CURATOR_DISABLE_CACHE": "1",
        "CURATOR_DISABLE_RICH_DISPLAY": "1",
        "TELEMETRY_ENABLED": "false",
    }
    from bespokelabs import curator
    from datasets import Dataset
    from pydantic import BaseModel

    class Answer(BaseModel):
        answer: Literal["yes", "no"]

    class Asker(curator.LLM):
        def prompt(self, row):
            return row["question"]

        def parse(self, row, response):
            return {"question": row["question"], "answer": response.answer}

    asker = Asker(
        model_name=MODEL,
        backend="openai",
        response_format=Answer,
        generation_params=dict(PARAMETERS),
        backend_params={
            "max_concurrent_requests": at_once,
            "max_requests_per_minute": OUT_OF_REACH,
            "max_tokens_per_minute": OUT_OF_REACH,
        },
    )

    def answer(questions: list[str]) -> list[str]:
        rows = Dataset.from_list([{"question": one} for one in questions])
        answered = asker(rows, working_dir=tempfile.mkdtemp(dir="."))
        return [json.dumps({"answer": one}) for one in answered.dataset["answer"]]

    return answer


if __name__ == "__main__":
    take_part(prepare)
