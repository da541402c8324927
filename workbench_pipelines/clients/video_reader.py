"""Text in the frames of videos, taken by FFmpeg and read by RapidOCR (the extra `video`); runs in the process of the reader.

What is said in a video is heard by `audio_reader`, out of the same file.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from workbench_pipelines.clients.ocr_reader import read_page
from workbench_pipelines.clients.readers import Unreadable

VIDEOS = (".mp4", ".m4v", ".mov", ".webm", ".mkv", ".avi", ".mpg", ".mpeg")
EVERY_S = 2.0  # seconds between the frames looked at: a slide or a caption stands longer
_THUMB = (64, 36)  # what two frames are compared at
_SAME = (
    2.0  # grey levels of 255 by which frames that show the same differ on average: what compressing them makes of noise
)


def read_video(data: bytes, ending: str) -> str:
    """What stands in the frames, a paragraph each time it changes, headed by its time as `[minutes:seconds]`.

    Raises:
        Unreadable: for another ending, a broken file, and one in which nothing is read.
    """
    if ending not in VIDEOS:
        known = ", ".join(VIDEOS)
        raise Unreadable("unknown_format", f"no video is read out of files that end in '{ending}'; known: {known}")
    try:
        found = list(_changes((at, read_page(frame)) for at, frame in _frames(data)))
    except MemoryError:
        raise
    except Exception as error:
        # What FFmpeg says of a broken file may quote it.
        raise Unreadable("broken_file", f"the video can not be read: {type(error).__name__}") from None
    if not found:
        raise Unreadable("no_text", "nothing is read in the frames")
    return "\n\n".join(f"[{int(at) // 60:02d}:{int(at) % 60:02d}]\n{text}" for at, text in found)


def _changes(read: Iterator[tuple[float, str]]) -> Iterator[tuple[float, str]]:
    """The texts that are there and are not those of the frame before."""
    last = ""
    for at, text in read:
        if text and text != last:
            yield at, text
        last = text


def _frames(data: bytes) -> Iterator[tuple[float, Any]]:
    """Seconds from the beginning, and the picture (height, width, blue-green-red) of each frame that shows something new."""
    import av
    import numpy as np

    before, wanted = None, 0.0
    with av.open(io.BytesIO(data)) as container:
        stream = container.streams.video[0]
        for frame in container.decode(stream):
            at = float(frame.time or 0.0)
            if at < wanted:
                continue
            wanted = at + EVERY_S
            small = frame.reformat(*_THUMB, format="gray").to_ndarray().astype(np.int16)
            if before is None or np.abs(small - before).mean() > _SAME:
                before = small
                yield at, frame.to_ndarray(format="bgr24")
