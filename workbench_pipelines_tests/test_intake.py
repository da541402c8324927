"""A row of a JSONL file is taken strictly or refused by its line; which of equal rows an item is depends on no order."""

from __future__ import annotations

import datetime as dt
import json
import random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from workbench_pipelines.catalog import IntakeSpec
from workbench_pipelines.identity import digest
from workbench_pipelines.intake import content_ref, row_columns, settle, taken_columns
from workbench_pipelines.row_reader import RowReader
from workbench_pipelines_tests.intake_world import CONTENT, make_sheet, row

FIELDS = CONTENT["content_of"]


def read(*lines: bytes, **spec: Any) -> tuple[list[dict[str, Any]], list[tuple[int, str, str]], int]:
    reader = RowReader(IntakeSpec.model_validate(spec), FIELDS)
    frame, refused, count = reader.read(lines, 1, "a.jsonl", "h")
    assert frame.schema == row_columns(IntakeSpec.model_validate(spec))
    return frame.to_dicts(), [tuple(one) for one in refused], count  # type: ignore[misc]


def refusal(line: bytes | dict[str, Any], **spec: Any) -> tuple[str, str]:
    text = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
    rows, refused, count = read(text, **spec)
    assert (rows, count) == ([], 1)
    ((number, reason, detail),) = refused
    assert number == 1
    assert "secret" not in detail
    assert "\n" not in detail
    return reason, detail


def test_a_row_is_named_by_its_content_and_stands_in_a_file_and_line() -> None:
    rows, refused, count = read(b"\n", json.dumps(row(1, training_priority=7)).encode())
    (only,) = rows
    assert (refused, count) == ([], 1)
    assert only["item_ref"] == content_ref(row(1)) == digest(row(1))
    assert (only["source_file"], only["source_hash"], only["source_line"]) == ("a.jsonl", "h", 2)
    assert (only["training_priority"], only["session_id"]) == (7, None)


@settings(deadline=None)
@given(st.text(min_size=1).filter(str.strip), st.text(min_size=1).filter(str.strip), st.booleans())
def test_the_name_is_the_canonical_digest_of_any_text(prompt: str, answer: str, escaped: bool) -> None:
    content = {"prompt": prompt, "enhancement": answer}
    rows, _, _ = read(json.dumps(content, ensure_ascii=escaped).encode("utf-8"))
    assert [one["item_ref"] for one in rows] == [digest(content)]
    assert (rows[0]["prompt"], rows[0]["enhancement"]) == (prompt, answer)


def test_the_name_of_an_item_that_is_named_by_numbers_too_is_its_canonical_digest() -> None:
    fields = [{"name": "prompt"}, {"name": "größe", "type": "integer"}]
    with pytest.raises(ValueError, match="match pattern"):
        IntakeSpec.model_validate({"fields": fields})
    fields[1] = {"name": "size", "type": "number"}
    reader = RowReader(IntakeSpec.model_validate({"fields": fields}), ["size", "prompt"])
    frame, _, _ = reader.read([b'{"size": 5, "prompt": "a"}', b'{"size": 5.0, "prompt": "a"}'], 1, "a", "h")
    assert set(frame["item_ref"]) == {digest({"prompt": "a", "size": 5})}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"prompt": "secret", "enh', "cut_short"),
        (b'{"prompt": "secret", \n', "not_json"),
        (b'{"prompt": "secret\xff", "enhancement": "b"}\n', "not_utf8"),
        (b'{"prompt": "\\ud800", "enhancement": "b"}\n', "not_json"),
        (b'["secret"]\n', "not_an_object"),
        (b'"secret"\n', "not_an_object"),
        (b'{"prompt": "secret", "prompt": "b", "enhancement": "c"}\n', "key_twice"),
        (b'{"prompt" : "secret: a", "prompt": "b", "enhancement": "c"}\n', "key_twice"),
        (b'{"prompt": "a", "enhancement": "c", "session_id": "s", "session_id"\t:"secret\\":"}\n', "key_twice"),
        ({"enhancement": "secret"}, "missing_field"),
        ({"prompt": None, "enhancement": "secret"}, "missing_field"),
        ({"prompt": "", "enhancement": "secret"}, "empty_value"),
        ({"prompt": "\u2003\n", "enhancement": "secret"}, "empty_value"),
        ({"prompt": ["secret"], "enhancement": "b"}, "wrong_type"),
        ({"prompt": 5, "enhancement": "secret"}, "wrong_type"),
        (row(1, training_priority="500"), "wrong_type"),
        (row(1, training_priority=True), "wrong_type"),
        (row(1, training_priority=1.5), "wrong_type"),
        (row(1, training_priority=0), "out_of_range"),
        (row(1, training_priority=1001), "out_of_range"),
        (row(1, training_priority=-5), "out_of_range"),
        (row(1, training_priority=2**70), "out_of_range"),
        (row(1, sessionid="secret"), "unknown_field"),
    ],
)  # fmt: skip
def test_a_bad_row_is_refused_for_its_reason(line: bytes | dict[str, Any], reason: str) -> None:
    assert refusal(line)[0] == reason


