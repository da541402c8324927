"""Alpaca lines as LLaMA-Factory reads them: instruction, input, output, with `system` and the `history` of earlier turns.

Role tokens in texts are made plain; images lie beside, under `images`.
"""

from __future__ import annotations

from typing import Any

from workbench_pipelines.formats.conversation import Conversation, Images, Unfit, system_message, with_system
from workbench_pipelines.formats.lines import line_reader, line_writer
from workbench_pipelines.formats.marked_text import marked, unmarked
from workbench_pipelines.formats.role_tokens import escaped, unescaped


def _line(conversation: Conversation, images: Images) -> dict[str, Any]:
    system, said = with_system(conversation.messages)
    if not said or [one["role"] for one in said] != [("user", "assistant")[at % 2] for at in range(len(said))]:
        raise Unfit("its messages are no turns of user and assistant")
    if len(said) % 2 == 0:
        raise Unfit("its last message is not the user's")
    addresses: list[str] = []
    *before, asked = [marked(one, images, addresses) for one in said]
    line = {
        "instruction": asked,
        "input": "",
        "output": escaped(conversation.response),
        "system": None if system is None else escaped(system),
        "history": [before[at : at + 2] for at in range(0, len(before), 2)],
    }
    return line | ({"images": addresses} if addresses else {})


def _conversation(line: Any) -> Conversation:
    addresses = iter(line.get("images", ()))
    said = [text for turn in line["history"] for text in turn] + [line["instruction"]]
    messages = [] if line["system"] is None else [system_message(unescaped(line["system"]))]
    messages += [unmarked(("user", "assistant")[at % 2], text, addresses) for at, text in enumerate(said)]
    return Conversation(messages, unescaped(line["output"]))


write_alpaca = line_writer("alpaca", _line)
read_alpaca = line_reader("Alpaca example", _conversation)
