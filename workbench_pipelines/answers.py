"""Answers: what a model sent back or a column holds, as the JSON object a template asks for, or why it is none.

A cell is read strictly. Of a model's answer that is no JSON, what json_repair makes of it counts where it fits the schema
strictly, and says so: a repaired answer is one that nobody gave in these words.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

from workbench_pipelines.fields import FieldSpec, json_schema_of, schema_violation
from workbench_pipelines.identity import canonical_text
from workbench_pipelines.requests import Completion, Request
from workbench_pipelines.typed_values import plain_value, typed_value

# Finish reasons of the providers, in their several words.
_CUT = frozenset({"length", "max_tokens", "model_length"})
_FILTERED = frozenset({"content_filter", "content_filtered", "safety"})
_REFUSED = frozenset({"refusal"})

_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)", re.DOTALL)
_FENCE = re.compile(r"\A```(?:json|JSON)?[ \t]*\r?\n(.*?)\r?\n?```\Z", re.DOTALL)
# A reply that starts like this and holds no JSON is a model that declines; said so, it is not asked again in vain.
_DECLINES = re.compile(
    r"\A(?:i['’]?m sorry|sorry|i can(?:no|['’])t|i can not|i won['’]t"
    r"|i(?: a|['’])m (?:not able|unable)|as an ai)\b",
    re.IGNORECASE,
)


class Parsed(NamedTuple):
    """The canonical JSON text of an answer, or the short reason and one line of detail that never quotes it.

    Reasons: `truncated`, `filtered`, `refused`, `empty`, `invalid_json`, `schema_violation`, `wrong_item`,
    and `wrong_language` (`languages.py`).
    """

    response: str | None
    reason: str | None = None
    detail: str | None = None
    repaired: bool = False


Read = Callable[[Request, Completion], Parsed]
"""What an answer says to a request; rules of reading can change without a call, since raw answers are what is kept."""
# Reasons for which a model that is told what was wrong may do better.
MENDABLE = frozenset({"invalid_json", "schema_violation", "wrong_item", "wrong_language"})
ITEM_FIELD = "item_ref"
"""An output field of this name says which item an answer speaks of."""


class _NotJson(ValueError):
    """Why a text is no strict JSON."""


class _BrokenJson(_NotJson):
    """A text whose marks are wrong: prose around an object, a comma too many; what it means may still be plain."""


def answer_reader(schema: Mapping[str, Any]) -> Read:
    """A reader of models' answers to this schema; an answer that names another item than was asked about is none."""
    names_item = ITEM_FIELD in schema.get("properties", {})
    last: tuple[Request, Completion, Parsed] | None = None

    def read(request: Request, completion: Completion) -> Parsed:
        # Whoever hands an answer on reads it again: of one answer in a row the first reading counts.
        nonlocal last
        if last is None or last[0] is not request or last[1] is not completion:
            last = (request, completion, read_anew(request, completion))
        return last[2]

    def read_anew(request: Request, completion: Completion) -> Parsed:
        parsed = parse_answer(completion.text, completion.finish_reason, schema)
        if parsed.response is None or not names_item:
            return parsed
        if str(json.loads(parsed.response).get(ITEM_FIELD)) != request.item_ref:
            return Parsed(None, "wrong_item", f"{ITEM_FIELD} names another item than was asked about")
        return parsed

    return read


def parse_answer(text: str | None, finish_reason: str | None, schema: Mapping[str, Any]) -> Parsed:
    """Read an answer: JSON that fits the schema, alone or in one fenced block, repaired where nothing else helps."""
    finish = (finish_reason or "").lower()
    if finish in _FILTERED:
        return Parsed(None, "filtered", "the provider's content filter withheld the answer")
    if finish in _REFUSED:
        return Parsed(None, "refused", "the model declined to answer")
    if finish in _CUT:
        # Even where the JSON happens to close, the model was not done.
        return Parsed(None, "truncated", "the answer was cut at max_tokens; raise max_tokens or bound the fields")
    stripped = (text or "").strip()
    if not stripped:
        return Parsed(None, "empty", "the answer holds no text")
    fenced = _FENCE.match(stripped)
    try:
        value = read_json(fenced[1] if fenced else stripped)
    except _NotJson as error:
        if _DECLINES.match(stripped):
            return Parsed(None, "refused", "the model declined to answer")
        if isinstance(error, _BrokenJson) and _ends_inside(stripped):
            return Parsed(None, "truncated", "the answer ends in the middle")
        mended = _repaired(stripped, schema) if isinstance(error, _BrokenJson) else None
        return mended or Parsed(None, "invalid_json", str(error))
    if not isinstance(value, dict):
        return Parsed(None, "schema_violation", "the answer is no JSON object")
    return _fitting(canonical_text(value), schema)


