"""Real files for tests of volumes: PDFs that matplotlib writes, images that Pillow writes."""

from __future__ import annotations

import io

import matplotlib
from PIL import Image

matplotlib.use("agg")


def make_pdf(*pages: str) -> bytes:
    """A PDF with a page for each text; the same text gives the same bytes."""
    from matplotlib.backends.backend_pdf import PdfPages
    from matplotlib.figure import Figure

    written = io.BytesIO()
    with PdfPages(written, metadata={"CreationDate": None}) as document:
        for text in pages:
            figure = Figure()
            figure.text(0.1, 0.8, text)
            document.savefig(figure)
    return written.getvalue()


def make_image(colour: str = "red", format: str = "PNG", size: int = 16) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", (size, size), colour).save(written, format)
    return written.getvalue()
