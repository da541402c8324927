"""Commands on the definitions: validate, preview, publish, contract, schemas."""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path
from typing import Any

import click
import polars as pl

from workbench_pipelines.attachments import images_of, named
from workbench_pipelines.catalog.documents import KINDS
from workbench_pipelines.cli.output import print_json, print_table, warn
from workbench_pipelines.document_schemas import all_schemas
from workbench_pipelines.errors import ArgumentError
from workbench_pipelines.planning import render_now
from workbench_pipelines.project_check import project_problems
from workbench_pipelines.restrictions import MASK, RESTRICTED
from workbench_pipelines.settings import settings_from
from workbench_pipelines.sheet_contract import contract_of_now
from workbench_pipelines.source_contract import CONTRACT_ENDING
from workbench_pipelines.template_approvals import publish_templates
from workbench_pipelines.usage import statements_from_json, strictest
from workbench_pipelines.workbench import Workbench


def open_workbench() -> Workbench:
    """The project that the environment names."""
    return Workbench(settings_from(os.environ))


def _counted(problems: int) -> str:
    return f"{problems} problem{'s' if problems > 1 else ''}" if problems else "all in order"


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.option("--strict", is_flag=True, help="Fail also where a published template is not in templates/published.lock.")
def validate(as_json: bool, strict: bool) -> int:
    """Check every definition: fields, references, columns, filters, templates and the lock of published versions."""
    workbench = open_workbench()
    problems = project_problems(workbench, strict=strict)
    catalog = workbench.catalog()
    counts = {kind: len(catalog.names(kind)) for kind in KINDS}
    if as_json:
        print_json({"ok": not problems, "problems": problems, "definitions": counts})
    else:
        for line in problems:
            warn(line)
        said = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
        click.echo(f"{said or 'no definitions'}: {_counted(len(problems))}")
    return 2 if problems else 0


@click.command()
@click.argument("training_sheet")
@click.option("--items", default=3, show_default=True, help="How many items to render.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def preview(training_sheet: str, items: int, as_json: bool) -> int:
    """Render the prompts of a TrainingSheet for its first items, without asking a model or writing anything."""
    workbench = open_workbench()
    rendered = render_now(workbench, training_sheet)
    restricted = restricted_pairs(rendered.frame)
    shown: list[dict[str, Any]] = []
    for row in rendered.frame.head(items).iter_rows(named=True):
        hidden = row["pair_id"] in restricted
        messages = [{"role": m["role"], "content": MASK if hidden else m["content"]} for m in row["messages"]]
        for image in images_of(row["messages"]):
            messages.append({"role": "image", "content": MASK if hidden else named(image)})
        shown.append({"item_ref": row["item_ref"], "messages": messages, "restricted": hidden})
    refused = [{"item_ref": r["item_ref"], "reason": r["detail"] or r["reason"]} for r in rendered.refusals.to_dicts()]
    if as_json:
        print_json(
            {"training_sheet": training_sheet, "prompts": rendered.frame.height, "preview": shown, "refused": refused}
        )
    else:
        for one in shown:
            click.secho(f"── {one['item_ref']}", bold=True)
            for message in one["messages"]:
                click.echo(f"[{message['role']}] {message['content']}")
        click.echo(f"{rendered.frame.height} prompts, {len(refused)} items refused")
        if refused:
            print_table(["item_ref", "reason"], [list(r.values()) for r in refused[:items]])
    return 0


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def publish(as_json: bool) -> int:
    """Approve the published template versions that are new: into templates/published.lock, so that a fresh clone can tell."""
    added = publish_templates(open_workbench(), dt.datetime.now(dt.UTC))
    if as_json:
        print_json({"ok": True, "added": added})
    else:
        click.echo(f"templates/published.lock: {len(added)} versions added")
    return 0


@click.command()
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def schemas(folder: Path, as_json: bool) -> int:
    """Write the JSON Schema of every kind of definition, for editors that complete YAML."""
    import orjson

    if folder.exists() and not folder.is_dir():
        raise ArgumentError(f"{folder} is no folder")
    folder.mkdir(parents=True, exist_ok=True)
    for kind, schema in all_schemas().items():
        text = orjson.dumps(schema, option=orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS) + b"\n"
        (folder / f"{kind}.json").write_bytes(text)
    if as_json:
        print_json({"ok": True, "folder": str(folder), "schemas": sorted(all_schemas())})
    else:
        click.echo(f"{len(all_schemas())} schemas in {folder}")
    return 0


@click.command()
@click.argument("sheet")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="A new file, named `*.odcs.yaml`.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def contract(sheet: str, out: Path | None, as_json: bool) -> int:
    """Write a data contract (ODCS v3) that promises what the sources of a Sheet hold now; name it in `spec.contract`."""
    workbench = open_workbench()
    catalog = workbench.catalog()
    found = catalog.sheet(sheet)
    text = contract_of_now(found, workbench.source_columns(catalog, found))
    if out is not None:
        if not out.name.endswith(CONTRACT_ENDING):
            raise ArgumentError(f"--out: {out.name}: the name of a contract ends with {CONTRACT_ENDING}")
        if out.exists():
            raise ArgumentError(f"--out: {out} is there already; a contract is changed by hand")
        out.write_text(text, encoding="utf-8")
    if as_json:
        print_json({"ok": True, "sheet": sheet, "out": str(out) if out else None, "contract": text})
    else:
        click.echo(f"{out}: the contract of Sheet {sheet}" if out else text, nl=out is not None)
    return 0


def restricted_pairs(rendered: pl.DataFrame) -> set[str]:
    """The pairs that show something restricted, by what was stated of the columns they show."""
    restricted = {
        text
        for text in rendered["usage_statements"].unique()
        if strictest(one.data_classification for one in statements_from_json(text)) == RESTRICTED
    }
    return set(rendered.filter(pl.col("usage_statements").is_in(restricted))["pair_id"])
