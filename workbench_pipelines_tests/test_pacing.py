"""The window of calls opens at the first answer, closes by half and opens again, and never leaves its bounds."""

from __future__ import annotations

from hypothesis import given, strategies as st

from workbench_pipelines.pacing import LONGEST_WAIT_S, Window, wait_s


def test_one_call_goes_alone_until_it_is_answered() -> None:
    window = Window(64)
    assert (window.calls, window.answered().calls) == (1, 64)


def test_a_slowed_window_opens_by_about_one_call_a_round() -> None:
    window = Window(64).answered().slowed()
    assert window.calls == 32
    for _ in range(32):
        window = window.answered()
    assert window.calls in (32, 33)
    for _ in range(40):
        window = window.answered()
    assert window.calls in (33, 34)


@given(st.integers(1, 500), st.lists(st.booleans(), max_size=300))
def test_a_window_stays_within_its_bounds(widest: int, events: list[bool]) -> None:
    window = Window(widest)
    for answered in events:
        window = window.answered() if answered else window.slowed()
        assert 1 <= window.calls <= widest


@given(st.integers(1, 40), st.none() | st.floats(0, 1e6), st.floats(1, 1.5))
def test_a_wait_is_what_was_asked_for_and_never_too_long(tries: int, asked: float | None, spread: float) -> None:
    wait = wait_s(tries, asked, spread)
    assert 0 <= wait <= LONGEST_WAIT_S
    if asked is not None and asked <= LONGEST_WAIT_S:
        assert wait == asked
