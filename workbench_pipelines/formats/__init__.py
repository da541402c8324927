"""The formats of an export's files: one module each, behind one interface.

A format has a name, the ending of its file, a writer that makes bytes of batches of rows, a reader that gives back what
was written, and what of a row that should be.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import IO, Any

import orjson
import polars as pl

from workbench_pipelines.formats.alpaca import read_alpaca, write_alpaca
from workbench_pipelines.formats.anthropic_chat import read_anthropic, write_anthropic
from workbench_pipelines.formats.chatml import read_chatml, write_chatml
from workbench_pipelines.formats.conversation import Conversation, Images, by_content, conversations
from workbench_pipelines.formats.csv_table import COLUMNS as CSV_COLUMNS, read_csv, write_csv
from workbench_pipelines.formats.dspy_examples import Demonstration, read_dspy, write_dspy
from workbench_pipelines.formats.gemini import read_gemini, write_gemini
from workbench_pipelines.formats.openai_chat import read_openai, write_openai
from workbench_pipelines.formats.preferences import Preference, read_dpo, write_dpo
from workbench_pipelines.formats.sharegpt import read_sharegpt, write_sharegpt
from workbench_pipelines.identity import canonical_text


@dataclass(frozen=True)
class Format:
    """One way to write the pairs of a split into one file.

    Attributes:
        ending: of its file: `train.<ending>`.
        write: the bytes of batches of rows (columns of `export_formats.PARQUET_ROWS`, and `rejected`).
        read: the examples of a file.
        examples: what `read` gives for a file of these rows.
        names_images: whether image files lie beside it in `images/`; else they are in it, or it has none.
    """

    name: str
    ending: str
    write: Callable[[Iterable[pl.DataFrame], Images], Iterator[bytes]]
    read: Callable[[IO[bytes]], Iterator[Any]]
    examples: Callable[[Iterable[pl.DataFrame]], Iterator[Any]]
    names_images: bool = False


def _conversations(batches: Iterable[pl.DataFrame]) -> Iterator[Conversation]:
    return (by_content(one) for _, one in conversations(batches))


def _preferences(batches: Iterable[pl.DataFrame]) -> Iterator[Preference]:
    for batch in batches:
        rows = batch.filter(pl.col("rejected").is_not_null())
        yield from map(Preference, _conversations([rows]), rows["rejected"])


def _demonstrations(batches: Iterable[pl.DataFrame]) -> Iterator[Demonstration]:
    for batch in batches:
        rows = batch.select("inputs", "response").rows()
        for (inputs, response), one in zip(rows, _conversations([batch]), strict=True):
            shown = [part for message in one.messages if message["parts"] for part in orjson.loads(message["parts"])]
            yield Demonstration(inputs, response, canonical_text(shown))


def _table(batches: Iterable[pl.DataFrame]) -> Iterator[Mapping[str, Any]]:
    for batch in batches:
        yield from batch.select(CSV_COLUMNS).iter_rows(named=True)


FILE_FORMATS: Mapping[str, Format] = {
    one.name: one
    for one in (
        Format("openai", "openai.jsonl", write_openai, read_openai, _conversations),
        Format("anthropic", "anthropic.jsonl", write_anthropic, read_anthropic, _conversations),
        Format("gemini", "gemini.jsonl", write_gemini, read_gemini, _conversations),
        Format("alpaca", "alpaca.jsonl", write_alpaca, read_alpaca, _conversations, names_images=True),
        Format("sharegpt", "sharegpt.jsonl", write_sharegpt, read_sharegpt, _conversations, names_images=True),
        Format("chatml", "chatml.jsonl", write_chatml, read_chatml, _conversations),
        Format("dpo", "dpo.jsonl", write_dpo, read_dpo, _preferences, names_images=True),
        Format("dspy", "dspy.jsonl", write_dspy, read_dspy, _demonstrations, names_images=True),
        Format("csv", "csv", write_csv, read_csv, _table),
    )
}
"""The formats of `{train,val,test}.<ending>`, by name."""
