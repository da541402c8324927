"""What is found in pairs: faults by their names, copies, personal data, toxic words, languages, rules between labels."""

from __future__ import annotations

import json
from typing import Any

import polars as pl
import pytest
from hypothesis import given, strategies as st

from workbench_pipelines.answer_quality import FAULTS, faults_of, score_of, usual_length
from workbench_pipelines.catalog.quality_specs import ConsistencyRule, QualitySpec
from workbench_pipelines.catalog.variety import AnswerLanguageSpec
from workbench_pipelines.clients.language_identification import identify
from workbench_pipelines.clients.personal_data import is_installed, personal_data_in
from workbench_pipelines.clients.toxic_words import toxic_words
from workbench_pipelines.consistency import broken_rules
from workbench_pipelines.errors import FilterError
from workbench_pipelines.identity import canonical_text, response_hash
from workbench_pipelines.pair_looking import LOOKS
from workbench_pipelines.pair_quality import NEEDS, PAIR_QUALITY, answers_to_look_at, flag_counts, look_at
from workbench_pipelines.pairs import label_pairs
from workbench_pipelines.toxicity import TOXIC, toxicity_of
from workbench_pipelines.usage import USES
from workbench_pipelines_tests.pair_world import SCHEMA, ledger, make_generated, make_rendered
from workbench_pipelines_tests.toxicity_sentences import TECHNICAL, TOXIC as TOXIC_SENTENCES

FREE = {
    "type": "object",
    "properties": {"answer": {"type": "string"}},
    "required": ["answer"],
    "additionalProperties": False,
}
SOUND = "The valve on the left closes the pipe, and the pump stops by itself after a minute."


def faults(text: str, shown: str = "How is it closed?", schema: dict[str, Any] = FREE) -> list[str]:
    return faults_of(json.dumps({"answer": text}), shown, schema)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (SOUND, []),
        ("", ["empty"]),
        (" \n ", ["empty"]),
        ("Zürich", []),
        ("As an AI language model, I can not look into pipes.", ["declines"]),
        ("I'm sorry, but that is not something I know.", ["declines"]),
        ("He was sorry that the valve had not been closed.", []),
        ("Dear [Your Name], the valve is closed.", ["placeholder"]),
        ("The array holds [name_1, name_2] and {{ }} is left as it is.", []),
        ("close the valve and " * 12, ["repeats_itself", "cut_off"]),
        ("The valve on the left closes the pipe, and the pump stops by itself after the", ["cut_off"]),
        ("x" * 200, []),
        ("\n".join(f"- step {number}" for number in range(20)), []),
    ],
)
def test_a_fault_is_named(text: str, found: list[str]) -> None:
    assert faults(text) == found


def test_an_answer_that_repeats_the_question_is_none() -> None:
    assert faults("How is the left valve closed?", "how is the left valve closed") == ["echoes_the_prompt"]
    assert faults("T-12", "T-12") == []  # a value that was asked for


def test_an_answer_outside_its_schema_is_worth_nothing() -> None:
    found = faults_of('{"answer":"maybe"}', "", SCHEMA)
    assert found == ["not_in_schema"]
    assert score_of(found) == 0


def test_an_answer_that_is_much_longer_than_its_peers_is_odd() -> None:
    peers = [json.dumps({"answer": f"The pump number {number} stops by itself."}) for number in range(40)]
    usual = usual_length(peers, FREE)
    assert usual is not None
    assert faults_of(json.dumps({"answer": " ".join(f"word{n}" for n in range(400)) + "."}), "", FREE, usual) == [
        "odd_length"
    ]
    assert faults_of(peers[0], "", FREE, usual) == []
    assert usual_length(peers[:5], FREE) is None


@given(st.sets(st.sampled_from(list(FAULTS))))
def test_one_more_fault_never_makes_a_better_score(found: set[str]) -> None:
    names = sorted(found)
    assert 0 <= score_of(names) <= 1
    for name in names:
        assert score_of(names) <= score_of([one for one in names if one != name])


