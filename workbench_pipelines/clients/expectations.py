"""Great Expectations: a suite file per Sheet, run over a frame in memory, with results that hold no row.

A suite file is the JSON of a suite: ``{"name": ..., "expectations": [{"type": ..., "kwargs": {...}}]}``.
"""

from __future__ import annotations

import json
import logging
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from workbench_pipelines.errors import DefinitionError, nearest

if TYPE_CHECKING:
    from great_expectations.expectations.expectation import Expectation

_COLUMN_ARGUMENTS = ("column", "column_A", "column_B")
_COLUMN_LISTS = ("column_list",)


@dataclass(frozen=True)
class ExpectationResult:
    """One expectation of a suite over one frame.

    `observed` is a number over all rows (a mean, a count), `unexpected_count` how many rows broke it; both are None for
    a restricted frame. `detail` says why an expectation could not be looked at.
    """

    name: str
    column: str | None
    success: bool
    observed: float | int | None = None
    unexpected_count: int | None = None
    detail: str | None = None


def run_suite(
    suite_json: str | Mapping[str, Any], frame: pl.DataFrame, restricted: bool, where: str
) -> list[ExpectationResult]:
    """What the expectations of a suite find in a frame, in the order of the suite; no result quotes a row.

    Columns of lists and structs are left out: Great Expectations looks at flat columns.

    Raises:
        DefinitionError: for a suite that is no JSON, an expectation nobody knows and arguments it does not take; one
            line that starts with `where`. An unknown expectation is never passed over.
    """
    entries = _entries(suite_json, where)
    _import_quietly()
    expectations = [_expectation(entry, f"{where}: expectations[{n}]") for n, entry in enumerate(entries)]
    flat = frame.select(name for name, dtype in frame.schema.items() if not dtype.is_nested() and dtype != pl.Object)
    batch = _batch(flat)
    results: list[ExpectationResult] = []
    for entry, expectation in zip(entries, expectations, strict=True):
        missing = _missing_column(entry, flat)
        if missing is not None:
            said = f"the column '{missing}' does not exist or is no flat column{nearest(missing, flat.columns)}"
            results.append(ExpectationResult(entry["type"], _column_of(entry), False, detail=said))
        else:
            results.append(_result(entry, batch, expectation, restricted))
    return results


def _entries(suite_json: str | Mapping[str, Any], where: str) -> list[Mapping[str, Any]]:
    try:
        suite = json.loads(suite_json) if isinstance(suite_json, str) else suite_json
    except json.JSONDecodeError as error:
        raise DefinitionError(f"{where}: not JSON: {error.msg} in line {error.lineno}, column {error.colno}") from None
    entries = suite.get("expectations") if isinstance(suite, Mapping) else None
    if not isinstance(entries, list):
        raise DefinitionError(f"{where}: a suite is an object with a list of `expectations`")
    for number, entry in enumerate(entries):
        place = f"{where}: expectations[{number}]"
        if not isinstance(entry, Mapping) or not isinstance(entry.get("type"), str):
            raise DefinitionError(f"{place}: an expectation is an object with `type` and `kwargs`")
        if not isinstance(entry.get("kwargs", {}), Mapping):
            raise DefinitionError(f"{place}: `kwargs` is an object")
    return entries


def _import_quietly() -> None:
    # Read when the package is first imported; without it, every run would be reported over the network.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    # What it logs about an expectation that fails quotes its rows.
    logging.getLogger("great_expectations").setLevel(logging.CRITICAL)


def _expectation(entry: Mapping[str, Any], where: str) -> Expectation:
    from great_expectations.expectations.expectation_configuration import ExpectationConfiguration
    from great_expectations.expectations.registry import list_registered_expectation_implementations

    known = list_registered_expectation_implementations()
    kind = entry["type"]
    if kind not in known:
        raise DefinitionError(f"{where}: unknown expectation '{kind}'{nearest(kind, known)}")
    try:
        return ExpectationConfiguration(type=kind, kwargs=dict(entry.get("kwargs", {}))).to_domain_obj()
    except (TypeError, ValueError) as error:
        # Theirs is a list of every way an argument could have been meant; the first two lines name the argument.
        lines = [line.strip() for line in str(error).splitlines()]
        said = f"{lines[1]}: {lines[2].partition(' (')[0]}" if len(lines) > 2 else str(error)
        raise DefinitionError(f"{where}: {kind}: {said}") from None


def _batch(flat: pl.DataFrame) -> Any:
    import great_expectations as gx

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}  # type: ignore[assignment]
    asset = context.data_sources.add_pandas("memory").add_dataframe_asset("frame")
    return asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": flat.to_pandas()})


def _result(entry: Mapping[str, Any], batch: Any, expectation: Expectation, restricted: bool) -> ExpectationResult:
    form: str | dict[str, Any] = "BOOLEAN_ONLY"
    if not restricted:
        form = {"result_format": "SUMMARY", "partial_unexpected_count": 0}
    found = batch.validate(expectation, result_format=form)
    name, column = entry["type"], _column_of(entry)
    if _raised(found.exception_info):
        # Its message may quote a value.
        return ExpectationResult(name, column, False, detail="could not be evaluated; does it fit the column's type?")
    if restricted:
        return ExpectationResult(name, column, bool(found.success))
    return ExpectationResult(
        name,
        column,
        bool(found.success),
        observed=_number(found.result.get("observed_value")),
        unexpected_count=found.result.get("unexpected_count"),
    )


def _number(value: Any) -> float | int | None:
    """An aggregate as a plain finite number; a text or a list of values is no aggregate."""
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _raised(info: Mapping[str, Any]) -> bool:
    return bool(info.get("raised_exception")) or any(
        bool(inner.get("raised_exception")) for inner in info.values() if isinstance(inner, Mapping)
    )


def _column_of(entry: Mapping[str, Any]) -> str | None:
    column = entry.get("kwargs", {}).get("column")
    return column if isinstance(column, str) else None


def _missing_column(entry: Mapping[str, Any], flat: pl.DataFrame) -> str | None:
    if entry["type"] == "expect_column_to_exist":
        return None
    kwargs = entry.get("kwargs", {})
    named = [kwargs[key] for key in _COLUMN_ARGUMENTS if isinstance(kwargs.get(key), str)]
    named += [name for key in _COLUMN_LISTS for name in kwargs.get(key) or () if isinstance(name, str)]
    return next((name for name in named if name not in flat.columns), None)
