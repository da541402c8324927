"""An export as a folder of Hugging Face `datasets`, which `datasets.load_from_disk` opens: Arrow files and what they hold.

Columns: pair_id, item_ref, label_type, weight and messages, the answer being the last one; where an export shows images,
the contents of messages are lists of texts and images, and `images` holds the image files themselves. The library is not
needed to write it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.ipc

from workbench_pipelines.formats.conversation import (
    CHUNK_ROWS,
    Conversation,
    Images,
    conversations,
    image_part,
    image_parts,
    loaded,
)
from workbench_pipelines.formats.lines import fitted
from workbench_pipelines.identity import canonical_text, digest

HUB_SPLITS: Mapping[str, str] = {"train": "train", "val": "validation", "test": "test"}
_FILE = "data-00000-of-00001.arrow"
_PART = pa.struct([("type", pa.string()), ("text", pa.string())])
_IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def write_hf_split(folder: Path, split: str, batches: Iterable[pl.DataFrame], images: Images, *, shows: bool) -> int:
    """Write a split below the folder of the dataset, and give the number of its rows.

    Args:
        shows: whether any pair of the whole export shows images: all splits have the same columns.

    Raises:
        ExportError: for a pair that shows what is no image, or an image that is not there any more.
    """
    place = folder / HUB_SPLITS[split]
    place.mkdir(parents=True)
    schema = _schema(shows)
    rows = 0
    with pa.OSFile(str(place / _FILE), "wb") as file, pa.ipc.new_stream(file, schema) as writer:
        for batch in batches:
            for chunk in batch.iter_slices(CHUNK_ROWS):
                found = [
                    fitted("hf", pair_id, partial(_said, one, images, shows)) for pair_id, one in conversations([chunk])
                ]
                own = {name: chunk[name].to_list() for name in ("pair_id", "item_ref", "label_type", "weight")}
                said = {name: [one[name] for one in found] for name in schema.names if name not in own}
                writer.write_batch(pa.RecordBatch.from_pydict(own | said, schema=schema))
                rows += chunk.height
    name = HUB_SPLITS[split]
    state: dict[str, Any] = {
        "_data_files": [{"filename": _FILE}],
        "_fingerprint": digest([name, rows, shows])[:16],
        "_format_columns": None,
        "_format_kwargs": {},
        "_format_type": None,
        "_output_all_columns": False,
        "_split": name,
    }
    _write(place / "state.json", state)
    _write(place / "dataset_info.json", {"description": "", "citation": "", "features": _features(shows)})
    return rows


def write_hf_head(folder: Path) -> None:
    """Write what makes the splits below a folder one dataset."""
    _write(folder / "dataset_dict.json", {"splits": list(HUB_SPLITS.values())})


def read_hf_split(folder: Path, split: str) -> Iterator[Conversation]:
    """The examples of a split, their images by content."""
    with pa.OSFile(str(folder / HUB_SPLITS[split] / _FILE), "rb") as file:
        for batch in pa.ipc.open_stream(file):
            for row in batch.to_pylist():
                shown = iter(row.get("images") or ())
                *said, answer = [_message(one, shown) for one in row["messages"]]
                yield Conversation(said, str(answer["content"]))


def _schema(shows: bool) -> pa.Schema:
    content = pa.list_(_PART) if shows else pa.string()
    columns = [
        ("pair_id", pa.string()),
        ("item_ref", pa.string()),
        ("label_type", pa.string()),
        ("weight", pa.float64()),
        ("messages", pa.list_(pa.struct([("role", pa.string()), ("content", content)]))),
    ]
    return pa.schema([*columns, *([("images", pa.list_(_IMAGE))] if shows else [])])


def _features(shows: bool) -> dict[str, Any]:
    text = {"dtype": "string", "_type": "Value"}
    content: Any = [{"type": text, "text": text}] if shows else text
    return {
        "pair_id": text,
        "item_ref": text,
        "label_type": text,
        "weight": {"dtype": "float64", "_type": "Value"},
        "messages": [{"role": text, "content": content}],
    } | ({"images": [{"_type": "Image"}]} if shows else {})


def _said(conversation: Conversation, images: Images, shows: bool) -> dict[str, Any]:
    answer = {"role": "assistant", "content": conversation.response, "parts": None}
    messages, shown = [], []
    for one in (*conversation.messages, answer):
        if not shows:
            messages.append({"role": one["role"], "content": one["content"]})
            continue
        content = [] if one["content"] is None else [{"type": "text", "text": one["content"]}]
        for part in image_parts(one):
            content.append({"type": "image", "text": None})
            shown.append(_image(part, images))
        messages.append({"role": one["role"], "content": content})
    return {"messages": messages, "images": shown}


def _image(part: Mapping[str, Any], images: Images) -> dict[str, Any]:
    if part["type"] == "image_url":
        return {"bytes": None, "path": part["image_url"]["url"]}
    image = loaded(part, images)
    return {"bytes": image.content, "path": None}


def _message(found: Mapping[str, Any], shown: Iterator[Mapping[str, Any]]) -> dict[str, Any]:
    content = found["content"]
    if not isinstance(content, list):
        return {"role": found["role"], "content": content, "parts": None}
    text = next((one["text"] for one in content if one["type"] == "text"), None)
    parts = [_part(next(shown)) for one in content if one["type"] == "image"]
    return {"role": found["role"], "content": text, "parts": canonical_text(parts) if parts else None}


def _part(image: Mapping[str, Any]) -> dict[str, Any]:
    if image["bytes"] is None:
        return {"type": "image_url", "image_url": {"url": image["path"]}}
    return image_part(hashlib.sha256(image["bytes"]).hexdigest())


def _write(path: Path, value: Any) -> None:
    path.write_bytes(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n")
