"""`workbench sql`: questions to the lake's tables, restricted columns masked."""

from __future__ import annotations

import click

from workbench_pipelines.audit_questions import AUDIT_QUESTIONS
from workbench_pipelines.cli.output import print_frame, print_json, print_table
from workbench_pipelines.cli.project import open_workbench
from workbench_pipelines.clients.lake_sql import query
from workbench_pipelines.closed_labels import restrictions_in
from workbench_pipelines.errors import ArgumentError
from workbench_pipelines.lineage_queries import QUERIES as LINEAGE_QUERIES, named_query

QUERIES = {**LINEAGE_QUERIES, **AUDIT_QUESTIONS}
"""Every documented question by name."""


@click.command()
@click.argument("statement", required=False)
@click.option("--query", "name", help="A documented query by name instead of a statement; see --queries.")
@click.option("--param", "-p", "params", multiple=True, metavar="NAME=VALUE", help="A value for :NAME in the query.")
@click.option("--queries", "listing", is_flag=True, help="List the documented queries and end.")
@click.option("--json", "as_json", is_flag=True, help="Print the rows as JSON.")
def sql(statement: str | None, name: str | None, params: tuple[str, ...], listing: bool, as_json: bool) -> int:
    """Run one SELECT over the lake's tables, by their names: labeled_pairs, model_training_lineage, sheet_snapshot_iris …

    \b
    workbench sql "select status, count(*) from labeled_pairs group by status"
    workbench sql --query pairs_of_model -p model=iris.forest/1
    """
    if listing:
        known = [{"query": n, "question": q.question, "parameters": list(q.parameters)} for n, q in QUERIES.items()]
        if as_json:
            print_json(known)
        else:
            print_table(list(known[0]), [[*row.values()] for row in known])
        return 0
    if (statement is None) == (name is None):
        raise ArgumentError("give either a statement or --query NAME (see --queries)")
    given: dict[str, str] = {}
    for param in params:
        key, equals, value = param.partition("=")
        if not equals:
            raise ArgumentError(f"--param {param}: write it NAME=VALUE")
        given[key] = value
    if name is not None:
        statement = named_query(name, given, QUERIES).sql
    workbench = open_workbench()
    rows = query(workbench.lake, statement or "", restrictions=restrictions_in(workbench), params=given)
    print_frame(rows, as_json)
    return 0
