"""Figures of diversity: what is the same counts as the same, whatever the order, and of a large table a sample is looked at."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, strategies as st

from workbench_pipelines.clients.embeddings import embed
from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.diversity import (
    BLEU_TEXTS,
    DIVERSITY,
    NGRAM_TEXTS,
    distinct,
    diversity_of,
    diversity_table,
    evenness,
    self_bleu,
    spread,
)
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import define, provider, put, sheet, template, tickets, training_sheet

__all__ = ["provider"]


def rows_of(texts: list[str], kinds: str = "ab") -> pl.DataFrame:
    return pl.DataFrame(
        {
            "pair_id": [f"p{number}" for number in range(len(texts))],
            "response": [json.dumps({"answer": text}) for text in texts],
            "inputs": [json.dumps({"question": f"{text}?", "n": 1}) for text in texts],
            "attributes": [
                json.dumps({"kind": kinds[number % len(kinds)], "n": number}) for number in range(len(texts))
            ],
        }
    )


def figure(figures: pl.DataFrame, of: str, metric: str) -> float:
    return float(figures.filter(of=of, metric=metric)["value"].item())


def test_distinct_counts_words_and_their_neighbours() -> None:
    assert distinct(["a b", "a b"], 1) == 0.5
    assert distinct(["a b c", "a b d"], 2) == 0.75
    assert distinct(["One. two"], 1) == 1
    assert distinct(["a"], 3) is None


def test_texts_that_say_the_same_are_foretold_by_each_other() -> None:
    same = ["The invoice was charged twice in March."] * 5
    other = ["The invoice was charged twice.", "Password mails never arrive here", "Who may sign for a delivery today?"]
    assert self_bleu(same) == pytest.approx(1)
    assert (self_bleu(other) or 0) < 0.2
    assert self_bleu(["one"]) is None
    assert spread(embed(same)) == pytest.approx(0, abs=1e-6)
    assert (spread(embed(other)) or 0) > 0.3


@given(st.lists(st.lists(st.floats(-1, 1, width=32), min_size=3, max_size=3), min_size=2, max_size=8))
def test_the_spread_is_the_mean_over_all_pairs(vectors: list[list[float]]) -> None:
    array = np.array(vectors, dtype=np.float32)
    lengths = np.linalg.norm(array.astype(np.float64), axis=1)
    array = array[lengths > 1e-3]
    if len(array) < 2:
        return
    unit = array / np.linalg.norm(array, axis=1)[:, None]
    pairs = [1 - float(unit[a] @ unit[b]) for a in range(len(unit)) for b in range(len(unit)) if a != b]
    assert spread(array) == pytest.approx(sum(pairs) / len(pairs), abs=1e-4)


@given(st.lists(st.integers(1, 100), min_size=2, max_size=9))
def test_evenness_is_between_none_and_all(counts: list[int]) -> None:
    assert 0 <= evenness(counts) <= 1 + 1e-9
    assert evenness([7] * len(counts)) == pytest.approx(1)
    assert evenness([5]) == 0


def test_the_figures_do_not_depend_on_the_order_and_cover_strata() -> None:
    rows = rows_of([f"answer {number} of many" for number in range(50)], "aab")
    one, other = (diversity_of("ts", part, embed) for part in (rows, rows.reverse()))
    assert one.equals(other)
    assert one.schema == DIVERSITY
    assert figure(one, "answers", "distinct_1") == pytest.approx(53 / 200)
    shares = dict(one.filter(of="kind", metric="share").select("stratum", "value").iter_rows())
    assert shares == {"a": 34 / 50, "b": 16 / 50}
    assert one.filter(of="n").is_empty()  # a value for each row is no stratum
    hidden = diversity_of("ts", rows, embed, show_values=False)
    assert hidden.filter(of="kind", metric="share")["stratum"].to_list() == ["#1", "#2"]
    assert "| kind | share | a | 0.680 | 50 of 50 |" in diversity_table(one)


def test_a_large_table_is_sampled_and_says_so() -> None:
    figures = diversity_of("ts", rows_of([f"text {number}" for number in range(20_000)]), embed)
    sampled = dict(figures.filter(of="answers").select("metric", "sampled").iter_rows())
    assert (sampled["distinct_2"], sampled["self_bleu"]) == (NGRAM_TEXTS, BLEU_TEXTS)
    assert set(figures["rows"]) == {20_000}


def test_nothing_is_said_of_no_rows() -> None:
    assert diversity_of("ts", rows_of([]), embed).is_empty()


def test_the_figures_are_kept_by_a_run(project: Project, provider: ScriptedProvider) -> None:
    def answer(body: Mapping[str, Any]) -> str:
        return json.dumps({"reason": f"since it says {str(body['messages'][-1]['content'])[-20:]}"})

    provider.answer_by(answer)
    put(project, tickets(12))
    why = template(output_schema=[{"name": "reason", "type": "string"}], label_type="why")
    define(project, sheet(), training_sheet(), why)
    assert project("run").code in (0, 5)
    asked = project("sql", "SELECT metric, value FROM diversity WHERE \"of\" = 'answers' ORDER BY metric", "--json")
    assert asked.code == 0, asked.err
    found = {row["metric"]: row["value"] for row in asked.json}
    assert set(found) == {"distinct_1", "distinct_2", "distinct_3", "embedding_spread", "self_bleu"}
    assert 0 < found["distinct_1"] < 1
