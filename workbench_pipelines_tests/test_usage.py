"""More sources only narrow what may be done with a pair, and every refusal says who refuses."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings, strategies as st

from workbench_pipelines.errors import DefinitionError
from workbench_pipelines.usage import (
    CLASSIFICATIONS,
    USES,
    UsageStatement,
    effective_use,
    known_classification,
    known_use,
    statements_from_json,
    statements_to_json,
    strictest,
)

settings.register_profile("no deadline", deadline=None)  # a busy machine is no failure
settings.load_profile("no deadline")

some_uses = st.lists(st.sampled_from(USES), unique=True).map(tuple)
statements = st.builds(
    UsageStatement,
    source=st.sampled_from(["sheet iris", "tag PHI", "label", "example 7"]),
    allowed_uses=st.none() | some_uses,
    prohibited_uses=some_uses,
    data_classification=st.none() | st.sampled_from(CLASSIFICATIONS),
    columns=st.none() | st.lists(st.sampled_from(["name", "age"]), min_size=1, unique=True).map(tuple),
    reason=st.none() | st.just("a licence says so"),
)
sets = st.lists(statements, max_size=5)


def sheet(*allowed: str, **fields: object) -> UsageStatement:
    return UsageStatement("sheet iris", allowed, **fields)  # type: ignore[arg-type]


@given(sets, statements)
def test_one_more_statement_widens_nothing_once_something_is_allowed(
    before: list[UsageStatement], more: UsageStatement
) -> None:
    base = effective_use([sheet(*USES), *before])
    narrowed = effective_use([sheet(*USES), *before, more])
    assert set(narrowed.allowed_uses) <= set(base.allowed_uses)
    assert set(narrowed.prohibited_uses) >= set(base.prohibited_uses)


@given(sets, some_uses, st.sampled_from(CLASSIFICATIONS))
def test_a_prohibition_and_a_stricter_classification_never_widen(
    before: list[UsageStatement], prohibited: tuple[str, ...], classification: str
) -> None:
    base = effective_use(before)
    narrowed = effective_use([*before, UsageStatement("tag PHI", None, prohibited, classification)])
    assert set(narrowed.allowed_uses) == set(base.allowed_uses) - set(prohibited)
    if any(one.data_classification for one in before):
        rank = CLASSIFICATIONS.index
        assert rank(narrowed.data_classification) >= rank(base.data_classification)


@given(sets, st.randoms())
def test_order_and_repetition_do_not_matter(some: list[UsageStatement], random: object) -> None:
    shuffled = [*some, *some]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = effective_use(some), effective_use(shuffled)
    assert (one.allowed_uses, one.prohibited_uses, one.data_classification) == (
        other.allowed_uses,
        other.prohibited_uses,
        other.data_classification,
    )


@given(sets)
def test_every_use_is_allowed_or_has_a_witness_who_refuses_it(some: list[UsageStatement]) -> None:
    effective = effective_use(some)
    sources = {one.source for one in some} | {"no source"}
    for use in USES:
        refusal = effective.refusal(use)
        assert (refusal is None) == effective.permits(use)
        if refusal is not None:
            assert use in refusal
            assert any(refusal.startswith(source) for source in sources)
            assert refusal in (effective.reason or "")


@given(sets)
def test_uses_are_the_intersection_of_the_allowed_minus_the_prohibited(some: list[UsageStatement]) -> None:
    allowed = [set(one.allowed_uses) for one in some if one.allowed_uses is not None]
    prohibited = {use for one in some for use in one.prohibited_uses}
    expected = set.intersection(*allowed) - prohibited if allowed else set()
    assert set(effective_use(some).allowed_uses) == expected


@given(sets)
def test_statements_travel_as_text_and_back(some: list[UsageStatement]) -> None:
    text = statements_to_json(some)
    assert set(statements_from_json(text)) == set(some)
    assert statements_to_json(reversed(some)) == text
    json.loads(text)


def test_nothing_stated_allows_nothing_and_is_restricted() -> None:
    effective = effective_use([])
    assert effective.allowed_uses == ()
    assert effective.data_classification == "restricted"
    assert effective.refusal("training") == "no source states that training is allowed"


def test_a_source_that_only_prohibits_allows_nothing() -> None:
    assert effective_use([UsageStatement("tag PHI", None, ("training",))]).allowed_uses == ()


def test_a_sheet_that_allows_nothing_is_the_end_of_it() -> None:
    assert effective_use([sheet(), UsageStatement("label", USES)]).allowed_uses == ()


def test_a_refusal_names_the_source_and_its_reason() -> None:
    phi = UsageStatement("tag PHI on patient", None, ("training",), "restricted", reason="health data")
    effective = effective_use([sheet("training", "testing", data_classification="public"), phi])
    assert effective.refusal("training") == "tag PHI on patient prohibits training: health data"
    assert effective.refusal("few_shot") == "sheet iris does not allow few_shot"
    assert effective.refusal("testing") is None
    assert effective.data_classification == "restricted"


def test_a_use_nobody_knows_is_refused_when_asked_for() -> None:
    assert effective_use([sheet(*USES)]).refusal("resale") == "resale is not an allowed use"


@pytest.mark.parametrize("field", ["allowed_uses", "prohibited_uses"])
def test_an_unknown_use_is_an_error_and_never_a_grant(field: str) -> None:
    with pytest.raises(DefinitionError, match="sheet iris: unknown use 'trainig'; did you mean 'training'"):
        effective_use([UsageStatement("sheet iris", **{field: ("trainig",)})])  # type: ignore[arg-type]


def test_a_project_may_know_more_uses() -> None:
    uses = (*USES, "distillation")
    assert effective_use([sheet("distillation")], uses).allowed_uses == ("distillation",)
    assert known_use("distillation", uses, "x") == "distillation"
    with pytest.raises(DefinitionError, match="distillation"):
        effective_use([sheet("distillation")])


def test_the_strictest_classification_counts_and_an_unknown_one_is_an_error() -> None:
    assert strictest(["public", None, "confidential", "internal"]) == "confidential"
    assert strictest([None]) == "restricted"
    with pytest.raises(DefinitionError, match="label: unknown data_classification 'secret'"):
        known_classification("secret", "label")


def test_a_statement_about_columns_counts_only_where_one_of_them_is_shown() -> None:
    phi = UsageStatement("tag PHI", columns=("patient", "notes"))
    assert phi.counts_for(["total", "notes"])
    assert not phi.counts_for(["total"])
    assert not phi.counts_for([])
    assert sheet("training").counts_for([])
