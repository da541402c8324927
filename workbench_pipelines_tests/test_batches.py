"""What comes back of a batch belongs to the question it names, or to nobody; and its steps say how far it is."""

from __future__ import annotations

import datetime as dt
import json
import random
from typing import Any

import polars as pl
import pytest
from hypothesis import given, strategies as st

from workbench_pipelines.batch_lines import Line, bind, file_line, read_lines
from workbench_pipelines.batches import BATCHES, Batch, fold_batches, request_of, request_rows
from workbench_pipelines_tests.request_world import NOON, make_request

ASKED = [f"hash-{number}" for number in range(5)]


def answered(custom_id: str, text: str = "yes") -> dict[str, Any]:
    return {"custom_id": custom_id, "response": {"status_code": 200, "body": {"says": text}}, "error": None}


def failed(custom_id: str, status: int | None, code: str | None, *, inside: bool = True) -> dict[str, Any]:
    error = {"code": code, "message": "the prompt said: secret"}
    response = None if status is None else {"status_code": status, "body": {"error": error} if inside else {}}
    return {"custom_id": custom_id, "response": response, "error": None if inside and status else error}


def lines(*given: dict[str, Any]) -> list[Line]:
    return list(read_lines("\n".join(json.dumps(one) for one in given).encode(), "output"))


@given(st.integers(), st.sets(st.sampled_from(ASKED)))
def test_a_line_answers_the_question_that_it_names_whatever_the_order(seed: int, there: set[str]) -> None:
    shuffled = random.Random(seed).sample(sorted(there), len(there))
    returned = bind(lines(*(answered(key, f"of {key}") for key in shuffled)), ASKED, "m", "completed")
    assert returned.replies == {key: {"says": f"of {key}"} for key in there}
    assert {(one.request_hash, one.reason) for one in returned.refusals} == {
        (key, "missing_line") for key in set(ASKED) - there
    }


@given(st.lists(st.sampled_from([*ASKED, "of another batch", ""]), max_size=20))
def test_no_line_is_bound_to_a_question_that_it_does_not_name_alone(named: list[str]) -> None:
    returned = bind(lines(*(answered(key, f"of {key}") for key in named)), ASKED, "m", "completed")
    assert set(returned.replies) == {key for key in ASKED if named.count(key) == 1}
    assert all(reply == {"says": f"of {key}"} for key, reply in returned.replies.items())
    # Every line and every question comes to exactly one end.
    assert len(returned.replies) + len(returned.refusals) == len(named) + len(set(ASKED) - set(named))


@pytest.mark.parametrize(
    "text",
    [b"{", b"[]", b"null", b'"a"', b'{"response": {}}', b'{"custom_id": 7}', b'{"custom_id": "hash-0", "response": 3}'],
)
def test_a_line_that_can_not_be_read_is_refused_and_stops_no_other(text: bytes) -> None:
    data = text + b"\n\n" + json.dumps(answered("hash-1")).encode()
    returned = bind(read_lines(data, "output"), ["hash-1"], "m", "completed")
    assert set(returned.replies) == {"hash-1"}
    (refusal,) = returned.refusals
    assert (refusal.place, refusal.request_hash, refusal.reason) == ("output line 1", None, "unreadable_line")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (failed("hash-0", 400, "context_length_exceeded"), "permanent"),
        (failed("hash-0", 400, "content_filter"), "filtered"),
        (failed("hash-0", 400, "invalid_value"), "permanent"),
        (failed("hash-0", 429, "rate_limit_exceeded"), "transient"),
        (failed("hash-0", 500, None), "transient"),
        (failed("hash-0", None, "batch_expired"), "expired"),
        (failed("hash-0", None, "batch_cancelled"), "cancelled"),
        (failed("hash-0", None, "server_error", inside=False), "transient"),
        (failed("hash-0", 400, "the prompt said: secret"), "permanent"),
    ],
)
def test_a_line_without_an_answer_says_why_and_never_quotes_the_prompt(line: dict[str, Any], reason: str) -> None:
    (refusal,) = bind(lines(line), ["hash-0"], "openai/m", "completed").refusals
    assert (refusal.request_hash, refusal.reason) == ("hash-0", reason)
    assert "secret" not in refusal.detail


@pytest.mark.parametrize(
    ("status", "reason"),
    [("expired", "expired"), ("cancelled", "cancelled"), ("failed", "batch_failed"), ("completed", "missing_line")],
)
def test_a_question_without_a_line_is_refused_for_how_its_batch_ended(status: str, reason: str) -> None:
    (refusal,) = bind([], ["hash-0"], "m", status).refusals
    assert (refusal.request_hash, refusal.reason) == ("hash-0", reason)


def test_a_batch_is_where_its_furthest_step_says() -> None:
    begun = Batch("s", "ts", "openai/m", None, 2, 0.5, submitted_at=NOON, at=NOON)
    later = NOON + dt.timedelta(minutes=1)
    steps = [
        begun,
        begun.after("uploaded", later, input_file_id="file-1"),
        begun.after("submitted", NOON, batch_id="batch_1"),  # by a clock that is behind
        begun.after("completed", later, batch_id="batch_1", answers=2, refused=0),
    ]
    for count in range(1, 5):
        rows = pl.DataFrame([one.row() for one in reversed(steps[:count])], schema=BATCHES)
        (folded,) = fold_batches(rows)
        assert folded == steps[count - 1]
        assert folded.is_open == (count < 4)


def test_a_question_is_known_again_without_its_words() -> None:
    first, twin = make_request("a"), make_request("a", item_ref="b", pair_id="pair-b")
    assert first.request_hash == twin.request_hash
    rows = request_rows("s", {first.request_hash: (first, [first, twin])})
    known = [request_of(row) for row in rows]
    assert [one.use_row() for one in known] == [first.use_row(), twin.use_row()]
    assert known[0].messages == ()
    assert known[0].parameters == first.parameters


def test_a_question_is_a_line_that_names_it() -> None:
    request = make_request()
    line = json.loads(file_line(request.request_hash, {"model": "m"}))
    assert (line["custom_id"], line["url"], line["body"]) == (
        request.request_hash,
        "/v1/chat/completions",
        {"model": "m"},
    )
    assert len(line["custom_id"]) <= 64
