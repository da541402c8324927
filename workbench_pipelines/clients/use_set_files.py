"""Files of use sets: written whole or not at all, and readable for their owner alone."""

from __future__ import annotations

import os
from pathlib import Path

from workbench_pipelines.errors import ExportError


def write_privately(path: Path, content: bytes) -> None:
    """Writes a file in the place of what is there: rows leave the lake, where what is restricted is masked.

    Raises:
        ExportError: where it can not be written; what was there stays as it was.
    """
    beside = path.with_name(f".{path.name}.writing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(beside, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
    except OSError as error:
        raise ExportError(f"{path.name}: can not be written ({error.strerror})") from None
