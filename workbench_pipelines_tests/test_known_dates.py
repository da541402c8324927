"""Dates that a tagged column holds, as dates or as texts, are found however a text writes them, and no other date is."""

from __future__ import annotations

import datetime as dt
import itertools
from typing import Any

import pytest
from hypothesis import given, strategies as st

from workbench_pipelines.known_dates import days_of, named_days
from workbench_pipelines.known_values import folded, forms_of, known_spans

BORN = dt.date(1973, 6, 18)
VALUES = (
    BORN,
    dt.datetime(1973, 6, 18),
    "1973-06-18",
    "1973-06-18 00:00:00",
    "1973-06-18T00:00:00.000+01:00",
    "1973/06/18",
    "18.06.1973",
    "06/18/1973",
    "6/18/1973",
    "18-06-1973",
    "18 June 1973",
    "June 18, 1973",
)
WRITTEN = (
    "1973-06-18",
    "1973/6/18",
    "18-06-1973",
    "18.06.1973",
    "18. 6. 1973",
    "18/06/1973",
    "06/18/1973",
    "6/18/1973",
    "06-18-1973",
    "18 June 1973",
    "18th of June 1973",
    "JUNE 18, 1973",
    "June 18th, 1973",
    "18 Jun 1973",
    "18-JUN-1973",
    "Jun. 18 1973",
    "18. Juni 1973",
    "18 juni 1973",
    "19730618",
    "18 / 06 / 1973",
    "1973 - 06 - 18",
    "1973-Jun-18",
    "1973 June 18",
    "1973年6月18日",
    "1973 年 6 月 18 日",
    "1973년 6월 18일",
)
OTHERS = (
    "1973-06-19",
    "18.07.1973",
    "18 June 1974",
    "June 1973",
    "18 June",
    "118.06.1973",
    "18.06.19733",
    "18 July 1973",
    "v18.06.1973",
    "1973-06-181",
    "18061973",
    "19730619",
    "119730618",
    "19730618a",
    "1973年6月19日",
    "1973-Jul-18",
)
DAYS = st.dates(dt.date(1900, 1, 1), dt.date(2030, 1, 1))


def found(text: str, value: Any) -> list[str]:
    return [text[one.start : one.end] for one in known_spans(text, forms_of(value))]


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_a_date_is_found_however_it_is_written(value: Any) -> None:
    for written in WRITTEN:
        assert found(f"She was born on {written}, in Lyon.", value) == [written], written
        assert found(f'{{"dob":"{written}"}}', value) == [written], written


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_another_date_is_not_found(value: Any) -> None:
    for written in OTHERS:
        assert found(f"She was seen on {written}, in Lyon.", value) == [], written


@pytest.mark.parametrize("written", WRITTEN)
def test_a_date_is_found_between_words_of_a_script_that_writes_no_blanks(written: str) -> None:
    assert found(f"患者生于{written}在北京", BORN) == [written]


@pytest.mark.parametrize("value", ["06/07/1973", "07.06.1973", "6-7-1973"])
def test_of_a_date_whose_day_may_be_its_month_both_readings_are_looked_for(value: str) -> None:
    assert set(days_of(value)) == {dt.date(1973, 6, 7), dt.date(1973, 7, 6)}
    for written in ("6 July 1973", "June 7, 1973", "1973-07-06", "1973-06-07", "07/06/1973", "6. Juli 1973"):
        assert found(f"born {written}!", value) == [written]
    assert found("born 1973-06-06!", value) == []


def test_a_written_date_that_can_be_read_in_two_ways_is_found_by_both() -> None:
    assert found("born 07/06/1973", "1973-06-07") == found("born 07/06/1973", "1973-07-06") == ["07/06/1973"]


@given(DAYS, st.sampled_from(["{d:02d}.{m:02d}.{y}", "{m}/{d}/{y}", "{y}-{m:02d}-{d:02d}", "{d}-{m}-{y}"]))
def test_a_text_that_is_a_date_is_known_as_that_day(day: dt.date, form: str) -> None:
    text = form.format(d=day.day, m=day.month, y=day.year)
    assert day in days_of(text)
    others = {dt.date(day.year, day.day, day.month)} if day.day <= 12 else set()
    assert set(days_of(text)) <= {day} | others
    assert found(f"on {day:%d %B %Y}, twice", text) == [f"{day:%d %B %Y}"]


@given(DAYS, DAYS)
def test_a_text_names_no_day_but_its_own(one: dt.date, other: dt.date) -> None:
    text = f"seen {one:%d %b %Y} and {one:%B} {one.day}, {one.year} and {one.isoformat()}"
    assert len(list(named_days(folded(text), frozenset([other])))) == (3 if one == other else 0)


@pytest.mark.parametrize(
    "text", ["", "1973", "31.02.1973", "13/13/1973", "1973-06-18 and more", "June", "a 1973-06-18", "18.06-1973"]
)
def test_what_is_no_date_is_no_day(text: str) -> None:
    assert days_of(text) == ()


def test_every_month_has_its_names() -> None:
    english = [f"{dt.date(2000, month, 1):%B}" for month in range(1, 13)]
    german = [
        "Januar",
        "Februar",
        "März",
        "April",
        "Mai",
        "Juni",
        "Juli",
        "August",
        "September",
        "Oktober",
        "November",
        "Dezember",
    ]
    for month, name in itertools.chain(enumerate(english, start=1), enumerate(german, start=1)):
        assert days_of(folded(f"3 {name} 1990")) == (dt.date(1990, month, 3),)
        assert days_of(folded(f"3. {name[:3]}. 1990")) == (dt.date(1990, month, 3),)
