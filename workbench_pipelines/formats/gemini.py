"""Gemini supervised tuning lines: `systemInstruction`, then `contents` of user and model, the answer being the last.

An image file goes in as inline data; a web address as file data.
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

_ROLES = {"user": "user", "assistant": "model"}
_BACK = {theirs: ours for ours, theirs in _ROLES.items()}


def _line(conversation: Conversation, images: Images) -> dict[str, Any]:
    system, said = with_system(conversation.messages)
    contents = [{"role": _ROLES[one["role"]], "parts": _parts(one, images)} for one in said]
    contents.append({"role": "model", "parts": [{"text": conversation.response}]})
    instruction = {} if system is None else {"systemInstruction": {"role": "system", "parts": [{"text": system}]}}
    return instruction | {"contents": contents}


def _parts(message: dict[str, Any], images: Images) -> list[dict[str, Any]]:
    text, parts = message["content"], image_parts(message)
    if text is None and not parts:
        raise Unfit("it has a message without a content")
    return [*([] if text is None else [{"text": text}]), *(_shown(part, images) for part in parts)]


def _shown(part: dict[str, Any], images: Images) -> dict[str, Any]:
    if part["type"] == "image_url":
        return {"fileData": {"fileUri": part["image_url"]["url"]}}
    image = loaded(part, images)
    return {"inlineData": {"mimeType": image.media_type, "data": image.base64}}


def _conversation(line: Any) -> Conversation:
    *said, answer = line["contents"]
    if answer["role"] != "model" or [*answer["parts"][0]] != ["text"]:
        raise Unfit("does not end with a model's answer")
    messages = []
    if "systemInstruction" in line:
        messages.append(system_message(line["systemInstruction"]["parts"][0]["text"]))
    return Conversation([*messages, *(_message(one) for one in said)], answer["parts"][0]["text"])


def _message(found: dict[str, Any]) -> dict[str, Any]:
    text = next((part["text"] for part in found["parts"] if "text" in part), None)
    shown = [_part(part) for part in found["parts"] if "text" not in part]
    return {"role": _BACK[found["role"]], "content": text, "parts": canonical_text(shown) if shown else None}


def _part(shown: dict[str, Any]) -> dict[str, Any]:
    if "fileData" in shown:
        return {"type": "image_url", "image_url": {"url": shown["fileData"]["fileUri"]}}
    return image_part(sha256_of_base64(shown["inlineData"]["data"]))


write_gemini = line_writer("gemini", _line)
read_gemini = line_reader("Gemini example", _conversation)