def _repaired(text: str, schema: Mapping[str, Any]) -> Parsed | None:
    """What a broken answer says where it can be mended into an object that fits; None where it can not.

    json_repair makes something of nearly any text, so that only a text that holds an object is handed to it, and only marks may
    be mended: every word of the object stands in what comes of it, in its order.
    """
    if "{" not in text or "}" not in text or _holds_several(text):
        return None
    from json_repair import repair_json

    try:
        value = repair_json(text, return_objects=True, skip_json_loads=True)
        if not isinstance(value, dict) or not value:
            return None
        if _words(_ESCAPE.sub("", text[text.index("{") : text.rindex("}") + 1])) != _words(_said(value)):
            return None
        parsed = _fitting(canonical_text(value), schema)
    except (ValueError, TypeError, RecursionError):
        return None
    return parsed._replace(repaired=True) if parsed.response is not None else None


def _ends_inside(text: str) -> bool:
    """Whether a text ends within a string or before the object that it begins is closed."""
    depth, quoted, begun = 0, False, False
    at = text.find("{")
    while 0 <= at < len(text):
        mark = text[at]
        if quoted and mark == "\\":
            at += 1
        elif mark == '"':
            quoted = not quoted
        elif not quoted and mark in "{[":
            depth, begun = depth + 1, True
        elif not quoted and mark in "}]":
            depth -= 1
            if depth == 0:
                return False  # what follows is no part of it
        at += 1
    return begun and (quoted or depth > 0)


def _said(value: Any) -> str:
    """The words of a JSON value in their order."""
    if isinstance(value, dict):
        return " ".join(f"{key} {_said(inner)}" for key, inner in value.items())
    if isinstance(value, list):
        return " ".join(map(_said, value))
    return value if isinstance(value, str) else json.dumps(value)


def _words(text: str) -> str:
    """The letters and digits of a text; others may be written as escapes, and are left out."""
    return re.sub(r"[^a-z0-9]+", "", text.lower())


def _holds_several(text: str) -> bool:
    """Whether more follows after a first sound object: nobody knows which of them is the answer."""
    try:
        _, end = json.JSONDecoder().raw_decode(text, text.index("{"))
    except ValueError:
        return False
    return "{" in text[end:]


def column_reader(fields: Sequence[FieldSpec]) -> Callable[[Any], Parsed]:
    """A reader of cells that hold answers: the value of the only field, or an object (JSON text or struct) of all.

    A value is cast to its field's type; a cell that is null is no answer.
    """
    schema = json_schema_of(fields)

    @lru_cache(maxsize=4096)  # classes are few and rows are many
    def fitting(response: str) -> Parsed:
        return _fitting(response, schema)

    def read(cell: Any) -> Parsed:
        value, reason = _cell_value(cell, fields)
        return Parsed(None, "schema_violation", reason) if reason else fitting(canonical_text(value))

    return read


def fits(label_data: Any, schema: Mapping[str, Any]) -> str | None:
    """Why label data breaks an output schema, naming the field and never the value; None where it fits."""
    return schema_violation(label_data, schema)


def read_json(text: str) -> Any:
    """A JSON value, read strictly: a key stands once, numbers are finite, every character is encodable.

    Raises:
        ValueError: with the place where it goes wrong, without the text itself.
    """
    try:
        value = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant, parse_float=_finite)
        text.encode()
        canonical_text(value)
    except json.JSONDecodeError as error:
        raise _BrokenJson(f"no JSON at line {error.lineno} column {error.colno}: {error.msg}") from None
    except UnicodeEncodeError:
        raise _NotJson("a character that is half a surrogate pair") from None
    except RecursionError:
        raise _NotJson("nested too deeply") from None
    except _NotJson:
        raise
    except (ValueError, TypeError):
        raise _NotJson("a value that JSON can not carry") from None
    return value


def _fitting(response: str, schema: Mapping[str, Any]) -> Parsed:
    # What is stored is what is judged: an integer past 2^53 is text there.
    problem = schema_violation(json.loads(response), schema)
    return Parsed(None, "schema_violation", problem) if problem else Parsed(response)


def _cell_value(cell: Any, fields: Sequence[FieldSpec]) -> tuple[dict[str, Any], str | None]:
    """The answer that a cell stands for, with its types, or the reason why it stands for none."""
    if len(fields) == 1:
        typed, reason = typed_value(cell, fields[0], from_text=True)
        return {} if typed is None else {fields[0].name: typed}, reason
    if isinstance(cell, str):
        try:
            cell = read_json(cell)
        except ValueError as error:
            return {}, f"{error}; an answer of several fields is a JSON object"
    if not isinstance(cell, Mapping):
        return {}, "an answer of several fields is a JSON object"
    optional = {field.name for field in fields if not field.required}
    # A struct column gives every row every field; what a row lacks is null there.
    return {key: plain_value(value) for key, value in cell.items() if value is not None or key not in optional}, None


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        raise _NotJson("a key stands twice in one object")
    return value


def _no_constant(name: str) -> NoReturn:
    raise _NotJson(f"{name} is no JSON number")


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise _NotJson("a number past the range of a double")
    return number
