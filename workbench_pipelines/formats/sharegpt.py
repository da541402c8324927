"""ShareGPT lines: `conversations` of system, human and gpt, the answer being the last.

Role tokens in texts are made plain; images lie beside, under `images`.
"""

from __future__ import annotations

from typing import Any

from workbench_pipelines.formats.conversation import Conversation, Images, Unfit
from workbench_pipelines.formats.lines import line_reader, line_writer
from workbench_pipelines.formats.marked_text import marked, unmarked
from workbench_pipelines.formats.role_tokens import escaped, unescaped

_NAMES = {"system": "system", "user": "human", "assistant": "gpt"}
_ROLES = {name: role for role, name in _NAMES.items()}


def _line(conversation: Conversation, images: Images) -> dict[str, Any]:
    addresses: list[str] = []
    said = []
    for one in conversation.messages:
        if one["role"] not in _NAMES:
            raise Unfit(f"it has a message of the role '{one['role']}'")
        said.append({"from": _NAMES[one["role"]], "value": marked(one, images, addresses)})
    said.append({"from": "gpt", "value": escaped(conversation.response)})
    return {"conversations": said} | ({"images": addresses} if addresses else {})


def _conversation(line: Any) -> Conversation:
    addresses = iter(line.get("images", ()))
    *said, answer = line["conversations"]
    if answer["from"] != "gpt":
        raise Unfit("does not end with an answer of gpt")
    messages = [unmarked(_ROLES[one["from"]], one["value"], addresses) for one in said]
    return Conversation(messages, unescaped(answer["value"]))


write_sharegpt = line_writer("sharegpt", _line)
read_sharegpt = line_reader("ShareGPT example", _conversation)
