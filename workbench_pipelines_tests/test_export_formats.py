"""What is read back from an export is what went into it, whatever the text."""

from __future__ import annotations

import io
from typing import Any

import orjson
import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from workbench_pipelines.errors import ExportError
from workbench_pipelines.export_formats import PARQUET_ROWS, parquet_rows
from workbench_pipelines.formats.conversation import CHUNK_ROWS, no_images
from workbench_pipelines.formats.openai_chat import plain_lines, read_openai, write_openai
from workbench_pipelines.identity import canonical_text
from workbench_pipelines_tests.export_world import frame_of, make_export, make_pair

NASTY = [
    "", " ", "\n", "\r\n", "a\u2028b", "a\u2029b", "a\x85b", "\x0b\x0c\x1c\x1d\x1e", "\x00", "\x7f", "\ufeff", "\ufffe",
    "\u202e", '"', "\\", "\\u2028", "\\n", "{}", '{"messages":[]}', "</s>", "<|im_start|>system", "nan", "007", "1e400",
    "Ω≈ç√", "ÅÍÎ", "\U0001f469\u200d\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\U0010ffff", "Z\u0351\u036bo",
    "田中さん", "مرحبا", "'; DROP TABLE pairs; --", "{{ 7*7 }}", "a\tb", "a,b;c",
]  # fmt: skip
TEXT = st.text(st.characters(exclude_categories=["Cs"])) | st.sampled_from(NASTY)
PART = st.fixed_dictionaries({"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": TEXT})})
PARTS = st.none() | st.lists(PART, min_size=1, max_size=2).map(canonical_text)
MESSAGES = st.lists(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "user", "assistant"]), "content": TEXT, "parts": PARTS}),
    min_size=1,
    max_size=3,
)


def make_rows(*examples: tuple[list[dict[str, Any]], str]) -> pl.DataFrame:
    return frame_of(
        *(make_pair(str(at), messages=messages, response=response) for at, (messages, response) in enumerate(examples))
    )


def asked(text: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": text, "parts": None}]


def written(rows: pl.DataFrame) -> bytes:
    return b"".join(write_openai([rows], no_images))


@settings(max_examples=150, deadline=None)
@given(examples=st.lists(st.tuples(MESSAGES, TEXT), max_size=4))
def test_reading_gives_back_what_was_written(examples: list[tuple[list[dict[str, Any]], str]]) -> None:
    content = written(make_rows(*examples))
    assert [tuple(one) for one in read_openai(io.BytesIO(content))] == examples
    assert [tuple(one) for one in read_openai(content.decode().splitlines())] == examples


PLAIN = st.lists(
    st.fixed_dictionaries({"role": TEXT, "content": st.none() | TEXT, "parts": st.none()}), min_size=0, max_size=3
)


@settings(max_examples=200, deadline=None)
@given(examples=st.lists(st.tuples(PLAIN, TEXT), min_size=1, max_size=4))
def test_what_polars_writes_is_byte_for_byte_what_every_row_is_by_itself(
    examples: list[tuple[list[dict[str, Any]], str]],
) -> None:
    """polars has written wrong nested nulls (pola-rs/polars#18908): a row may not depend on its neighbours."""
    said = [
        [
            *({"role": one["role"], "content": one["content"]} for one in messages),
            {"role": "assistant", "content": answer},
        ]
        for messages, answer in examples
    ]
    expected = b"".join(orjson.dumps({"messages": one}) + b"\n" for one in said)
    assert plain_lines(make_rows(*examples)) == expected


@pytest.mark.parametrize("text", NASTY)
def test_both_kinds_of_line_reader_see_one_line(text: str) -> None:
    content = written(make_rows((asked(text), canonical_text({"answer": text}))))
    assert len(content.decode().splitlines()) == content.count(b"\n") == 1
    (example,) = read_openai([content])
    assert example.messages[0]["content"] == text
    assert orjson.loads(example.response) == {"answer": text}


def test_a_line_holds_the_messages_and_the_answer_and_nothing_else() -> None:
    assert orjson.loads(written(frame_of(make_pair("a", attributes='{"secret":1}')))) == {
        "messages": [
            {"role": "user", "content": "Is a right?"},
            {"role": "assistant", "content": '{"answer":"yes"}'},
        ]
    }


def test_parts_go_behind_the_text_into_a_content_list() -> None:
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}
    message = {"role": "user", "content": "What is this?", "parts": canonical_text([image])}
    (found,) = orjson.loads(written(make_rows(([message], "{}"))))["messages"][:1]
    assert found["content"] == [{"type": "text", "text": "What is this?"}, image]


def test_rows_come_in_chunks_and_lose_none() -> None:
    n = 2 * CHUNK_ROWS + 1
    chunks = list(write_openai([pl.concat([frame_of(make_pair("a"))] * n)], no_images))
    assert len(chunks) == 3
    assert sum(chunk.count(b"\n") for chunk in chunks) == n


def test_no_rows_are_an_empty_file() -> None:
    assert written(frame_of()) == b""


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"messages":[]}', b'{"messages":[{"role":"user"}]}', b"", b"1"])
def test_a_line_that_is_no_example_is_named(line: bytes) -> None:
    good = written(frame_of(make_pair("a")))
    with pytest.raises(ExportError, match="line 2 "):
        list(read_openai([good, line]))


def test_an_example_must_end_with_the_assistant() -> None:
    with pytest.raises(ExportError, match="line 1 does not end with an assistant's answer"):
        list(read_openai([b'{"messages":[{"role":"user","content":"hi"}]}']))


def test_parquet_holds_what_proves_a_pair_and_no_attributes() -> None:
    rows = parquet_rows(make_export(make_pair("a", attributes='{"ward":"x"}'), make_pair("b")).rows)
    assert rows.schema == PARQUET_ROWS
    assert "attributes" not in rows.columns


@settings(max_examples=50, deadline=None)
@given(examples=st.lists(st.tuples(MESSAGES, TEXT), min_size=1, max_size=4))
def test_parquet_gives_back_what_was_written(examples: list[tuple[list[dict[str, Any]], str]]) -> None:
    rows = make_rows(*examples).with_columns(split=pl.lit("train"), weight=pl.lit(1.0))
    file = io.BytesIO()
    parquet_rows(rows).write_parquet(file)
    assert pl.read_parquet(io.BytesIO(file.getvalue())).equals(parquet_rows(rows))
