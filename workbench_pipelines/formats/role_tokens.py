"""Role tokens: what a tokenizer reads as the turn of somebody else, made plain text without losing it.

A trainer that puts texts into a chat template hands them to a tokenizer as one string, and that finds ``<|im_start|>`` or
``[INST]`` in a text as well as in the template. Other templates frame turns with plain words, ``### Response:``, which is where a
trainer begins to count. An invisible word joiner (U+2060) behind the first character makes a text of it; where one stands there
already, one more is put in, so that reading gives back exactly what was written.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import polars as pl

JOINER = "\u2060"
_SLICE = 50_000  # pairs whose messages are laid out side by side at one time

_FRAMES = ("Instruction", "Input", "Response", "Output", "System", "User", "Human", "Assistant")
ROLE_TOKENS: Sequence[str] = (
    "<|",  # <|im_start|>, <|eot_id|>, <|endoftext|>, <|user|> and all their kind
    "<｜",  # the same with a full-width bar
    "<s>", "</s>", "<bos>", "<eos>", "<pad>", "<unk>", "<mask>",
    "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>",
    "[INST]", "[/INST]", "<<SYS>>", "<</SYS>>", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]",
    "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_CALLS]", "[TOOL_RESULTS]", "[/TOOL_RESULTS]", "[CLS]", "[SEP]",
    "[TOOL_CONTENT]", "[IMG]", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[SUFFIX]", "[MIDDLE]", "[gMASK]", "<sop>", "<eop>",
    "[THINK]", "[/THINK]", "[ARGS]", "[CALL_ID]", "[BOS]", "<BOS_TOKEN>", "<turn|>",  # Mistral, Cohere, Gemma
    "<end_of_utterance>", "<start_of_audio>", "<end_of_audio>", "<extra_id_",  # SmolVLM, Gemma, T5 and Nemotron
    "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<tools>", "</tools>",  # Hermes and Qwen in ChatML
    # Alpaca, and what follows it: Guanaco, Orca.
    *(f"###{blank}{name}:" for blank in (" ", "") for name in _FRAMES),
    "\n\nHuman:", "\n\nAssistant:",  # Anthropic's prompts before there were messages
    "<image>", "<video>", "<audio>",  # places of images, to which a text may not add one
)  # fmt: skip
"""Whatever their case; `_HEADING` and `_BEGINNING` say more of the frames.

None of them begins within another one behind its first character: each is made plain by itself."""


_NAMES = "|".join(_FRAMES)
# A heading of a frame with any blanks in it, and one that ends its line without a colon. A text that begins as a turn would be one
# behind a role line, or wherever a trainer puts it behind an empty line. Both are read by polars too.
_HEADING = rf"##[ \t]*(?:{_NAMES})[ \t]*(?::|\r?\n|%s)"
_BEGINNING = r"\n?(?:Human|Assistant):"

MADE_PLAIN = frozenset({"alpaca", "chatml", "dpo", "sharegpt"})
"""The formats whose texts are `escaped`: trainers make one string of them. The others keep roles and texts apart."""


def _pattern(joiners: str) -> re.Pattern[str]:
    rests: dict[str, list[str]] = {}
    for token in ROLE_TOKENS:
        rests.setdefault(token[0], []).append(re.escape(token[1:]))
    rests["#"].append(_HEADING % r"\Z")
    found = [f"{re.escape(first)}{joiners}(?={'|'.join(rest)})" for first, rest in rests.items()]
    begins = {r"\n": "(?:Human|Assistant):", "H": "uman:", "A": "ssistant:"}
    found += [rf"\A{first}{joiners}(?={rest})" for first, rest in begins.items()]
    return re.compile("|".join(found), re.IGNORECASE)


# A first look, that costs next to nothing beside the rest: most texts hold none.
_AFTER_AN_EMPTY_LINE = re.compile("\n\n[HhAa]")
_AT_THE_BEGINNING = re.compile(_BEGINNING, re.IGNORECASE)
_ANY = _pattern(f"{JOINER}*")
_ESCAPED = _pattern(f"{JOINER}+")


def escaped(text: str) -> str:
    """The text with every role token made plain."""
    may = "<" in text or "[" in text or JOINER in text or ("##" in text and "###" in text)
    if may or _AT_THE_BEGINNING.match(text) or ("\n\n" in text and _AFTER_AN_EMPTY_LINE.search(text)):
        return _ANY.sub(lambda found: found[0] + JOINER, text)
    return text


def unescaped(text: str) -> str:
    """The text that was `escaped`."""
    return _ESCAPED.sub(lambda found: found[0][:-1], text) if JOINER in text else text


def pairs_with_role_tokens(rows: pl.DataFrame) -> int:
    """How many pairs hold a role token in a message or in the answer, for whoever gets texts as they are.

    Input columns: messages, response.
    """

    def holds(text: pl.Expr) -> pl.Expr:
        tokens = text.str.contains_any(list(ROLE_TOKENS), ascii_case_insensitive=True)
        heading = text.str.contains("(?i)#" + _HEADING % r"\z")
        return (tokens | heading | text.str.contains(rf"(?i)\A{_BEGINNING}")).fill_null(False)

    said = pl.col("messages").list.eval(holds(pl.element().struct.field("content"))).list.any().fill_null(False)
    found = (part.select((said | holds(pl.col("response"))).sum()).item() for part in rows.iter_slices(_SLICE))
    return sum(int(count or 0) for count in found)
