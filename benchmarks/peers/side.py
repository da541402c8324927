"""What every side of the comparison of generation shares: the questions, the answer, and how it is told to start.

A side is a program `PROGRAM URL COUNT AT_ONCE`, run by the Python of its own environment, hence nothing but the standard
library here. It imports what it needs and works off one round of other questions, since most of them import late; says
`ready`, waits for a line, does the work, and says what it took as one line of JSON. Whatever it prints besides goes to
standard error.

`wall` and `cpu` are seconds of the work alone; `cpu` is user and system time with that of its ended child processes. `peak`
is the most bytes that it, or a child, held at one time, with what it imported. `right` is how many answers were the right one.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import resource
import sys
import time
from collections.abc import Awaitable, Callable, Sequence

# A model whose price and whose support for schemas all of them know: curator refuses a schema where it knows neither.
MODEL = "gpt-4o-mini"
PARAMETERS = {"temperature": 0.0, "max_tokens": 20}
SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": ["yes", "no"]}},
    "required": ["answer"],
    "additionalProperties": False,
}
RESPONSE_FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}
KEY = "sk-loopback"

_TEXT = "the of invoice total patient visit was paid on a day after before which amount code is and not due"
_TO_BYTES = 1 if sys.platform == "darwin" else 1024  # ru_maxrss is in KiB on Linux


def make_questions(count: int, first: int = 0) -> list[str]:
    """Distinct questions of 40 to 160 words, so that their prompts differ in tokens as real ones do."""
    made = []
    for number in range(first, first + count):
        chance = random.Random(number)
        words = " ".join(chance.choices(_TEXT.split(), k=chance.randint(40, 160)))
        made.append(f"Statement {number:07}: {words}. Is it true? Answer with one JSON object.")
    return made


def messages_of(question: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}]


def is_right(answer: str | None) -> bool:
    try:
        return bool(json.loads(answer or "") == {"answer": "yes"})
    except ValueError:
        return False


async def ask_all(ask: Callable[[str], Awaitable[str]], questions: Sequence[str], at_once: int) -> list[str]:
    """What a user writes around a bare client: so many workers, each with one question at a time."""
    waiting = iter(enumerate(questions))
    answers = [""] * len(questions)

    async def work() -> None:
        for number, question in waiting:
            answers[number] = await ask(question)

    await asyncio.gather(*(work() for _ in range(at_once)))
    return answers


def take_part(prepare: Callable[[str, int], Callable[[list[str]], list[str]]]) -> None:
    """Play a side. `prepare(url, at_once)` gives what answers questions: the text of each answer, in any order."""
    told = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    url, count, at_once = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    questions = make_questions(count)
    answer = prepare(url, at_once)
    answer(make_questions(at_once, first=1_000_000))
    print("ready", file=told, flush=True)
    if not sys.stdin.readline():
        return
    before, start = _cpu(), time.perf_counter()
    answers = answer(questions)
    wall, cpu = time.perf_counter() - start, _cpu() - before
    right = sum(map(is_right, answers))
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": _peak(), "right": right}), file=told, flush=True)


def _cpu() -> float:
    who = (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in who)


def _peak() -> int:
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return max(resource.getrusage(one).ru_maxrss for one in who) * _TO_BYTES
