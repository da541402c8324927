"""Text in scans and photographs, read by RapidOCR (the extra `ocr`); runs in the process of the reader."""

from __future__ import annotations

import io
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from workbench_pipelines.clients.readers import Unreadable

IMAGES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff")
_DPI = 200  # what forms and letters are scanned with; more costs time and finds nothing else in print
_MAX_POINTS = 40_000_000  # ten pages of that kind: a poster is read at a lower resolution


def read_ocr(data: bytes, ending: str) -> str:
    """The lines of a scan from top to bottom, a blank line between pages.

    Raises:
        Unreadable: for another ending, a broken file, and one in which nothing is read.
    """
    if ending != ".pdf" and ending not in IMAGES:
        known = ", ".join((".pdf", *IMAGES))
        raise Unreadable("unknown_format", f"no scan is read out of files that end in '{ending}'; known: {known}")
    try:
        texts = [read_page(page) for page in (_pdf_pages(data) if ending == ".pdf" else _image_pages(data))]
    except MemoryError:
        raise
    except Exception as error:
        # What these libraries throw at a broken file is of many kinds, and may quote it.
        raise Unreadable("broken_file", f"the scan can not be read: {type(error).__name__}") from None
    text = "\n\n".join(text for text in texts if text)
    if not text:
        raise Unreadable("no_text", f"nothing is read on {len(texts)} pages")
    return text


def _pdf_pages(data: bytes) -> Iterator[Any]:
    import pypdfium2

    with pypdfium2.PdfDocument(data) as document:
        for page in document:
            points = page.get_width() * page.get_height()
            scale = min(_DPI / 72, (_MAX_POINTS / max(points, 1)) ** 0.5)
            yield page.render(scale=scale).to_numpy()


def _image_pages(data: bytes) -> Iterator[Any]:
    import numpy as np
    from PIL import Image, ImageSequence

    with Image.open(io.BytesIO(data)) as image:
        for page in ImageSequence.Iterator(image):
            # The engine reads colours in the order blue, green, red.
            yield np.asarray(page.convert("RGB"))[:, :, ::-1]


def read_page(page: Any) -> str:
    """The lines of a picture (height, width, blue-green-red) from top to bottom; empty where nothing is read."""
    found, _ = _engine()(page)
    return "\n".join(text for _, text, _ in found or ())


@lru_cache(maxsize=1)
def _engine() -> Any:
    from rapidocr_onnxruntime import RapidOCR

    return RapidOCR(intra_op_num_threads=1)