def test_a_reason_says_what_to_do() -> None:
    assert refusal(row(1, training_priority=1001))[1] == "'training_priority' is not from 1 to 1000"
    assert "did you mean 'session_id'?" in refusal(row(1, sessionid="x"))[1]
    assert refusal(row(1, **{"secret of ann": 1}))[1].startswith("a field without a name")
    assert refusal({"prompt": 1.5, "enhancement": "b"})[1] == "'prompt' is a number, not a text"
    assert refusal(b'{"prompt": "\xc3\xa9 \xe9", "enhancement": "b"}\n')[1] == "byte 16 of the line, 0xE9, is not UTF-8"


@pytest.mark.parametrize(
    "line",
    [
        b'{"prompt": "a: b", "enhancement": "c"}\r\n',
        b'{"prompt" : "a :)", "enhancement":"{\\"k\\": 1}"}',
        b'{"prompt": "a", "enhancement": "c", "training_priority": 5.0, "data_source": null}\n',
        b'  {"prompt": "a", "enhancement": "\xe2\x80\xa8\x7f"}  \n',
        b'{"prompt": "a", "enhancement": "b", "session_id": ""}',
    ],
)
def test_a_good_row_is_taken_however_it_is_written(line: bytes) -> None:
    rows, refused, _ = read(line)
    assert (len(rows), refused) == (1, [])


def test_other_fields_are_kept_as_json_where_the_sheet_says_so() -> None:
    line = json.dumps(row(1, style={"b": 1, "a": [None]})).encode()
    ((kept,), refused, _) = read(line, other_fields="keep")
    assert (kept["other_fields"], refused) == ('{"style":{"a":[null],"b":1}}', [])
    assert read(json.dumps(row(1)).encode(), other_fields="keep")[0][0]["other_fields"] is None


def test_every_type_of_field_is_a_column_of_its_own_type() -> None:
    names = {"b": "boolean", "d": "date", "t": "datetime", "f": "float", "n": "integer"}
    fields = [{"name": "prompt"}, *({"name": name, "type": kind, "required": False} for name, kind in names.items())]
    reader = RowReader(IntakeSpec.model_validate({"fields": fields}), ["prompt"])
    line = {"prompt": "a", "b": True, "d": "2026-03-01", "t": "2026-03-01T14:00:00+02:00", "f": 1, "n": 2.0}
    wrong = [{"d": "1 March"}, {"d": 5}, {"t": "noon"}, {"b": "true"}, {"f": "1"}, {"f": 10**400}]
    lines = [json.dumps(one).encode() for one in (line, *({"prompt": "x", **one} for one in wrong))]
    frame, refused, _ = reader.read(lines, 1, "a", "h")
    noon = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
    assert frame.row(0)[2:7] == (True, dt.date(2026, 3, 1), noon, 1.0, 2)
    assert [one.line for one in refused] == [2, 3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("spec", "line"),
    [
        ({"item_ref": "prompt"}, "names its items by content"),
        ({"item_ref": {"content_of": ["promt"]}}, "content of 'promt', which is none of the fields"),
        ({"item_ref": {"content_of": []}}, "at least 1 item"),
        ({"intake": {"fields": [{"name": "a"}, {"name": "a"}]}, "item_ref": {"content_of": ["a"]}}, "one name"),
        ({"intake": {"fields": [{"name": "deleted_at"}]}, "item_ref": {"content_of": ["deleted_at"]}}, "needs itself"),
        ({"intake": {"fields": [{"name": "a", "type": "list"}]}, "item_ref": {"content_of": ["a"]}}, "is no column"),
    ],
)
def test_a_sheet_that_can_not_name_its_items_is_refused(spec: dict[str, Any], line: str) -> None:
    with pytest.raises(ValueError, match=line):
        make_sheet(**spec)


