"""A TrainingSheet of tickets that asks by batches, made as its asset makes it, without a Dagster run around it.

python -m workbench_pipelines_tests.batch_world   makes it in a process of its own
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import polars as pl

from workbench_pipelines.clients.batch_ledger import BatchLedger
from workbench_pipelines.clients.scripted_provider import ScriptedProvider
from workbench_pipelines.drafting import draft_training_sheet
from workbench_pipelines.generation import Drafts
from workbench_pipelines.planning import render_now
from workbench_pipelines.settings import settings_from
from workbench_pipelines.workbench import Workbench
from workbench_pipelines_tests.project_world import Project
from workbench_pipelines_tests.ticket_world import define, put, sheet, template, tickets, training_sheet

NAME = "drafted"
BATCH = {"mode": "batch"}
PAIRS = ("generate", "generated_pairs")
REFUSALS = ("generate", "generated_pairs_refusals")


def plant(project: Project, count: int = 6, *names: str, **spec: Any) -> None:
    """Tickets, and a TrainingSheet `drafted` of them, or one of each name."""
    put(project, tickets(count))
    given = {"generation": BATCH, **spec}
    define(project, sheet(), *(training_sheet(name, **given) for name in names or (NAME,)), template())


def make(
    workbench: Workbench,
    name: str = NAME,
    *,
    asks_again: bool = True,
    say: Callable[[str], None] = lambda line: None,
) -> Drafts:
    """Makes the drafts of a TrainingSheet and keeps them with its refusals, as `generated_pairs` does."""
    catalog = workbench.catalog()
    one = catalog.training_sheet(name)
    rendered = render_now(workbench, name).frame
    live = pl.DataFrame(schema={"item_ref": pl.String(), "canonical_label_id": pl.String()})
    drafts = draft_training_sheet(workbench, one, catalog.template_for(one), rendered, live, say, asks_again=asks_again)
    for table, frame in ((PAIRS, drafts.frame), (REFUSALS, drafts.refusals)):
        workbench.lake.replace_partition(*table, frame=frame, partition_by="training_sheet", keys=[name])
    return drafts


def started(project: Project) -> subprocess.Popen[bytes]:
    """`make` in a process of its own."""
    return subprocess.Popen([sys.executable, "-m", __name__], env={**os.environ, **project.environ})


def killed_after(project: Project, provider: ScriptedProvider, path: str) -> None:
    """A run that dies when the provider has just taken a file or batch, and did not say so yet."""
    process = started(project)

    def kill(came: str) -> None:
        if came == path and process.poll() is None:
            os.kill(process.pid, signal.SIGKILL)
            process.wait(10)

    provider.batches.on_post = kill
    assert process.wait(120) == -signal.SIGKILL
    provider.batches.on_post = lambda came: None


def refusals(project: Project, name: str = NAME) -> dict[str, tuple[str, str]]:
    """Reason and detail of each refused item."""
    rows = project.workbench.lake.read(*REFUSALS, partition={"training_sheet": [name]})
    return {ref: (reason, detail) for ref, reason, detail in rows.select("item_ref", "reason", "detail").iter_rows()}


def reasons(project: Project) -> dict[str, str]:
    return {ref: reason for ref, (reason, _) in refusals(project).items()}


def pairs(project: Project) -> dict[str, str]:
    """The answer of each item."""
    return dict(project.table(*PAIRS).select("item_ref", "response").iter_rows())


def ledger(project: Project) -> BatchLedger:
    return BatchLedger(project.workbench.lake)


def asked_in(provider: ScriptedProvider, number: int) -> list[str]:
    """What the questions of the n-th batch say last."""
    batch = list(provider.batches.batches.values())[number]
    lines = provider.batches.files[batch["input_file_id"]].splitlines()
    return [json.loads(line)["body"]["messages"][-1]["content"] for line in lines]


if __name__ == "__main__":
    make(Workbench(settings_from(os.environ)))
