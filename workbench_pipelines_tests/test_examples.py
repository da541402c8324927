"""Which labels make examples: as the template of their task shows the item, where everything that is shown permits it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest

from workbench_pipelines import identity
from workbench_pipelines.catalog import Catalog
from workbench_pipelines.example_making import Source, make_examples
from workbench_pipelines.example_standing import COLUMN_GONE, UNKNOWN, standing_now
from workbench_pipelines.example_views import sheets_of_store, sheets_shown, stores_of, views_of
from workbench_pipelines.examples import EXAMPLE_REFUSALS, EXAMPLES, Examples, store_digest
from workbench_pipelines.labels import fold_labels
from workbench_pipelines.split_tokens import group_token
from workbench_pipelines.usage import USES, UsageStatement
from workbench_pipelines_tests.definition_world import (
    OPEN,
    make_catalog,
    make_document,
    make_snapshot,
    template_document,
)
from workbench_pipelines_tests.pair_world import later, ledger, make_decision

COLOURS = {"a": {"x": "red", "ward": "7b"}, "b": {"x": "blue", "ward": None}, "c": {"x": "green", "ward": "7b"}}
PHI = UsageStatement("tag PHI on column ward", prohibited_uses=("few_shot",), columns=("ward",), reason="health data")
RULE = UsageStatement("tag NO by row rule", prohibited_uses=("few_shot",))


def none_outdated(policies: Sequence[str]) -> dict[str, str]:
    return {}


def make_world(*more: dict[str, Any], **spec: Any) -> Catalog:
    return make_catalog(
        make_document("Sheet", "s", primary_table="s.csv", item_ref="id"),
        make_document("TrainingSheet", "ts", sheet="s", template="t", **spec),
        template_document(),
        *more,
    )


def decided(*refs: str, **given: Any) -> list[dict[str, Any]]:
    return [make_decision(ref, label_type="l", **given) for ref in refs]


def made(
    catalog: Catalog | None = None,
    snapshot: pl.DataFrame | None = None,
    decisions: list[dict[str, Any]] | None = None,
    grouped_by: tuple[str, ...] = (),
) -> Examples:
    catalog = catalog or make_world()
    snapshot = make_snapshot(COLOURS) if snapshot is None else snapshot
    labels = fold_labels(ledger(*(decided("a", "b") if decisions is None else decisions)), snapshot)
    views = {"l": views_of(catalog, catalog.sheet("s"), snapshot.columns, "l")}
    schemas = {"l": catalog.label_schema("l")}
    return make_examples(
        "default",
        [Source(snapshot, labels, views, schemas)],
        grouped_by=grouped_by,
        vocabulary=USES,
        embed=lambda texts: np.array([[len(text), 1] for text in texts], dtype=np.float32),
        embedding_model="length",
    )


def reasons(examples: Examples) -> dict[str, str]:
    return dict(examples.refusals.select("item_ref", "reason").iter_rows())


def test_an_example_is_the_question_of_an_item_and_the_answer_of_its_expert() -> None:
    catalog = make_catalog(
        {
            **make_document("Sheet", "s", primary_table="s.csv", item_ref="id"),
            "metadata": {"name": "s", "tags": {"domain": "botany"}},
        },
        make_document("TrainingSheet", "ts", sheet="s", template="t"),
        template_document(system_prompt="Be brief."),
    )
    examples = made(catalog, decisions=decided("a", confidence="medium", notes="It is plain."))
    (row,) = examples.frame.to_dicts()
    assert examples.frame.schema == EXAMPLES
    assert examples.refusals.schema == EXAMPLE_REFUSALS
    assert {name: row[name] for name in row if name not in ("example_id", "usage_statements", "item_statements")} == {
        "store": "default",
        "input": "Is red right?",
        "expected_output": '{"answer":"yes"}',
        "explanation": "It is plain.",
        "search_keys": ["botany", "l", "yes"],
        "embedding": [13.0, 1.0],
        "embedding_model": "length",
        "function_name": None,
        "domain": "botany",
        "label_type": "l",
        "quality_score": 0.5,
        "usage_count": None,
        "effectiveness_score": None,
        "pair_id": identity.pair_id("ts", "s", "a"),
        "snapshot": None,
        "sheet": "s",
        "item_ref": "a",
        "item_hash": identity.item_hash(COLOURS["a"]),
        "canonical_label_id": identity.canonical_label_id("s", "a", "l"),
        "template": "t",
        "template_version": "1.0.0",
        "inputs": '{"x":"red"}',
        "seen_columns": ["x"],
        "allowed_uses": list(USES),
        "data_classification": "public",
        "item_columns": ["item_hash", "item_ref", "row_tags", "usage_statements", "ward", "x"],
        "group_tokens": [],
        "grouped_by": [],
    }


def test_an_example_has_another_name_when_what_it_shows_changes_and_the_same_when_only_its_uses_do() -> None:
    before = made(decisions=decided("a")).frame["example_id"]
    narrowed = made(snapshot=make_snapshot(COLOURS, (OPEN, UsageStatement("tag", prohibited_uses=("training",)))))
    assert narrowed.frame["example_id"][0] == before[0]
    assert store_digest(narrowed) != store_digest(made())
    unseen = make_snapshot({**COLOURS, "a": {"x": "red", "ward": "8"}})
    assert made(snapshot=unseen, decisions=decided("a")).frame["example_id"].equals(before)
    others = [
        made(decisions=decided("a", answer="no")),
        made(decisions=decided("a", notes="It is plain.")),
        made(decisions=decided("a", uses='{"prohibited_uses":["training"]}')),
        made(make_world(bindings={"x": "ward"}), decisions=decided("a")),
    ]
    assert len({one.frame["example_id"][0] for one in others} | set(before)) == 5


def test_only_what_is_shown_counts_and_of_several_ways_to_show_an_item_a_permitted_one_is_taken() -> None:
    snapshot = make_snapshot(COLOURS, (OPEN, PHI))
    assert made(snapshot=snapshot).frame["item_ref"].to_list() == ["a", "b"]
    by_ward = make_world(bindings={"x": "ward"})
    refused = made(by_ward, snapshot)
    assert refused.frame.is_empty()
    assert set(reasons(refused).values()) == {"few_shot_not_permitted"}
    assert set(refused.refusals["detail"]) == {"tag PHI on column ward prohibits few_shot: health data"}
    both = make_world(make_document("TrainingSheet", "z", sheet="s", template="t"), bindings={"x": "ward"})
    assert made(both, snapshot).frame["input"].to_list() == ["Is red right?", "Is blue right?"]


@pytest.mark.parametrize(
    ("statements", "said"),
    [
        ((), "no source states that few_shot is allowed"),
        ((UsageStatement("sheet s", allowed_uses=("training",)),), "sheet s does not allow few_shot"),
        ((OPEN, RULE), "tag NO by row rule prohibits few_shot"),
    ],
)
def test_nothing_enters_that_is_not_permitted(statements: tuple[UsageStatement, ...], said: str) -> None:
    examples = made(snapshot=make_snapshot(COLOURS, statements))
    assert examples.frame.is_empty()
    assert examples.refusals["detail"].to_list() == [said, said]


def test_a_label_that_makes_no_example_says_why() -> None:
    snapshot = make_snapshot(
        {"a": {"x": 1}, "b": {"x": None}, "d": {"x": 0}, "e": {"x": 4}, "f": {"x": 5}, "g": {"x": 6}}
    )
    typed = template_document("{{ 6 // x }}", input_schema=[{"name": "x", "type": "integer"}])
    catalog = make_catalog(
        make_document("Sheet", "s", primary_table="s.csv", item_ref="id"),
        make_document("TrainingSheet", "ts", sheet="s", template="t"),
        typed,
    )
    stale = identity.seen_hash({"x": 99}, ["x"])
    decisions = [
        *decided("a", "b", "c", "d", seen_columns=None),
        *decided("e", seen_hash=stale),
        *decided("f", answer="perhaps"),
        *decided("g"),
        *decided("g", action="reject", at=later(1)),
    ]
    examples = made(catalog, snapshot, decisions)
    assert examples.frame["item_ref"].to_list() == ["a"]
    assert reasons(examples) == {
        "b": "input_breaks_schema",
        "c": "item_gone",
        "d": "template_error",
        "e": "label_stale",
        "f": "label_breaks_schema",
        "g": "label_withdrawn",
    }
    catalog = make_catalog(
        make_document("Sheet", "s", primary_table="s.csv", item_ref="id"),
        make_document("TrainingSheet", "ts", sheet="s", template="u"),
        template_document(name="u", label_type="m"),
        template_document(),
    )
    assert reasons(made(catalog)) == {"a": "no_template", "b": "no_template"}


def test_a_note_that_was_written_in_view_of_what_may_not_be_shown_stays_out() -> None:
    snapshot = make_snapshot(COLOURS, (OPEN, PHI))
    notes = [
        *decided("a", notes="see the ward", seen_columns=["x", "ward"]),
        *decided("b", notes="see x", seen_columns=["x"]),
        *decided("c", notes="see all", seen_columns=None),
    ]
    assert made(snapshot=snapshot, decisions=notes).frame["explanation"].to_list() == [None, "see x", None]
    hidden = UsageStatement("column ward", columns=("ward",), data_classification="restricted")
    (row,) = made(snapshot=make_snapshot(COLOURS, (OPEN, hidden)), decisions=notes[:1]).frame.to_dicts()
    assert (row["explanation"], row["data_classification"]) == (None, "public")


def test_items_carry_the_tokens_of_the_groups_that_collections_make() -> None:
    frame = made(grouped_by=("absent", "ward"), decisions=decided("a", "b", "c")).frame
    of_ward = [group_token("ward", "7b")]
    assert frame["group_tokens"].to_list() == [of_ward, [], of_ward]
    # Where the Sheet has no such column, a variable of that name groups a pair.
    bound = make_catalog(
        make_document("Sheet", "s", primary_table="s.csv", item_ref="id"),
        make_document("TrainingSheet", "ts", sheet="s", template="t", bindings={"absent": "x"}),
        template_document("Is {{ absent }} right?"),
    )
    assert made(bound, grouped_by=("absent",)).frame["group_tokens"].to_list() == [
        [group_token("absent", "red")],
        [group_token("absent", "blue")],
    ]


def test_a_sheet_that_no_training_sheet_takes_is_shown_by_the_published_templates_of_the_task() -> None:
    alone = make_catalog(
        make_document("Sheet", "s", primary_table="s.csv", item_ref="id"),
        template_document("Draft {{ x }}", name="a", status="draft"),
        template_document("Not there: {{ y }}", name="b"),
        template_document(),
    )
    frame = made(alone).frame
    assert frame["input"].to_list() == ["Is red right?", "Is blue right?"]
    assert frame["pair_id"].null_count() == 2


def test_a_store_is_fed_by_the_sheets_of_its_tasks_and_by_those_that_nobody_takes() -> None:
    documents = [make_document("Sheet", name, primary_table="s.csv", item_ref="id") for name in ("s", "other", "alone")]
    catalog = make_catalog(
        *documents,
        make_document("TrainingSheet", "ts", sheet="s", template="t", few_shot={"store": "mine"}),
        make_document("TrainingSheet", "us", sheet="other", template="u", few_shot={}),
        make_document("TrainingSheet", "broken", sheet="other", template="gone"),
        make_document("ExampleStore", "mine", label_types=["l"]),
        make_document("ExampleStore", "bad", label_typos=["l"]),
        template_document(),
        template_document(name="u", label_type="m"),
    )
    assert stores_of(catalog) == ["bad", "default", "mine"]
    assert sheets_of_store(catalog, "mine") == ["alone", "s"]
    assert sheets_of_store(catalog, "default") == ["alone", "other", "s"]
    assert sheets_of_store(catalog, "bad") == []
    assert sheets_shown(catalog) == {"s": frozenset({"alone", "s"}), "other": frozenset({"alone", "other"})}
    assert stores_of(make_world()) == []


def test_what_is_stated_today_decides_over_an_example_of_any_snapshot() -> None:
    then = made(decisions=decided("a", "b", "c")).frame
    narrowed = UsageStatement("tag LATE", prohibited_uses=("training",))
    forbidden = UsageStatement("tag LATE on column x", prohibited_uses=("few_shot",), columns=("x",))
    for statements, refusal in [((OPEN,), None), ((OPEN, narrowed), None), ((OPEN, forbidden), "tag LATE on column x")]:
        judged = standing_now(then, made(snapshot=make_snapshot(COLOURS, statements)), USES, none_outdated)
        said = judged["refusal"].to_list()
        assert [one and one.partition(" prohibits")[0] for one in said] == [refusal, refusal, UNKNOWN]
    assert "LATE" not in standing_now(then, made(), USES, none_outdated)["statements"][0]


def test_a_column_that_is_gone_takes_what_was_stated_of_it_along_and_so_the_example() -> None:
    then = made().frame
    renamed = make_snapshot({ref: {"colour": row["x"]} for ref, row in COLOURS.items()})
    now = made(make_world(bindings={"x": "colour"}), renamed)
    assert now.frame.height == 2
    assert standing_now(then, now, USES, none_outdated)["refusal"].to_list() == [COLUMN_GONE] * 2


def test_what_a_label_stated_of_its_answer_holds_for_that_answer() -> None:
    said = '{"prohibited_uses":["training"],"usage_reason":"quoted"}'
    then = made(decisions=decided("a", uses=said)).frame
    other = decided("a", answer="no", uses='{"prohibited_uses":[]}', at=later(1))
    now = made(decisions=[*decided("a", uses=said), *other])
    assert "quoted" not in now.frame["usage_statements"][0]
    (statements,) = standing_now(then, now, USES, none_outdated)["statements"][:1]
    assert "its label" in statements
    assert "quoted" not in statements


def test_a_use_that_no_policy_knows_any_more_permits_nothing() -> None:
    own = UsageStatement("sheet s", allowed_uses=(*USES, "benchmarking"))
    now = Examples(made().frame.with_columns(pl.lit(f"[{_json(own)}]").alias("item_statements")), made().refusals)
    (first, _) = standing_now(made().frame, now, USES, none_outdated)["refusal"].to_list()
    assert "unknown use 'benchmarking'" in first


def _json(statement: UsageStatement) -> str:
    return identity.canonical_text({"source": statement.source, "allowed_uses": list(statement.allowed_uses or ())})
