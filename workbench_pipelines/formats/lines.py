"""JSON lines that every reader cuts at the same places, and the readers' common errors.

Every line is JSON without a raw line break of any kind, so that a reader that splits at line feeds and one that splits
as Unicode says (U+2028, U+2029, U+0085) see the same lines.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import orjson
import polars as pl

from workbench_pipelines.errors import ExportError
from workbench_pipelines.formats.conversation import CHUNK_ROWS, Conversation, Images, Unfit, conversations

S = TypeVar("S")
T = TypeVar("T")
WORKERS = 2  # polars lets go of Python's lock; more of them only hold more in memory
# orjson escapes what JSON makes it escape; these are line breaks to `str.splitlines` and plain text to JSON.
_LINE_BREAKS = ((b"\xe2\x80\xa8", b"\\u2028"), (b"\xe2\x80\xa9", b"\\u2029"), (b"\xc2\x85", b"\\u0085"))


def one_line_each(lines: bytes) -> bytes:
    """JSON lines without a raw line break but those between them."""
    if lines.isascii():  # nothing to look for, and ten times as fast as looking
        return lines
    for raw, escaped in _LINE_BREAKS:
        # One byte is found ten times as fast as three, and most texts do not have it.
        if raw[-1:] in lines:
            lines = lines.replace(raw, escaped)
    return lines


def written_lines(examples: Iterable[Any]) -> Iterator[bytes]:
    """The lines of these examples, some thousand at a time."""
    rest = iter(examples)
    while chunk := list(islice(rest, CHUNK_ROWS)):
        yield one_line_each(b"".join(orjson.dumps(one, option=orjson.OPT_APPEND_NEWLINE) for one in chunk))


def in_turn(make: Callable[[S], Iterable[bytes]], parts: Iterable[S]) -> Iterator[bytes]:
    """What `make` gives for each part, in their order; the next part is worked on while one is written."""
    with ThreadPoolExecutor(max_workers=WORKERS) as pool:
        waiting: deque[Future[list[bytes]]] = deque()
        for part in parts:
            waiting.append(pool.submit(lambda one: list(make(one)), part))
            if len(waiting) > WORKERS:
                yield from waiting.popleft().result()
        while waiting:
            yield from waiting.popleft().result()


def line_writer(
    name: str, line_of: Callable[[Conversation, Images], Any]
) -> Callable[[Iterable[pl.DataFrame], Images], Iterator[bytes]]:
    """The writer of a format whose line holds one conversation.

    Raises (the writer):
        ExportError: naming the first pair that the format can not hold.
    """

    def lines(batches: Iterable[pl.DataFrame], images: Images) -> Iterator[Any]:
        for pair_id, conversation in conversations(batches):
            yield fitted(name, pair_id, partial(line_of, conversation, images))

    return lambda batches, images: written_lines(lines(batches, images))


def fitted(name: str, pair_id: str, make: Callable[[], T]) -> T:
    """What `make` gives; where the pair does not fit, the line that says so.

    Raises:
        ExportError: naming format and pair.
    """
    try:
        return make()
    except Unfit as error:
        raise ExportError(
            f"pair {pair_id[:12]}…: {error}; format {name} can not hold it: leave {name} out of spec.formats"
        ) from None
    except ExportError as error:
        raise ExportError(f"pair {pair_id[:12]}…: {error.line}") from None


def line_reader(what: str, read: Callable[[Any], T]) -> Callable[[Iterable[str | bytes]], Iterator[T]]:
    """The reader of a format whose line is one example; `what` names the example in errors.

    Raises (the reader):
        ExportError: naming the line that is no such example.
    """

    def examples(lines: Iterable[str | bytes]) -> Iterator[T]:
        for number, line in enumerate(lines, start=1):
            try:
                found = read(orjson.loads(line))
            except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, IndexError, AttributeError):
                raise ExportError(f"line {number} is no {what}") from None
            except Unfit as error:
                raise ExportError(f"line {number} {error}") from None
            yield found

    return examples
