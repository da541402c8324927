"""The files of an export as bytes: what one line or row holds in each format, and the readers that prove it.

Every line is JSON without a raw line break of any kind, so that a reader that splits at line feeds and one that splits
as Unicode says (U+2028, U+2029, U+0085) see the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import orjson
import polars as pl

from workbench_pipelines.errors import ExportError
from workbench_pipelines.identity import canonical_text
from workbench_pipelines.pairs import MESSAGE

# A chunk of ordinary prompts is 2 MB of text and some 10 MB of Python values; larger ones are no faster.
CHUNK_ROWS = 2_000
# orjson escapes what JSON makes it escape; these are line breaks to `str.splitlines` and plain text to JSON.
_LINE_BREAKS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))

PARQUET_ROWS = pl.Schema(
    {
        "pair_id": pl.String(),
        "pair_hash": pl.String(),
        "training_sheet": pl.String(),
        "item_ref": pl.String(),
        "label_type": pl.String(),
        "canonical_label_id": pl.String(),
        "messages": pl.List(MESSAGE),
        "response": pl.String(),
        "inputs": pl.String(),
        "split": pl.String(),
        "weight": pl.Float64(),
    }
)
"""Columns of `{train,val,test}.parquet`: all that pair_hash and Merkle root are made of, and never attributes."""


class Conversation(NamedTuple):
    """One training example as a provider reads it: the prompt's messages (role, content, parts) and the answer."""

    messages: list[dict[str, Any]]
    response: str


def parquet_rows(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of a split as its Parquet file holds them, in one chunk: the bytes depend on the values alone.

    Input columns: those of `PARQUET_ROWS`.
    """
    return rows.select([pl.col(name).cast(dtype) for name, dtype in PARQUET_ROWS.items()]).sort("pair_id").rechunk()


def openai_jsonl(rows: pl.DataFrame) -> Iterator[bytes]:
    """OpenAI chat fine-tuning lines, some thousand at a time: the messages, then the answer as the assistant's.

    A message with parts (images, files) has a content list: its text, if any, then the parts as they are.

    Input columns: messages, response.
    """
    for chunk in rows.select("messages", "response").iter_slices(CHUNK_ROWS):
        yield _one_line_each(b"".join(_openai_lines(chunk)))


def read_openai(lines: Iterable[str | bytes]) -> Iterator[Conversation]:
    """The examples of an OpenAI chat file.

    Raises:
        ExportError: naming the line that is no JSON, or whose last message is no assistant's.
    """
    for number, line in enumerate(lines, start=1):
        try:
            *prompt, answer = orjson.loads(line)["messages"]
            messages = [_message(one) for one in prompt]
            role, response = answer["role"], answer["content"]
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            raise ExportError(f"line {number} is no OpenAI chat example") from None
        if role != "assistant" or not isinstance(response, str):
            raise ExportError(f"line {number} does not end with an assistant's answer")
        yield Conversation(messages, response)


LINE_FORMATS: Mapping[str, Callable[[pl.DataFrame], Iterator[bytes]]] = {"openai": openai_jsonl}
"""The formats of `{train,val,test}.<format>.jsonl`."""
FORMATS = (*LINE_FORMATS, "parquet")
"""What a Collection may ask for; Parquet is always written: trainers read it, and the Merkle root is proved from it."""


def _openai_lines(chunk: pl.DataFrame) -> Iterator[bytes]:
    # The messages of all rows as flat columns, cut up again by their number: twice as fast as a list of structs a row.
    flat = chunk["messages"].explode(empty_as_null=False, keep_nulls=False).struct.unnest()
    columns = (flat[name].to_list() for name in ("role", "content", "parts"))
    messages = [{"role": role, "content": _content(text, parts)} for role, text, parts in zip(*columns, strict=True)]
    lengths = chunk["messages"].list.len().fill_null(0).to_list()
    at = 0
    for length, answer in zip(lengths, chunk["response"].to_list(), strict=True):
        line = {"messages": [*messages[at : at + length], {"role": "assistant", "content": answer}]}
        yield orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
        at += length


def _content(text: str | None, parts: str | None) -> str | list[Any] | None:
    if parts is None:
        return text
    return [*([] if text is None else [{"type": "text", "text": text}]), *orjson.loads(parts)]


def _message(found: Mapping[str, Any]) -> dict[str, Any]:
    content = found["content"]
    if not isinstance(content, list):
        return {"role": found["role"], "content": content, "parts": None}
    has_text = bool(content) and content[0].keys() == {"type", "text"} and content[0]["type"] == "text"
    text, parts = (content[0]["text"], content[1:]) if has_text else (None, content)
    return {"role": found["role"], "content": text, "parts": canonical_text(parts)}


def _one_line_each(lines: bytes) -> bytes:
    if lines.isascii():  # nothing to look for, and ten times as fast as looking
        return lines
    for raw, escaped in _LINE_BREAKS:
        lines = lines.replace(raw, escaped)
    return lines
