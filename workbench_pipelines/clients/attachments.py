"""Images on their way to a model: looked up, held against their digest and encoded at the moment they are sent."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from workbench_pipelines.attachments import images_of
from workbench_pipelines.clients import embedded_model
from workbench_pipelines.clients.image_reader import MAX_BYTES
from workbench_pipelines.clients.source_files import is_inside
from workbench_pipelines.errors import MissingPart
from workbench_pipelines.identity import canonical_text
from workbench_pipelines.requests import Refusal, Request
from workbench_pipelines.volumes import leads_outside

_Beginning = tuple[re.Pattern[bytes], str]
# How each kind of file begins; what it is called in a table is nothing to go by.
_IMAGES: Sequence[_Beginning] = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF.{4}WEBP", re.DOTALL), "image/webp"),
)
_PDFS: Sequence[_Beginning] = ((re.compile(rb"%PDF-"), "application/pdf"),)
# An image as text, with or without the address that it was sent as: no word is as long.
_ENCODED = re.compile(r"(?:data:image/[\w.+-]+;base64,)[A-Za-z0-9+/]*=*|[A-Za-z0-9+/]{60,}=*")


class Attachments:
    """The images of a project's volumes.

    Args:
        project: the folder that paths are relative to; without it no file is found.
        roots: further folders; a path below one begins with its name.
    """

    def __init__(self, project: Path | None = None, roots: Sequence[Path] = ()) -> None:
        self.project = project
        self.roots = roots

    def loaded(self, request: Request) -> Request | Refusal:
        """The request as it is sent, its images in it; or why one of them can not be sent.

        Raises:
            MissingPart: for a model that reads no images.
        """
        images = images_of(request.messages)
        if not images:
            return request
        refuse_images(request.model)
        data: dict[tuple[str, str], str] = {}
        for image in images:
            if image["type"] != "image_file":
                continue
            path, sha256 = image["image_file"]["path"], image["image_file"]["sha256"]
            found = self._data_url(path, sha256)
            if isinstance(found, Refusal):
                return found
            data[path, sha256] = found
        return replace(request, messages=[_sent(message, data) for message in request.messages])

    def read(self, path: str, sha256: str) -> tuple[bytes, str] | Refusal:
        """The image as its digest says it is, with its media type; or why there is none."""
        return self._file(path, sha256, _IMAGES, "image")

    def read_pdf(self, path: str, sha256: str) -> tuple[bytes, str] | Refusal:
        """The same for a PDF."""
        return self._file(path, sha256, _PDFS, "document")

    def _file(self, path: str, sha256: str, known: Sequence[_Beginning], what: str) -> tuple[bytes, str] | Refusal:
        there = False
        for file in self._places(path):
            there = True
            try:
                content = file.read_bytes() if file.stat().st_size <= MAX_BYTES else b""
            except OSError:
                continue
            if hashlib.sha256(content).hexdigest() == sha256:
                kinds = [kind for beginning, kind in known if beginning.match(content)]
                if kinds:
                    return content, kinds[0]
        if there:
            return Refusal(
                f"{what}_changed", f"its {what} is no longer what the snapshot saw; take the snapshot anew", 0
            )
        return Refusal(f"{what}_missing", f"its {what} is not there any more; put it back or take the snapshot anew", 0)

    def _data_url(self, path: str, sha256: str) -> str | Refusal:
        found = self.read(path, sha256)
        if isinstance(found, Refusal):
            return found
        content, kind = found
        return f"data:{kind};base64,{base64.b64encode(content).decode()}"

    def _places(self, path: str) -> Iterator[Path]:
        """Where a path may mean a file: in the project, or below the root that it begins with."""
        if leads_outside(path):
            return
        first = PurePosixPath(path).parts[0]
        folders = [(self.project, self.project)] if self.project is not None else []
        folders += [(root.parent, root) for root in self.roots if root.name == first]
        for base, allowed in folders:
            file = Path(os.path.realpath(base / path))
            if is_inside(file, (allowed,)) and file.is_file():
                yield file


def refuse_images(model: str) -> None:
    """Raises MissingPart for a model of which it is known that it reads no images."""
    if embedded_model.is_embedded(model):
        raise MissingPart(f"model {model} reads no images; name a vision model, such as openai/gpt-4o-mini")


def hide_images(text: str, messages: Sequence[Mapping[str, Any]]) -> str:
    """A text of a provider without the images that it quotes, and without their addresses."""
    images = images_of(messages)
    for image in images:
        if image["type"] == "image_url":
            text = text.replace(str(image["image_url"].get("url")), "[image]")
    return _ENCODED.sub("[image]", text) if images else text


def _sent(message: Mapping[str, Any], data: Mapping[tuple[str, str], str]) -> Mapping[str, Any]:
    if not message.get("parts"):
        return message
    parts = json.loads(message["parts"])
    for part in parts:
        if part.get("type") == "image_file":
            image = part.pop("image_file")
            part |= {"type": "image_url", "image_url": {"url": data[image["path"], image["sha256"]]}}
    return {**message, "parts": canonical_text(parts)}
