"""The key that pseudonyms are made with: one that is given, or one that the project makes once and keeps to itself.

It stands in the environment or in a file that only its owner can read, and in no table, log or export. The lake holds a
fingerprint of it, so that a key that was lost is not silently replaced by another one: the same person would have two names.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import os
import secrets
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import polars as pl

from workbench_pipelines.clients.lake import Lake
from workbench_pipelines.errors import MissingPart
from workbench_pipelines.settings import Settings

KEY_FILE = "pseudonym.key"
PSEUDONYM_KEYS = pl.Schema(
    {"key_version": pl.Int64(), "fingerprint": pl.String(), "by": pl.String(), "at": pl.Datetime("us", "UTC")}
)
"""Columns of `records/pseudonym_keys`: which key each `key_version` is, by a fingerprint that does not tell it."""


def pseudonym_of(settings: Settings, lake: Lake, key_version: int) -> Callable[[str, str], str]:
    """What makes tokens: eight hexadecimal characters, the same for a value of a kind wherever it stands in the project.

    Two of n values share a token with a probability of about n² in 8 billion.

    Raises:
        MissingPart: where the lake holds tokens that were made with another key.
    """
    key = _key(settings, key_version)
    _hold_to(settings, lake, key_version, key)

    def token(kind: str, value: str) -> str:
        found = hmac.new(key, f"{kind}\0{value}".encode(), hashlib.sha256).hexdigest()
        # One without a letter would be no token but a number (`personal_data_net`).
        parts = (found[at : at + 8] for at in range(0, len(found), 8))
        return next((part for part in parts if not part.isdigit()), f"{found[:7]}a")

    return token


def _key(settings: Settings, key_version: int) -> bytes:
    if settings.pseudonym_key is not None:
        return hashlib.sha256(settings.pseudonym_key.encode()).digest()
    file = settings.state / (KEY_FILE if key_version == 1 else f"{KEY_FILE}.{key_version}")
    if not file.exists():
        _make(file)
    return hashlib.sha256(file.read_text().strip().encode()).digest()


def _make(file: Path) -> None:
    """Makes a key; of two runs that do so at a time, the first one's is kept."""
    file.parent.mkdir(parents=True, exist_ok=True)
    # Only its owner may read or write what mkstemp makes (mode 600), from the first byte on.
    number, name = tempfile.mkstemp(dir=file.parent, prefix=".key-")
    try:
        with os.fdopen(number, "w") as handle:
            handle.write(secrets.token_hex(32) + "\n")
        with suppress(FileExistsError):
            os.link(name, file)
    finally:
        os.unlink(name)


def _hold_to(settings: Settings, lake: Lake, key_version: int, key: bytes) -> None:
    """Writes down which key this is, and refuses another one than was written down."""
    table = ("records", "pseudonym_keys")
    fingerprint = hmac.new(key, b"fingerprint", hashlib.sha256).hexdigest()[:16]

    def known() -> list[str]:
        if not lake.exists(*table):
            return []
        return lake.read(*table).filter(pl.col("key_version") == key_version)["fingerprint"].to_list()

    if not (before := known()):
        row = (key_version, fingerprint, settings.user, dt.datetime.now(dt.UTC))
        lake.append_new(*table, frame=pl.DataFrame([row], schema=PSEUDONYM_KEYS, orient="row"), key=["key_version"])
        before = known()
    if fingerprint not in before:
        raise MissingPart(
            f"the lake holds pseudonyms that were made with another key (fingerprint {before[0]}, this one is {fingerprint}): give "
            f"that key by WORKBENCH_PSEUDONYM_KEY or put its file back as {KEY_FILE} in the project's .workbench folder; to go on "
            f"with a new key and new pseudonyms, state `personal_data: {{key_version: {key_version + 1}}}` in a UsagePolicy"
        )
