"""DPO preference lines: what a person edited a draft to is chosen, the draft is rejected; prompts as TRL reads them.

Only pairs whose answer is an edit stand here; `preference_pairs` finds them. TRL puts them into a chat template, so that role
tokens in texts are made plain.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import orjson
import polars as pl

from workbench_pipelines.decisions import undone_decisions
from workbench_pipelines.formats.conversation import (
    CHUNK_ROWS,
    Conversation,
    Images,
    Unfit,
    address_beside,
    by_content,
    conversations,
    image_parts,
    part_of_address,
)
from workbench_pipelines.formats.lines import fitted, line_reader, written_lines
from workbench_pipelines.formats.role_tokens import escaped, unescaped
from workbench_pipelines.identity import canonical_text

PREFERENCES = pl.Schema({"pair_id": pl.String(), "rejected": pl.String(), "decision_id": pl.String()})
"""One row a pair whose answer is an edit: the draft that the edit replaced, and the decision that did."""


class Preference(NamedTuple):
    """An example with its chosen answer, and the answer that was rejected for it."""

    chosen: Conversation
    rejected: str


def preference_pairs(rows: pl.DataFrame, decisions: pl.DataFrame) -> pl.DataFrame:
    """The rows of `PREFERENCES` for exported pairs, sorted by pair_id.

    An edit counts where it was not taken back, its answer is the one that is exported, the draft says something else, and
    the prompt was not edited with it: a draft that answered other inputs is no worse answer to these.

    Input columns: pair_id, response.

    Args:
        decisions: rows of `label/decisions`.
    """
    edits = decisions.filter(
        (pl.col("action") == "edit")
        & pl.col("pair_id").is_not_null()
        & pl.col("proposed_response").is_not_null()
        & pl.col("inputs").is_null()
        & ~undone_decisions(decisions)
    ).unique("decision_id", keep="any")
    found = (
        edits.select("pair_id", "decision_id", "at", "label_data", rejected=pl.col("proposed_response"))
        .join(rows.select("pair_id", "response"), on="pair_id", how="inner")
        .filter((pl.col("label_data") == pl.col("response")) & (pl.col("rejected") != pl.col("response")))
        .filter(pl.struct("rejected", "response").map_elements(_differ, return_dtype=pl.Boolean, skip_nulls=False))
    )
    last = found.sort("at", "decision_id").group_by("pair_id", maintain_order=True).last()
    return last.select([pl.col(name).cast(dtype) for name, dtype in PREFERENCES.items()]).sort("pair_id")


def _differ(row: dict[str, str]) -> bool:
    """Whether two answers say different things, however they are spelled."""
    try:
        return canonical_text(orjson.loads(row["rejected"])) != row["response"]
    except orjson.JSONDecodeError:
        return True


def write_dpo(batches: Iterable[pl.DataFrame], images: Images) -> Iterator[bytes]:
    """The lines of the rows that have a rejected answer.

    Input columns: pair_id, messages, response, rejected.
    """
    return written_lines(_lines(batches, images))


def _lines(batches: Iterable[pl.DataFrame], images: Images) -> Iterator[dict[str, Any]]:
    for batch in batches:
        for chunk in batch.filter(pl.col("rejected").is_not_null()).iter_slices(CHUNK_ROWS):
            for (pair_id, one), rejected in zip(conversations([chunk]), chunk["rejected"].to_list(), strict=True):
                yield fitted("dpo", pair_id, partial(_line, one, rejected, images))


def _line(conversation: Conversation, rejected: str, images: Images) -> dict[str, Any]:
    addresses: list[str] = []
    prompt = []
    for one in conversation.messages:
        shown = image_parts(one)
        addresses += [address_beside(part, images) for part in shown]
        text = None if one["content"] is None else escaped(one["content"])
        texts = [] if text is None else [{"type": "text", "text": text}]
        content = [*texts, *({"type": "image"} for _ in shown)] if one["parts"] is not None else text
        if content is None:
            raise Unfit("it has a message without a content")
        prompt.append({"role": one["role"], "content": content})
    line = {
        "prompt": prompt,
        "chosen": [{"role": "assistant", "content": escaped(conversation.response)}],
        "rejected": [{"role": "assistant", "content": escaped(rejected)}],
    }
    return line | ({"images": addresses} if addresses else {})


def _preference(line: Any) -> Preference:
    addresses = iter(line.get("images", ()))
    messages = [_message(one, addresses) for one in line["prompt"]]
    chosen, rejected = (unescaped(line[name][0]["content"]) for name in ("chosen", "rejected"))
    return Preference(by_content(Conversation(messages, chosen)), rejected)


def _message(found: dict[str, Any], addresses: Iterator[str]) -> dict[str, Any]:
    content = found["content"]
    if not isinstance(content, list):
        return {"role": found["role"], "content": unescaped(content), "parts": None}
    text = next((unescaped(one["text"]) for one in content if one["type"] == "text"), None)
    parts = [part_of_address(next(addresses)) for one in content if one["type"] == "image"]
    return {"role": found["role"], "content": text, "parts": canonical_text(parts)}


read_dpo = line_reader("preference", _preference)
