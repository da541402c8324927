"""Whatever reaches a pair on its way from a source to the gate only narrows what may be done with it, in any order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from hypothesis import assume, given, settings, strategies as st

from workbench_pipelines import identity
from workbench_pipelines.catalog import Sheet
from workbench_pipelines.catalog.documents import TagPolicy
from workbench_pipelines.few_shot import pool_of, show_examples
from workbench_pipelines.gates import USE_OF_SPLIT, judge
from workbench_pipelines.labels import fold_labels
from workbench_pipelines.pair_quality import PAIR_QUALITY
from workbench_pipelines.pairs import label_pairs
from workbench_pipelines.prompts import render_prompts
from workbench_pipelines.sheets import take_snapshot
from workbench_pipelines.templates import compile_template
from workbench_pipelines.usage import USES, UsageStatement, statements_to_json
from workbench_pipelines_tests.definition_world import YES_NO, make_document, make_template, make_training_sheet
from workbench_pipelines_tests.pair_world import ledger, make_decision, make_generated

ANSWER = identity.canonical_text({"answer": "yes"})
SCHEMA = {"type": "object", "properties": {"answer": {"enum": ["yes", "no"]}}}
POLICIES = {
    "NO_TRAIN": TagPolicy(prohibited_uses=("training",), data_classification="internal", reason="its licence"),
    "PHI": TagPolicy(prohibited_uses=("training", "validation", "few_shot"), data_classification="restricted"),
    "ONLY_TEST": TagPolicy(allowed_uses=("evaluation", "testing")),
}
TAGS = tuple(POLICIES)


class Source(NamedTuple):
    """Something that reaches the pair: its kind, and the tag or the uses that it states."""

    kind: str
    tag: str = ""
    allowed: tuple[str, ...] | None = None
    prohibited: tuple[str, ...] = ()


uses = st.lists(st.sampled_from(USES), unique=True, max_size=4).map(tuple)
tagged = st.builds(
    Source,
    st.sampled_from(["table", "column", "row", "joined tag"]),
    st.sampled_from(TAGS),
    allowed=st.none(),
    prohibited=st.just(()),
)
stating = st.builds(
    Source,
    st.sampled_from(["joined", "label", "example", "judge"]),
    tag=st.just(""),
    allowed=st.none() | uses,
    prohibited=uses,
)
sources = st.lists(tagged | stating, max_size=5)


def sheet_of(given_: Sequence[Source]) -> Sheet:
    def tags(kind: str) -> list[str]:
        return [one.tag for one in given_ if one.kind == kind]

    joined = [one for one in given_ if one.kind in ("joined", "joined tag")]
    secondary: list[dict[str, Any]] = [{"name": "base", "path": "base.csv", "join_keys": ["key"]}]
    for number, one in enumerate(joined):
        stated: dict[str, Any] = {"source_tags": [one.tag]} if one.tag else {"usage": _stated(one)}
        secondary.append({"name": f"s{number}", "path": "more.csv", "join_keys": ["key"], **stated})
    rules = [{"when": "x = 'red'", "tags": [tag]} for tag in tags("row")]
    return Sheet.model_validate(
        make_document(
            "Sheet",
            "s",
            primary_table="rows.csv",
            item_ref="item",
            secondary_sources=secondary,
            usage={"allowed_uses": list(USES), "data_classification": "public", "rows": rules},
            source_tags=tags("table"),
            columns={"name": {"tags": tags("column")}} if tags("column") else {},
        )
    )


def pair_of(given_: Sequence[Source], *, shows: Sequence[str] = ("x", "name")) -> pl.DataFrame:
    """The pair that comes of one red item when these sources reach it; of all the columns that joins bring, every one is shown."""
    sheet = sheet_of(given_)
    extra = [f"{one.name}_more" for one in sheet.spec.secondary_sources[1:]]
    primary = pl.DataFrame({"item": ["a"], "x": ["red"], "name": ["Quill"], "key": ["k"]})
    tables = {"base": pl.DataFrame({"key": ["k"], "house": ["North"]})}
    tables |= {f"s{number}": pl.DataFrame({"key": ["k"], f"s{number}_more": ["m"]}) for number in range(len(extra))}
    snapshot = take_snapshot(sheet, primary, tables, policies=POLICIES, vocabulary=USES, where="s.yaml").frame
    template = make_template(
        " ".join(f"{{{{ {name} }}}}" for name in (*shows, *extra)), output_schema=YES_NO, label_type="t"
    )
    prompts = render_prompts(
        make_training_sheet(), template, compile_template(template, {}, "t.yaml"), snapshot, where="ts.yaml"
    ).frame
    prompts = show_examples(prompts, _pool(given_), k=9, lead=0, embed=_embed)
    (name,) = prompts["pair_id"]
    labels = fold_labels(ledger(*_decisions(given_)), None)
    quality = _quality(given_, name)
    return label_pairs(
        prompts,
        make_generated(prompts, {"a": "yes"}),
        labels,
        ledger(),
        schema=SCHEMA,
        trusted=False,
        vocabulary=USES,
        quality=quality,
    )


def permitted(given_: Sequence[Source], **how: Any) -> set[str]:
    """The splits that the gate lets the pair into."""
    pair = pair_of(given_, **how).with_columns(status=pl.lit("labeled"))
    return {split for split in USE_OF_SPLIT if judge(pair.with_columns(split=pl.lit(split)), USES)[0].height == 1}


def _stated(one: Source) -> dict[str, Any]:
    stated: dict[str, Any] = {"prohibited_uses": list(one.prohibited)}
    return stated if one.allowed is None else stated | {"allowed_uses": list(one.allowed)}


def _statement(one: Source, name: str) -> UsageStatement:
    return UsageStatement(name, one.allowed, one.prohibited)


def _decisions(given_: Sequence[Source]) -> list[dict[str, Any]]:
    """A label that states nothing, and what is stated of it since; none where a judge's word is to count."""
    if any(one.kind == "judge" for one in given_):
        return []
    said = [
        make_decision(
            action="restrict",
            answer=None,
            uses=identity.canonical_text({**_stated(one), "usage_reason": None, "data_classification": None}),
            decision_id=f"r{number}",
            by="stella",
        )
        for number, one in enumerate(given_)
        if one.kind == "label"
    ]
    return [make_decision(decision_id="0"), *said]


