"""Each format as the provider's or the library's own reader sees it: their types, and what they load."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from workbench_pipelines.clients.hf_dataset import write_hf_head, write_hf_split
from workbench_pipelines.export_formats import parquet_rows
from workbench_pipelines.formats import FILE_FORMATS
from workbench_pipelines.identity import canonical_text
from workbench_pipelines_tests.export_world import EVERY_SPLIT
from workbench_pipelines_tests.format_world import FILE_PART, PNG, TOKENS, WEB_PART, images, rows_of, turn

TEXTS = ["Is it right?", "a\u2028b\u0085c", "\r\n\t\0", *TOKENS]


def rows(shows: bool = False) -> pl.DataFrame:
    parts = canonical_text([FILE_PART, WEB_PART]) if shows else None
    return rows_of(
        *(
            (
                [turn("system", "Route."), turn("user", "x", parts), turn("assistant", "y"), turn("user", one, parts)],
                {"question": one},
                {"answer": one},
            )
            for one in TEXTS
        ),
        rejected='{"answer":"draft"}',
    )


def lines(name: str, shows: bool = False) -> list[Any]:
    content = b"".join(FILE_FORMATS[name].write([rows(shows)], images))
    return [orjson.loads(line) for line in content.splitlines()]


@pytest.mark.parametrize("shows", [False, True])
def test_openai_lines_are_messages_of_its_types(shows: bool) -> None:
    from openai.types.chat import ChatCompletionMessageParam
    from pydantic import TypeAdapter

    messages = TypeAdapter(list[ChatCompletionMessageParam])
    for line in lines("openai", shows):
        assert line.keys() == {"messages"}
        messages.validate_python(line["messages"])
        assert line["messages"][-1]["role"] == "assistant"


@pytest.mark.parametrize("shows", [False, True])
def test_anthropic_lines_are_messages_of_its_types(shows: bool) -> None:
    anthropic_types = pytest.importorskip("anthropic.types")
    from pydantic import TypeAdapter

    messages = TypeAdapter(list[anthropic_types.MessageParam])
    for line in lines("anthropic", shows):
        messages.validate_python(line["messages"])
        assert line["system"] == "Route."


@pytest.mark.parametrize("shows", [False, True])
def test_gemini_lines_are_contents_of_its_types(shows: bool) -> None:
    types = pytest.importorskip("google.genai.types")
    for line, text in zip(lines("gemini", shows), TEXTS, strict=True):
        types.Content.model_validate(line["systemInstruction"])
        contents = [types.Content.model_validate(one) for one in line["contents"]]
        assert [one.role for one in contents] == ["user", "model", "user", "model"]
        assert contents[2].parts[0].text == text
        if shows:
            assert contents[2].parts[1].inline_data.data == PNG


def test_dspy_reads_examples_with_their_inputs() -> None:
    import dspy

    for line, text in zip(lines("dspy"), TEXTS, strict=True):
        example = dspy.Example(**line["inputs"], **line["outputs"]).with_inputs(*line["inputs"])
        assert (example.question, example.answer) == (text, text)
        assert set(example.inputs().keys()) == {"question"}
        assert set(example.labels().keys()) == {"answer"}


def test_pandas_and_pyarrow_read_csv_and_parquet(tmp_path: Path) -> None:
    import pandas as pd
    import pyarrow.parquet as pq

    content = b"".join(FILE_FORMATS["csv"].write([rows()], images))
    table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    assert [orjson.loads(one)[3]["content"] for one in table["messages"]] == TEXTS
    assert [orjson.loads(one)["answer"] for one in table["response"]] == TEXTS
    parquet_rows(rows()).write_parquet(tmp_path / "train.parquet")
    found = {one["messages"][3]["content"] for one in pq.read_table(tmp_path / "train.parquet").to_pylist()}
    assert found == set(TEXTS)


@pytest.mark.parametrize("shows", [False, True])
def test_datasets_loads_the_folder(shows: bool, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    for split in EVERY_SPLIT:
        write_hf_split(tmp_path / "hf", split, [rows(shows)] if split != "val" else [], images, shows=shows)
    write_hf_head(tmp_path / "hf")
    loaded = datasets.load_from_disk(str(tmp_path / "hf"))
    assert {name: len(one) for name, one in loaded.items()} == {
        "train": len(TEXTS),
        "validation": 0,
        "test": len(TEXTS),
    }
    first = (
        loaded["train"].cast_column("images", datasets.List(datasets.Image(decode=False)))[0]
        if shows
        else loaded["train"][0]
    )
    content = first["messages"][3]["content"]
    if shows:
        assert content[0]["text"] == TEXTS[0]
        assert [one["type"] for one in content] == ["text", "image", "image"]
        assert first["images"][0]["bytes"] == PNG
    else:
        assert content == TEXTS[0]


@pytest.mark.parametrize("name", ["openai", "anthropic", "alpaca", "sharegpt", "chatml", "dpo"])
def test_datasets_reads_the_lines_that_trainers_give_it(name: str, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    path = tmp_path / f"train.{FILE_FORMATS[name].ending}"
    path.write_bytes(b"".join(FILE_FORMATS[name].write([rows()], images)))
    loaded = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == len(TEXTS)
    (expected,) = {"openai": ["messages"], "anthropic": ["system", "messages"], "chatml": ["text"]}.get(name, [None])[
        :1
    ]
    assert expected is None or expected in loaded.column_names


def test_a_chatml_text_is_cut_into_its_turns_by_a_tokenizer() -> None:
    """What a tokenizer takes for special tokens are those of the turns, whatever the texts hold."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>", "</s>", "[INST]", "[/INST]", "<|eot_id|>"])
    for line in lines("chatml"):
        found = [token for token in tokenizer.encode(line["text"]).tokens if token != "[UNK]"]
        assert found == ["<|im_start|>", "<|im_end|>"] * 5
