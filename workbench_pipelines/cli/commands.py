"""The commands of `workbench`, by name; each is parsed here or in its own module and does its work in the core."""

from __future__ import annotations

import click

from workbench_pipelines import __version__
from workbench_pipelines.cli.batch import batch
from workbench_pipelines.cli.collection import collection
from workbench_pipelines.cli.erase import erase
from workbench_pipelines.cli.examples import examples
from workbench_pipelines.cli.export import export, push
from workbench_pipelines.cli.feedback import feedback
from workbench_pipelines.cli.items import items
from workbench_pipelines.cli.label import label
from workbench_pipelines.cli.lineage import sql
from workbench_pipelines.cli.project import contract, preview, publish, schemas, validate
from workbench_pipelines.cli.proof import prove, replay, verify
from workbench_pipelines.cli.recall import recall, trace
from workbench_pipelines.cli.review import review
from workbench_pipelines.cli.run import plan, run, status
from workbench_pipelines.cli.store import store
from workbench_pipelines.cli.tasks import tasks


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="workbench")
def workbench() -> None:
    """Source data, prompt templates and expert decisions become governed training datasets, models and their lineage.

    Exit codes: 0 done, 1 a check or gate failed, 2 wrong definitions or arguments, 3 a part is missing or unreachable,
    4 stopped by a budget, 5 nothing is wrong and people or batches are waited for, 130 interrupted. Any command takes --debug.
    """


for command in (
    run, plan, status, validate, preview, publish, contract, schemas, label, review, tasks, feedback, examples, sql, items, store,
    batch, export, push, verify, prove, replay, recall, trace, erase, collection,
):  # fmt: skip
    workbench.add_command(command)
