"""`workbench run | plan | status`: bring definitions up to date, say what that would cost, say how things stand."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from workbench_pipelines.cli.output import print_json, print_table, warn, warn_each, watching
from workbench_pipelines.cli.project import open_workbench
from workbench_pipelines.clients.batch_ledger import BatchLedger
from workbench_pipelines.errors import DefinitionError, WorkbenchError
from workbench_pipelines.feedback_import import outdated_days
from workbench_pipelines.launching import Failed, Outcome, dagster_instance, launch, report_arrival, run_job
from workbench_pipelines.planning import plan_training_sheet
from workbench_pipelines.quotas import shortfall_lines
from workbench_pipelines.review_inbox import take_deliveries
from workbench_pipelines.settings import CHECKOUT
from workbench_pipelines.standing import (
    SHOWN_METRICS,
    collection_states,
    outdated_lines,
    pending_questions,
    refusal_lines,
    store_states,
    training_sheet_states,
    unread_file_lines,
    waiting_line,
)
from workbench_pipelines.tainting import taint_line
from workbench_pipelines.targets import Targets, leads_to, targets_of, unplaced_problems
from workbench_pipelines.use_set_taking import set_states, tainted_set_lines
from workbench_pipelines.workbench import Workbench

if TYPE_CHECKING:
    from dagster import DagsterInstance

# What a run says of the batches whose answers it collected; `cost_usd` of the run itself is that of its calls.
_TOLD_OF_A_BATCH = ("batch_id", "training_sheet", "model", "status", "requests", "answers", "refused", "cost_usd")


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--retry", type=click.Choice(["refused"]), help="Ask models only for what they gave no usable answer to before."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def run(names: tuple[str, ...], retry: str | None, as_json: bool) -> int:
    """Bring Collections, TrainingSheets or Sheets up to date, with what leads to them and what follows.

    Without a NAME: every declared Collection, every TrainingSheet that stands in none, every Sheet that none uses, and the
    days whose feedback came in or was decided on.
    The runs are ordinary runs of the Dagster instance, in this process; no daemon is needed.
    """
    from workbench_pipelines.definitions import definitions
    from workbench_pipelines.defs.resources import WORKBENCH

    workbench = WORKBENCH
    workbench.retries_refused = retry == "refused"
    calls, paid, began = workbench.llm_calls, workbench.budget.spent_usd, dt.datetime.now(dt.UTC)
    catalog = workbench.catalog()
    targets = targets_of(catalog, names)
    unplaced = () if names else tuple(Failed("definitions", None, line, 2) for line in unplaced_problems(catalog))
    if not targets.sheets and not targets.collections and not unplaced:
        raise DefinitionError("there is nothing to run: sheets/ defines no Sheet")
    with dagster_instance(CHECKOUT) as instance, watching(quiet=as_json) as watcher:
        watcher.expect(
            sum(
                map(
                    len,
                    (targets.templates, targets.sheets, targets.stores, targets.training_sheets, targets.collections),
                )
            )
        )
        workbench.on_progress = watcher.items
        outcome = Outcome(failures=(*unplaced, *_take_reviews(workbench, instance))).plus(
            launch(
                instance,
                definitions(),
                targets,
                waits=lambda name: waiting_line(workbench, name),
                leads_to=lambda job, key: leads_to(catalog, job, key),
                on_run=watcher.run,
            )
        )
        for day in () if names else outdated_days(workbench):
            watcher.run("feedback_days", day)
            outcome = outcome.plus(run_job(instance, definitions(), "feedback_days", day))
    summary = _summary(workbench, outcome, targets, began)
    # What a step asked before it failed counts as well.
    summary["llm_calls"] = workbench.llm_calls - calls
    if summary["cost_usd"] is not None:
        summary["cost_usd"] = max(summary["cost_usd"], workbench.budget.spent_usd - paid)
    if as_json:
        print_json(summary)
    else:
        _print_summary(workbench, summary)
    for line in (*summary["refusals"], *summary["shortfalls"]):
        warn(line)
    for failure in outcome.failures:
        warn(failure.line)
    for check in outcome.failed_checks:
        warn(check.line)
    return _exit_code(outcome, summary["pending"])


def _take_reviews(workbench: Workbench, instance: DagsterInstance) -> tuple[Failed, ...]:
    """Takes what review back ends left in the inbox, as the daemon does where one runs; why it can not, if so."""
    try:
        taken = take_deliveries(workbench)
    except WorkbenchError as error:
        return (Failed("definitions", None, error.line, error.exit_code),)
    report_arrival(instance, ("label", "decisions"), taken.versions)
    warn_each([refusal.line for refusal in taken.refusals])
    return ()


def _exit_code(outcome: Outcome, pending: Sequence[Mapping[str, Any]]) -> int:
    """The gravest thing that happened: a failure before a failed check before people or batches that are waited for."""
    codes = [failure.exit_code for failure in outcome.failures if failure.exit_code != 5]
    if codes:
        return codes[0]
    if any(check.blocking for check in outcome.failed_checks):
        return 1
    return 5 if outcome.failures or pending else 0


def _summary(workbench: Workbench, outcome: Outcome, targets: Targets, began: dt.datetime) -> dict[str, Any]:
    """The object that `run --json` ends with."""
    costs = [one.metadata.get("cost_usd") for one in outcome.made if "llm_calls" in one.metadata]
    collections = [
        state for state in collection_states(workbench)
        if state["collection"] in targets.collections
        and any(one.partition == state["collection"] for one in outcome.made)
    ]  # fmt: skip
    pending = [one for name in targets.training_sheets for one in pending_questions(workbench, name)]
    return {
        "ok": _exit_code(outcome, pending) == 0,
        "partitions": [
            {"asset": one.asset, "partition": one.partition, "rows": one.rows, "refused": one.refused}
            for one in outcome.made
        ],
        "llm_calls": sum(int(one.metadata.get("llm_calls", 0)) for one in outcome.made),
        "store_hits": sum(int(one.metadata.get("store_hits", 0)) for one in outcome.made),
        "cost_usd": None if "unknown" in costs else sum(float(cost) for cost in costs if cost is not None),
        "exports": [state["export"] for state in collections if state["export"]],
        "models": [
            model
            for state in collections
            if any(one.asset == "train/trained_model" and one.partition == state["collection"] for one in outcome.made)
            for model in state["models"]
        ],
        "failed_checks": [
            {"asset": check.asset, "check": check.check, "partition": check.partition, "blocking": check.blocking}
            for check in outcome.failed_checks
        ],
        "waiting": [
            [state["training_sheet"], (state["unlabeled"] or 0) + (state["flagged"] or 0), state["waits_for"]]
            for state in training_sheet_states(workbench)
            if state["training_sheet"] in targets.training_sheets and state["waits_for"]
        ],
        "pending": pending,
        "batches": [
            {name: getattr(one, name) for name in _TOLD_OF_A_BATCH}
            for one in BatchLedger(workbench.lake).batches()
            if one.answers is not None and one.at >= began
        ],
        "refusals": [
            line
            for names, lines_of in ((targets.sheets, unread_file_lines), (targets.training_sheets, refusal_lines))
            for name in names
            if any(one.refused for one in outcome.made if one.partition == name)
            for line in lines_of(workbench, name)
        ],
        "shortfalls": [
            line
            for one in outcome.made
            if one.partition is not None
            for line in shortfall_lines(one.partition, one.metadata.get("targets") or {})
        ],
        "skipped": list(outcome.skipped),
        "failures": [
            {"job": f.job, "partition": f.partition, "line": f.line, "exit_code": f.exit_code} for f in outcome.failures
        ],
    }


def _print_summary(workbench: Workbench, summary: Mapping[str, Any]) -> None:
    rows = [[p["asset"], p["partition"], p["rows"], p["refused"] or ""] for p in summary["partitions"]]
    print_table(["asset", "partition", "rows", "refused"], rows, title="Made")
    for line in summary["skipped"]:
        click.echo(line)
    if summary["exports"]:
        columns = ["collection", "version", "train", "val", "test", "excluded", "path"]
        print_table(columns, [[e[c] for c in columns] for e in summary["exports"]], title="Exports")
    if summary["models"]:
        rows = [row for model in summary["models"] for row in _beside_baselines(model)]
        print_table(["model", "version", "predictor", *SHOWN_METRICS, "n"], rows, title="Models, on the test split")
    for name, count, reviewers in summary["waiting"]:
        click.echo(f"{count} pairs of {name} wait for {' or '.join(reviewers)}")
    for one in summary["batches"]:
        click.echo(
            f"batch {one['batch_id']} of {one['training_sheet']}: {one['status']}, {one['answers']} answers, "
            f"{one['refused']} refused, {_price(one['cost_usd'])}"
        )
    for one in summary["pending"]:
        click.echo(f"{one['questions']} questions of {one['training_sheet']}: {one['detail']}")
    said = _price(summary["cost_usd"])
    click.echo(f"{summary['llm_calls']} model calls, {summary['store_hits']} answers from the store, {said}")
    click.echo(f"lake: {workbench.lake.uri}   models: {workbench.settings.mlflow_uri}")


def _price(cost_usd: float | None) -> str:
    return "an unknown price" if cost_usd is None else f"{cost_usd:.4f} USD"


def _beside_baselines(model: Mapping[str, Any]) -> list[list[Any]]:
    """A model's figures and those of each baseline, a row each."""
    figures: dict[str, dict[str, float]] = {}
    for name, value in model["metrics"].items():
        predictor, _, metric = name.rpartition(".")
        figures.setdefault(predictor or "the model", {})[metric] = value
    return [
        [model["name"], model["version"], predictor, *(of.get(metric) for metric in SHOWN_METRICS), of.get("n")]
        for predictor, of in figures.items()
    ]


