"""ChatML as text, for trainers that take one string an example: `{"text": "<|im_start|>user\\n…<|im_end|>\\n…"}`.

Role tokens in texts are made plain, so that no text opens or closes a turn. Images have no place in it.
"""

from __future__ import annotations

import re
from typing import Any

from workbench_pipelines.formats.conversation import Conversation, Images, Unfit
from workbench_pipelines.formats.lines import line_reader, line_writer
from workbench_pipelines.formats.role_tokens import escaped, unescaped

_TURN = re.compile(r"<\|im_start\|>([a-z]+)\n(.*?)<\|im_end\|>\n", re.DOTALL)


def _line(conversation: Conversation, images: Images) -> dict[str, Any]:
    turns = []
    for one in (*conversation.messages, {"role": "assistant", "content": conversation.response, "parts": None}):
        if one["parts"] is not None or one["content"] is None:
            raise Unfit("it shows images")
        if not re.fullmatch("[a-z]+", one["role"]):
            raise Unfit("it has a message of a role that is no word")
        turns.append(f"<|im_start|>{one['role']}\n{escaped(one['content'])}<|im_end|>\n")
    return {"text": "".join(turns)}


def _conversation(line: Any) -> Conversation:
    turns = _TURN.findall(line["text"])
    if "".join(f"<|im_start|>{role}\n{text}<|im_end|>\n" for role, text in turns) != line["text"]:
        raise Unfit("has text outside its turns")
    *said, (role, answer) = turns
    if role != "assistant":
        raise Unfit("does not end with an assistant's answer")
    messages = [{"role": role, "content": unescaped(text), "parts": None} for role, text in said]
    return Conversation(messages, unescaped(answer))


write_chatml = line_writer("chatml", _line)
read_chatml = line_reader("ChatML example", _conversation)
