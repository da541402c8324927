"""OpenAI chat fine-tuning lines: the messages, then the answer as the assistant's.

A message with parts has a content list: its text, if any, then its images. An image file goes in as a data URL, since a
fine-tuning job reads one file; a web address stays one.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import orjson
import polars as pl

from workbench_pipelines.formats.conversation import (
    CHUNK_ROWS,
    Conversation,
    Images,
    Unfit,
    by_content,
    conversations,
    loaded,
)
from workbench_pipelines.formats.lines import fitted, in_turn, line_reader, one_line_each, written_lines
from workbench_pipelines.identity import canonical_text


def write_openai(batches: Iterable[pl.DataFrame], images: Images) -> Iterator[bytes]:
    """The lines of these rows, some thousand at a time.

    Input columns: pair_id, messages, response.
    """
    columns = ("pair_id", "messages", "response")
    chunks = (chunk for batch in batches for chunk in batch.select(columns).iter_slices(CHUNK_ROWS))
    return in_turn(partial(_chunk_lines, images=images), chunks)


def _chunk_lines(chunk: pl.DataFrame, images: Images) -> Iterable[bytes]:
    return [one_line_each(plain_lines(chunk))] if _is_plain(chunk) else written_lines(_lines([chunk], images))


def plain_lines(chunk: pl.DataFrame) -> bytes:
    """The lines of rows without parts, written by polars: the same bytes in less than half of the time.

    Input columns: messages, response.
    """
    said = pl.element().struct
    prompt = pl.col("messages").list.eval(pl.struct(said.field("role"), said.field("content")))
    answer = pl.struct(pl.lit("assistant").alias("role"), pl.col("response").alias("content"))
    lines = io.BytesIO()
    chunk.select(messages=pl.concat_list(prompt, answer)).write_ndjson(lines)
    return lines.getvalue()


def _is_plain(chunk: pl.DataFrame) -> bool:
    has_parts = pl.col("messages").list.eval(pl.element().struct.field("parts").is_not_null()).list.any()
    return not chunk.select((pl.col("messages").is_null() | has_parts).any()).item()


def _lines(batches: Iterable[pl.DataFrame], images: Images) -> Iterator[dict[str, Any]]:
    for pair_id, (messages, response) in conversations(batches):
        said = []
        for one in messages:
            if one["parts"] is None:
                said.append({"role": one["role"], "content": one["content"]})
            else:
                content = fitted("openai", pair_id, partial(_content, one, images))
                said.append({"role": one["role"], "content": content})
        said.append({"role": "assistant", "content": response})
        yield {"messages": said}


def _content(message: dict[str, Any], images: Images) -> list[Any]:
    text, parts = message["content"], orjson.loads(message["parts"])
    sent = [
        {"type": "image_url", "image_url": {"url": loaded(part, images).data_url}}
        if part.get("type") == "image_file"
        else part
        for part in parts
    ]
    return [*([] if text is None else [{"type": "text", "text": text}]), *sent]


def _conversation(line: Any) -> Conversation:
    *prompt, answer = line["messages"]
    messages = [_message(one) for one in prompt]
    role, response = answer["role"], answer["content"]
    if role != "assistant" or not isinstance(response, str):
        raise Unfit("does not end with an assistant's answer")
    return by_content(Conversation(messages, response))


def _message(found: dict[str, Any]) -> dict[str, Any]:
    content = found["content"]
    if not isinstance(content, list):
        return {"role": found["role"], "content": content, "parts": None}
    has_text = bool(content) and content[0].keys() == {"type", "text"} and content[0]["type"] == "text"
    text, parts = (content[0]["text"], content[1:]) if has_text else (None, content)
    return {"role": found["role"], "content": text, "parts": canonical_text(parts)}


read_openai = line_reader("OpenAI chat example", _conversation)
"""The examples of an OpenAI chat file, their images by content."""
