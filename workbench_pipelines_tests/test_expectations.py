"""Expectations are run by Great Expectations; what comes back names columns and counts, never a row."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import polars as pl
import pytest

from workbench_pipelines.clients.expectations import ExpectationResult, run_suite
from workbench_pipelines.errors import DefinitionError

WHERE = "sheets/expectations/a.json"
ROWS = pl.DataFrame({"n": [1, 2, None, 9], "name": ["x", "secret", "secret", "x"], "parts": [[1]] * 4})


def expect(kind: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": kwargs}


NOT_NULL = expect("expect_column_values_to_not_be_null", column="n")
IN_SET = expect("expect_column_values_to_be_in_set", column="name", value_set=["x"])
ROW_COUNT = expect("expect_table_row_count_to_be_between", min_value=1)
MEAN = expect("expect_column_mean_to_be_between", column="n", min_value=1)


def run(*expectations: dict[str, Any], restricted: bool = False) -> list[ExpectationResult]:
    return run_suite(json.dumps({"name": "a", "expectations": expectations}), ROWS, restricted, WHERE)


def test_each_expectation_has_a_result_in_the_order_of_the_suite() -> None:
    assert run(IN_SET, ROW_COUNT, MEAN, NOT_NULL) == [
        ExpectationResult("expect_column_values_to_be_in_set", "name", False, unexpected_count=2),
        ExpectationResult("expect_table_row_count_to_be_between", None, True, observed=4),
        ExpectationResult("expect_column_mean_to_be_between", "n", True, observed=4.0),
        ExpectationResult("expect_column_values_to_not_be_null", "n", False, unexpected_count=1),
    ]


def test_a_restricted_frame_gives_nothing_but_true_or_false() -> None:
    results = run(IN_SET, ROW_COUNT, MEAN, NOT_NULL, restricted=True)
    assert [result.success for result in results] == [False, True, True, False]
    assert all(result.observed is None and result.unexpected_count is None for result in results)


@pytest.mark.parametrize("restricted", [True, False])
def test_no_result_quotes_a_value(restricted: bool, capfd: pytest.CaptureFixture[str]) -> None:
    distinct = expect("expect_column_distinct_values_to_be_in_set", column="name", value_set=["x"])
    pattern = expect("expect_column_values_to_match_regex", column="name", regex="^x$")
    unlike = expect("expect_column_values_to_be_between", column="name", min_value=1, max_value=2)
    results = run(IN_SET, distinct, pattern, unlike, restricted=restricted)
    assert [result.success for result in results] == [False] * 4
    assert "secret" not in str(results)
    assert capfd.readouterr() == ("", "")


def test_a_column_that_is_missing_or_nested_fails_with_its_name() -> None:
    missing, nested = run(
        expect("expect_column_values_to_not_be_null", column="nam"),
        expect("expect_column_values_to_not_be_null", column="parts"),
    )
    assert missing.detail == "the column 'nam' does not exist or is no flat column; did you mean 'name'?"
    assert nested.detail is not None
    assert not missing.success
    assert not nested.success


def test_an_unknown_expectation_is_never_passed_over() -> None:
    with pytest.raises(DefinitionError) as error:
        run(expect("expect_column_values_to_not_be_nul", column="n"))
    assert error.value.line == (
        f"{WHERE}: expectations[0]: unknown expectation 'expect_column_values_to_not_be_nul'; "
        "did you mean 'expect_column_values_to_not_be_null'?"
    )


@pytest.mark.parametrize(
    ("suite", "line"),
    [
        ("{", "not JSON"),
        ("[]", "a suite is an object"),
        ({"name": "a"}, "a suite is an object"),
        ({"expectations": [5]}, "expectations[0]: an expectation is an object"),
        ({"expectations": [{"type": "x", "kwargs": 5}]}, "expectations[0]: `kwargs` is an object"),
        (
            {"expectations": [expect("expect_column_values_to_not_be_null")]},
            "expectations[0]: expect_column_values_to_not_be_null: column: field required",
        ),
        (
            {"expectations": [expect("expect_column_values_to_not_be_null", column="n", x=1)]},
            "expectations[0]: expect_column_values_to_not_be_null: x: extra fields not permitted",
        ),
    ],
)
def test_a_broken_suite_is_one_line(suite: Any, line: str) -> None:
    with pytest.raises(DefinitionError) as error:
        run_suite(suite, ROWS, False, WHERE)
    assert str(error.value).startswith(f"{WHERE}: {line}")
    assert "\n" not in str(error.value)


def test_great_expectations_is_imported_only_when_a_suite_runs() -> None:
    code = "import sys, workbench_pipelines.clients.expectations; print('great_expectations' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"
