"""The typed parts of a filter: columns, literals, and how two of them are brought to types that compare.

A term knows its kind, so that `amount > 'x'` is refused when the filter is compiled and not in the middle of a run.
"""

from __future__ import annotations

import datetime as dt
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal

import polars as pl

Kind = Literal["boolean", "number", "text", "date", "timestamp", "null", "other"]
_MICROSECONDS = pl.Datetime("us")
_INT64 = 2**63 - 1
_SAID: Mapping[Kind, str] = {
    "boolean": "true or false",
    "number": "a number",
    "text": "text",
    "date": "a date",
    "timestamp": "a timestamp",
    "null": "NULL",
    "other": "a list, struct or other value without an order",
}


class Refused(Exception):
    """What is wrong with an expression, without the place where it stands."""


@dataclass(frozen=True)
class Term:
    """A part of an expression with its kind; `literal` is the text or number it stands for, where it is one."""

    expr: pl.Expr
    kind: Kind
    literal: str | int | float | None = None
    whole: bool = False
    """Whether a number is an integer."""
    zoned: bool = False
    """Whether a timestamp has a time zone; its values are in UTC then."""

    @property
    def said(self) -> str:
        return _SAID[self.kind]


def column_term(name: str, dtype: pl.DataType) -> Term:
    """A column as a term; decimals count as doubles, timestamps in UTC."""
    if name == "*" or (name.startswith("^") and name.endswith("$")):
        raise Refused(f"the column '{name}' has a name that polars reads as a pattern; rename it")
    column = pl.col(name)
    if dtype == pl.Boolean:
        return Term(column, "boolean")
    if dtype.is_integer():
        # Polars would compare an unsigned 64-bit integer with a signed one as doubles, which rounds.
        return Term(column.cast(pl.Int128) if dtype == pl.UInt64 else column, "number", whole=True)
    if dtype.is_numeric():
        return Term(column.cast(pl.Float64) if dtype.is_decimal() else column, "number")
    if isinstance(dtype, (pl.String, pl.Categorical, pl.Enum)):
        return Term(column.cast(pl.String), "text")
    if dtype == pl.Date:
        return Term(column, "date")
    if isinstance(dtype, pl.Datetime):
        if dtype.time_zone is None:
            return Term(column.cast(_MICROSECONDS), "timestamp")
        return Term(column.dt.convert_time_zone("UTC").dt.cast_time_unit("us"), "timestamp", zoned=True)
    return Term(column, "null" if dtype == pl.Null else "other")


def text_literal(text: str) -> Term:
    return Term(pl.lit(text), "text", text)


def number_literal(text: str) -> Term:
    """A number as it stands in the filter: an integer where it has no point and no exponent."""
    if text.isdigit():
        return whole_literal(int(text))
    try:
        number = float(text)
    except ValueError:
        raise Refused(f"'{text}' is no number") from None
    if not math.isfinite(number):
        raise Refused(f"'{text}' is too large for a number")
    return Term(pl.lit(number), "number", number)


def whole_literal(number: int) -> Term:
    if abs(number) >= 2**127:
        raise Refused("an integer of more than 127 bits is too large for a filter")
    lit = pl.lit(number) if abs(number) <= _INT64 else pl.lit(number, dtype=pl.Int128)
    return Term(lit, "number", number, whole=True)


def aligned(left: Term, right: Term) -> tuple[pl.Expr, pl.Expr]:
    """The two sides of a comparison in types that compare.

    Raises:
        Refused: when they are of unlike kinds; a text literal that names a date is a date beside a date.
    """
    left, right = _dated(left, right), _dated(right, left)
    kinds = {left.kind, right.kind}
    if "other" in kinds:
        raise Refused(f"{_SAID['other']} can not be compared; only IS NULL works on it")
    if kinds == {"date", "timestamp"}:
        left, right = _timed(left), _timed(right)
    elif len(kinds - {"null"}) > 1:
        hint = "; CAST one of them" if kinds == {"text", "number"} else ""
        raise Refused(f"{left.said} is compared with {right.said}{hint}")
    if left.kind == right.kind == "timestamp" and left.zoned != right.zoned:
        raise Refused("a timestamp with a time zone is compared with one without")
    return left.expr, right.expr


def _dated(term: Term, other: Term) -> Term:
    """A text literal as the date or timestamp it names, where the other side is one."""
    if other.kind not in ("date", "timestamp") or not isinstance(term.literal, str):
        return term
    text = term.literal.strip()
    if other.kind == "date" and len(text) <= len("2024-05-01"):
        return date_literal(text)
    moment = timestamp_literal(text)
    return replace(moment, expr=moment.expr.dt.replace_time_zone("UTC"), zoned=True) if other.zoned else moment


def _timed(term: Term) -> Term:
    return Term(term.expr.cast(_MICROSECONDS), "timestamp") if term.kind == "date" else term


