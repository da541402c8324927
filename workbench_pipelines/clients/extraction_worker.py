"""The process that looks into files: one job a line on standard input, one reply a line on standard output.

    python -m workbench_pipelines.clients.extraction_worker text 2147483648

The second argument is the memory that it may take, 0 for any. A job is `{"path", "encoding", "cpu_s", "models"}` (a folder
for models that are put together once), a reply `{"sha256", "content", "reason", "detail"}`. Whoever started it ends it when a
job takes too long all the same.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from workbench_pipelines.clients.readers import Unreadable


class _TooSlow(BaseException):
    """Past its processor time; no `Exception`, so that no reader takes it for a flaw of the file."""


def work(extract: str, memory: int) -> None:
    """Answers jobs until standard input ends."""
    if memory:
        with contextlib.suppress(ValueError, OSError):  # not every system knows this limit
            resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    # What a library prints must not stand between the replies.
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as replies:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        for line in sys.stdin.buffer:
            reply = _reply(extract, **json.loads(line))
            replies.write(json.dumps(reply).encode() + b"\n")
            replies.flush()


def _reply(extract: str, path: str, encoding: str, cpu_s: int, models: str) -> dict[str, Any]:
    reply: dict[str, Any] = dict.fromkeys(("sha256", "content", "reason", "detail"))
    try:
        with _limited(cpu_s):
            data = Path(path).read_bytes()
            reply["sha256"] = hashlib.sha256(data).hexdigest()
            return reply | {"content": _content(extract, data, Path(path).suffix.lower(), encoding, Path(models))}
    except Unreadable as error:
        return reply | {"reason": error.reason, "detail": error.detail}
    except _TooSlow:
        return reply | {"reason": "too_slow", "detail": f"more than {cpu_s} seconds of work for one file"}
    except MemoryError:
        return reply | {"reason": "too_large", "detail": "the file needs more memory than a file may take"}
    except OSError as error:
        return reply | {"reason": "unreadable", "detail": f"the file can not be read: {error.strerror}"}


def _content(extract: str, data: bytes, ending: str, encoding: str, models: Path) -> str | None:
    """What is taken out of a file; of an image nothing but that it is one. Raises Unreadable."""
    if extract == "ocr":
        from workbench_pipelines.clients.ocr_reader import read_ocr

        return read_ocr(data, ending)
    if extract == "video":
        from workbench_pipelines.clients.video_reader import read_video

        return read_video(data, ending)
    if extract == "audio":
        from workbench_pipelines.clients.audio_reader import read_audio

        return read_audio(data, ending, models)
    if extract == "text":
        from workbench_pipelines.clients.text_reader import read_text

        return read_text(data, ending, encoding)
    if extract == "image":
        from workbench_pipelines.clients.image_reader import check_image

        check_image(data)
        return None
    raise AssertionError(extract)


@contextlib.contextmanager
def _limited(cpu_s: int) -> Iterator[None]:
    """Raises _TooSlow in the block once this process has worked for so long in it."""
    _, hardest = resource.getrlimit(resource.RLIMIT_CPU)

    def stop(number: int, frame: FrameType | None) -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (hardest, hardest))  # else the signal comes again every second
        raise _TooSlow

    signal.signal(signal.SIGXCPU, stop)
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + 1 + cpu_s
    resource.setrlimit(
        resource.RLIMIT_CPU, (limit if hardest == resource.RLIM_INFINITY else min(limit, hardest), hardest)
    )
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (hardest, hardest))


if __name__ == "__main__":
    work(sys.argv[1], int(sys.argv[2]))
