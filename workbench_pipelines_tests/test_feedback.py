"""Feedback finds its item, becomes a label when somebody approves it, and is counted once."""

from __future__ import annotations

import datetime as dt
import json
import random

import polars as pl
import pytest

from workbench_pipelines.decisions import DECISIONS, Seen
from workbench_pipelines.errors import LabelError
from workbench_pipelines.feedback import (
    FEEDBACK,
    FEEDBACK_INBOX,
    approval_of,
    correction_as_label,
    decisions_for,
    new_approved,
    parse_feedback,
    split_known,
)
from workbench_pipelines.feedback_matching import match_feedback
from workbench_pipelines.labels import fold_labels

SCHEMA = {
    "type": "object",
    "properties": {"species": {"type": "string", "enum": ["setosa", "virginica"]}},
    "required": ["species"],
    "additionalProperties": False,
}
NOON = dt.datetime(2024, 5, 1, 12, tzinfo=dt.UTC)
HOUR = dt.timedelta(hours=1)


def line(feedback_id: str = "f1", **fields: object) -> str:
    row = {
        "feedback_id": feedback_id,
        "feedback_type": "correction",
        "input": {"sheet": "iris", "item_ref": "007"},
        "correction": {"species": "virginica"},
        "created_at": NOON.isoformat(),
    }
    return json.dumps({key: value for key, value in (row | fields).items() if value != ...})


def inbox(*lines: str) -> pl.DataFrame:
    rows, refusals = parse_feedback(lines, "f.jsonl")
    assert refusals == []
    return rows


def pair(item_ref: str, training_sheet: str = "measured", sheet: str = "iris", **fields: object) -> dict[str, object]:
    return {
        "training_sheet": training_sheet,
        "pair_id": f"{training_sheet}-{item_ref}",
        "sheet": sheet,
        "item_ref": item_ref,
        "label_type": "iris_species",
        "inputs": json.dumps({"length": float(item_ref)}),
        "messages": [{"role": "user", "content": f"It is {item_ref} cm long.", "parts": None}],
    } | fields


PAIRS = pl.DataFrame([pair("007"), pair("008"), pair("007", "drafted")])


def matched(*lines: str) -> pl.DataFrame:
    return match_feedback(inbox(*lines), PAIRS)


def approved(corrections: pl.DataFrame, at: dt.datetime = NOON + HOUR) -> pl.DataFrame:
    decisions, refusals = decisions_for(corrections, by="ada", at=at, schema_of=lambda _: SCHEMA)
    assert refusals == []
    return decisions


def decided(label: str, at: dt.datetime, source: str = "review") -> pl.DataFrame:
    row = {
        "decision_id": f"{label}{at}",
        "sheet": "iris",
        "item_ref": "007",
        "label_type": "iris_species",
        "action": "label",
        "label_data": json.dumps({"species": label}),
        "source": source,
        "by": "ada",
        "at": at,
    }
    return pl.DataFrame([row], schema=DECISIONS)


def status_after(feedback: pl.DataFrame, decisions: pl.DataFrame) -> list[str]:
    return approval_of(feedback, fold_labels(decisions, None), decisions)["status"].to_list()


def test_a_row_keeps_its_values_as_text_and_its_day_in_utc() -> None:
    rows = inbox(line(created_at="2024-05-02T01:30:00+02:00", feedback_value=5, input="How long?"))
    assert rows.schema == FEEDBACK_INBOX
    row = rows.to_dicts()[0]
    assert (row["day"], row["feedback_value"], row["input"]) == ("2024-05-01", "5", "How long?")
    assert row["correction"] == '{"species":"virginica"}'


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "is no JSON"),
        ("[1]", "is no JSON object"),
        (line(correctoin="x"), "unknown field correctoin; did you mean 'correction'?"),
        (line(created_at=...), "created_at is missing"),
        (line(created_at="2024-05-01T12:00:00"), "created_at: has no time zone"),
        (line(created_at=1714564800), "created_at: is no ISO 8601 time"),
        (line(created_at="0001-01-01T00:00:00+05:00"), "created_at: lies outside the calendar"),
        (line(correction=...), "needs a `correction`"),
        (line(feedback_type="applause"), "feedback_type"),
        (line(feedback_id=""), "feedback_id"),
        (line(input="\ud800"), "lone surrogate"),
        ('{"input": ' + "[" * 100_000 + "]" * 100_000 + "}", "nested too deeply"),
    ],
)
def test_a_bad_line_is_refused_by_file_and_line_and_the_others_are_kept(bad: str, reason: str) -> None:
    rows, refusals = parse_feedback([line("f0"), "", bad, line("f2")], "f.jsonl")
    assert rows["feedback_id"].to_list() == ["f0", "f2"]
    assert [refusal.where for refusal in refusals] == ["f.jsonl line 3"]
    assert reason in refusals[0].line


