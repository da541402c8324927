"""`workbench store`: what was paid for and kept, put in order, and handed on."""

from __future__ import annotations

from pathlib import Path

import click

from workbench_pipelines.answer_export import answer_statistics, answers_to_hand_on
from workbench_pipelines.cli.output import print_frame, print_json
from workbench_pipelines.cli.project import open_workbench
from workbench_pipelines.restrictions import restrictions_of


@click.group()
def store() -> None:
    """The answers that models gave, each paid for once."""


@store.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def stats(as_json: bool) -> int:
    """Say what is kept, by model: answers, tokens and cost."""
    kept = open_workbench().store
    models = answer_statistics(kept.rows().collect())
    waiting = kept.waiting()
    files = {name: kept.maintenance.files("records", name) for name in ("requests", "request_uses")}
    if as_json:
        print_json({"models": models.to_dicts(), "waiting": waiting, "files": files})
    else:
        print_frame(models, as_json=False)
        click.echo(f"{waiting} answers in logs, {files['requests']} + {files['request_uses']} files")
    return 0


@store.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def gc(as_json: bool) -> int:
    """Commit what ended runs left in their logs, put small files together, delete files that nobody needs any more.

    No answer is deleted.
    """
    added, tidied = open_workbench().store.collect_garbage()
    if as_json:
        print_json({"ok": True, "committed": added, "tables": {name: vars(one) for name, one in tidied.items()}})
    else:
        click.echo(f"{added} answers committed")
        for name, one in tidied.items():
            click.echo(f"{name}: {one.files_before} files became {one.files_after}, {one.deleted} old ones deleted")
    return 0


@store.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path, resolve_path=True))
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def export(file: Path, as_json: bool) -> int:
    """Write the kept answers, with who asked for them, to FILE (.jsonl or .parquet); none of a restricted Sheet."""
    workbench = open_workbench()
    kept = workbench.store
    kept.commit()
    handed = answers_to_hand_on(
        kept.rows().collect(), kept.uses().collect(), restrictions_of(workbench.catalog()).open_sheets
    )
    if file.suffix not in (".jsonl", ".parquet"):
        raise click.UsageError(f"{file.name}: the file ends in .jsonl or .parquet")
    half = file.with_name(f".{file.name}.part")
    if file.suffix == ".parquet":
        handed.rows.write_parquet(half)
    else:
        handed.rows.write_ndjson(half)
    half.replace(file)
    if as_json:
        print_json({"ok": True, "answers": handed.rows.height, "withheld": handed.withheld, "path": str(file)})
    else:
        click.echo(f"{handed.rows.height} answers written, {handed.withheld} of restricted Sheets withheld")
    return 0
