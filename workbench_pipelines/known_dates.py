"""Dates as people write them: which days a text may name, and where a text names one of them.

Numbers come in any order that is in use: `1973-06-18`, `18.06.1973`, `06/18/1973`, with zeros and blanks or none, `1973年6月18日`,
and without anything between them, `19730618`, of a day that is looked for; months by their English and German names or what these
are shortened to. Where day and month can be told by neither, `06/07/1973`, both readings count. A year of two digits is read by
nobody here: too much looks like it.
"""

from __future__ import annotations

import datetime as dt
import re
import unicodedata
from collections.abc import Iterator

from workbench_pipelines.unbroken_scripts import UNBROKEN

# Folded (`known_values.folded`): small letters without accents, single blanks.
_MONTHS = (
    "january januar jan", "february februar feb", "march marz maerz mar mrz", "april apr", "may mai", "june juni jun",
    "july juli jul", "august aug", "september sept sep", "october oktober oct okt", "november nov", "december dezember dec dez",
)  # fmt: skip
_NUMBER_OF = {name: number for number, names in enumerate(_MONTHS, start=1) for name in names.split()}
_NAME = "|".join(sorted(_NUMBER_OF, key=len, reverse=True))
_DAY = r"\d{1,2}"
_NTH = r"(?:st|nd|rd|th|\.)?"
_YEAR = r"\d{4}"
_KOREAN = [unicodedata.normalize("NFKD", unit) for unit in "년월일"]
_TIME_AT_ONCE = r"(?=t\d\d:)"  # 1973-06-18t00:00
_COMPACT = re.compile(rf"(?:(?<!\w)|(?<=[{UNBROKEN}]))\d{{8}}(?:(?!\w)|(?=[{UNBROKEN}])|(?=t\d\d))")
_DATE = re.compile(
    rf"(?:(?<!\w)|(?<=[{UNBROKEN}]))"
    rf"(?:(?P<y>{_YEAR}) ?(?P<s>[-/.]) ?(?P<m>{_DAY}) ?(?P=s) ?(?P<d>{_DAY})"
    rf"|(?P<a>{_DAY}) ?(?P<t>[-/.]) ?(?P<b>{_DAY}) ?(?P=t) ?(?P<y_2>{_YEAR})"
    rf"|(?P<d_3>{_DAY}){_NTH}(?: of)?[ /-]?(?P<n_3>{_NAME})\.?,?[ /-]?(?P<y_3>{_YEAR})"
    rf"|(?P<n_4>{_NAME})\.? ?(?P<d_4>{_DAY}){_NTH}(?:, ?| )(?P<y_4>{_YEAR})"
    rf"|(?P<y_5>{_YEAR})[ ./-]?(?P<n_5>{_NAME})\.?[ ./-]?(?P<d_5>{_DAY})"
    rf"|(?P<y_6>{_YEAR}) ?(?:年|{_KOREAN[0]}) ?(?P<m_6>{_DAY}) ?(?:月|{_KOREAN[1]}) ?(?P<d_6>{_DAY}) ?(?:[日号號]|{_KOREAN[2]}))"
    rf"(?:(?!\w)|(?=[{UNBROKEN}])|{_TIME_AT_ONCE})"
)
_TIME = re.compile(r"[t ]\d{1,2}:\d\d(?::\d\d(?:\.\d+)?)? ?(?:z|[+-]\d\d:?\d\d)?")


def days_of(text: str) -> tuple[dt.date, ...]:
    """The days that a value may be, one that is a date and nothing else, but for a time behind it; none for any other.

    Args:
        text: folded.
    """
    found = _DATE.match(text)
    if found is None or not (found.end() == len(text) or _TIME.fullmatch(text, found.end())):
        return ()
    return _readings(found)


def day_of(form: str) -> dt.date | None:
    """The day that is written as ISO 8601 says, `1973-06-18`; None for any other text."""
    if len(form) != 10 or form[4] != "-" or form[7] != "-":
        return None
    try:
        return dt.date.fromisoformat(form)
    except ValueError:
        return None


def named_days(text: str, days: frozenset[dt.date]) -> Iterator[tuple[int, int]]:
    """Where a text names one of these days, however it is written: the places of its first character and behind its last.

    Args:
        text: folded.
    """
    if not any(f"{day.year:04d}" in text for day in days):
        return
    for found in _DATE.finditer(text):
        if not days.isdisjoint(_readings(found)):
            yield found.span()
    compact = {f"{day.year:04d}{day:%m%d}" for day in days}
    for found in _COMPACT.finditer(text):
        if found[0] in compact:
            yield found.span()


def numbers_of(text: str) -> str | None:
    """A date as its sorted numbers, the same however it is written; None for what is none.

    Args:
        text: folded.
    """
    days = days_of(text)
    return " ".join(sorted(f"{days[0]:%Y %m %d}".split())) if days else None


def _readings(found: re.Match[str]) -> tuple[dt.date, ...]:
    part = found.groupdict()
    if part["a"]:
        one, other, year = int(part["a"]), int(part["b"]), int(part["y_2"])
        said = {(year, other, one), (year, one, other)}
    elif part["y"] or part["y_6"]:
        of = "" if part["y"] else "_6"
        said = {(int(part[f"y{of}"]), int(part[f"m{of}"]), int(part[f"d{of}"]))}
    else:
        of = next(of for of in "345" if part[f"n_{of}"])
        said = {(int(part[f"y_{of}"]), _NUMBER_OF[part[f"n_{of}"]], int(part[f"d_{of}"]))}
    days = []
    for year, month, day in sorted(said):
        try:
            days.append(dt.date(year, month, day))
        except ValueError:
            continue  # no such day: the other reading is the one, or it is no date
    return tuple(days)
