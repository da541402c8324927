"""What is in files: each content is looked into once, in a process of its own, and remembered."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from workbench_pipelines.clients.extraction_store import ExtractionStore
from workbench_pipelines.clients.readers import READERS, Reader
from workbench_pipelines.volumes import IMAGE_PREFIX, Extracted

_WORKER = "workbench_pipelines.clients.extraction_worker"
_PACKAGES = str(Path(__file__).resolve().parents[2])
# Reasons that may not hold when the same content is read again: of the machine, or of the moment.
_PASSING = frozenset({"unreadable", "file_changed", "reader_stopped"})
_SETTLED_NS = 2_000_000_000
# A busy machine takes several times the processor time; past this the process is stuck.
_WAIT_PER_CPU_S, _LEAST_WAIT_S = 4, 60


class Extraction:
    """Takes one kind of thing out of files; the process that does it runs inside the `with` block, once it is needed.

    Args:
        store: what was taken out before.
        extract: `text`, `image`, `ocr` or `audio`; None for the digests of files alone.
        encoding: of plain text.
    """

    def __init__(self, store: ExtractionStore, extract: str | None, encoding: str = "utf-8") -> None:
        self.store = store
        self.extract = extract
        self.encoding = encoding if extract == "text" else ""
        self._process: subprocess.Popen[bytes] | None = None
        self._reader_name: str | None = None  # looked up once: the versions of packages stand in files

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def digest(self, file: Path) -> str:
        """The SHA-256 of a file; of one that lies as it lay, the remembered one. Raises OSError."""
        found = file.stat()
        stamp = f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino} {found.st_dev}"
        known = self.store.digest(str(file), stamp)
        if known is None:
            with file.open("rb") as opened:
                known = hashlib.file_digest(opened, "sha256").hexdigest()
            # A file that was just written may be written again within one tick of its clock.
            if time.time_ns() - max(found.st_mtime_ns, found.st_ctime_ns) > _SETTLED_NS:
                self.store.keep_digest(str(file), stamp, known)
        return known

    def content(self, file: Path, sha256: str) -> Extracted:
        """What is in a file of this content, or why nothing can be taken out of it.

        Raises:
            MissingPart: where a package that it takes is not installed, naming the extra that brings it.
        """
        if self.extract is None:
            return Extracted(None)
        reader = READERS[self.extract]
        # Of plain text the ending decides how it is read, so it is part of what was asked.
        self._reader_name = self._reader_name or reader.name(self.extract, self.encoding)
        name = f"{self._reader_name} {file.suffix.lower()}"
        found = self.store.find(sha256, name)
        if found is None:
            found = self._extracted(file, sha256, reader)
            if found.reason not in _PASSING:
                self.store.keep(sha256, name, found)
        if self.extract == "image" and found.reason is None:
            return Extracted(IMAGE_PREFIX + sha256)
        return found

    def _extracted(self, file: Path, sha256: str, reader: Reader) -> Extracted:
        size, most = file.stat().st_size, reader.max_bytes
        if size > most:
            return Extracted(None, "too_large", f"the file has {size:,} bytes; {most:,} are the most that are read")
        models = self.store.file.parent / "models"
        job = {"path": str(file), "encoding": self.encoding, "cpu_s": reader.cpu_s, "models": str(models)}
        reply = self._asked(job, reader, reader.cpu_s * _WAIT_PER_CPU_S + _LEAST_WAIT_S)
        if reply is None:
            return Extracted(None, "reader_stopped", "the reader ended over this file, or had to be stopped")
        if reply["reason"] == "too_large":
            self._end()  # whatever still lies about in its memory goes with it
        if reply["sha256"] not in (None, sha256):
            return Extracted(None, "file_changed", "the file changed while it was read; take the snapshot again")
        return Extracted(reply["content"], reply["reason"], reply["detail"])

    def _asked(self, job: Mapping[str, Any], reader: Reader, wait_s: float) -> dict[str, Any] | None:
        """The reply to a job; None from a process that ended over it, or was ended."""
        process = self._started(reader)
        assert process.stdin is not None
        assert process.stdout is not None
        too_long = threading.Timer(wait_s, process.kill)
        too_long.start()
        try:
            process.stdin.write(json.dumps(job).encode() + b"\n")
            process.stdin.flush()
            reply = process.stdout.readline()
        except BrokenPipeError:
            reply = b""
        finally:
            too_long.cancel()
        if not reply.endswith(b"\n"):
            self._end()
            return None
        found: dict[str, Any] = json.loads(reply)
        return found

    def _started(self, reader: Reader) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self._end()
            assert self.extract is not None
            self._process = subprocess.Popen(  # noqa: S603  # our own module and one of four words
                [sys.executable, "-m", _WORKER, self.extract, str(reader.memory or 0)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                # No key, token or address of this process: a file comes from anywhere.
                env={"PYTHONPATH": _PACKAGES, "PATH": os.defpath, "PYTHONDONTWRITEBYTECODE": "1"},
            )
        return self._process

    def _end(self) -> None:
        if self._process is None:
            return
        process, self._process = self._process, None
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        process.kill()
        process.wait()
