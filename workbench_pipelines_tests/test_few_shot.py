"""Which examples a prompt shows: the most similar ones, in a settled order, and none that gives the answer away."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, strategies as st

from workbench_pipelines import few_shot, identity
from workbench_pipelines.few_shot import (
    NEAR_DUPLICATE,
    Pool,
    example_figures,
    is_same_item,
    near_duplicates,
    pool_of,
    shingles,
    show_examples,
    similarities,
)
from workbench_pipelines.prompts import RENDERED_PROMPTS
from workbench_pipelines.usage import USES, UsageStatement, effective_use, statements_from_json, statements_to_json
from workbench_pipelines_tests.definition_world import OPEN

MODEL = "directions"


def embed(texts: list[str]) -> np.ndarray:
    """Texts that end in a number of degrees point in that direction."""
    angles = [math.radians(float(text.split()[-1])) for text in texts]
    return np.array([[math.cos(angle), math.sin(angle)] for angle in angles], dtype=np.float32)


def make_prompt(ref: str, degrees: float, **given: Any) -> dict[str, Any]:
    messages = [
        {"role": "system", "content": "Be brief.", "parts": None},
        {"role": "user", "content": f"{ref} at {degrees}", "parts": None},
    ]
    row = dict.fromkeys(RENDERED_PROMPTS) | {
        "sheet": "s",
        "item_ref": ref,
        "messages": messages,
        "prompt_hash": identity.prompt_hash(messages),
        "inputs": identity.canonical_text({"x": f"words of {ref} alone"}),
        "usage_statements": statements_to_json([OPEN]),
        "seen_columns": ["x"],
        "seen_hash": "seen",
        "example_ids": [],
    }
    return row | given


def make_example(ref: str, degrees: float, **given: Any) -> dict[str, Any]:
    row = {
        "example_id": f"e-{ref}",
        "sheet": "t",
        "item_ref": ref,
        "input": f"{ref} at {degrees}",
        "inputs": identity.canonical_text({"x": f"example text number {ref}"}),
        "expected_output": '{"answer":"yes"}',
        "statements": statements_to_json([UsageStatement("sheet t", allowed_uses=USES)]),
        "embedding": embed([f"{degrees}"])[0].tolist(),
        "embedding_model": MODEL,
    }
    return row | given


def make_pool(*examples: dict[str, Any]) -> Pool:
    return pool_of(pl.DataFrame(list(examples)), embed, MODEL)


def shown(prompts: list[dict[str, Any]], pool: Pool, k: int = 2) -> pl.DataFrame:
    return show_examples(pl.DataFrame(prompts, schema=RENDERED_PROMPTS), pool, k=k, lead=1, embed=embed)


def test_the_most_similar_examples_stand_before_the_question_the_nearest_last() -> None:
    pool = make_pool(*(make_example(f"{n:02}", n) for n in range(0, 90, 10)))
    (row,) = shown([make_prompt("a", 32)], pool).to_dicts()
    assert row["example_ids"] == ["e-40", "e-30"]
    assert [(m["role"], m["content"]) for m in row["messages"]] == [
        ("system", "Be brief."),
        ("user", "40 at 40"),
        ("assistant", '{"answer":"yes"}'),
        ("user", "30 at 30"),
        ("assistant", '{"answer":"yes"}'),
        ("user", "a at 32"),
    ]
    assert row["prompt_hash"] == identity.prompt_hash(row["messages"])
    assert (row["seen_columns"], row["seen_hash"]) == (["x"], "seen")


def test_equally_similar_examples_count_in_the_order_of_their_items_whatever_the_order_of_the_rows() -> None:
    examples = [make_example(f"{n}", 10 if n % 2 else -10) for n in range(9)]
    forth, back = make_pool(*examples), make_pool(*reversed(examples))
    prompts = [make_prompt("a", 0), make_prompt("b", 9)]
    assert shown(prompts, forth, 3)["example_ids"].to_list() == [["e-2", "e-1", "e-0"], ["e-5", "e-3", "e-1"]]
    assert shown(prompts, back, 3).equals(shown(prompts, forth, 3))


def test_many_prompts_and_many_examples_are_worked_out_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = make_pool(*(make_example(f"{n:03}", n / 3) for n in range(300)))
    prompts = [make_prompt(f"p{n}", n) for n in range(40)]
    whole = shown(prompts, pool, 3)
    monkeypatch.setattr(few_shot, "_CHUNK", 7)
    monkeypatch.setattr(few_shot, "_SPARE", 0)
    assert shown(prompts, pool, 3).equals(whole)
    nearest = similarities([prompt["messages"][1]["content"] for prompt in prompts], pool, embed)
    for row, similar in zip(whole["example_ids"].to_list(), nearest, strict=True):
        places = np.argsort(-similar, kind="stable")[:3]
        assert row == [pool.frame["example_id"][int(place)] for place in places[::-1]]


def test_the_item_itself_what_is_derived_of_it_and_near_duplicates_are_passed_over() -> None:
    text = "one two three four five six seven eight nine ten"
    pool = make_pool(
        make_example("a", 0, sheet="s"),
        make_example("a#1", 0, sheet="s"),
        make_example("copy", 0, inputs=identity.canonical_text({"y": text.upper()})),
        make_example("far", 80),
        make_example("a", 70, example_id="e-of-another-sheet"),
    )
    prompt = make_prompt("a", 0, inputs=identity.canonical_text({"x": text}))
    assert shown([prompt], pool, 9)["example_ids"].to_list() == [["e-far", "e-of-another-sheet"]]


def test_fewer_examples_than_asked_for_are_all_shown_and_counted() -> None:
    frame = shown([make_prompt("a", 0), make_prompt("b", 0)], make_pool(make_example("1", 0)), 2)
    assert example_figures(frame, 2) == {"examples_shown": 1, "prompts_short_of_examples": 2}
    none = shown([make_prompt("a", 0)], Pool(pl.DataFrame(schema={"input": pl.String}), np.zeros((0, 1))))
    assert none["messages"].list.len().to_list() == [2]
    assert example_figures(none, 2) == {"examples_shown": 0, "prompts_short_of_examples": 1}


def test_what_is_stated_of_an_example_is_stated_of_the_prompt_that_shows_it_alone() -> None:
    narrow = UsageStatement("sheet t", allowed_uses=("few_shot",), columns=("y",), data_classification="confidential")
    pool = make_pool(make_example("1", 0, statements=statements_to_json([narrow])), make_example("2", 90))
    near, far = shown([make_prompt("a", 0), make_prompt("b", 90)], pool, 1).to_dicts()
    use = effective_use(statements_from_json(near["usage_statements"]))
    assert (use.allowed_uses, use.data_classification) == (("few_shot",), "confidential")
    assert use.refusal("training") == "few-shot example of t: sheet t does not allow training"
    assert effective_use(statements_from_json(far["usage_statements"])).allowed_uses == USES


def test_an_example_of_another_embedding_model_is_embedded_again() -> None:
    pool = make_pool(make_example("1", 0, embedding=[1.0, 2.0, 3.0], embedding_model="another"), make_example("2", 50))
    assert similarities(["0"], pool, embed)[0].tolist() == pytest.approx([1.0, 0.6428])


def jaccard(one: str, other: str) -> float:
    """By its definition, over runs of three words."""

    def runs(text: str) -> set[tuple[str, ...]]:
        words = text.split()
        return {tuple(words[n : n + 3]) for n in range(len(words) - 2)} or {tuple(words)}

    return len(runs(one) & runs(other)) / len(runs(one) | runs(other))


WORDS = st.lists(st.sampled_from(["a", "b", "c"]), max_size=12).map(" ".join)


@given(one=WORDS, other=WORDS)
def test_near_duplicates_are_those_by_definition(one: str, other: str) -> None:
    texts = (identity.canonical_text({"x": one}), identity.canonical_text({"y": [other, None]}))
    first, second = map(shingles, texts)
    assert near_duplicates(first, second) == (jaccard(one, other) >= NEAR_DUPLICATE)
    assert near_duplicates(second, first) == near_duplicates(first, second)


def test_items_are_the_same_by_sheet_and_name() -> None:
    assert is_same_item("s", "a", "s", "a")
    assert is_same_item("s", "a#2", "s", "a")
    assert not is_same_item("s", "a#2", "s", "a#20")
    assert not is_same_item("s", "a", "t", "a")
    assert not is_same_item("s", "ab", "s", "a")
