"""A variant makes an item of its own, and what is said of one variant is never said of another."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, strategies as st

from workbench_pipelines.catalog.variety import VariantsSpec
from workbench_pipelines.derivation import cover_derived, derived_row, with_derived
from workbench_pipelines.labels import fold_labels
from workbench_pipelines.prompts import Rendered, render_prompts
from workbench_pipelines.splits import assign_splits
from workbench_pipelines.templates import compile_template
from workbench_pipelines.usage import UsageStatement, statements_from_json
from workbench_pipelines.variants import Variant, chosen_variants, shared_numbers, variants_of
from workbench_pipelines_tests.definition_world import OPEN, make_snapshot, make_template, make_training_sheet
from workbench_pipelines_tests.pair_world import ledger, make_decision
from workbench_pipelines_tests.test_splits import BY_G, NO_LEDGER, frame_of, item

WORDS = st.text("abcdefgh", min_size=1, max_size=4)
PARAMETERS = st.dictionaries(
    WORDS, st.lists(st.one_of(WORDS, st.integers(0, 9)), min_size=1, max_size=3, unique_by=repr), min_size=1, max_size=3
)
PERSONAS = {"parameters": {"persona": ["nurse", "lawyer"], "level": [1, 2]}}


def spec(**given_: Any) -> VariantsSpec:
    return VariantsSpec.model_validate(given_)


def rendered(rows: dict[str, dict[str, Any]], variants: dict[str, Any], text: str, **given_: Any) -> Rendered:
    template = make_template(text)
    compiled = compile_template(template, {}, "t.yaml")
    snapshot = make_snapshot(rows, **given_)
    return render_prompts(make_training_sheet(variants=variants), template, compiled, snapshot, where="s.yaml")


@given(PARAMETERS, st.randoms())
def test_every_combination_is_a_variant_whatever_the_order(parameters: dict[str, list[Any]], random: Any) -> None:
    variants = variants_of(spec(parameters=parameters))
    count = 1
    for values in parameters.values():
        count *= len(values)
    shuffled = list(parameters.items())
    random.shuffle(shuffled)
    assert len({json.dumps(dict(one.parameters)) for one in variants}) == count
    assert {one.number for one in variants_of(spec(parameters=dict(shuffled)))} == {one.number for one in variants}


@given(PARAMETERS, WORDS)
def test_a_value_more_leaves_the_numbers_of_the_others_as_they_are(
    parameters: dict[str, list[Any]], value: str
) -> None:
    name = min(parameters)
    more = {**parameters, name: [*parameters[name], f"{value} more"]}
    before = {one.name: one.number for one in variants_of(spec(parameters=parameters))}
    after = {one.name: one.number for one in variants_of(spec(parameters=more))}
    assert before.items() <= after.items()


@given(st.integers(1, 8), st.text(max_size=8), st.integers(0, 3))
def test_an_item_gets_its_share_of_variants_and_a_new_one_replaces_one_at_most(
    per_item: int, item_ref: str, seed: int
) -> None:
    known = [Variant(f"v{number}", {}) for number in range(8)]
    asked = spec(named=[{"name": "a"}], per_item=per_item, seed=seed)
    before = chosen_variants(known[:7], asked, item_ref)
    after = chosen_variants(known, asked, item_ref)
    assert len(after) == per_item
    assert len({one.name for one in before} - {one.name for one in after}) <= 1


def test_items_differ_in_what_they_get() -> None:
    known = variants_of(spec(**PERSONAS))
    asked = spec(**PERSONAS, per_item=1)
    counts = [chosen_variants(known, asked, f"i{number}")[0].name for number in range(400)]
    assert all(counts.count(one.name) > 60 for one in known)


def test_two_variants_with_one_number_are_told() -> None:
    assert shared_numbers([Variant("a", {}), Variant("a", {}), Variant("b", {})]) == [("a", "a")]


def test_a_derived_item_shows_its_parameters_and_names_its_parent() -> None:
    text = "{{ persona }} asks at level {{ level }}: {{ x }}"
    phi = UsageStatement("tag PHI", prohibited_uses=("training",), columns=("x",))
    found = rendered({"a": {"x": "red", "n": 1}}, PERSONAS, text, statements=(OPEN, phi), tags=("ROW",))
    assert found.frame.height == found.frame["item_ref"].n_unique() == found.frame["pair_id"].n_unique() == 4
    assert found.frame["item_ref"].str.contains(r"^a#\d+$").all()
    row = found.frame.filter(pl.col("variant") == "level=2,persona=nurse").to_dicts()[0]
    assert row["messages"][0]["content"] == "nurse asks at level 2: red"
    assert json.loads(row["inputs"]) == {"x": "red", "level": 2, "persona": "nurse"}
    assert json.loads(row["attributes"])["persona"] == "nurse"
    assert row["parent_ids"] == ["a"]
    assert row["derivation"][0]["name"] == "variant"
    assert row["tags"] == ["ROW"]
    assert set(statements_from_json(row["usage_statements"])) == {OPEN, phi}


def test_new_items_and_reruns_move_nobody() -> None:
    variants = {**PERSONAS, "per_item": 2, "seed": 3}
    few = rendered({"a": {"x": "red"}, "b": {"x": "blue"}}, variants, "{{ persona }} {{ level }} {{ x }}").frame
    more = rendered(
        {"c": {"x": "red"}, "b": {"x": "blue"}, "a": {"x": "red"}}, variants, "{{ persona }} {{ level }} {{ x }}"
    ).frame
    assert few.height == 4
    assert more.filter(~pl.col("item_ref").str.starts_with("c#")).equals(few)


def test_a_named_variant_is_seen_by_name_and_lacks_what_others_have() -> None:
    variants = {"named": [{"name": "plain"}, {"name": "adversarial", "parameters": {"trick": "a false premise"}}]}
    found = rendered({"a": {"x": "red"}}, variants, "{{ variant }}{% if trick %} with {{ trick }}{% endif %}: {{ x }}")
    asked = {row["messages"][0]["content"] for row in found.frame.to_dicts()}
    assert asked == {"plain: red", "adversarial with a false premise: red"}


def test_samples_and_filters_count_parents() -> None:
    template = make_template("{{ persona }} {{ level }} {{ x }}")
    sheet = make_training_sheet(variants=PERSONAS, items={"sample": {"size": 3, "method": "random", "seed": 1}})
    snapshot = make_snapshot({f"i{n}": {"x": "red"} for n in range(10)})
    found = render_prompts(sheet, template, compile_template(template, {}, "t"), snapshot, where="s").frame
    assert found.height == 12
    assert found["parent_ids"].list.first().n_unique() == 3


def test_an_item_of_the_sheet_keeps_its_name() -> None:
    number = variants_of(spec(named=[{"name": "a"}]))[0].number
    found = rendered(
        {"i": {"x": "red"}, f"i#{number}": {"x": "red"}}, {"named": [{"name": "a"}]}, "{{ variant }}{{ x }}"
    )
    assert found.frame["item_ref"].to_list() == [f"i#{number}#{number}"]
    assert found.refusals["reason"].to_list() == ["item_ref_taken"]


def test_what_is_derived_of_one_item_stands_in_one_split() -> None:
    pairs = []
    for number in range(60):
        ref = f"i{number}"
        pairs.append(item(ref))
        pairs += [item(f"{ref}#{n}", trace={"parent_ids": [ref], "steps": []}) for n in range(3)]
    assigned = assign_splits(frame_of(*pairs), BY_G, NO_LEDGER, assigned_by="c")
    splits = dict(assigned.splits.select("pair_id", "split").iter_rows())
    for pair in pairs:
        root = pair["item_ref"].partition("#")[0]
        (parent,) = [one for one in pairs if one["item_ref"] == root]
        assert splits[pair["pair_id"]] == splits[parent["pair_id"]]
    assert set(assigned.new_ledger_rows["group"]) == {f"item:s:i{number}" for number in range(60)}


def test_the_label_of_a_derived_item_becomes_stale_with_its_parent() -> None:
    sheets = [make_training_sheet(variants=PERSONAS)]
    number = variants_of(spec(**PERSONAS))[0].number
    snapshot = make_snapshot({"a": {"x": "red"}})
    row = derived_row(f"a#{number}", sheets, {"a": snapshot.to_dicts()[0]}.get)
    assert row is not None
    said = ledger(make_decision(f"a#{number}", seen_hash="another", seen_columns=["x"]))
    assert fold_labels(said, snapshot)["stale"].to_list() == [False]
    assert fold_labels(said, with_derived(snapshot, said["item_ref"], sheets))["stale"].to_list() == [True]
    assert derived_row("a#17", sheets, {"a": snapshot.to_dicts()[0]}.get) is None


def test_a_label_covers_what_is_derived_only_where_nothing_nearer_is_said() -> None:
    labels = fold_labels(ledger(make_decision("a"), make_decision("a#1", answer="no"), make_decision("b")), None)
    prompts = pl.DataFrame(
        [
            {"sheet": "s", "item_ref": ref, "label_type": "t", "parent_ids": parents}
            for ref, parents in (("a#1", ["a"]), ("a#2", ["a"]), ("a#1#5", ["a", "a#1"]), ("c#1", ["c"]), ("b", []))
        ]
    )
    found = dict(cover_derived(labels, prompts).select("item_ref", "label_data").iter_rows())
    yes, no = '{"answer":"yes"}', '{"answer":"no"}'
    assert found == {"a": yes, "a#1": no, "a#2": yes, "a#1#5": no, "b": yes}


@pytest.mark.parametrize(
    ("variants", "said"),
    [
        ({}, "give `parameters`"),
        ({"parameters": {"persona": []}}, "has no value"),
        ({"parameters": {"persona": ["a", "a"]}}, "has a value twice"),
        ({"named": [{"name": "a"}, {"name": "a"}]}, "have one name"),
    ],
)
def test_variants_that_are_none_are_refused(variants: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        spec(**variants)


def test_a_column_answers_no_derived_item() -> None:
    with pytest.raises(ValueError, match="no item that is derived from it"):
        make_training_sheet(variants=PERSONAS, labeling_mode="existing_column", column="y")
