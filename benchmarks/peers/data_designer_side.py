"""NeMo Data Designer: one structured column over a seed of questions, `create` with its default run configuration.

`max_parallel_requests` as asked; no health check of the model, no metrics endpoint, no telemetry, a fresh folder each time.
It describes the schema in the prompt, its way of asking for JSON, and profiles the data that it made.
"""

from __future__ import annotations

import json
import os
import tempfile

from side import KEY, MODEL, PARAMETERS, SCHEMA, take_part


def prepare(url: str, at_once: int):
    os.environ |= {"NEMO_TELEMETRY_ENABLED": "false", "DATA_DESIGNER_HOME": os.path.abspath("home")}
    import data_designer.config as dd
    import pandas
    from data_designer.interface import DataDesigner

    model = dd.ModelConfig(
        alias="asked",
        model=MODEL,
        provider="loopback",
        inference_parameters=dd.ChatCompletionInferenceParams(max_parallel_requests=at_once, **PARAMETERS),
        skip_health_check=True,
    )
    provider = dd.ModelProvider(name="loopback", endpoint=url, provider_type="openai", api_key=KEY)

    def answer(questions: list[str]) -> list[str]:
        folder = tempfile.mkdtemp(dir=".")
        designer = DataDesigner(artifact_path=folder, model_providers=[provider])
        designer.set_run_config(dd.RunConfig(otel_metrics_port=None))
        builder = dd.DataDesignerConfigBuilder(model_configs=[model])
        builder.with_seed_dataset(dd.DataFrameSeedSource(df=pandas.DataFrame({"question": questions})))
        builder.add_column(
            dd.LLMStructuredColumnConfig(
                name="answer", prompt="{{ question }}", model_alias="asked", output_format=SCHEMA
            )
        )
        made = designer.create(builder, num_records=len(questions)).load_dataset()
        return [json.dumps(one) if isinstance(one, dict) else str(one) for one in made["answer"]]

    return answer


if __name__ == "__main__":
    take_part(prepare)
