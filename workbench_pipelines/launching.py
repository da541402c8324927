"""Runs on the Dagster instance, launched from the command line in its own process; the one such module that knows Dagster.

The runs are ordinary: they stand in the UI with their events, checks and metadata. One run brings one partition up to date,
a wave of them a partition set.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from workbench_pipelines import errors
from workbench_pipelines.clients.living_processes import ended, living
from workbench_pipelines.errors import MissingPart
from workbench_pipelines.targets import Targets

# A run of a command says so, names the process that carries it, and is not tried again by a daemon, which could not.
COMMAND_TAG, PROCESS_TAG = "workbench/command", "workbench/process"
_NO_RETRY = {"dagster/max_retries": "0"}
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
    """What a command's runs made, what went wrong, and what was left as it is since something before it failed."""

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


@contextmanager
def dagster_instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """The Dagster instance of `DAGSTER_HOME`, which is `home` unless set.

    Its relative paths start there, and Dagster looks some of them up only when a run writes to them: the process stays in
    the folder until the instance is closed.

    Raises:
        MissingPart: where it does not open.
    """
    chosen = Path(os.environ.setdefault("DAGSTER_HOME", str(home)))
    here = Path.cwd()
    if not chosen.is_dir():
        raise MissingPart(f"DAGSTER_HOME: there is no folder {chosen}; unset it, or make the folder")
    os.chdir(chosen)
    try:
        try:
            # The first process makes the storage; a second one at the same time would find it half made.
            with (chosen / ".instance.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                instance = dg.DagsterInstance.get()
        except dg.DagsterError as error:
            raise MissingPart(f"the Dagster instance does not open: {' '.join(str(error).split())}") from None
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
    leads_to: Callable[[str, str], Iterable[tuple[str, str]]],
    on_run: Callable[[str, str], None],
) -> Outcome:
    """Brings the targets up to date, one run a partition, in the order of the graph.

    Args:
        waits: says for a Collection that nothing in it is approved, and who is waited for; its export is not tried then.
        leads_to: the partitions that a partition is made of, by job and key; one that did not come through holds it back.
        on_run: called before each run with its job and partition.
    """
    end_abandoned_runs(instance)
    outcome = Outcome()
    waves = (
        ("templates", targets.templates),
        ("sheets", targets.sheets),
        ("stores", targets.stores),
        ("training_sheets", targets.training_sheets),
        ("collections", targets.collections),
    )
    held: set[tuple[str, str]] = set()
    for job, keys in waves:
        for key in keys:
            cause = min(held & set(leads_to(job, key)), default=None)
            waiting = waits(key) if job == "collections" and cause is None else None
            if cause is not None:
                one = Outcome(skipped=(f"{_noun(job)} {key}: not made, since {_noun(cause[0])} {cause[1]} was not",))
            elif waiting:
                one = Outcome(failures=(Failed(job, key, waiting, 5),))
            else:
                on_run(job, key)
                one = run_job(instance, definitions, job, key)
            if one.failures or one.skipped or any(check.blocking for check in one.failed_checks):
                held.add((job, key))
            outcome = outcome.plus(one)
    return outcome


def run_job(instance: dg.DagsterInstance, definitions: dg.Definitions, job: str, key: str) -> Outcome:
    """One ordinary run of a job for a partition, in this process."""
    with living(_processes(instance)) as process:
        result = definitions.resolve_job_def(job).execute_in_process(
            run_config=QUIET,
            instance=instance,
            partition_key=key,
            raise_on_error=False,
            tags={COMMAND_TAG: "run", PROCESS_TAG: process, **_NO_RETRY},
        )
    if any(_is_interrupt(event) for event in result.all_events):
        raise KeyboardInterrupt
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
    # A blocking check that failed stops the run by an error of Dagster's own; the check has said it already.
    failures = tuple(
        _failure(event, job, key) for event in result.all_events if event.is_step_failure and not _is_of_check(event)
    )
    if not (result.success or failures or any(check.blocking for check in checks)):
        failures = (Failed(job, key, f"{_noun(job)} {key}: its run failed before a step could; the UI shows where", 1),)
    return Outcome(made, failures, checks)


def end_abandoned_runs(instance: dg.DagsterInstance) -> int:
    """Ends the runs of commands whose process was killed; how many there were.

    Else they stand as started for ever: automation waits for them, and they keep their places in the pools.
    """
    status = dg.DagsterRunStatus
    unfinished = [status.NOT_STARTED, status.STARTING, status.STARTED, status.CANCELING]
    ended_runs = 0
    for run in instance.get_runs(dg.RunsFilter(statuses=unfinished, tags={COMMAND_TAG: "run"})):
        if PROCESS_TAG in run.tags and ended(_processes(instance), run.tags[PROCESS_TAG]):
            instance.report_run_failed(run, "the process of the command was killed")
            instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
            ended_runs += 1
    return ended_runs


def _processes(instance: dg.DagsterInstance) -> Path:
    return Path(instance.root_directory) / "processes"


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


def _is_interrupt(event: dg.DagsterEvent) -> bool:
    """Whether a step ended since somebody stopped the command: Dagster catches the signal and makes an error of it."""
    error = event.step_failure_data.error if event.is_step_failure and event.step_failure_data is not None else None
    while error is not None:
        if error.cls_name in ("DagsterExecutionInterruptedError", "KeyboardInterrupt"):
            return True
        error = error.cause
    return False


def _is_of_check(event: dg.DagsterEvent) -> bool:
    error = event.step_failure_data.error if event.step_failure_data is not None else None
    return error is not None and error.cls_name == "DagsterAssetCheckFailedError"


def _failure(event: dg.DagsterEvent, job: str, key: str) -> Failed:
    data = event.step_failure_data
    said = data.user_failure_data if data is not None else None
    if said is not None:
        code = said.metadata.get("exit_code")
        return Failed(job, key, said.description or "failed", int(code.value) if code is not None else 1)  # type: ignore[arg-type]
    error = data.error if data is not None else None
    while error is not None and error.cause is not None:
        error = error.cause
    kind, _, line = " ".join((error.message if error is not None else "").split()).partition(": ")
    if kind.startswith("workbench_pipelines.") and line:
        # What the IO manager says, outside of any asset's body.
        own = getattr(errors, kind.rpartition(".")[2], errors.WorkbenchError)
        return Failed(job, key, line, own.exit_code)
    # The text of a foreign error can hold anything, a value of a row included: its kind is enough here.
    return Failed(job, key, f"{event.step_key} {key}: unexpected {kind or 'error'}; the run in the UI shows where", 1)


def _noun(job: str) -> str:
    nouns = {
        "templates": "template",
        "sheets": "Sheet",
        "stores": "ExampleStore",
        "training_sheets": "TrainingSheet",
        "feedback_days": "feedback of",
    }
    return nouns.get(job, "Collection")
