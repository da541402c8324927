"""Small worlds for tests of labels and pairs: an item, its prompt, its draft, and what people said."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl

from workbench_pipelines import identity
from workbench_pipelines.decisions import DECISIONS
from workbench_pipelines.usage import USES, UsageStatement, statements_to_json

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
OPEN = UsageStatement("sheet s", allowed_uses=USES, data_classification="public")
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"enum": ["yes", "no"]}},
    "required": ["answer"],
    "additionalProperties": False,
}


def later(minutes: int) -> dt.datetime:
    return NOON + dt.timedelta(minutes=minutes)


def make_decision(
    item_ref: str = "a", action: str = "label", answer: str | None = "yes", **given: Any
) -> dict[str, Any]:
    decision = dict.fromkeys(DECISIONS) | {
        "sheet": "s",
        "item_ref": item_ref,
        "label_type": "t",
        "action": action,
        "label_data": identity.canonical_text({"answer": answer}) if answer and action == "label" else None,
        "seen_columns": ["x"],
        "by": "ann",
        "at": NOON,
        "source": "test",
        "confidence": "high" if action == "label" else None,
    }
    decision |= given
    decision["decision_id"] = given.get("decision_id") or identity.digest(
        [item_ref, action, answer, decision["at"], decision["by"]]
    )
    return decision


def ledger(*decisions: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(list(decisions), schema=DECISIONS)


def make_snapshot(**x_by_item: Any) -> pl.DataFrame:
    return pl.DataFrame({"item_ref": list(x_by_item), "x": list(x_by_item.values())})


def make_rendered(*item_refs: str, statements: tuple[UsageStatement, ...] = (OPEN,), sheet: str = "ts") -> pl.DataFrame:
    rows = []
    for ref in item_refs:
        messages = [{"role": "user", "content": f"Is {ref} right?", "parts": None}]
        rows.append(
            {
                "training_sheet": sheet,
                "pair_id": identity.pair_id(sheet, "s", ref),
                "sheet": "s",
                "item_ref": ref,
                "variant": "",
                "item_hash": identity.digest(ref),
                "seen_hash": identity.seen_hash({"x": ref}, ["x"]),
                "seen_columns": ["x"],
                "template": "q",
                "template_version": "1.0.0",
                "label_type": "t",
                "messages": messages,
                "prompt_hash": identity.prompt_hash(messages),
                "inputs": identity.canonical_text({"x": ref}),
                "attributes": "{}",
                "tags": [],
                "usage_statements": statements_to_json(statements),
                "column_response": None,
            }
        )
    return pl.DataFrame(rows, infer_schema_length=None)


def make_generated(rendered: pl.DataFrame, answers: dict[str, str | None], mode: str = "ai_generated") -> pl.DataFrame:
    rows = []
    for row in rendered.filter(pl.col("item_ref").is_in(list(answers))).iter_rows(named=True):
        answer = answers[row["item_ref"]]
        response = None if answer is None else identity.canonical_text({"answer": answer})
        rows.append(
            {
                "pair_id": row["pair_id"],
                "response": response,
                "response_hash": None if response is None else identity.response_hash(response),
                "model": "local/smollm2" if mode == "ai_generated" else None,
                "answered_at": NOON if mode == "ai_generated" else None,
                "labeling_mode": mode,
            }
        )
    return pl.DataFrame(
        rows,
        schema={
            "pair_id": pl.String,
            "response": pl.String,
            "response_hash": pl.String,
            "model": pl.String,
            "answered_at": pl.Datetime("us", "UTC"),
            "labeling_mode": pl.String,
        },
    )
