"""How a check says what it found: a sentence that is true when green, and a line without row values when red."""

import functools
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from workbench_pipelines.clients.expectations import ExpectationResult
from workbench_pipelines.errors import WorkbenchError

# Checks of single partitions are what lets one bad Sheet hold back its own Collections and no other; Dagster calls them a
# preview and says so once a check, at every load.
warnings.filterwarnings("ignore", message=".*partitions_def on an AssetCheckSpec.*", category=dg.PreviewWarning)


def held(passed: bool, found: str, metadata: Mapping[str, Any] | None = None) -> dg.AssetCheckResult:
    """The result of a check; `found` says in one line what was counted."""
    return dg.AssetCheckResult(passed=bool(passed), description=found, metadata=dict(metadata or {}))


def expectations_held(results: Sequence[ExpectationResult]) -> dg.AssetCheckResult:
    """The result of a suite: how many rows break which expectation, never which rows."""
    broken = []
    for result in results:
        if not result.success:
            column = f" of {result.column}" if result.column else ""
            rows = f" ({result.unexpected_count} rows)" if result.unexpected_count is not None else ""
            broken.append(f"{result.name}{column} does not hold{rows}{f': {result.detail}' if result.detail else ''}")
    return held(not broken, "; ".join(broken) or f"{len(results)} expectations hold")


def one_line_check(body: Callable[..., dg.AssetCheckResult]) -> Callable[..., dg.AssetCheckResult]:
    """A check that can not be made is a failed one, with the line that says why."""

    @functools.wraps(body)
    def guarded(*args: Any, **kwargs: Any) -> dg.AssetCheckResult:
        try:
            return body(*args, **kwargs)
        except WorkbenchError as error:
            return held(False, error.line)
        except Exception as error:
            # The text of a foreign error can quote a value of a row, and results of checks are kept.
            return held(False, f"unexpected {type(error).__name__}, so it could not be looked at")

    return guarded
