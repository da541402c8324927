"""Who is at the page: sessions in the memory of its process, opened with a person's token."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field

HOLDS_S = 12 * 3600  # a working day
COOKIE = "workbench_review"


@dataclass
class Session:
    """One person's sitting: `form_key` must come back with every form, `notice` is shown once."""

    person: str
    form_key: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    ends_at: float = field(default_factory=lambda: time.monotonic() + HOLDS_S)
    notice: str | None = None

    def take_notice(self) -> str | None:
        said, self.notice = self.notice, None
        return said


class Sessions:
    """The open sessions by the value of their cookie."""

    def __init__(self) -> None:
        self._open: dict[str, Session] = {}

    def open(self, person: str) -> str:
        cookie = secrets.token_urlsafe(32)
        self._open[cookie] = Session(person)
        return cookie

    def of(self, cookie: str | None) -> Session | None:
        session = self._open.get(cookie or "")
        if session is not None and session.ends_at < time.monotonic():
            self.close(cookie)
            return None
        return session

    def close(self, cookie: str | None) -> None:
        self._open.pop(cookie or "", None)
