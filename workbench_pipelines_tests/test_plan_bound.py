"""What `workbench plan` says is the most a run takes, beside what five runs of a real model then took.

The embedded model answers over HTTP under the name of a model that has a price, so that tokens and cost are a real model's;
no grammar holds its answers, so that some are asked for once more.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import polars as pl
import pytest

from workbench_pipelines.clients import embedded_model
from workbench_pipelines.clients.scripted_provider import Reply, ScriptedProvider
from workbench_pipelines.requests import Refusal
from workbench_pipelines.settings import CHECKOUT
from workbench_pipelines_tests.definition_world import make_document
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import define, provider

__all__ = ["provider"]

PRICED = "openai/gpt-4o-mini"
ITEMS = {"sample": {"size": 5, "method": "random", "seed": 3}}
OPEN = {"allowed_uses": ["training", "validation", "evaluation", "few_shot"], "data_classification": "public"}
SENTIMENT = [{"name": "sentiment", "type": "string", "enum": ["negative", "neutral", "positive"]}]
SPECIES = [{"name": "species", "type": "string", "enum": ["setosa", "versicolor", "virginica"]}]
JUDGE = 'Is the opinion in this text positive, negative or neutral? Answer as JSON, {"sentiment": ...}.\n\nText: '
TURNS = [
    {"role": "system", "content": 'You judge texts. Answer as JSON, {"sentiment": "positive"}.'},
    {"role": "user", "content": "I have a text."},
    {"role": "assistant", "content": "Let me see it."},
    {"role": "user", "content": "{{ text }}"},
]


def say(body: Mapping[str, Any]) -> Reply:
    """The embedded model's answer as its provider would send it."""
    parameters = {"max_tokens": body.get("max_tokens"), "temperature": body.get("temperature")}
    said = embedded_model.answer("local/smollm2", body["messages"], parameters, None)
    assert not isinstance(said, Refusal), said
    usage = {"prompt_tokens": said.prompt_tokens, "completion_tokens": said.completion_tokens}
    message = {"role": "assistant", "content": said.text}
    return Reply(
        body=json.dumps(
            {
                "id": "said",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [{"index": 0, "finish_reason": said.finish_reason, "message": message}],
                "usage": usage | {"total_tokens": sum(usage.values())},
            }
        )
    )


def template(name: str, fields: list[dict[str, Any]], **spec: Any) -> dict[str, Any]:
    given = {"version": "1.0.0", "status": "published", "label_type": name, "output_schema": fields, "max_tokens": 30}
    return make_document("PromptTemplate", name, base_model=PRICED, **given, **spec)


def documents() -> list[dict[str, Any]]:
    def drafted(name: str, sheet: str, **spec: Any) -> dict[str, Any]:
        return make_document("TrainingSheet", name, sheet=sheet, template=name, items=ITEMS, **spec)

    notices = {"name": "notice", "type": "volume", "path": "notices", "join_keys": ["file"], "extract": "text"}
    shown = [{"inputs": {"text": "It broke at once."}, "output": {"sentiment": "negative"}}]
    return [
        make_document("Sheet", "opinions", primary_table="data/opinions.parquet", item_ref="text_id", usage=OPEN),
        make_document("Sheet", "iris", primary_table="data/iris.csv", item_ref="flower", usage=OPEN),
        make_document(
            "Sheet", "papers", primary_table="papers.csv", item_ref="file", usage=OPEN, secondary_sources=[notices]
        ),
        template("sentence", SENTIMENT, user_prompt_template=JUDGE + "{{ text }}"),
        template(
            "flower", SPECIES, user_prompt_template="Petals {{ petal_length_cm }} cm long. Which species? As JSON."
        ),
        template("talk", SENTIMENT, messages=TURNS),
        template("shown", SENTIMENT, user_prompt_template=JUDGE + "{{ text }}", examples=shown),
        template("paper", [{"name": "title"}], user_prompt_template="Which licence is this?\n{{ notice_text[:1500] }}"),
        *(drafted(name, "opinions") for name in ("sentence", "talk", "shown")),
        drafted("flower", "iris"),
        drafted("paper", "papers", generation={"ask_once_more": False}),
    ]


def test_no_run_takes_more_than_its_plan_said(project: Project, provider: ScriptedProvider) -> None:
    provider.answer_by(say)
    project.copy("sheets/data")
    for licence in (CHECKOUT / "sheets/licences").iterdir():
        project.write(f"sheets/notices/{licence.name}", licence.read_text())
    files = [path.name for path in (project.folder / "sheets/notices").iterdir()]
    project.write("sheets/papers.csv", "file\n" + "\n".join(files) + "\n")
    define(project, *documents())
    names = ["sentence", "flower", "talk", "shown", "paper"]
    asked_again = 0
    for name in names:
        ran = project("plan", name, "--json")
        assert ran.code == 0, ran.err
        (plan,) = ran.json["training_sheets"]
        before = provider.calls
        ran = project("run", name, "--json")
        assert ran.code in (0, 1, 5), ran.err
        calls = provider.calls - before
        answers = requests_of(project, name)
        tokens = int(answers["prompt_tokens"].sum() + answers["completion_tokens"].sum())
        cost = answers["cost_usd"].sum()
        print(f"{name}: {calls} of {plan['max_calls']} calls, {tokens} of {plan['max_tokens']} tokens, {cost:.6f} of "
              f"{plan['max_cost_usd']:.6f} USD")  # fmt: skip
        assert 0 < plan["calls"] <= calls <= plan["max_calls"]
        assert 0 < tokens <= plan["max_tokens"]
        assert 0 < cost <= plan["max_cost_usd"]
        assert ran.json["cost_usd"] == pytest.approx(cost)
        asked_again += calls - plan["calls"]
    assert asked_again  # else the bound was not tried


def requests_of(project: Project, name: str) -> pl.DataFrame:
    """Every answer that was paid for a TrainingSheet, usable or not."""
    uses = project.table("records", "request_uses").filter(pl.col("training_sheet") == name)
    return project.table("records", "requests").join(uses, on="request_hash", how="semi")
