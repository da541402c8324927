"""The files of batches: questions as lines, and lines that come back as answers to the questions they name.

A line is bound to a question by its custom_id alone, and to nobody where that leaves a doubt.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson

from workbench_pipelines.requests import Refusal

# Why a batch that came to its end left a question without a line.
_WITHOUT_LINE = {
    "expired": ("expired", "the batch expired before its turn"),
    "cancelled": ("cancelled", "the batch was cancelled before its turn"),
    "failed": ("batch_failed", "the provider could not take the batch"),
}
_PASSING = frozenset({408, 409, 425, 429})
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,60}")


def file_line(request_hash: str, body: Mapping[str, Any]) -> bytes:
    """A question as the line of a batch file."""
    line = {"custom_id": request_hash, "method": "POST", "url": "/v1/chat/completions", "body": body}
    return orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)


class Line(NamedTuple):
    """One line that a provider sent back.

    Attributes:
        place: file and line number.
        custom_id: whose line it says it is; None where it says nothing that can be read.
        status: the HTTP status of the question, None where it was not asked.
        body: the reply, where there is one.
        code: the provider's short word for what went wrong.
    """

    place: str
    custom_id: str | None
    status: int | None = None
    body: Mapping[str, Any] | None = None
    code: str | None = None


class LineRefusal(NamedTuple):
    """Why a line, or a question without one, is no answer; `request_hash` None where it belongs to no question."""

    place: str
    request_hash: str | None
    reason: str
    detail: str


@dataclass(frozen=True)
class Returned:
    """What came of a batch: the reply to each question that has one, by its hash, and why the others have none."""

    replies: Mapping[str, Mapping[str, Any]]
    refusals: tuple[LineRefusal, ...]


def read_lines(data: bytes, file: str) -> Iterator[Line]:
    """The lines of an output or error file; one that can not be read says so and stops no other."""
    for number, text in enumerate(data.split(b"\n"), start=1):
        if text.strip():
            yield _line(text, f"{file} line {number}")


def _line(text: bytes, place: str) -> Line:
    try:
        found = orjson.loads(text)
        custom_id = found["custom_id"]
        response = found.get("response") or {}
        status, body = response.get("status_code"), response.get("body")
        error = found.get("error") or (body or {}).get("error") or {}
        code = error.get("code") or error.get("type")
    except (ValueError, KeyError, TypeError, AttributeError):
        return Line(place, None)
    return Line(
        place,
        custom_id if isinstance(custom_id, str) else None,
        status if isinstance(status, int) else None,
        body if isinstance(body, dict) else None,
        # Short words only: a longer one could quote the prompt.
        code if isinstance(code, str) and _CODE.fullmatch(code) else None,
    )


def bind(lines: Iterable[Line], asked: Collection[str], model: str, status: str) -> Returned:
    """Which line answers which question: by its custom_id alone, whatever the order.

    A custom_id that was not asked, or stands on several lines, is bound to nobody.

    Args:
        asked: the hashes of the questions.
        status: how the batch ended, which is why a question has no line.
    """
    known = list(lines)
    seen = Counter(line.custom_id for line in known if line.custom_id is not None)
    replies: dict[str, Mapping[str, Any]] = {}
    refusals: list[LineRefusal] = []
    for line in known:
        key = line.custom_id
        if key is None:
            refusals.append(LineRefusal(line.place, None, "unreadable_line", "no line of a batch's answers"))
        elif key not in asked:
            refusals.append(LineRefusal(line.place, None, "unknown_custom_id", "answers no question of this batch"))
        elif seen[key] > 1:
            detail = f"{seen[key]} lines answer this question; which one is right is not known"
            refusals.append(LineRefusal(line.place, key, "duplicate_custom_id", detail))
        elif line.status == 200 and line.body is not None:
            replies[key] = line.body
        else:
            refusal = _refusal(line, model)
            refusals.append(LineRefusal(line.place, key, refusal.reason, refusal.detail))
    reason, detail = _WITHOUT_LINE.get(status, ("missing_line", "the provider's answers hold no line for it"))
    missing = sorted(set(asked) - set(seen))
    refusals += [LineRefusal(f"question {key}", key, reason, detail) for key in missing]
    return Returned(replies, tuple(refusals))


def _refusal(line: Line, model: str) -> Refusal:
    """What a line without an answer means, in the words that a call would get."""
    if line.code == "batch_expired":
        return Refusal(*_WITHOUT_LINE["expired"])
    if line.code == "batch_cancelled":
        return Refusal(*_WITHOUT_LINE["cancelled"])
    if line.code == "context_length_exceeded":
        return Refusal("permanent", f"the prompt is longer than {model} reads")
    if line.code in ("content_filter", "content_policy_violation"):
        return Refusal("filtered", "the provider's content filter withheld the prompt")
    said = " ".join(str(part) for part in (line.status, line.code) if part is not None) or "without a reason"
    if line.status is None or line.status in _PASSING or line.status == 200 or line.status >= 500:
        return Refusal("transient", f"no answer from {model} in the batch ({said}); run again")
    return Refusal("permanent", f"the provider refused this request of the batch ({said})")
