"""Git, asked who wrote a definition: the one place that runs it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

_PATIENCE_S = 10
# A repository may name programs to be run when it is looked at.
_QUIET = ("-c", "core.fsmonitor=false", "-c", "log.showSignature=false", "--no-optional-locks")


def last_author(folder: Path, file: str) -> str | None:
    """Who committed a file last; None where it has changes that nobody committed, and where there is no git.

    Args:
        file: relative to `folder`.
    """
    changes = _asked(folder, "status", "--porcelain", "--", file)
    if changes is None or changes:
        return None
    return _asked(folder, "log", "-1", "--format=%an", "--", file) or None


def _asked(folder: Path, *arguments: str) -> str | None:
    git = shutil.which("git")
    if git is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603  # a program by its path, words of ours and a path of the project
            [git, *_QUIET, "-C", str(folder), *arguments],
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError, UnicodeDecodeError):
        return None
    return done.stdout.strip()