def test_one_id_with_one_content_is_one_row_and_with_another_is_refused() -> None:
    rows, refusals = parse_feedback([line("f1"), line("f1"), line("f1", correction="setosa")], "f.jsonl")
    assert rows.height == 1
    assert [refusal.line for refusal in refusals] == [
        "f.jsonl line 3: feedback_id f1 stands before with another content"
    ]


def test_the_inbox_takes_a_second_delivery_as_nothing_and_refuses_a_changed_one() -> None:
    held = inbox(line("f1"), line("f2"))
    fresh, refusals = split_known(inbox(line("f1"), line("f2", correction="setosa"), line("f3")), held, "f.jsonl")
    assert fresh["feedback_id"].to_list() == ["f3"]
    assert [refusal.line for refusal in refusals] == ["f.jsonl: feedback_id f2 is in the inbox with another content"]


@pytest.mark.parametrize(
    "given",
    [
        {"sheet": "iris", "item_ref": "008"},
        {"length": 8},
        {"length": 8.0},
        '{"length": 8}',
        "It is 008 cm long.",
        " It is 008 cm long.\n",
    ],
)
def test_an_item_is_found_by_name_by_content_and_by_prompt(given: object) -> None:
    row = matched(line(input=given)).to_dicts()[0]
    assert (row["status"], row["item_ref"], row["pair_id"]) == ("pending", "008", "measured-008")


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (None, "the feedback has no input"),
        ("What?", "no pair has this input"),
        ({"length": 8.5}, "no pair has this input"),
        ({"sheet": "iris", "item_ref": "8"}, "no pair of item 8 of sheet iris"),
    ],
)
def test_what_belongs_to_no_item_is_kept_with_the_reason(given: object, reason: str) -> None:
    row = matched(line(input=given)).to_dicts()[0]
    assert (row["status"], row["reason"], row["pair_id"]) == ("unmatched", reason, None)


def test_an_input_that_two_items_share_belongs_to_neither() -> None:
    twins = pl.DataFrame([pair("1", inputs='{"x":1}'), pair("2", inputs='{"x":1}')])
    row = match_feedback(inbox(line(input={"x": 1})), twins).to_dicts()[0]
    assert row["status"] == "unmatched"
    assert "2 items" in row["reason"]


def test_a_model_prefers_the_pairs_it_learned_from() -> None:
    rows = inbox(line(input={"length": 7}, model_name="m"))
    assert match_feedback(rows, PAIRS)["training_sheet"].to_list() == ["drafted"]
    found = match_feedback(rows, PAIRS, {"m": ["measured"]})
    assert found["training_sheet"].to_list() == ["measured"]


def test_feedback_without_a_correction_is_recorded() -> None:
    row = matched(line(feedback_type="thumbs", feedback_value="up", correction=...)).to_dicts()[0]
    assert (row["status"], row["item_ref"]) == ("recorded", "007")


def test_no_feedback_and_no_pairs_are_empty_tables() -> None:
    assert match_feedback(inbox(), PAIRS).schema == FEEDBACK
    assert match_feedback(inbox(line()), PAIRS.clear())["status"].to_list() == ["unmatched"]


@pytest.mark.parametrize("correction", ['{"species":"setosa"}', "setosa", '"setosa"'])
def test_a_correction_is_an_object_or_the_value_of_the_one_field(correction: str) -> None:
    assert correction_as_label(correction, SCHEMA) == {"species": "setosa"}


def test_a_number_that_the_label_wants_as_text_is_text() -> None:
    text = {"type": "object", "properties": {"code": {"type": "string"}}}
    number = {"type": "object", "properties": {"code": {"type": "integer"}}}
    assert correction_as_label("007", text) == {"code": "007"}
    assert correction_as_label("7", text) == {"code": "7"}
    assert correction_as_label("7", number) == {"code": 7}


