"""Role tokens: what a tokenizer reads as the turn of somebody else, made plain text without losing it.

A trainer that puts texts into a chat template hands them to a tokenizer as one string, and that finds ``<|im_start|>`` or
``[INST]`` in a text as well as in the template. An invisible word joiner (U+2060) behind the first character makes a text
of it; where one stands there already, one more is put in, so that reading gives back exactly what was written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

JOINER = "\u2060"

ROLE_TOKENS: Sequence[str] = (
    "<|",  # <|im_start|>, <|eot_id|>, <|endoftext|>, <|user|> and all their kind
    "<｜",  # the same with a full-width bar
    "<s>", "</s>", "<bos>", "<eos>", "<pad>", "<unk>", "<mask>",
    "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>",
    "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]",
    "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[CLS]", "[SEP]",
    "<image>", "<video>", "<audio>",  # places of images, to which a text may not add one
)  # fmt: skip


def _pattern(joiners: str) -> re.Pattern[str]:
    rests: dict[str, list[str]] = {}
    for token in ROLE_TOKENS:
        rests.setdefault(token[0], []).append(re.escape(token[1:]))
    return re.compile(
        "|".join(f"{re.escape(first)}{joiners}(?={'|'.join(rest)})" for first, rest in rests.items()), re.IGNORECASE
    )


_ANY = _pattern(f"{JOINER}*")
_ESCAPED = _pattern(f"{JOINER}+")


def escaped(text: str) -> str:
    """The text with every role token made plain."""
    return _ANY.sub(lambda found: found[0] + JOINER, text) if "<" in text or "[" in text else text


def unescaped(text: str) -> str:
    """The text that was `escaped`."""
    return _ESCAPED.sub(lambda found: found[0][:-1], text) if JOINER in text else text
