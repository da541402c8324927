"""Attachments: the images of a message, named by their content or their address, and never the image itself.

A part of a message is ``{"type": "image_file", "image_file": {"path", "sha256"}}``, which is looked up and loaded when it is
sent, or ``{"type": "image_url", "image_url": {"url"}}``, which goes to the provider as it is.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from workbench_pipelines.identity import canonical_text
from workbench_pipelines.volumes import IMAGE_PREFIX

# OpenAI's small models count an image as up to eight tiles of 5,667 tokens and 2,833 besides; no provider counts more.
TOKENS_AT_MOST = 50_000

_ADDRESS = re.compile(r"https?://", re.IGNORECASE)
# The last part of a name on the public network; a number there is another way to write an address.
_TOP_LEVEL = re.compile(r"[a-z][a-z0-9-]*[a-z0-9]", re.IGNORECASE)
_OWN_NETWORK = ("localhost", "local", "internal", "localdomain", "home", "lan", "intranet")


class NoImage(Exception):
    """A value that is no image to show; the text names the variable and never the value."""


@dataclass(frozen=True)
class Attachment:
    """A template variable that is an image.

    Attributes:
        column: the column that it is bound to.
        path_column: the column with the paths of these images, where they are files of a volume; None where the column
            can only hold addresses.
        required: whether an item without the image is refused.
    """

    variable: str
    column: str
    path_column: str | None
    required: bool = True

    def part(self, item: Mapping[str, Any]) -> dict[str, Any] | None:
        """The part of a message that shows the image of an item; None where there is none and none is needed.

        Raises:
            NoImage: for an item without the image, and a value that is none.
        """
        value = item[self.column]
        if value is None:
            if self.required:
                raise NoImage(f"{self.variable} is null, and it is required")
            return None
        # Only a volume says so of a file that it found; any other column could name what it liked.
        if self.path_column is not None and str(value).startswith(IMAGE_PREFIX):
            digest = str(value).removeprefix(IMAGE_PREFIX)
            return {"type": "image_file", "image_file": {"path": item[self.path_column], "sha256": digest}}
        problem = _address_problem(value)
        if problem:
            raise NoImage(f"{self.variable} {problem}")
        return {"type": "image_url", "image_url": {"url": value}}


def with_images(messages: Sequence[Mapping[str, Any]], parts: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The messages with these images behind the text of the last one, which is what the model answers."""
    *before, asked = map(dict, messages)
    return [*before, asked | {"parts": canonical_text(list(parts)) if parts else None}]


def images_of(messages: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The images of messages, in their order."""
    parts = [part for message in messages if message.get("parts") for part in json.loads(message["parts"])]
    return [part for part in parts if part.get("type") in ("image_file", "image_url")]


def named(image: Mapping[str, Any]) -> str:
    """The path or address of an image, as a person finds it."""
    return str(image["image_file"]["path"] if image["type"] == "image_file" else image["image_url"]["url"])


def _address_problem(value: Any) -> str | None:
    """Why a value is no public web address.

    Some providers' clients fetch an image on this machine before they send it: an address within its network would send
    what nobody meant to show.
    """
    if not isinstance(value, str) or not _ADDRESS.match(value):
        return "is no image of a volume and no http(s) address"
    try:
        parts = urlsplit(value)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return "is no http(s) address"
    if parts.username is not None or parts.password is not None:
        return "is an address with a user name or password in it"
    try:
        public = ipaddress.ip_address(host).is_global
    except ValueError:
        name = host.rpartition(".")
        public = bool(name[0]) and name[2].lower() not in _OWN_NETWORK and bool(_TOP_LEVEL.fullmatch(name[2]))
    return None if public else "is an address within this network"
