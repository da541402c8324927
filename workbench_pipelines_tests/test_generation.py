"""Drafts: one a prompt, asked only where nobody has answered, and never a pair out of a bad answer."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl
import pytest
from hypothesis import given, strategies as st

from workbench_pipelines.answers import answer_reader
from workbench_pipelines.catalog.documents import PromptTemplate, TrainingSheet
from workbench_pipelines.fields import FieldSpec, json_schema_of
from workbench_pipelines.generation import GENERATED_PAIRS, REFUSALS, Drafts, Model, draft_pairs
from workbench_pipelines.generation_plan import plan_drafts
from workbench_pipelines.identity import response_hash
from workbench_pipelines.requests import Answered, Completion, Refusal, Request
from workbench_pipelines_tests.pair_world import make_rendered
from workbench_pipelines_tests.request_world import NOON, YES, FakeLLM, make_completion

NO = '{"answer":"no"}'
READ = answer_reader(json_schema_of([FieldSpec(name="answer", enum=("yes", "no"))]))
MODEL = Model("local/smollm2", "r1")


def make_template(**spec: Any) -> PromptTemplate:
    values = {
        "version": "1.0.0",
        "label_type": "t",
        "user_prompt_template": "Is {{ x }} right?",
        "output_schema": [{"name": "answer", "type": "string", "enum": ["yes", "no"]}],
        "max_tokens": 20,
    }
    return PromptTemplate.model_validate(
        {"apiVersion": "workbench/v1", "kind": "PromptTemplate", "metadata": {"name": "q"}, "spec": values | spec}
    )


def make_training_sheet(mode: str = "ai_generated") -> TrainingSheet:
    spec = {"sheet": "s", "template": "q", "labeling_mode": mode}
    if mode == "existing_column":
        spec["column"] = "y"
    return TrainingSheet.model_validate(
        {"apiVersion": "workbench/v1", "kind": "TrainingSheet", "metadata": {"name": "ts"}, "spec": spec}
    )


class Answers:
    """Answers without a store: what is in `kept` is found, the rest is asked of `llm`, in a shuffled order."""

    def __init__(self, llm: FakeLLM, kept: dict[str, Completion] | None = None, seed: int = 0) -> None:
        self.llm, self.kept, self.seed = llm, kept or {}, seed

    def __call__(self, requests: Iterable[Request], total: int) -> Iterable[Answered]:
        waiting = list(requests)
        assert len(waiting) == total
        for request in random.Random(self.seed).sample(waiting, total):
            found = self.kept.get(request.request_hash)
            if found is not None and READ(request, found).response is not None:
                yield Answered(request, found, True)
            else:
                said = self.llm(request)
                yield Answered(request, said, False, (said,))


def draft(
    rendered: pl.DataFrame, answers: Answers, live: dict[str, str] | None = None, mode: str = "ai_generated"
) -> Drafts:
    return draft_pairs(make_training_sheet(mode), make_template(), rendered, live or {}, answer=answers, model=MODEL)


def test_every_prompt_gets_a_draft_in_the_order_of_its_item() -> None:
    drafts = draft(make_rendered("c", "a", "b"), Answers(FakeLLM()))
    assert drafts.frame.schema == GENERATED_PAIRS
    assert drafts.frame["item_ref"].to_list() == ["a", "b", "c"]
    row = drafts.frame.to_dicts()[0]
    assert (row["response"], row["response_hash"], row["model"]) == (YES, response_hash(YES), "local/smollm2")
    assert (row["answered_at"], row["cost_usd"], row["labeling_mode"]) == (NOON, 0.5, "ai_generated")
    assert (drafts.calls, drafts.store_hits, drafts.cost_usd, drafts.prompt_tokens) == (3, 0, 1.5, 30)
    assert drafts.refusals.is_empty()


def test_an_item_with_a_live_label_is_never_asked() -> None:
    llm = FakeLLM()
    drafts = draft(make_rendered("a", "b"), Answers(llm), live={"a": "label-1"})
    assert [request.item_ref for request in llm.asked] == ["b"]
    labeled = drafts.frame.to_dicts()[0]
    assert (labeled["canonical_label_id"], labeled["response"], labeled["request_hash"]) == ("label-1", None, None)


def test_nothing_is_asked_where_a_person_writes_the_answers() -> None:
    llm = FakeLLM()
    drafts = draft(make_rendered("a", "b"), Answers(llm), mode="manual")
    assert llm.asked == []
    assert drafts.frame["response"].to_list() == [None, None]
    assert (drafts.calls, drafts.cost_usd) == (0, 0.0)


def test_nothing_is_asked_where_a_column_holds_the_answers() -> None:
    llm = FakeLLM()
    rendered = make_rendered("a", "b").with_columns(pl.Series("column_response", [YES, NO]))
    drafts = draft(rendered, Answers(llm), mode="existing_column")
    assert llm.asked == []
    assert drafts.frame["response"].to_list() == [YES, NO]
    assert drafts.frame["model"].to_list() == [None, None]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("perhaps", "invalid_json"),
        ('{"answer": "perhaps"}', "schema_violation"),
        ("", "empty"),
        (Refusal("transient", "no answer after 3 tries", 3), "transient"),
    ],
)
def test_a_bad_answer_is_a_refusal_and_never_a_pair(said: str | Refusal, reason: str) -> None:
    drafts = draft(make_rendered("a", "b"), Answers(FakeLLM([said])))
    assert drafts.frame.height == 1
    assert drafts.refusals.schema == REFUSALS
    (refusal,) = drafts.refusals.to_dicts()
    assert (refusal["reason"], refusal["training_sheet"]) == (reason, "ts")
    assert refusal["pair_id"] not in drafts.frame["pair_id"].to_list()
    assert "perhaps" not in refusal["detail"]


def test_an_answer_in_the_store_costs_nothing_again_and_makes_the_same_row() -> None:
    paid = Answers(FakeLLM())
    first = draft(make_rendered("a"), paid)
    request = paid.llm.asked[0]
    again = draft(make_rendered("a"), Answers(FakeLLM(), {request.request_hash: make_completion(request)}))
    assert again.frame.equals(first.frame)
    assert (again.calls, again.store_hits, again.cost_usd, again.prompt_tokens) == (0, 1, 0.0, 0)


def test_an_answer_that_breaks_a_changed_schema_is_asked_again() -> None:
    paid = Answers(FakeLLM())
    draft(make_rendered("a"), paid)
    request = paid.llm.asked[0]
    llm = FakeLLM()
    draft(make_rendered("a"), Answers(llm, {request.request_hash: make_completion(request, "{}")}))
    assert len(llm.asked) == 1


def test_one_unknown_price_makes_the_whole_cost_unknown() -> None:
    def answers(requests: Iterable[Request], total: int) -> Iterable[Answered]:
        for cost, request in zip((0.5, None), requests, strict=True):
            said = make_completion(request, cost_usd=cost)
            yield Answered(request, said, False, (said,))

    drafts = draft_pairs(
        make_training_sheet(), make_template(), make_rendered("a", "b"), {}, answer=answers, model=MODEL
    )
    assert drafts.cost_usd is None
    assert drafts.frame["cost_usd"].to_list() == [0.5, None]


def test_what_is_asked_depends_on_the_model_its_revision_and_the_parameters_alone() -> None:
    def hashes(rendered: pl.DataFrame, template: PromptTemplate | None = None, model: Model = MODEL) -> set[str]:
        llm, used = FakeLLM(), template or make_template()
        draft_pairs(make_training_sheet(), used, rendered, {}, answer=Answers(llm), model=model)
        return {request.request_hash for request in llm.asked}

    plain = hashes(make_rendered("a", "b"))
    assert hashes(make_rendered("b", "a", sheet="other")) == plain
    assert hashes(make_rendered("a", "b"), make_template(version="1.1.0")) == plain
    for other in (Model("openai/x", "r1"), Model(MODEL.name, "r2"), Model(MODEL.name, "r1", "http://127.0.0.1/v1")):
        assert not hashes(make_rendered("a", "b"), model=other) & plain
    assert not hashes(make_rendered("a", "b"), make_template(temperature=0.5)) & plain


@given(st.integers(0, 2**16), st.lists(st.sampled_from([YES, NO, "", "{}"]), min_size=6, max_size=6))
def test_the_order_of_the_answers_does_not_matter(seed: int, texts: list[str]) -> None:
    by_item = dict(zip("abcdef", texts, strict=True))
    rendered = make_rendered(*by_item)
    one, other = (
        draft(rendered.sample(6, shuffle=True, seed=s), Answers(FakeLLM((), lambda r: by_item[r.item_ref]), seed=s))
        for s in (0, seed)
    )
    assert one.frame.equals(other.frame)
    assert one.refusals.equals(other.refusals)
    assert one.frame.height + one.refusals.height == 6


def test_a_plan_says_what_will_be_called_found_and_spent_at_most() -> None:
    paid = Answers(FakeLLM())
    draft(make_rendered("a"), paid)
    request = paid.llm.asked[0]
    kept = {request.request_hash}

    def is_kept(requests: Sequence[Request]) -> list[bool]:
        return [request.request_hash in kept for request in requests]

    plan = plan_drafts(
        make_training_sheet(), make_template(), make_rendered(*"abcd"), {"b": "label-1"}, model=MODEL, is_kept=is_kept
    )
    assert (plan.calls, plan.store_hits, plan.covered, plan.calls_at_most) == (2, 1, 1, 4)
    assert plan.completion_tokens_at_most == 4 * 20
    words = sum(len(json.dumps(m)) for m in [{"role": "user", "content": "Is a right?"}])
    assert plan.prompt_tokens_at_most >= 2 * words // 4


def test_an_empty_sheet_of_prompts_makes_empty_tables() -> None:
    drafts = draft(make_rendered("a").clear(), Answers(FakeLLM()))
    assert (drafts.frame.schema, drafts.frame.height) == (GENERATED_PAIRS, 0)
    assert (drafts.refusals.schema, drafts.refusals.height) == (REFUSALS, 0)
