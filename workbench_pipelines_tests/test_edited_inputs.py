"""What a person changed of a prompt's inputs stands in its pair, while the item shows what the person saw."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from workbench_pipelines.edited_inputs import editor_of, edits_that_hold
from workbench_pipelines.identity import pair_id, prompt_hash, seen_hash
from workbench_pipelines.labels import fold_labels
from workbench_pipelines.pairs import label_pairs
from workbench_pipelines.templates import compile_template
from workbench_pipelines.usage import USES
from workbench_pipelines_tests.definition_world import make_template
from workbench_pipelines_tests.pair_world import SCHEMA, later, ledger, make_decision, make_generated, make_rendered

TEMPLATE = make_template("Is {{ x }} right?", input_schema=[{"name": "x", "type": "string", "max_length": 20}])


def edit(changed: dict[str, Any], minutes: int = 1, **given: Any) -> dict[str, Any]:
    said = {"action": "edit", "pair_id": pair_id("ts", "s", "a"), "inputs": json.dumps(changed)}
    return make_decision(at=later(minutes), label_data='{"answer":"no"}', **(said | given))


def pairs_of(
    *decisions: dict[str, Any], with_examples: int = 0, items: list[dict[str, str]] | None = None
) -> list[dict[str, Any]]:
    rendered = make_rendered("a", "b")
    if with_examples:
        shown = [
            {"role": "user", "content": "Is z right?", "parts": None},
            {"role": "assistant", "content": "no", "parts": None},
        ]
        messages = pl.Series("messages", [[*shown, *one] for one in rendered["messages"].to_list()])
        rendered = rendered.with_columns(messages)
    taken = ledger(*decisions)
    return label_pairs(
        rendered,
        make_generated(rendered, {"a": "yes", "b": "yes"}),
        fold_labels(taken, None),
        taken,
        schema=SCHEMA,
        trusted=False,
        vocabulary=USES,
        edit=editor_of(TEMPLATE, compile_template(TEMPLATE, {}, "t.yaml")),
        held_edits=edits_that_hold(taken, pl.DataFrame(items)) if items else (),
    ).to_dicts()


def test_an_edited_input_makes_a_new_prompt_and_says_so() -> None:
    before, other = pairs_of()
    edited, untouched = pairs_of(edit({"x": "a, corrected,"}))
    assert edited["messages"] == [{"role": "user", "content": "Is a, corrected, right?", "parts": None}]
    assert (edited["inputs"], edited["status"]) == ('{"x":"a, corrected,"}', "labeled")
    assert edited["pair_hash"] != before["pair_hash"]
    assert [step["name"] for step in edited["trace"]["steps"]] == ["draft", "edit_inputs", "label"]
    assert untouched == other
    assert prompt_hash(edited["messages"]) != prompt_hash(before["messages"])


def test_examples_stay_before_the_edited_question() -> None:
    edited, _ = pairs_of(edit({"x": "b"}), with_examples=1)
    assert [message["content"] for message in edited["messages"]] == ["Is z right?", "no", "Is b right?"]


def test_the_newest_edit_counts_and_an_edit_of_nothing_takes_it_back() -> None:
    first, second = edit({"x": "one"}), edit({"x": "two"}, 2, answer="no")
    assert pairs_of(second, first)[0]["inputs"] == '{"x":"two"}'
    assert pairs_of(first, edit({}, 3))[0]["inputs"] == '{"x":"a"}'


def test_an_undone_edit_counts_no_more() -> None:
    one = edit({"x": "one"})
    undo = make_decision(action="restore", at=later(5), undoes=one["decision_id"])
    assert pairs_of(one, undo)[0]["inputs"] == '{"x":"a"}'


def test_an_edit_of_somebody_who_saw_more_than_the_prompt_shows_counts_while_all_of_that_is_there() -> None:
    item = {"item_ref": "a", "x": "a", "name": "Quill"}
    columns = ["name", "x"]
    one = edit({"x": "one"}, seen_columns=columns, seen_hash=seen_hash(item, columns))
    for now, shown in [(item, "one"), (item | {"name": "Pen"}, "a"), ({"item_ref": "a", "x": "a"}, "a")]:
        assert pairs_of(one, items=[now])[0]["inputs"] == json.dumps({"x": shown}, separators=(",", ":"))
    assert pairs_of(one, items=[item | {"item_ref": "b"}])[0]["inputs"] == '{"x":"a"}'


def test_an_edit_of_another_sight_of_the_item_is_left_alone() -> None:
    assert pairs_of(edit({"x": "one"}, seen_hash="of-yesterday"))[0]["inputs"] == '{"x":"a"}'


def test_an_edit_that_does_not_fit_flags_its_pair_and_leaves_the_prompt() -> None:
    for wrong, why in (
        ({"y": 1}, "there is no input 'y' to edit"),
        ({"x": "long " * 9}, "x is longer than 20 characters"),
    ):
        pair, _ = pairs_of(edit(wrong))
        assert (pair["status"], pair["inputs"]) == ("flagged", '{"x":"a"}')
        assert why in pair["review_notes"]