# Rows of one item ---------------------------------------------------------------------------------------------------

SPEC = IntakeSpec()


def rows_of(*rows: tuple[int, int, str], line: int = 1) -> pl.DataFrame:
    """Rows of (item, priority, file), by their lines."""
    return pl.DataFrame(
        [
            {
                "item_ref": f"item {item}",
                "prompt": f"{item}",
                "enhancement": "e",
                "training_priority": priority,
                "source_file": file,
                "source_hash": f"hash of {file}",
                "source_line": number,
            }
            for number, (item, priority, file) in enumerate(rows, start=line)
        ],
        schema=row_columns(SPEC),
    )


def take_in_turn(*deliveries: pl.DataFrame) -> tuple[dict[str, int], int]:
    """What the items are after these deliveries, and how many rows were refused."""
    there = taken_columns(SPEC).to_frame()
    refused: set[tuple[Any, ...]] = set()
    for rows in deliveries:
        known = there.filter(pl.col("item_ref").is_in(rows["item_ref"].implode()))
        settled = settle("s", rows, known)
        more = [one.with_columns(deleted_at=None) for one in (settled.fresh, settled.changed)]
        kept = there.join(settled.changed, on="item_ref", how="anti")
        there = pl.concat([kept, *more], how="diagonal_relaxed").select(there.columns)
        refused |= set(settled.refusals.select("source_hash", "source_line").iter_rows())
    assert not there["item_ref"].is_duplicated().any()
    return dict(there.select("item_ref", "training_priority").iter_rows()), len(refused)


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3), st.sampled_from("abc")), max_size=12),
    st.integers(0, 2**16),
    st.integers(1, 4),
)
@settings(deadline=None, max_examples=60)
def test_the_items_do_not_depend_on_the_order_in_which_rows_come(
    rows: list[tuple[int, int, str]], seed: int, parts: int
) -> None:
    at_once = rows_of(*rows)
    shuffled = at_once.sample(fraction=1, shuffle=True, seed=seed)
    cuts = sorted(random.Random(seed).randrange(len(rows) + 1) for _ in range(parts))
    pieces = [shuffled[low:high] for low, high in zip([0, *cuts], [*cuts, len(rows)], strict=True)]
    items, refused = take_in_turn(at_once)
    assert take_in_turn(*pieces) == (items, refused)
    assert take_in_turn(*pieces, *pieces) == (items, refused)
    assert len(items) + refused == len(rows)


def test_a_refused_row_says_where_its_item_stands_and_how_they_differ() -> None:
    settled = settle("s", rows_of((1, 5, "a"), (1, 4, "b"), (1, 4, "c")), taken_columns(SPEC).to_frame())
    assert settled.fresh["source_file"].to_list() == ["b"]
    told = settled.refusals.sort("source_line")
    assert told["detail"].to_list() == [
        "the same item stands in b line 2, which differs in training_priority",
        "the same item stands in b line 2",
    ]
    assert set(told["reason"]) == {"repeated"}
