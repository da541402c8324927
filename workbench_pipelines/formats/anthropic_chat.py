"""Anthropic messages: a system prompt beside the turns of user and assistant, the answer being the last of them.

A message with images has a content list of blocks; an image file goes in as base64, a web address as a url source.
"""

from __future__ import annotations

from typing import Any

from workbench_pipelines.formats.conversation import (
    Conversation,
    Images,
    Unfit,
    image_part,
    image_parts,
    loaded,
    sha256_of_base64,
    system_message,
    with_system,
)
from workbench_pipelines.formats.lines import line_reader, line_writer
from workbench_pipelines.identity import canonical_text


def _line(conversation: Conversation, images: Images) -> dict[str, Any]:
    system, said = with_system(conversation.messages)
    messages = [{"role": one["role"], "content": _content(one, images)} for one in said]
    messages.append({"role": "assistant", "content": conversation.response})
    return ({} if system is None else {"system": system}) | {"messages": messages}


def _content(message: dict[str, Any], images: Images) -> str | list[dict[str, Any]]:
    text, parts = message["content"], image_parts(message)
    if message["parts"] is None:
        if text is None:
            raise Unfit("it has a message without a content")
        return str(text)
    blocks = [] if text is None else [{"type": "text", "text": text}]
    return [*blocks, *({"type": "image", "source": _source(part, images)} for part in parts)]


def _source(part: dict[str, Any], images: Images) -> dict[str, Any]:
    if part["type"] == "image_url":
        return {"type": "url", "url": part["image_url"]["url"]}
    image = loaded(part, images)
    return {"type": "base64", "media_type": image.media_type, "data": image.base64}


def _conversation(line: Any) -> Conversation:
    *said, answer = line["messages"]
    if answer["role"] != "assistant" or not isinstance(answer["content"], str):
        raise Unfit("does not end with an assistant's answer")
    messages = [] if "system" not in line else [system_message(line["system"])]
    return Conversation([*messages, *(_message(one) for one in said)], answer["content"])


def _message(found: dict[str, Any]) -> dict[str, Any]:
    content = found["content"]
    if isinstance(content, str):
        return {"role": found["role"], "content": content, "parts": None}
    text = content[0]["text"] if content and content[0]["type"] == "text" else None
    parts = [_part(block["source"]) for block in content if block["type"] == "image"]
    return {"role": found["role"], "content": text, "parts": canonical_text(parts)}


def _part(source: dict[str, Any]) -> dict[str, Any]:
    if source["type"] == "url":
        return {"type": "image_url", "image_url": {"url": source["url"]}}
    return image_part(sha256_of_base64(source["data"]))


write_anthropic = line_writer("anthropic", _line)
read_anthropic = line_reader("Anthropic example", _conversation)
