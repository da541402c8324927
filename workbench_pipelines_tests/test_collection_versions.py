"""A Collection's version goes one step at a time, is approved by somebody else, and its history is only added to."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise

import polars as pl
import pytest

from workbench_pipelines.access import Roles
from workbench_pipelines.collection_versions import (
    COLLECTION_VERSIONS,
    MOVES,
    STATUSES,
    State,
    check_move,
    parse_status,
    retired_line,
    state_of,
)
from workbench_pipelines.errors import ArgumentError, ExportError

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
ROLES = Roles(reviewers=frozenset({"ann"}), approvers=frozenset({"ann", "bob"}), release=frozenset({"rita"}))


def moved(*steps: tuple[str, str]) -> State:
    """A version after these (status, by)."""
    history = COLLECTION_VERSIONS.to_frame()
    for status, by in steps:
        history = pl.concat([history, state_of(history, "c", 1).event(status, by=by, at=NOON, reason="so")])
    return state_of(history, "c", 1)


def refused(state: State, to: str, by: str, roles: Roles = ROLES, reason: str | None = "so") -> str:
    with pytest.raises(ExportError) as error:
        check_move(state, to, by=by, roles=roles, reason=reason)
    return error.value.line


def test_a_version_of_which_nothing_was_said_is_a_draft() -> None:
    assert (moved().status, moved().number) == ("draft", 0)
    check_move(moved(), "in_review", by="ann", roles=ROLES, reason="so")


@pytest.mark.parametrize("at", STATUSES)
@pytest.mark.parametrize("to", STATUSES)
def test_only_the_moves_that_there_are_are_taken(at: str, to: str) -> None:
    state = State("c", 1, 3, at, "ann", NOON, "so")
    if to in MOVES[at]:
        check_move(state, to, by="zoe", roles=Roles(), reason="so")
    else:
        assert f"is {at} and may become" in refused(state, to, "zoe", Roles())


def test_the_line_from_draft_to_retired_is_whole() -> None:
    assert all(after in MOVES[before] for before, after in pairwise(STATUSES))


def test_who_made_it_or_handed_it_in_does_not_approve_it() -> None:
    state = moved(("draft", "bob"), ("in_review", "ann"))
    assert state.authors == {"ann", "bob"}
    for author in ("ann", "bob"):
        assert f"'{author}' made it or handed it in" in refused(state, "approved", author)
    check_move(moved(("draft", "ann"), ("in_review", "ann")), "approved", by="bob", roles=ROLES, reason="so")
    assert "made it or handed it in" in refused(state, "approved", "ann", Roles())


def test_an_author_stays_one_when_it_goes_back_and_comes_again() -> None:
    state = moved(("draft", "ann"), ("in_review", "bob"), ("draft", "eve"), ("in_review", "ann"))
    assert state.authors == {"ann", "bob"}


def test_a_role_is_needed_for_each_step() -> None:
    in_review, approved = moved(("draft", "zoe"), ("in_review", "zoe")), moved(("approved", "bob"))
    assert "'rita' is no approver" in refused(in_review, "approved", "rita")
    assert "'bob' has not the role `release`" in refused(approved, "released", "bob")
    assert "'zoe' has no role here" in refused(moved(), "in_review", "zoe")
    check_move(approved, "released", by="rita", roles=ROLES, reason="so")
    assert "has no role here" in refused(moved(), "in_review", "", Roles())


def test_a_reason_is_needed() -> None:
    for reason in (None, " "):
        assert "say why with --reason" in refused(moved(), "in_review", "ann", reason=reason)


def test_a_retired_version_says_who_retired_it_and_why() -> None:
    line = retired_line(moved(("deprecated", "rita"), ("retired", "rita")))
    assert line is not None
    assert line.startswith("Collection c v1 is retired since 2026-03-01 by rita (so) and trains no model any more")
    assert retired_line(moved(("deprecated", "rita"))) is None


def test_a_status_is_written_in_any_way() -> None:
    assert {parse_status(one) for one in ("in review", "In-Review", "in_review")} == {"in_review"}
    with pytest.raises(ArgumentError, match="did you mean 'released'"):
        parse_status("relased")
