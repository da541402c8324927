"""Row filters: one boolean SQL expression, checked against an allow-list and rebuilt as a polars expression.

No SQL text ever reaches an engine. The text is parsed, every node has to be one of those below, and the polars
expression is made from the nodes; whatever is not named here is refused. Comparisons of unlike types are refused too,
so that a filter that compiles also runs.

What a filter may say: columns, numbers, texts, TRUE, FALSE, NULL; AND, OR, NOT; ``= <> < <= > >=``; ``+ - * / %``;
BETWEEN; IN and NOT IN over literals; LIKE and ILIKE with a literal pattern; IS NULL, IS TRUE; lower, upper, length,
trim, abs, round, coalesce; CAST to an integer, double, text, date or timestamp. A name that is no plain identifier
stands in double quotes. Dates are compared with ISO texts (``day >= '2024-05-01'``); a timestamp without an offset is
read as UTC where the column has a time zone.

The logic is SQL's: a comparison with NULL is neither true nor false. A division by zero and a failing CAST are NULL.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import polars as pl
import sqlglot
import sqlglot.expressions as sql_nodes
from sqlglot.errors import ParseError, TokenError
from sqlglot.tokens import TokenType

from workbench_pipelines import filter_terms as terms
from workbench_pipelines.errors import FilterError, nearest
from workbench_pipelines.filter_terms import Kind, Refused, Term

# The parser logs the text of what it does not understand; the FilterError says it, without the text.
logging.getLogger("sqlglot").setLevel(logging.ERROR)

MAX_CHARACTERS = 2000
# Deeper nesting is no filter a person wrote, and every level costs stack in the parser and in polars.
MAX_DEPTH = 100
_DIALECT = "duckdb"


def compile_filter(sql: str, schema: Mapping[str, pl.DataType], where: str) -> pl.Expr:
    """The boolean polars expression a SQL filter stands for; `DataFrame.filter` keeps the rows for which it is true.

    Raises:
        FilterError: one line that starts with `where`, for anything but one boolean expression over these columns.
    """
    try:
        term = _Compiler(schema).compile(_parse(sql))
        if term.kind not in ("boolean", "null"):
            raise Refused(f"the filter is {term.said}, not a condition; compare it with something")
    except Refused as refused:
        raise FilterError(f"{where}: {refused}") from None
    except RecursionError:
        raise FilterError(f"{where}: the filter is nested too deeply; {MAX_DEPTH} levels are the most") from None
    return term.expr.cast(pl.Boolean)


def columns_in(sql: str, where: str) -> list[str]:
    """The columns that a filter names, sorted.

    Raises:
        FilterError: for what is no filter.
    """
    try:
        return sorted({node.name for node in _parse(sql).find_all(sql_nodes.Column)})
    except Refused as refused:
        raise FilterError(f"{where}: {refused}") from None


def _parse(sql: str) -> sql_nodes.Expr:
    if len(sql) > MAX_CHARACTERS:
        raise Refused(f"the filter has {len(sql):,} characters; {MAX_CHARACTERS:,} are the most")
    if not sql.strip():
        raise Refused("the filter is empty; leave it out to keep every row")
    try:
        tokens = sqlglot.tokenize(sql, dialect=_DIALECT)
        if not tokens or any(token.comments or token.token_type == TokenType.HINT for token in tokens):
            raise Refused("a filter holds no comment")
        if any(token.token_type == TokenType.SEMICOLON for token in tokens):
            raise Refused("a filter is one expression; remove the ';'")
        # As a condition, not as a statement: SELECT, DROP or UNION have no place in its grammar.
        return sqlglot.parse_one(sql, dialect=_DIALECT, into=sql_nodes.Condition)
    except (ParseError, TokenError) as error:
        found = error.errors[0] if isinstance(error, ParseError) and error.errors else {}
        place = f" at line {found['line']}, column {found['col']}" if found.get("line") else ""
        raise Refused(f"the filter is not one SQL condition{place}") from None
    except (AttributeError, TypeError, ValueError, KeyError, IndexError):
        # Some broken literals bring the parser itself down.
        raise Refused("the filter is not one SQL condition") from None


class _Compiler:
    """Rebuilds a parsed condition; a node without a method here is refused by name."""

    def __init__(self, schema: Mapping[str, pl.DataType]) -> None:
        self.schema = schema
        self.depth = 0
        self.rules: dict[type[sql_nodes.Expr], tuple[Callable[[Any], Term], frozenset[str]]] = {
            sql_nodes.Column: (self._column, frozenset({"this"})),
            sql_nodes.Literal: (self._literal, frozenset({"this", "is_string"})),
            sql_nodes.Boolean: (lambda node: Term(pl.lit(bool(node.this)), "boolean"), frozenset({"this"})),
            sql_nodes.Null: (lambda node: Term(pl.lit(None), "null"), frozenset()),
            sql_nodes.Paren: (lambda node: self.compile(node.this), frozenset({"this"})),
            sql_nodes.And: (self._connected, _BINARY),
            sql_nodes.Or: (self._connected, _BINARY),
            sql_nodes.Not: (lambda node: Term(~self._condition(node.this), "boolean"), frozenset({"this"})),
            sql_nodes.Neg: (self._negative, frozenset({"this"})),
            sql_nodes.Between: (self._between, frozenset({"this", "low", "high"})),
            sql_nodes.In: (self._in, frozenset({"this", "expressions"})),
            sql_nodes.Is: (self._is, _BINARY),
            sql_nodes.Like: (self._like, _BINARY | {"negate"}),
            sql_nodes.ILike: (self._like, _BINARY | {"negate"}),
            sql_nodes.Escape: (self._escaped, _BINARY),
            sql_nodes.Lower: (lambda n: Term(self._text(n.this).str.to_lowercase(), "text"), frozenset({"this"})),
            sql_nodes.Upper: (lambda n: Term(self._text(n.this).str.to_uppercase(), "text"), frozenset({"this"})),
            sql_nodes.Trim: (lambda n: Term(self._text(n.this).str.strip_chars(), "text"), frozenset({"this"})),
            sql_nodes.Length: (self._length, frozenset({"this"})),
            sql_nodes.Abs: (self._abs, frozenset({"this"})),
            sql_nodes.Round: (self._round, frozenset({"this", "decimals"})),
            sql_nodes.Coalesce: (self._coalesce, frozenset({"this", "expressions"})),
            sql_nodes.Cast: (self._cast, frozenset({"this", "to"})),
            **dict.fromkeys(_COMPARISONS, (self._compared, _BINARY)),
            **dict.fromkeys(_ARITHMETIC, (self._calculated, _BINARY | {"typed", "safe"})),
        }

    def compile(self, node: sql_nodes.Expr) -> Term:
        if not isinstance(node, sql_nodes.Expr):
            raise Refused("an operand is missing")
        rule = self.rules.get(type(node))
        if rule is None:
            raise Refused(f"{_name_of(node)} is not allowed in a filter")
        make, known = rule
        odd = sorted(key for key, value in node.args.items() if key not in known and value not in (None, False, []))
        if odd and isinstance(node, sql_nodes.Column):
            raise Refused(f"'{node.sql(_DIALECT)}' has a dot; name the column alone, in double quotes where it has one")
        if "query" in odd:
            raise Refused("a sub-select is not allowed in a filter")
        if odd:
            raise Refused(f"{_name_of(node)} with '{odd[0]}' is not allowed in a filter")
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise RecursionError
        term = make(node)
        self.depth -= 1
        return term

    def _column(self, node: sql_nodes.Column) -> Term:
        if not isinstance(node.this, sql_nodes.Identifier):
            raise Refused("'*' is not allowed in a filter")
        name = node.name
        if name not in self.schema:
            raise Refused(f"unknown column '{name}'{nearest(name, self.schema)}")
        return terms.column_term(name, self.schema[name])

    def _literal(self, node: sql_nodes.Literal) -> Term:
        return terms.text_literal(node.name) if node.is_string else terms.number_literal(node.name)

    def _condition(self, node: sql_nodes.Expr) -> pl.Expr:
        term = self.compile(node)
        if term.kind not in ("boolean", "null"):
            raise Refused(f"AND, OR and NOT join conditions, not {term.said}")
        return term.expr.cast(pl.Boolean)

    def _number(self, node: sql_nodes.Expr) -> Term:
        term = self.compile(node)
        if term.kind not in ("number", "null"):
            raise Refused(f"{_name_of(node.parent or node)} takes a number, not {term.said}")
        return replace(term, expr=term.expr.cast(pl.Int64), whole=True) if term.kind == "null" else term

    def _text(self, node: sql_nodes.Expr) -> pl.Expr:
        term = self.compile(node)
        if term.kind not in ("text", "null"):
            raise Refused(f"{_name_of(node.parent or node)} takes text; CAST the value to TEXT")
        return term.expr.cast(pl.String)

    def _connected(self, node: sql_nodes.Connector) -> Term:
        # Flat, so that a hundred ANDs are one level deep.
        parts = [self._condition(part) for part in node.flatten()]
        both = pl.all_horizontal if isinstance(node, sql_nodes.And) else pl.any_horizontal
        return Term(both(*parts), "boolean")

    def _compared(self, node: sql_nodes.Binary) -> Term:
        left, right = terms.aligned(self.compile(node.left), self.compile(node.right))
        return Term(_COMPARISONS[type(node)](left, right), "boolean")

    def _between(self, node: sql_nodes.Between) -> Term:
        value = self.compile(node.this)
        low, at_least = terms.aligned(value, self.compile(node.args["low"]))
        high, at_most = terms.aligned(value, self.compile(node.args["high"]))
        return Term((low >= at_least) & (high <= at_most), "boolean")

    def _in(self, node: sql_nodes.In) -> Term:
        value = self.compile(node.this)
        if not node.expressions:
            raise Refused("IN needs a list of literals")
        tests: list[pl.Expr] = []
        for member in node.expressions:
            inner = member.this if isinstance(member, sql_nodes.Neg) else member
            if not isinstance(inner, (sql_nodes.Literal, sql_nodes.Null, sql_nodes.Boolean)):
                raise Refused(f"IN takes a list of literals, not {_name_of(inner)}")
            left, right = terms.aligned(value, self.compile(member))
            tests.append(left == right)
        return Term(pl.any_horizontal(*tests), "boolean")

    def _is(self, node: sql_nodes.Is) -> Term:
        if isinstance(node.expression, sql_nodes.Null):
            return Term(self.compile(node.this).expr.is_null(), "boolean")
        if isinstance(node.expression, sql_nodes.Boolean):
            return Term(self._condition(node.this).eq_missing(pl.lit(bool(node.expression.this))), "boolean")
        raise Refused("IS takes NULL, TRUE or FALSE")

    def _like(self, node: sql_nodes.Binary, escape: str | None = None) -> Term:
        pattern = node.expression
        if not (isinstance(pattern, sql_nodes.Literal) and pattern.is_string):
            raise Refused(f"{_name_of(node)} takes a literal pattern in single quotes")
        regex = terms.like_regex(pattern.name, escape, ignore_case=isinstance(node, sql_nodes.ILike))
        found = self._text(node.this).str.contains(regex)
        return Term(~found if node.args.get("negate") else found, "boolean")

    def _escaped(self, node: sql_nodes.Escape) -> Term:
        if not isinstance(node.this, (sql_nodes.Like, sql_nodes.ILike)) or len(node.expression.name) != 1:
            raise Refused("ESCAPE takes one character, after LIKE")
        return self._like(node.this, node.expression.name)

    def _calculated(self, node: sql_nodes.Binary) -> Term:
        left, right = self._number(node.left), self._number(node.right)
        calculate = _ARITHMETIC[type(node)]
        return Term(
            calculate(left, right), "number", whole=left.whole and right.whole and calculate is not terms.divided
        )

    def _negative(self, node: sql_nodes.Neg) -> Term:
        term = self._number(node.this)
        if isinstance(term.literal, int):
            return terms.whole_literal(-term.literal)
        # As 128 bits, since the lowest integer of a type has no negative in it.
        return Term(0 - (term.expr.cast(pl.Int128) if term.whole else term.expr), "number", whole=term.whole)

    def _length(self, node: sql_nodes.Length) -> Term:
        return Term(self._text(node.this).str.len_chars().cast(pl.Int64), "number", whole=True)

    def _abs(self, node: sql_nodes.Abs) -> Term:
        term = self._number(node.this)
        return Term((term.expr.cast(pl.Int128) if term.whole else term.expr).abs(), "number", whole=term.whole)

    def _round(self, node: sql_nodes.Round) -> Term:
        digits = node.args.get("decimals")
        if digits is not None and not (isinstance(digits, sql_nodes.Literal) and digits.name.isdigit()):
            raise Refused("ROUND takes a whole number of digits")
        places = int(digits.name) if digits is not None else 0
        rounded = self._number(node.this).expr.cast(pl.Float64).round(min(places, 15), mode="half_away_from_zero")
        return Term(rounded, "number")

    def _coalesce(self, node: sql_nodes.Coalesce) -> Term:
        return terms.first_known([self.compile(node.this), *map(self.compile, node.expressions)])

    def _cast(self, node: sql_nodes.Cast) -> Term:
        target = node.args["to"]
        if target.args.get("expressions") or target.args.get("nested") or target.this not in _CASTS:
            raise Refused("CAST goes to INTEGER, BIGINT, DOUBLE, TEXT, DATE or TIMESTAMP")
        kind, whole = _CASTS[target.this]
        return terms.cast_term(self.compile(node.this), kind, whole)


_BINARY = frozenset({"this", "expression"})
_COMPARISONS: Mapping[type[sql_nodes.Expr], Callable[[pl.Expr, pl.Expr], pl.Expr]] = {
    sql_nodes.EQ: lambda left, right: left == right,
    sql_nodes.NEQ: lambda left, right: left != right,
    sql_nodes.LT: lambda left, right: left < right,
    sql_nodes.LTE: lambda left, right: left <= right,
    sql_nodes.GT: lambda left, right: left > right,
    sql_nodes.GTE: lambda left, right: left >= right,
}


_ARITHMETIC: Mapping[type[sql_nodes.Expr], Callable[[Term, Term], pl.Expr]] = {
    sql_nodes.Add: terms.added,
    sql_nodes.Sub: terms.subtracted,
    sql_nodes.Mul: terms.multiplied,
    sql_nodes.Div: terms.divided,
    sql_nodes.Mod: terms.remainder,
}
_TYPES = sql_nodes.DataType.Type
_CASTS: Mapping[Any, tuple[Kind, bool]] = {
    _TYPES.INT: ("number", True),
    _TYPES.BIGINT: ("number", True),
    _TYPES.DOUBLE: ("number", False),
    _TYPES.TEXT: ("text", False),
    _TYPES.VARCHAR: ("text", False),
    _TYPES.DATE: ("date", False),
    _TYPES.TIMESTAMP: ("timestamp", False),
    _TYPES.TIMESTAMPNTZ: ("timestamp", False),
}
_SPOKEN: Mapping[type[sql_nodes.Expr], str] = {
    sql_nodes.Select: "SELECT",
    sql_nodes.Subquery: "a sub-select",
    sql_nodes.Alias: "an alias",
    sql_nodes.Placeholder: "a parameter",
    sql_nodes.Command: "a statement",
}


def _name_of(node: sql_nodes.Expr) -> str:
    """What a node is called where it is refused: the function's or the operator's name, never its operands."""
    if isinstance(node, sql_nodes.Anonymous):
        return f"the function {node.name}"
    if isinstance(node, (sql_nodes.Connector, sql_nodes.Binary)) or not isinstance(node, sql_nodes.Func):
        return _SPOKEN.get(type(node), type(node).key.upper())
    return f"the function {node.sql_name().lower()}"
