"""A filter is one boolean expression over known columns, with SQL's logic, and nothing else gets through."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings, strategies as st

from workbench_pipelines.errors import FilterError
from workbench_pipelines.filters import MAX_CHARACTERS, compile_filter

WHERE = "sheets/a.yaml: Sheet a: spec.filter_condition"
ROWS = pl.DataFrame(
    {
        "row": [0, 1, 2, 3],
        "amount": [1, None, 3, -7],
        "price": [1.5, 2.0, None, 0.0],
        "name": ["ab", "A%B", None, " x "],
        "day": [dt.date(2024, 1, 1), dt.date(2024, 6, 1), None, dt.date(2025, 1, 1)],
        "at": [dt.datetime(2024, 1, 1, 5), None, dt.datetime(2024, 1, 2), dt.datetime(2025, 1, 1)],
        "open": [True, False, None, True],
        "parts": [[1], [2], None, []],
        "My Column": [1, 2, 3, 4],
        "empty": pl.Series([None] * 4, dtype=pl.Null),
        "large": pl.Series([2**63 + 1, 0, None, 2**63], dtype=pl.UInt64),
        "small": pl.Series([127, -128, None, 0], dtype=pl.Int8),
        "fee": pl.Series(["0.10", "0.20", None, "5.00"]).cast(pl.Decimal(10, 2)),
        "berlin": pl.Series([dt.datetime(2024, 1, 1, 5)] * 4).dt.replace_time_zone("Europe/Berlin"),
    }
)


def kept(sql: str) -> list[int]:
    return ROWS.filter(compile_filter(sql, ROWS.schema, WHERE))["row"].to_list()


def refusal(sql: str) -> str:
    with pytest.raises(FilterError) as error:
        compile_filter(sql, ROWS.schema, WHERE)
    assert str(error.value).startswith(f"{WHERE}: ")
    assert "\n" not in str(error.value)
    return str(error.value).removeprefix(f"{WHERE}: ")


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("amount > 0 AND price <= 20", [0]),
        ("amount > 0 OR price = 0", [0, 2, 3]),
        ("NOT amount > 0", [3]),
        ("amount <> 1", [2, 3]),
        ("amount != 1.0", [2, 3]),
        ("amount = -7 AND (open OR price > 1)", [3]),
        ("open", [0, 3]),
        ("NOT open", [1]),
        ("open = FALSE", [1]),
        ("TRUE", [0, 1, 2, 3]),
        ("1 = 1", [0, 1, 2, 3]),
        ("amount BETWEEN 1 AND 3", [0, 2]),
        ("amount NOT BETWEEN 1 AND 2", [2, 3]),
        ("amount IN (1, -7)", [0, 3]),
        ("amount IN (1, 2.5, -7.0)", [0, 3]),
        ("name IN ('ab', ' x ')", [0, 3]),
        ("day IN ('2024-01-01')", [0]),
        ("name LIKE '%b'", [0]),
        ("name NOT LIKE 'a_'", [1, 3]),
        ("name ILIKE '%B'", [0, 1]),
        ("name LIKE 'A!%_' ESCAPE '!'", [1]),
        ("lower(name) = 'ab'", [0]),
        ("upper(trim(name)) = 'X'", [3]),
        ("length(name) > 2", [1, 3]),
        ("abs(amount) = 7", [3]),
        ("round(price, 0) = 2", [0, 1]),
        ("coalesce(amount, 0) = 0", [1]),
        ("coalesce(amount, price) = 2", [1]),
        ("amount + price * 2 = 4", [0]),
        ("amount / 2 = 0.5", [0]),
        ("amount / 0 > 0 OR 1 / price > 0.6", [0]),
        ("amount % 2 = -1", [3]),
        ("amount % 0 = 0", []),
        ('"My Column" % 2 = 0', [1, 3]),
        ("day >= '2024-06-01'", [1, 3]),
        ("day = DATE '2024-06-01'", [1]),
        ("day < '2024-01-01 05:00:00'", [0]),
        ("at < '2024-01-02'", [0]),
        ("at > day", [0]),
        ("berlin = '2024-01-01 04:00:00'", [0, 1, 2, 3]),
        ("berlin = '2024-01-01 05:00:00+01:00'", [0, 1, 2, 3]),
        ("CAST(amount AS TEXT) = '3'", [2]),
        ("CAST(name AS INTEGER) IS NULL", [0, 1, 2, 3]),
        ("CAST(price AS BIGINT) = 2", [0, 1]),
        ("CAST(day AS TIMESTAMP) = at", [3]),
        ("fee = 0.1", [0]),
        ("fee >= 0.2", [1, 3]),
    ],
)
def test_a_filter_keeps_the_rows_for_which_it_is_true(sql: str, rows: list[int]) -> None:
    assert kept(sql) == rows
    assert kept(f"({sql})") == rows


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("amount = NULL", []),
        ("NULL", []),
        ("empty = 1", []),
        ("empty IS NULL", [0, 1, 2, 3]),
        ("amount IS NULL", [1]),
        ("amount IS NOT NULL", [0, 2, 3]),
        ("parts IS NULL", [2]),
        ("open IS NOT TRUE", [1, 2]),
        ("amount NOT IN (1, NULL)", []),
        ("amount IN (1, NULL)", [0]),
        ("amount > 0 OR open IS NULL", [0, 2]),
        ("NOT (amount > 0 AND price > 1)", [3]),
    ],
)
def test_a_comparison_with_null_is_neither_true_nor_false(sql: str, rows: list[int]) -> None:
    assert kept(sql) == rows


@pytest.mark.parametrize(
    ("sql", "rows"),
    [
        ("large = 9223372036854775809", [0]),
        ("large - 1 = 9223372036854775807", [3]),
        ("small + 200 > 300", [0]),
        ("small < 300", [0, 1, 3]),
        ("-small = 128", [1]),
        ("abs(small) = 128", [1]),
        ("large * 4 > 0", [0, 3]),
    ],
)
def test_integers_neither_wrap_around_nor_round(sql: str, rows: list[int]) -> None:
    assert kept(sql) == rows


def test_a_filter_gives_the_same_rows_from_a_lazy_frame() -> None:
    condition = compile_filter("amount > 0 OR price = 0", ROWS.schema, WHERE)
    assert ROWS.lazy().filter(condition).collect()["row"].to_list() == [0, 2, 3]


def test_a_filter_without_a_condition_says_what_it_is() -> None:
    assert refusal("amount + 1") == "the filter is a number, not a condition; compare it with something"
    assert refusal("name").startswith("the filter is text")


def test_an_unknown_column_is_answered_with_the_nearest() -> None:
    assert refusal("amnount > 1") == "unknown column 'amnount'; did you mean 'amount'?"


def test_unlike_types_are_refused_before_any_row_is_read() -> None:
    assert refusal("name > 1") == "text is compared with a number; CAST one of them"
    assert "has to be one" in refusal("day > 'tomorrow'")
    assert "only IS NULL works" in refusal("parts = 1")
    assert "lower takes text" in refusal("lower(amount) = 'x'")
    assert refusal("amount AND open") == "AND, OR and NOT join conditions, not a number"
    assert "time zone" in refusal("berlin > at")


ATTACKS = [
    "name IN (SELECT s FROM read_csv('{canary}'))",
    "amount > (SELECT 1)",
    "EXISTS (SELECT 1)",
    "amount = ANY (SELECT 1)",
    "amount > ALL (SELECT amount FROM self)",
    "amount IN (SELECT amount FROM self)",
    "(SELECT count(*) FROM self) > 0",
    "read_csv('{canary}') IS NOT NULL",
    "read_text('{canary}') LIKE '%secret%'",
    "pg_read_file('{canary}') = 'x'",
    "load_file('{canary}') = 'x'",
    "getenv('HOME') = 'x'",
    "amount > 1 UNION SELECT 1",
    "amount > 1 UNION ALL SELECT * FROM read_csv('{canary}')",
    "amount > 1; DROP TABLE self",
    "amount > 1;",
    ";",
    "amount > 1 -- and the rest",
    "amount /* x */ > 1",
    "/* x */ amount > 1",
    "amount > 1 /*+ hint */",
    "amount > 1 --",
    "SELECT amount FROM self",
    "DROP VIEW self",
    "PRAGMA database_list",
    "ATTACH '{canary}'",
    "COPY self TO '{canary}'",
    "INSTALL httpfs",
    "SET x = 1",
    "CALL pragma_version()",
    "row_number() OVER () = 1",
    "sum(amount) > 1",
    "amount > 1 GROUP BY 1",
    "amount > 1 ORDER BY 1",
    "amount > 1 LIMIT 1",
    "amount > 1 AS x",
    "self.amount > 1",
    "* = 1",
    "COLUMNS('.*') > 1",
    "amount = $1",
    "amount = ?",
    "amount = :x",
    "#1 = 1",
    "parts[1] = 1",
    "[1] = parts",
    "{{'a': 1}} = parts",
    "list_filter(parts, x -> x > 1) = parts",
    "CASE WHEN amount > 1 THEN TRUE END",
    "name ~ '(a+)+$'",
    "regexp_matches(name, '(a+)+$')",
    "name SIMILAR TO 'a'",
    "name || 'x' = 'abx'",
    "name LIKE name",
    "amount IN (price)",
    "amount IN (1 + 1)",
    "(amount, price) = (1, 2)",
    "sleep(10) = 1",
    "benchmark(1000000, abs(1)) = 1",
    "random() > 0",
    "now() > day",
    "current_user = 'x'",
    "CAST(amount AS BLOB) = 1",
    "name COLLATE nocase = 'ab'",
    "interval '1' day > 1",
    "abs(DISTINCT amount) > 1",
    "amount = 1e999",
    "",
    "   ",
    "amount >",
    "amount > 1 amount",
    "@",
    "{{ {{ : 1 }} }}",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_no_condition_is_refused(attack: str, tmp_path: Path) -> None:
    canary = tmp_path / "canary.csv"
    canary.write_text("s\nsecret\n")
    assert "secret" not in refusal(attack.format(canary=canary)).replace("%secret%", "")


def test_a_refusal_says_what_is_not_allowed() -> None:
    assert refusal("amount IN (SELECT 1)") == "a sub-select is not allowed in a filter"
    assert refusal("read_csv('x') = 1") == "the function read_csv is not allowed in a filter"
    assert refusal("amount > 1 -- x") == "a filter holds no comment"
    assert refusal("amount > 1; SELECT 1") == "a filter is one expression; remove the ';'"
    assert refusal("self.amount > 1").startswith("'self.amount' has a dot")


def test_a_comment_mark_inside_a_text_is_a_text() -> None:
    assert kept("name <> '-- ; /* x */'") == [0, 1, 3]


@pytest.mark.parametrize("sql", ["(" * 200 + "open" + ")" * 200, "NOT " * 200 + "open", "amount" + "+1" * 500 + " > 1"])
def test_deep_nesting_is_refused(sql: str) -> None:
    assert "nested too deeply" in refusal(sql)


def test_a_long_filter_is_refused_and_a_long_list_of_conditions_is_not() -> None:
    assert "2,000 are the most" in refusal("amount = 1" + " " * MAX_CHARACTERS)
    assert kept(" AND ".join(["amount=1"] * 150)) == [0]
    assert kept(f"amount IN ({','.join(str(n) for n in range(400))})") == [0, 2]


def test_a_pattern_of_wildcards_costs_no_time() -> None:
    frame = pl.DataFrame({"name": ["a" * 5000] * 100})
    pattern = "%a" * 900 + "b"
    assert frame.filter(compile_filter(f"name LIKE '{pattern}'", frame.schema, WHERE)).is_empty()


# A small grammar with its meaning in Python: a condition gives True, False or None for a row.
Cell = int | None
columns = st.sampled_from(["a", "b"])
numbers = st.integers(-3, 3)
values = st.one_of(
    columns.map(lambda name: (name, lambda row: row[name])),
    numbers.map(lambda n: (str(n), lambda row: n)),
    st.tuples(columns, st.sampled_from("+-*"), numbers).map(
        lambda t: (f"({t[0]} {t[1]} {t[2]})", lambda row: _calculate(row[t[0]], t[1], t[2]))
    ),
)
_OPERATORS = {
    "=": lambda x, y: x == y,
    "<>": lambda x, y: x != y,
    "<": lambda x, y: x < y,
    "<=": lambda x, y: x <= y,
    ">": lambda x, y: x > y,
    ">=": lambda x, y: x >= y,
}


def _calculate(left: Cell, operator: str, right: int) -> Cell:
    if left is None:
        return None
    return {"+": left + right, "-": left - right, "*": left * right}[operator]


def _compare(operator: str, left: Cell, right: Cell) -> bool | None:
    return None if left is None or right is None else _OPERATORS[operator](left, right)


def _isin(value: Cell, members: list[Cell]) -> bool | None:
    if value is None:
        return None
    return True if value in [m for m in members if m is not None] else (None if None in members else False)


def _and(left: bool | None, right: bool | None) -> bool | None:
    return False if left is False or right is False else (None if left is None or right is None else True)


def _not(value: bool | None) -> bool | None:
    return None if value is None else not value


def _or(left: bool | None, right: bool | None) -> bool | None:
    return _not(_and(_not(left), _not(right)))


members = st.lists(st.one_of(numbers, st.none()), min_size=1, max_size=3)
leaves = st.one_of(
    st.tuples(values, st.sampled_from(sorted(_OPERATORS)), values).map(
        lambda t: (f"{t[0][0]} {t[1]} {t[2][0]}", lambda row: _compare(t[1], t[0][1](row), t[2][1](row)))
    ),
    columns.map(lambda name: (f"{name} IS NULL", lambda row: row[name] is None)),
    st.tuples(columns, members).map(
        lambda t: (
            f"{t[0]} IN ({', '.join('NULL' if m is None else str(m) for m in t[1])})",
            lambda row: _isin(row[t[0]], t[1]),
        )
    ),
)
conditions: st.SearchStrategy[Any] = st.recursive(
    leaves,
    lambda inner: st.one_of(
        inner.map(lambda c: (f"NOT ({c[0]})", lambda row: _not(c[1](row)))),
        st.tuples(inner, inner).map(
            lambda t: (f"({t[0][0]} AND {t[1][0]})", lambda row: _and(t[0][1](row), t[1][1](row)))
        ),
        st.tuples(inner, inner).map(
            lambda t: (f"({t[0][0]} OR {t[1][0]})", lambda row: _or(t[0][1](row), t[1][1](row)))
        ),
    ),
    max_leaves=5,
)
cells = st.one_of(st.none(), st.integers(-3, 3))


@given(conditions, st.lists(st.fixed_dictionaries({"a": cells, "b": cells}), min_size=1, max_size=8))
@settings(max_examples=200, deadline=None)
def test_a_filter_means_what_three_valued_logic_says(condition: Any, rows: list[dict[str, Cell]]) -> None:
    sql, meaning = condition
    frame = pl.DataFrame(rows, schema={"a": pl.Int64, "b": pl.Int64}).with_row_index("row")
    expected = [number for number, row in enumerate(rows) if meaning(row) is True]
    assert frame.filter(compile_filter(sql, frame.schema, WHERE))["row"].to_list() == expected


words = st.sampled_from(
    [
        "amount",
        "name",
        "day",
        "AND",
        "OR",
        "NOT",
        "IN",
        "(",
        ")",
        ",",
        "=",
        "<",
        "+",
        "-",
        "*",
        "/",
        "%",
        "::",
        "'",
        "''",
        '"',
        ";",
        "--",
        "/*",
        "*/",
        "SELECT",
        "CASE",
        "IF",
        "LIKE",
        "BETWEEN",
        "NULL",
        "1",
        ".5",
        "[",
        "]",
        "{",
        "}",
        "$1",
        "?",
        "@",
        "#",
        "DATE",
        "CAST",
        "AS",
        "TEXT",
        "trim",
        "lower",
        "->",
        "||",
        "IS",
        "x'0'",
        "e'a'",
        "$$",
        "\\",
    ]
)


@given(st.one_of(st.text(max_size=60), st.lists(words, max_size=12).map(" ".join)))
@settings(max_examples=300, deadline=None)
def test_any_text_compiles_and_runs_or_is_refused_in_one_line(sql: str) -> None:
    said = None
    try:
        condition = compile_filter(sql, ROWS.schema, WHERE)
    except FilterError as error:
        said = str(error)
    if said is None:
        ROWS.filter(condition)
    else:
        assert said.startswith(WHERE)
        assert len(said.splitlines()) == 1
