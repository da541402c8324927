"""Text out of files: PDF, HTML and plain text, read whole or not at all; runs in the process of the reader."""

from __future__ import annotations

import io
import logging
from html.parser import HTMLParser

from workbench_pipelines.clients.readers import Unreadable

PDF = (".pdf",)
HTML = (".html", ".htm")
PLAIN = (".txt", ".md", ".markdown", ".rst", ".log")
# A writer ends a PDF with this mark, and may put some bytes behind it.
_END, _END_WITHIN = b"%%EOF", 2048
_BEGIN, _BEGIN_WITHIN = b"%PDF-", 1024

_BREAKING = frozenset(
    {
        "address", "article", "aside", "blockquote", "br", "dd", "div", "dl", "dt", "figcaption", "footer", "form", "h1", "h2",
        "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "p", "pre", "section", "table", "td", "th", "tr",
        "ul",
    }
)  # fmt: skip
_UNSEEN = frozenset({"script", "style", "template", "noscript", "title"})


def read_text(data: bytes, ending: str, encoding: str) -> str:
    """The text of a file by its ending.

    Raises:
        Unreadable: for another ending, and for a file that is not what its ending says.
    """
    if ending in PDF:
        return _pdf_text(data)
    if ending in HTML:
        return html_text(_decoded(data, encoding))
    if ending in PLAIN:
        return _decoded(data, encoding)
    known = ", ".join((*PDF, *HTML, *PLAIN))
    raise Unreadable("unknown_format", f"no text is read out of files that end in '{ending}'; known: {known}")


def html_text(markup: str) -> str:
    """What a browser would show of a page as text, a line for each block."""
    page = _Page()
    page.feed(markup)
    page.close()
    lines = (" ".join(line.split()) for line in "".join(page.said).split("\n"))
    return "\n".join(line for line in lines if line)


def _decoded(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Unreadable(
            "broken_file", f"byte 0x{data[error.start]:02X} in line {line} is not {error.encoding}; state read.encoding"
        ) from None


def _pdf_text(data: bytes) -> str:
    from pypdf import PdfReader

    # Its log lines quote the file.
    logging.getLogger("pypdf").setLevel(logging.CRITICAL + 1)
    if _BEGIN not in data[:_BEGIN_WITHIN]:
        raise Unreadable("broken_file", "the file does not begin as a PDF does")
    # The reader would make do with the pages it still finds.
    if _END not in data[-_END_WITHIN:]:
        raise Unreadable("broken_file", "the PDF is cut short: its end is missing")
    try:
        document = PdfReader(io.BytesIO(data))
        if document.is_encrypted and not document.decrypt(""):
            raise Unreadable("encrypted", "the PDF is locked with a password")
        pages = [page.extract_text().strip() for page in document.pages]
    except (Unreadable, MemoryError):
        raise
    except Exception as error:
        # Its own errors, and whatever else a broken file brings about in it; their text may quote the file.
        raise Unreadable("broken_file", f"the PDF can not be read: {type(error).__name__}") from None
    text = "\n\n".join(page for page in pages if page)
    if not text:
        raise Unreadable("no_text", f"the PDF of {len(pages)} pages holds no text; `extract: ocr` reads scans")
    # Half a surrogate pair, which a font may name, is no character.
    return text.encode("utf-8", "replace").decode("utf-8")


class _Page(HTMLParser):
    """Collects the text between the tags."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.said: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unseen = 0 if tag == "body" else self._unseen + (tag in _UNSEEN)
        if tag in _BREAKING:
            self.said.append("\n")

    def handle_endtag(self, tag: str) -> None:
        if tag in _UNSEEN and self._unseen:
            self._unseen -= 1
        if tag in _BREAKING:
            self.said.append("\n")

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            # A line break in the markup is a blank on the page.
            self.said.append(data.replace("\r", " ").replace("\n", " "))
