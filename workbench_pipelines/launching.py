"""Runs on the Dagster instance, launched from the command line in its own process; the one such module that knows Dagster.

The runs are ordinary: they stand in the UI with their events, checks and metadata. One run brings one partition up to date,
a wave of them a partition set.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from workbench_pipelines.errors import MissingPart
from workbench_pipelines.targets import Targets

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class Made:
    """A partition of an asset that a run materialized, with the figures it reported."""

    asset: str
    partition: str | None
    rows: int
    refused: int
    metadata: Mapping[str, Any]


@dataclass(frozen=True)
class Failed:
    """A partition that failed: the line that says why, and the exit code it stands for."""

    job: str
    partition: str | None
    line: str
    exit_code: int


@dataclass(frozen=True)
class FailedCheck:
    asset: str
    check: str
    partition: str | None
    blocking: bool
    line: str


@dataclass(frozen=True)
class Outcome:
    """What a command's runs made and what went wrong."""

    made: tuple[Made, ...] = ()
    failures: tuple[Failed, ...] = ()
    failed_checks: tuple[FailedCheck, ...] = ()
    skipped: tuple[str, ...] = field(default=())

    def plus(self, other: Outcome) -> Outcome:
        return Outcome(
            self.made + other.made,
            self.failures + other.failures,
            self.failed_checks + other.failed_checks,
            self.skipped + other.skipped,
        )

    def stopped(self, job: str) -> set[str]:
        """The partitions of a job that did not come through, by a failure or a blocking check."""
        failed = {one.partition for one in self.failures if one.job == job}
        blocked = {check.partition for check in self.failed_checks if check.blocking}
        return {name for name in failed | blocked if name is not None}


@contextmanager
def dagster_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of DAGSTER_HOME, or of `home` where that is not set.

    Its relative paths start in that folder, so the process stays there while the instance is open.

    Raises:
        MissingPart: when the instance does not open.
    """
    os.environ.setdefault("DAGSTER_HOME", str(home))
    here = Path.cwd()
    try:
        os.chdir(os.environ["DAGSTER_HOME"])
        instance = dg.DagsterInstance.get()
    except (OSError, dg.DagsterError) as error:
        os.chdir(here)
        raise MissingPart(f"the Dagster instance does not open: {' '.join(str(error).split())[:300]}") from None
    try:
        with instance:
            yield instance
    finally:
        os.chdir(here)


def launch(
    instance: dg.DagsterInstance,
    definitions: dg.Definitions,
    targets: Targets,
    *,
    waits: Callable[[str], str | None],
    members_of: Callable[[str], Iterable[str]],
    on_run: Callable[[str, str], None],
) -> Outcome:
    """Brings the targets up to date, one run a partition, in the order of the graph.

    Args:
        waits: says for a Collection that nothing in it is approved, and who is waited for; its export is not tried then.
        members_of: the TrainingSheets of a Collection; one that did not come through holds it back.
        on_run: called before each run with its job and partition.
    """
    outcome = Outcome()
    waves = (
        ("templates", targets.templates),
        ("sheets", targets.sheets),
        ("training_sheets", targets.training_sheets),
        ("collections", targets.collections),
    )
    for job, keys in waves:
        for key in keys:
            if job == "collections":
                held = sorted(outcome.stopped("training_sheets") & set(members_of(key)))
                if held:
                    outcome = outcome.plus(Outcome(skipped=(f"Collection {key}: not made, since {held[0]} failed",)))
                    continue
                waiting = waits(key)
                if waiting:
                    outcome = outcome.plus(Outcome(failures=(Failed(job, key, waiting, 5),)))
                    continue
            on_run(job, key)
            outcome = outcome.plus(run_job(instance, definitions, job, key))
    return outcome


def run_job(instance: dg.DagsterInstance, definitions: dg.Definitions, job: str, key: str) -> Outcome:
    """One ordinary run of a job for a partition, in this process."""
    result = definitions.resolve_job_def(job).execute_in_process(
        run_config=QUIET,
        instance=instance,
        partition_key=key,
        raise_on_error=False,
        tags={"workbench/command": "run"},
    )
    made = tuple(_made(event.materialization) for event in _materializations(result))
    checks = tuple(
        FailedCheck(
            evaluation.asset_key.to_user_string(),
            evaluation.check_name,
            key,
            evaluation.blocking or False,
            _check_line(evaluation, key),
        )
        for evaluation in result.get_asset_check_evaluations()
        if not evaluation.passed and evaluation.severity == dg.AssetCheckSeverity.ERROR
    )
    failures = tuple(_failure(event, job, key) for event in result.all_events if event.is_step_failure)
    # A blocking check that failed stops the run by an error of Dagster's own; the check has said it already.
    own = tuple(
        failure for failure in failures if not (checks and "check" in failure.line.lower() and failure.exit_code == 1)
    )
    return Outcome(made, own, checks)


def report_arrival(instance: dg.DagsterInstance, asset: Iterable[str], versions: Mapping[str, str]) -> None:
    """Tells Dagster that partitions of an external table hold something else now; versions are by partition."""
    for partition, version in sorted(versions.items()):
        instance.report_runless_asset_event(
            dg.AssetMaterialization(
                asset_key=dg.AssetKey(list(asset)),
                partition=partition,
                tags={"dagster/data_version": version},
                metadata={"source": "workbench"},
            )
        )


def _materializations(result: dg.ExecuteInProcessResult) -> list[Any]:
    return [
        event.step_materialization_data
        for event in result.all_events
        if event.is_step_materialization and event.step_materialization_data is not None
    ]


def _made(materialization: dg.AssetMaterialization) -> Made:
    metadata = {name: value.value for name, value in materialization.metadata.items()}
    return Made(
        asset=materialization.asset_key.to_user_string(),
        partition=materialization.partition,
        rows=_count(metadata.get("dagster/row_count")),
        refused=_count(metadata.get("refused")),
        metadata=metadata,
    )


def _count(value: Any) -> int:
    return int(value) if value is not None else 0


def _check_line(evaluation: dg.AssetCheckEvaluation, key: str) -> str:
    sentence = evaluation.check_name.replace("_", " ")
    why = f": {evaluation.description}" if evaluation.description else ""
    return f"{evaluation.asset_key.to_user_string()} {key}: it does not hold that {sentence}{why}"


def _failure(event: dg.DagsterEvent, job: str, key: str) -> Failed:
    data = event.step_failure_data
    said = data.user_failure_data if data is not None else None
    if said is not None:
        code = said.metadata.get("exit_code")
        return Failed(job, key, said.description or "failed", int(code.value) if code is not None else 1)  # type: ignore[arg-type]
    error = data.error if data is not None else None
    while error is not None and error.cause is not None:
        error = error.cause
    cause = " ".join((error.message if error is not None else "unknown cause").split())
    return Failed(job, key, f"{event.step_key} {key}: {cause}"[:500], 1)