def _pool(given_: Sequence[Source]) -> Any:
    shown = [one for one in given_ if one.kind == "example"]
    rows = [
        {
            "example_id": f"e{number}",
            "sheet": "other",
            "item_ref": f"o{number}",
            "input": f"unlike {number}",
            "inputs": identity.canonical_text({"x": f"words of its own {number}"}),
            "expected_output": ANSWER,
            "statements": statements_to_json([_statement(one, f"sheet other{number}")]),
            "embedding": [1.0, 0.0],
            "embedding_model": "m",
        }
        for number, one in enumerate(shown)
    ]
    names = ("example_id", "sheet", "item_ref", "input", "inputs", "expected_output", "statements", "embedding_model")
    schema = {**dict.fromkeys(names, pl.String), "embedding": pl.List(pl.Float32)}
    return pool_of(pl.DataFrame(rows, schema=schema), _embed, "m")


def _embed(texts: list[str]) -> np.ndarray:
    return np.ones((len(texts), 2), dtype=np.float32)


def _quality(given_: Sequence[Source], pair_id: str) -> pl.DataFrame:
    judges = [_statement(one, f"judge's rubric {number}") for number, one in enumerate(given_) if one.kind == "judge"]
    row = dict.fromkeys(PAIR_QUALITY) | {
        "pair_id": pair_id,
        "response_hash": identity.response_hash(ANSWER),
        "judge_statements": statements_to_json(judges) if judges else None,
    }
    return pl.DataFrame([row], schema=PAIR_QUALITY)


def test_with_nothing_but_an_open_sheet_every_split_is_permitted() -> None:
    assert permitted([]) == {"train", "val", "test"}


@settings(max_examples=60, deadline=None)
@given(sources, tagged | stating)
def test_one_more_source_never_widens_a_use(before: list[Source], more: Source) -> None:
    kinds = {one.kind for one in (*before, more)}
    # Where an expert's label stands, no judge speaks: a road has the one or the other at its end.
    assume(not kinds >= {"judge", "label"})
    ends = [Source("judge")] if "judge" in kinds else []
    assert permitted([*ends, *before, more]) <= permitted([*ends, *before])


@settings(max_examples=30, deadline=None)
@given(sources, st.randoms())
def test_the_order_in_which_sources_come_does_not_matter(given_: list[Source], random: Any) -> None:
    shuffled = list(given_)
    random.shuffle(shuffled)
    columns = ["allowed_uses", "prohibited_uses", "data_classification"]
    assert pair_of(given_).select(columns).equals(pair_of(shuffled).select(columns))


def _refuses(one: Source, use: str) -> bool:
    stated = POLICIES.get(one.tag)
    allowed = stated.allowed_uses if stated else one.allowed
    prohibited = stated.prohibited_uses if stated else one.prohibited
    return use in prohibited or (allowed is not None and use not in allowed)


@settings(max_examples=60, deadline=None)
@given(sources)
def test_a_refusal_is_never_without_somebody_who_refuses_and_names_one(given_: list[Source]) -> None:
    judged = any(one.kind == "judge" for one in given_)
    spoken = [one for one in given_ if not (judged and one.kind == "label")]
    pair = pair_of(spoken).with_columns(status=pl.lit("labeled"))
    for split, use in USE_OF_SPLIT.items():
        admitted, exclusions = judge(pair.with_columns(split=pl.lit(split)), USES)
        refusing = [one for one in spoken if _refuses(one, use)]
        assert bool(refusing) == admitted.is_empty()
        if refusing:
            names = {
                "joined": "source s",
                "label": "its label",
                "example": "few-shot example of other",
                "judge": "judge's rubric",
            }
            (reason,) = exclusions["reason"]
            assert any((f"tag {one.tag}" if one.tag else names[one.kind]) in reason for one in refusing)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(TAGS))
def test_one_item_may_train_the_prompt_that_hides_a_column_and_not_the_one_that_shows_it(tag: str) -> None:
    given_ = [Source("column", tag)]
    assert permitted(given_, shows=("x",)) == {"train", "val", "test"}
    assert "train" not in permitted(given_, shows=("x", "name"))
