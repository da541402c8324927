"""Which processes still live: each locks a file of its own, and the system lets go of the lock when the process ends.

A process id says less: it is given again, and means nothing in another container.
"""

from __future__ import annotations

import fcntl
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def living(folder: Path) -> Iterator[str]:
    """The name under which this process can be seen to live, for as long as the block lasts."""
    folder.mkdir(parents=True, exist_ok=True)
    name = uuid.uuid4().hex
    file = folder / name
    with file.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield name
        finally:
            file.unlink(missing_ok=True)


def ended(folder: Path, name: str) -> bool:
    """Whether the process of that name was killed in its block; False for one that lives, or that nothing is known of."""
    try:
        with (folder / name).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