def date_literal(text: str) -> Term:
    try:
        return Term(pl.lit(dt.date.fromisoformat(text)), "date")
    except ValueError:
        raise Refused("a text that is compared with a date has to be one, such as '2024-05-01'") from None


def timestamp_literal(text: str) -> Term:
    """A timestamp without a zone; an offset in the text is taken off, so that it is in UTC."""
    try:
        moment = dt.datetime.fromisoformat(text)
    except ValueError:
        raise Refused("a text that is compared with a timestamp has to be one, such as '2024-05-01 12:00:00'") from None
    moment = moment.astimezone(dt.UTC).replace(tzinfo=None) if moment.tzinfo else moment
    return Term(pl.lit(moment, dtype=_MICROSECONDS), "timestamp")


def first_known(terms: list[Term]) -> Term:
    """COALESCE: the first that is not NULL, of terms of one kind."""
    stated = [term for term in terms if term.kind != "null"]
    if not stated:
        return Term(pl.lit(None), "null")
    if len({(term.kind, term.zoned) for term in stated}) > 1:
        raise Refused(f"COALESCE takes values of one kind, not {stated[0].said} and {stated[-1].said}")
    whole = all(term.whole for term in stated)
    exprs = [t.expr.cast(pl.Float64) if t.kind == "number" and not whole else t.expr for t in stated]
    return Term(pl.coalesce(exprs), stated[0].kind, whole=whole, zoned=stated[0].zoned)


def cast_term(term: Term, target: Kind, whole: bool) -> Term:
    """CAST; a value that does not fit is NULL, a literal that does not fit is refused."""
    if term.kind in ("null", target) and not (target == "number" and whole and not term.whole):
        return replace(term, kind=target, literal=None, whole=term.whole and whole)
    expr = term.expr
    if target == "text" and term.kind != "other":
        return Term(expr.cast(pl.String), "text")
    if target == "number" and term.kind in ("text", "boolean", "number"):
        number = expr.cast(pl.Float64, strict=False)
        if not whole:
            return Term(number, "number")
        rounded = number.round(0).cast(pl.Int64, strict=False)
        # Straight from text where that works: by way of a double, a long number would lose its last digits.
        return Term(
            pl.coalesce(expr.cast(pl.Int64, strict=False), rounded) if term.kind == "text" else rounded,
            "number",
            whole=True,
        )
    if target in ("date", "timestamp") and term.kind in ("text", "date", "timestamp"):
        if isinstance(term.literal, str):
            return date_literal(term.literal) if target == "date" else timestamp_literal(term.literal)
        moment = _parsed(expr) if term.kind == "text" else expr
        return Term(moment.dt.date(), "date") if target == "date" else _timed(Term(moment, term.kind, zoned=term.zoned))
    raise Refused(f"{term.said} can not be CAST to {_SAID[target]}")


def _parsed(text: pl.Expr) -> pl.Expr:
    formats = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f")
    moments = [text.str.to_datetime(form, time_unit="us", strict=False) for form in formats]
    return pl.coalesce(*moments, text.str.to_date("%Y-%m-%d", strict=False).cast(_MICROSECONDS))


def like_regex(pattern: str, escape: str | None, *, ignore_case: bool) -> str:
    """The regular expression of a LIKE pattern: % is any text, _ is any character."""
    parts: list[str] = []
    characters = iter(pattern)
    for character in characters:
        if character == escape:
            literal = next(characters, None)
            if literal is None:
                raise Refused("the LIKE pattern ends with its escape character")
            parts.append(re.escape(literal))
        elif character == "%":
            # One run of any text is as good as ten, and cheaper.
            if not parts or parts[-1] != ".*":
                parts.append(".*")
        else:
            parts.append("." if character == "_" else re.escape(character))
    return f"(?s{'i' if ignore_case else ''})^{''.join(parts)}$"


def _operands(left: Term, right: Term) -> tuple[pl.Expr, pl.Expr]:
    """Both sides of a sum or product; integers as 128 bits, so that nothing wraps around."""
    wide = pl.Int128 if left.whole and right.whole else pl.Float64
    return left.expr.cast(wide), right.expr.cast(wide)


def added(left: Term, right: Term) -> pl.Expr:
    one, other = _operands(left, right)
    return one + other


def subtracted(left: Term, right: Term) -> pl.Expr:
    one, other = _operands(left, right)
    return one - other


def multiplied(left: Term, right: Term) -> pl.Expr:
    one, other = _operands(left, right)
    return one * other


def divided(left: Term, right: Term) -> pl.Expr:
    divisor = right.expr.cast(pl.Float64)
    return pl.when(divisor != 0).then(left.expr.cast(pl.Float64) / divisor)


def remainder(left: Term, right: Term) -> pl.Expr:
    # SQL's remainder has the sign of the dividend, polars' that of the divisor.
    one, other = _operands(left, right)
    rest = one.abs() % other.abs()
    return pl.when(other != 0).then(pl.when(one < 0).then(0 - rest).otherwise(rest))