def test_toxicity_flags_as_many_as_the_docs_say() -> None:
    alarms = toxicity_of(pl.Series(TECHNICAL), toxic_words()) >= TOXIC
    hits = toxicity_of(pl.Series(TOXIC_SENTENCES), toxic_words()) >= TOXIC
    assert (len(TECHNICAL), int(alarms.sum())) == (84, 2)
    assert (len(TOXIC_SENTENCES), int(hits.sum())) == (60, 37)
    assert toxicity_of(pl.Series(["The kill switch stops the motor."]), toxic_words()).item() < TOXIC


@given(st.lists(st.text(max_size=30), min_size=1, max_size=5))
def test_toxicity_is_a_share_for_any_text_and_null_for_none(texts: list[str]) -> None:
    scores = toxicity_of(pl.Series([*texts, None], dtype=pl.String), toxic_words())
    assert scores[:-1].is_between(0, 1).all()
    assert scores[-1] is None


def test_personal_data_is_named_by_its_kind_and_never_by_its_value() -> None:
    pytest.importorskip("presidio_analyzer")
    texts = {
        "Write to ann.smith@example.org please": ["EMAIL_ADDRESS"],
        "card 4111 1111 1111 1111 was declined": ["CREDIT_CARD"],
        "pay to DE89 3704 0044 0532 0130 00": ["IBAN_CODE"],
        "login from 192.168.10.20": ["IP_ADDRESS"],
        "call +49 30 901820": ["PHONE_NUMBER"],
        "The invoice 20240501-123 has 12 pages and costs 1234.56": [],
        "5.1\n3.5\n1.4\n0.2": [],
        "nothing of the kind": [],
    }
    assert personal_data_in(pl.Series(list(texts))).to_list() == list(texts.values())
    assert not any(personal_data_in(pl.Series(TECHNICAL)).list.len().to_list())
    assert personal_data_in(pl.Series([None], dtype=pl.String)).to_list() == [None]


def test_what_nobody_looked_for_is_not_said_to_be_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench_pipelines.clients.personal_data.importlib.util.find_spec", lambda name: None)
    assert not is_installed()
    assert personal_data_in(pl.Series(["ann.smith@example.org"])).to_list() == [None]


def answers(*rows: tuple[str, str], labeled: bool = False) -> pl.DataFrame:
    """Answers to look at, of what is shown and what is said."""
    said = [canonical_text({"answer": text}) for _, text in rows]
    return pl.DataFrame(
        {
            "training_sheet": "ts",
            "pair_id": [f"p{number}" for number in range(len(rows))],
            "sheet": "s",
            "item_ref": [str(number) for number in range(len(rows))],
            "label_type": "t",
            "inputs": [canonical_text({"x": shown}) for shown, _ in rows],
            "response": said,
            "response_hash": [response_hash(text) for text in said],
            "is_label": labeled,
        }
    )


def needs(found: pl.DataFrame) -> list[list[str]]:
    return found["needs"].to_list()


LONG = "The left valve of the second boiler leaks since Monday and nobody has looked at it yet, so please send someone today."


def test_a_copy_names_the_pair_it_copies_and_a_contradiction_is_none() -> None:
    rows = [
        (LONG, "yes"),
        (LONG, "yes"),
        (LONG.replace("Monday", "Tuesday"), "yes"),
        (LONG, "no"),
        ("another one", "no"),
    ]
    found = look_at(answers(*rows), QualitySpec(pii=False), SCHEMA, LOOKS)
    assert found["duplicate_of"].to_list() == [None, "p0", "p0", None, None]
    assert found["duplicate"].to_list() == [None, "exact", "near", None, None]
    assert needs(found) == [
        ["answered_otherwise"],
        ["answered_otherwise", "duplicate"],
        ["near_duplicate"],
        ["answered_otherwise"],
        [],
    ]
    assert flag_counts(found) == {"answered_otherwise": 3, "duplicate": 1, "near_duplicate": 1}


def test_every_reason_has_a_name_and_the_columns_are_those_that_are_promised() -> None:
    rows = [("What is it?", "You fucking idiot, shut up."), ("You stupid moron, fuck you. What is it?", SOUND)]
    found = look_at(answers(*rows), QualitySpec(pii=False), FREE, LOOKS)
    assert found.schema == PAIR_QUALITY
    assert needs(found) == [["toxic_answer"], ["toxic_input"]]
    assert set().union(*needs(found)) <= set(NEEDS)
    assert found["pii"].to_list() == [None, None]  # not looked at
    assert look_at(answers(("a", "b")).clear(), QualitySpec(), FREE, LOOKS).schema == PAIR_QUALITY


