"""DSPy examples: the variables that a prompt was made of as inputs, the fields of the answer as outputs.

`dspy.Example(**line["inputs"], **line["outputs"]).with_inputs(*line["inputs"])` is the example of a line; its images, if
any, are files of the export or web addresses under `images`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any, NamedTuple

import orjson
import polars as pl

from workbench_pipelines.formats.conversation import (
    CHUNK_ROWS,
    Images,
    Unfit,
    address_beside,
    image_parts,
    part_of_address,
)
from workbench_pipelines.formats.lines import fitted, line_reader, written_lines
from workbench_pipelines.identity import canonical_text


class Demonstration(NamedTuple):
    """Inputs and outputs as canonical JSON, and the parts of the images shown."""

    inputs: str
    outputs: str
    images: str


def write_dspy(batches: Iterable[pl.DataFrame], images: Images) -> Iterator[bytes]:
    """The lines of these rows.

    Input columns: pair_id, messages, inputs, response.
    """
    return written_lines(_lines(batches, images))


def _lines(batches: Iterable[pl.DataFrame], images: Images) -> Iterator[dict[str, Any]]:
    for batch in batches:
        for chunk in batch.select("pair_id", "inputs", "response", "messages").iter_slices(CHUNK_ROWS):
            for pair_id, inputs, response, messages in chunk.iter_rows():
                yield fitted("dspy", pair_id, partial(_line, inputs, response, messages, images))


def _line(inputs: str, response: str, messages: list[dict[str, Any]], images: Images) -> dict[str, Any]:
    given, answer = _object(inputs), _object(response)
    both = given.keys() & answer.keys()
    if both:
        raise Unfit(f"'{min(both)}' is an input and an output")
    addresses = [address_beside(part, images) for one in messages for part in image_parts(one)]
    return {"inputs": given, "outputs": answer} | ({"images": addresses} if addresses else {})


def _object(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise Unfit("its inputs or its answer are no fields")
    return found


def _demonstration(line: Any) -> Demonstration:
    parts = [part_of_address(one) for one in line.get("images", ())]
    return Demonstration(canonical_text(line["inputs"]), canonical_text(line["outputs"]), canonical_text(parts))


read_dspy = line_reader("DSPy example", _demonstration)