@pytest.mark.parametrize("correction", ["rosa", '{"species":"rosa"}', '{"kind":"setosa"}', "[1]"])
def test_a_correction_that_is_no_label_is_refused_without_its_value(correction: str) -> None:
    with pytest.raises(LabelError) as refused:
        correction_as_label(correction, SCHEMA)
    assert "rosa" not in refused.value.line


def test_a_bare_value_for_a_label_of_two_fields_is_refused() -> None:
    with pytest.raises(LabelError, match="fields a, b"):
        correction_as_label("x", {"type": "object", "properties": {"a": {}, "b": {}}})


def test_approved_corrections_become_labels_however_often_they_are_approved() -> None:
    corrections = matched(line("f1"), line("f2", input={"length": 8}, correction="setosa"))
    once, again = approved(corrections), approved(corrections, NOON + 5 * HOUR)
    assert once.schema == DECISIONS
    assert once["decision_id"].to_list() == again["decision_id"].to_list()
    assert once["source"].to_list() == ["feedback:f1", "feedback:f2"]
    labels = fold_labels(pl.concat([once, again]), None)
    assert labels["label_data"].to_list() == ['{"species":"virginica"}', '{"species":"setosa"}']
    assert labels["version"].to_list() == [1, 1]


def test_deliveries_in_any_order_make_the_same_decisions() -> None:
    lines = [line(f"f{n}", input={"length": 7 + n % 2}) for n in range(20)]
    shuffled = lines * 3
    random.Random(7).shuffle(shuffled)
    once, thrice = approved(matched(*lines)), approved(matched(*shuffled))
    assert once.sort("decision_id").equals(thrice.sort("decision_id"))


def test_a_decision_keeps_what_the_item_showed() -> None:
    decisions, _ = decisions_for(
        matched(line()), by="ada", at=NOON, schema_of=lambda _: SCHEMA, seen=lambda *_: Seen(("length",), "hash")
    )
    assert decisions.select("seen_columns", "seen_hash").rows() == [(["length"], "hash")]


def test_corrections_that_are_no_label_or_have_no_item_are_refused_by_id() -> None:
    corrections = matched(line("f1", correction="rosa"), line("f2", input="?"))
    decisions, refusals = decisions_for(corrections, by="ada", at=NOON, schema_of=lambda _: SCHEMA)
    assert decisions.is_empty()
    assert [refusal.where for refusal in refusals] == ["feedback f1", "feedback f2"]


def test_a_correction_waits_until_somebody_decides() -> None:
    assert status_after(matched(line()), DECISIONS.to_frame()) == ["pending"]
    assert status_after(matched(line()), decided("setosa", NOON - HOUR)) == ["pending"]
    # That the label said so before the feedback is no approval of the feedback.
    assert status_after(matched(line()), decided("virginica", NOON - HOUR)) == ["pending"]


def test_a_correction_is_approved_by_its_own_decision_or_by_an_equal_label_since() -> None:
    assert status_after(matched(line()), approved(matched(line()))) == ["approved"]
    assert status_after(matched(line()), decided("virginica", NOON + HOUR)) == ["approved"]
    assert status_after(matched(line(correction="virginica")), decided("virginica", NOON)) == ["approved"]


def test_a_correction_is_declined_by_another_label_since() -> None:
    assert status_after(matched(line()), decided("setosa", NOON + HOUR)) == ["declined"]
    overruled = pl.concat([approved(matched(line())), decided("setosa", NOON + 2 * HOUR)])
    assert status_after(matched(line()), overruled) == ["declined"]


def test_approval_names_the_decision() -> None:
    decisions = approved(matched(line()))
    found = approval_of(matched(line()), fold_labels(decisions, None), decisions)
    assert found["decision_id"].to_list() == decisions["decision_id"].to_list()


def test_enough_new_approvals_make_one_batch_with_a_key_of_its_own() -> None:
    assert new_approved(["a", "b"], [], 3) is None
    assert new_approved(["a", "b", "c"], ["a"], 3) is None
    batch = new_approved(["c", "a", "b", "d", "b"], ["d"], 3)
    assert batch is not None
    assert batch[0] == ["a", "b", "c"]
    assert batch == new_approved(["a", "b", "c"], [], 3)
    assert batch[1] != new_approved(["a", "b", "e"], [], 3)[1]  # type: ignore[index]
    assert new_approved([], [], 0) is None
