"""Who may open the review page: a token per person, of which only the hash is kept."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from pathlib import Path

from workbench_pipelines.errors import ArgumentError, LakeError


class ReviewTokens:
    """The tokens of a project, in one file of its state folder that its owner alone can read."""

    def __init__(self, state: Path) -> None:
        self._file = state / "review_tokens.json"

    def issue(self, person: str) -> str:
        """A new token for a person; an older one of the same person ends.

        Raises:
            ArgumentError: for no name, or the name of a team.
        """
        if not person.strip() or person.startswith("team:"):
            raise ArgumentError("a token is one person's: name the person as the Access document does")
        token = secrets.token_urlsafe(32)
        self._write({**self._read(), person: _hash(token)})
        return token

    def person_of(self, token: str) -> str | None:
        """Whose token it is; None where it is nobody's."""
        given = _hash(token)
        found = None
        # All are looked at, so that the time it takes tells nothing.
        for person, kept in self._read().items():
            if hmac.compare_digest(kept, given):
                found = person
        return found

    def _read(self) -> dict[str, str]:
        if not self._file.exists():
            return {}
        try:
            kept = json.loads(self._file.read_text(encoding="utf-8"))
            return {str(person): str(value) for person, value in kept.items()}
        except (ValueError, AttributeError, OSError):
            raise LakeError(f"{self._file.name} is damaged; delete it and issue the tokens anew") from None

    def _write(self, tokens: dict[str, str]) -> None:
        self._file.parent.mkdir(parents=True, exist_ok=True)
        beside = self._file.with_suffix(f".{os.getpid()}")
        opened = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(opened, "w", encoding="utf-8") as out:
            json.dump(tokens, out, indent=1, sort_keys=True)
        beside.replace(self._file)


def _hash(token: str) -> str:
    # 256 random bits need no salt and no slow hash.
    return hashlib.sha256(token.encode()).hexdigest()
