"""Git, asked who wrote a definition: the one place that runs it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

_PATIENCE_S = 10
_COMMIT = re.compile(r"[0-9a-f]{40,64} \d+ \d+")
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


def line_authors(folder: Path, file: str) -> dict[str, str]:
    """Who committed each line of a file, by the line; those that nobody committed are left out.

    Args:
        file: relative to `folder`.
    """
    found: dict[str, str] = {}
    author, commit = "", ""
    for line in (_asked(folder, "blame", "--line-porcelain", "--", file) or "").split("\n"):
        if line.startswith("\t"):
            if commit.strip("0"):
                found[line[1:]] = author
        elif line.startswith("author "):
            author = line.removeprefix("author ")
        elif _COMMIT.match(line):
            commit = line.split(" ", 1)[0]
    return found


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