def _planned(row: Mapping[str, Any], column: str) -> Any:
    """A figure as the table shows it: a price nobody knows is none that is nothing."""
    return "unknown" if column == "max_cost_usd" and row[column] is None else row[column]


@click.command()
@click.argument("names", nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def plan(names: tuple[str, ...], as_json: bool) -> int:
    """Say what a run would ask of models, find in the store, and cost; nothing is called and nothing written."""
    workbench = open_workbench()
    targets = targets_of(workbench.catalog(), names)
    plans, failed = [], []
    for name in targets.training_sheets:
        try:
            plans.append(plan_training_sheet(workbench, name))
        except WorkbenchError as error:
            failed.append(error)
    columns = [
        "training_sheet",
        "model",
        "items",
        "calls",
        "store_hits",
        "repeated",
        "pending",
        "covered",
        "refused",
        "max_calls",
        "max_tokens",
        "max_cost_usd",
    ]
    if as_json:
        totals = {key: sum(p[key] for p in plans) for key in ("calls", "store_hits", "repeated", "pending", "covered")}
        print_json({"training_sheets": plans, **totals, "failures": [one.line for one in failed]})
    else:
        print_table(columns, [[_planned(p, c) for c in columns] for p in plans])
        if waiting := sum(p["pending"] for p in plans):
            click.echo(f"{waiting} questions wait for batches")
        click.echo(f"{sum(p['calls'] for p in plans)} model calls; evaluation may ask the base model a few more")
        open_ended = [p["training_sheet"] for p in plans if not p.get("known_to_the_end", True)]
        if open_ended:
            click.echo(f"what the steps of {', '.join(open_ended)} lead to is known once they are answered")
    # What is wrong with a Sheet is said once, whoever is made of it.
    for line in dict.fromkeys(one.line for one in failed):
        warn(line)
    return failed[0].exit_code if failed else 0


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def status(as_json: bool) -> int:
    """Say how every TrainingSheet and Collection stands: versions, approvals, who is waited for, exports, models and examples."""
    workbench = open_workbench()
    sheets, collections = training_sheet_states(workbench), collection_states(workbench)
    stores = store_states(workbench)
    if as_json:
        sets = set_states(workbench)
        print_json({"training_sheets": sheets, "collections": collections, "example_stores": stores, "sets": sets})
        return 0
    columns = [
        "training_sheet",
        "version",
        "status",
        "pairs",
        "labeled",
        "pre_approved",
        "unlabeled",
        "flagged",
        "pending",
        "waits_for",
    ]
    print_table(columns, [[s[c] for c in columns] for s in sheets], title="TrainingSheets")
    rows = []
    for state in collections:
        export = state["export"] or {}
        models = ", ".join(f"{m['name']} v{m['version']}" for m in state["models"])
        rows.append([state["collection"], export.get("version"), export.get("train"), export.get("excluded"), models])
    print_table(["collection", "export", "train", "excluded", "models"], rows, title="Collections")
    for one in (one for state in collections for one in state["tainted"]):
        warn(taint_line(one))
    for line in (*outdated_lines(workbench), *tainted_set_lines(workbench)):
        warn(line)
    if stores:
        columns = ["store", "snapshot", "examples", "created_at"]
        print_table(columns, [[s[c] for c in columns] for s in stores], title="ExampleStores")
    return 0
