"""Texts that a trainer puts into a chat template: role tokens made plain, and `<image>` where an image belongs.

The images of an example stand in a list beside its texts, in their order, as files of the export or web addresses.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from workbench_pipelines.formats.conversation import Images, Unfit, address_beside, image_parts, part_of_address
from workbench_pipelines.formats.role_tokens import escaped, unescaped
from workbench_pipelines.identity import canonical_text

IMAGE = "<image>"
_MARKED = re.compile(rf"(?:(.*)\n)?((?:{re.escape(IMAGE)})+)", re.DOTALL)


def marked(message: dict[str, Any], images: Images, addresses: list[str]) -> str:
    """A message as one text; its images are added to `addresses`.

    Raises:
        Unfit: for a message with neither text nor image, and for parts that are no images.
    """
    shown, text = image_parts(message), message["content"]
    addresses += [address_beside(part, images) for part in shown]
    if not shown:
        if text is None or message["parts"] is not None:
            raise Unfit("it has a message without a content")
        return escaped(text)
    return ("" if text is None else escaped(text) + "\n") + IMAGE * len(shown)


def unmarked(role: str, text: str, addresses: Iterator[str]) -> dict[str, Any]:
    """The message that was `marked`."""
    found = _MARKED.fullmatch(text)
    if found is None:
        return {"role": role, "content": unescaped(text), "parts": None}
    parts = [part_of_address(next(addresses)) for _ in range(len(found[2]) // len(IMAGE))]
    said = None if found[1] is None else unescaped(found[1])
    return {"role": role, "content": said, "parts": canonical_text(parts)}