def test_an_answer_in_another_language_than_expected_is_flagged() -> None:
    spec = AnswerLanguageSpec(**{"is": "de"})
    rows = [("x", "Das Ventil auf der linken Seite ist seit Montag undicht."), ("y", SOUND), ("z", "ok")]
    looked = look_at(
        answers(*rows),
        QualitySpec(pii=False),
        FREE,
        LOOKS,
        languages=dict.fromkeys(["p0", "p1", "p2"], "de"),
        answer_language=spec,
    )
    assert looked["language"].to_list() == ["de", "en", None]
    assert needs(looked) == [[], ["wrong_language"], []]
    assert next(iter(identify(SOUND))) == "en"


RULES = (
    ConsistencyRule(name="urgent", when="answer = 'yes'", then='"urgency.level" >= 2'),
    ConsistencyRule(name="closed", when='"state.open" IS FALSE', then="answer <> 'yes'"),
)
OTHERS = {
    "urgency": {"type": "object", "properties": {"level": {"type": "integer"}}},
    "state": {"type": "object", "properties": {"open": {"type": "boolean"}}},
}


def labels_of(*rows: tuple[str, str, dict[str, Any]]) -> pl.DataFrame:
    said = [(item, label_type, canonical_text(data)) for item, label_type, data in rows]
    return pl.DataFrame(said, schema=["item_ref", "label_type", "label_data"], orient="row")


def test_labels_that_can_not_both_be_right_break_a_rule_by_its_name() -> None:
    labels = labels_of(("0", "urgency", {"level": 1}), ("0", "state", {"open": False}), ("1", "urgency", {"level": 3}))
    found = broken_rules(
        RULES, answers(("a", "yes"), ("b", "yes"), ("c", "yes")), labels, own=SCHEMA, others=OTHERS, where="f: ts"
    )
    assert found.rows() == [("p0", ["urgent", "closed"])]
    looked = look_at(answers(("a", "yes"), ("b", "yes")), QualitySpec(pii=False), SCHEMA, LOOKS, inconsistent=found)
    assert needs(looked) == [["inconsistent"], []]


def test_a_rule_over_what_is_not_there_names_the_rule() -> None:
    rule = ConsistencyRule(name="typo", when="anwser = 'yes'", then="TRUE")
    with pytest.raises(FilterError, match=r"f: ts: spec\.consistency\.typo\.when: unknown column 'anwser'"):
        broken_rules([rule], answers(("a", "yes")), labels_of(), own=SCHEMA, others={}, where="f: ts")


def test_what_was_found_in_another_answer_counts_for_nothing() -> None:
    rendered = make_rendered("a", "b")
    generated = make_generated(rendered, {"a": "yes", "b": "yes"}).with_columns(training_sheet=pl.lit("ts"))
    labels = pl.DataFrame(
        schema={
            **dict.fromkeys(("canonical_label_id", "sheet", "item_ref", "label_type", "label_data"), pl.String),
            **dict.fromkeys(("active", "stale"), pl.Boolean),
            **dict.fromkeys(("allowed_uses", "prohibited_uses"), pl.List(pl.String)),
            **dict.fromkeys(("usage_reason", "data_classification", "last_modified_by"), pl.String),
            "last_modified_at": pl.Datetime("us", "UTC"),
        }
    )
    looked = look_at(answers_to_look_at(rendered, generated, labels), QualitySpec(pii=False), SCHEMA, LOOKS)
    assert looked["quality_score"].to_list() == [1.0, 1.0]
    other = make_generated(rendered, {"a": "no", "b": "yes"}).with_columns(training_sheet=pl.lit("ts"))
    pairs = label_pairs(
        rendered, other, labels, ledger(), schema=SCHEMA, trusted=False, vocabulary=USES, quality=looked
    )
    assert dict(pairs.select("item_ref", "quality_score").iter_rows()) == {"a": None, "b": 1.0}
