"""distilabel: a pipeline of two steps, the questions as dictionaries and TextGeneration by its OpenAILLM.

`input_batch_size` is what it asks at once: a batch is answered before the next one is begun. JSON mode without a schema (one
would need a further library), no cache, a fresh folder each time. Its steps are processes that each run starts.
"""

from __future__ import annotations

import os
import tempfile

from side import KEY, MODEL, PARAMETERS, take_part


def prepare(url: str, at_once: int):
    os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
    from distilabel.models import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import LoadDataFromDicts
    from distilabel.steps.tasks import TextGeneration

    how = {
        "temperature": PARAMETERS["temperature"],
        "max_new_tokens": PARAMETERS["max_tokens"],
        "response_format": {"type": "json_object"},
    }

    def answer(questions: list[str]) -> list[str]:
        with Pipeline(name="bench", cache_dir=tempfile.mkdtemp(dir=".")) as pipeline:
            load = LoadDataFromDicts(data=[{"instruction": one} for one in questions], batch_size=at_once)
            llm = OpenAILLM(model=MODEL, base_url=url, api_key=KEY, generation_kwargs=how)
            load >> TextGeneration(llm=llm, input_batch_size=at_once)
        made = pipeline.run(use_cache=False)
        return list(made["default"]["train"]["generation"])

    return answer


if __name__ == "__main__":
    take_part(prepare)
