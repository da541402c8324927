"""Conversations: training examples as every chat format holds them, and how rows of an export become them.

A message is ``{"role", "content", "parts"}`` as in `pairs.MESSAGE`; of an image file a format keeps the content, never the
path, so what is read back is compared `by_content`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import orjson
import polars as pl

from workbench_pipelines.errors import ExportError
from workbench_pipelines.identity import canonical_text

# A chunk of ordinary prompts is 2 MB of text and some 10 MB of Python values; larger ones are no faster.
CHUNK_ROWS = 2_000
ENDINGS: Mapping[str, str] = {"image/png": "png", "image/jpeg": "jpg", "image/gif": "gif", "image/webp": "webp"}
IMAGE_FOLDER = "images"

_DATA_URL = re.compile(r"data:([\w.+/-]+);base64,([A-Za-z0-9+/]*={0,2})")
_BESIDE = re.compile(rf"{IMAGE_FOLDER}/([0-9a-f]{{64}})\.\w+")


class Conversation(NamedTuple):
    """One training example as a provider reads it: the prompt's messages (role, content, parts) and the answer."""

    messages: list[dict[str, Any]]
    response: str


class Image(NamedTuple):
    """The content of an image file, and its media type."""

    content: bytes
    media_type: str

    @property
    def beside(self) -> str:
        """Where it lies in an export whose formats name files: once, by its content."""
        return f"{IMAGE_FOLDER}/{hashlib.sha256(self.content).hexdigest()}.{ENDINGS[self.media_type]}"

    @property
    def data_url(self) -> str:
        return f"data:{self.media_type};base64,{self.base64}"

    @property
    def base64(self) -> str:
        return base64.b64encode(self.content).decode()


Images = Callable[[str | None, str], Image]
"""Gives the image file of a path and SHA-256; raises ExportError where it is not there any more."""


def no_images(path: str | None, sha256: str) -> Image:
    """The `Images` of an export that has none."""
    raise ExportError("it shows an image file, and there is no place to read it from")


class Unfit(Exception):
    """A pair that a format can not hold; the text says why, and never what the pair says."""


def conversations(batches: Iterable[pl.DataFrame]) -> Iterator[tuple[str, Conversation]]:
    """Each pair of these rows with its pair_id, in their order.

    Input columns: pair_id, messages, response.
    """
    for batch in batches:
        for chunk in batch.select("pair_id", "messages", "response").iter_slices(CHUNK_ROWS):
            yield from zip(chunk["pair_id"].to_list(), _conversations(chunk), strict=True)


def _conversations(chunk: pl.DataFrame) -> Iterator[Conversation]:
    # The messages of all rows as flat columns, cut up again by their number: twice as fast as a list of structs a row.
    flat = chunk["messages"].explode(empty_as_null=False, keep_nulls=False).struct.unnest()
    columns = (flat[name].to_list() for name in ("role", "content", "parts"))
    messages = [{"role": role, "content": text, "parts": parts} for role, text, parts in zip(*columns, strict=True)]
    lengths = chunk["messages"].list.len().fill_null(0).to_list()
    at = 0
    for length, answer in zip(lengths, chunk["response"].to_list(), strict=True):
        yield Conversation(messages[at : at + length], answer)
        at += length


def by_content(conversation: Conversation) -> Conversation:
    """The same example as any format can hold it: an image file is its SHA-256, wherever it lies."""
    messages = [{**one, "parts": _by_content(one.get("parts"))} for one in conversation.messages]
    return Conversation(messages, conversation.response)


def _by_content(parts: str | None) -> str | None:
    if parts is None or ("image_file" not in parts and "data:" not in parts):
        return parts
    found = orjson.loads(parts)
    return canonical_text([_image_by_content(part) for part in found])


def _image_by_content(part: dict[str, Any]) -> dict[str, Any]:
    if part.get("type") == "image_file":
        return image_part(part["image_file"]["sha256"])
    if part.get("type") == "image_url":
        inline = _DATA_URL.fullmatch(str(part["image_url"].get("url")))
        if inline:
            return image_part(sha256_of_base64(inline[2]))
    return part


def image_part(sha256: str) -> dict[str, Any]:
    """The part of a message that is an image file of this content."""
    return {"type": "image_file", "image_file": {"sha256": sha256}}


def sha256_of_base64(text: str) -> str:
    return hashlib.sha256(base64.b64decode(text)).hexdigest()


def part_of_address(address: str) -> dict[str, Any]:
    """The part that a data URL, a file of the export or a web address stands for."""
    beside = _BESIDE.fullmatch(address)
    if beside:
        return image_part(beside[1])
    return _image_by_content({"type": "image_url", "image_url": {"url": address}})


def image_parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parts of a message, all of them images.

    Raises:
        Unfit: for a part of another kind, or an image with more said of it than its address.
    """
    if message["parts"] is None:
        return []
    parts: list[dict[str, Any]] = orjson.loads(message["parts"])
    for part in parts:
        kind = part.get("type")
        if kind not in ("image_file", "image_url"):
            raise Unfit(f"it has a part of type '{kind}', and only images are known")
        if kind == "image_url" and (part.keys() != {"type", "image_url"} or part["image_url"].keys() != {"url"}):
            raise Unfit("it says more of an image than its address")
    return parts


def loaded(part: Mapping[str, Any], images: Images) -> Image:
    """The image file that a part names."""
    named = part["image_file"]
    return images(named.get("path"), named["sha256"])


def address_beside(part: Mapping[str, Any], images: Images) -> str:
    """What a format that names files says of an image: its file in the export, or its web address."""
    return loaded(part, images).beside if part["type"] == "image_file" else str(part["image_url"]["url"])


def with_system(messages: Sequence[dict[str, Any]]) -> tuple[str | None, list[dict[str, Any]]]:
    """The system prompt that comes first, if any, and the other messages, of users and assistants alone.

    Raises:
        Unfit: for a message of any other role, or a system prompt without a text or with an image.
    """
    system, said = None, list(messages)
    if said and said[0]["role"] == "system":
        first = said.pop(0)
        if first["content"] is None or first["parts"] is not None:
            raise Unfit("its system prompt is no text")
        system = first["content"]
    for one in said:
        if one["role"] not in ("user", "assistant"):
            raise Unfit(f"it has a message of the role '{one['role']}' after the first one")
    return system, said


def system_message(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text, "parts": None}
