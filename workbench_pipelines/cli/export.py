"""Commands on exports: `export preview` before there is one, and `push` once it is published."""

from __future__ import annotations

import os
from pathlib import Path

import click

from workbench_pipelines.cli.export_place import ExportPlace, Place, export_folder
from workbench_pipelines.cli.output import print_json, warn
from workbench_pipelines.cli.project import open_workbench
from workbench_pipelines.cli.use_sets import listed, take
from workbench_pipelines.clients.export_push import push_to_hub, push_to_s3
from workbench_pipelines.errors import ArgumentError
from workbench_pipelines.export_preview import preview_export
from workbench_pipelines.export_release import refuse_unreleased


@click.group()
def export() -> None:
    """What an export would hold, and sets of pairs for other uses."""


export.add_command(take)
export.add_command(listed)


@export.command("preview")
@click.argument("collection")
@click.option("--format", "format_name", default="openai", show_default=True, help="The format to show rows in.")
@click.option("--limit", default=3, show_default=True, type=click.IntRange(min=0), help="How many rows to show.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def preview(collection: str, format_name: str, limit: int, as_json: bool) -> int:
    """Show the first rows that an export would hold now, and how many approved pairs may train; nothing is written."""
    found = preview_export(open_workbench(), collection, format_name, limit)
    if as_json:
        print_json(
            {
                "ok": found.problem is None,
                "collection": collection,
                "format": format_name,
                "counts": found.counts,
                "prohibited_by": found.prohibited_by,
                "preview": found.rows,
                "problem": found.problem,
            }
        )
        return found.exit_code
    for row in found.rows:
        click.secho(f"── {row['item_ref']} ({row['split']})", bold=True)
        click.echo(row["text"])
    click.echo(found.sentence)
    if found.problem is not None:
        warn(f"workbench: {found.problem}")
    return found.exit_code


@click.command()
@click.argument("place", metavar="EXPORT|COLLECTION", type=ExportPlace())
@click.option("--to", "target", type=click.Choice(["hf", "s3"]), required=True, help="Where it goes.")
@click.option("--repo", help="hf: the dataset repository, owner/name; made as a private one.")
@click.option("--uri", help="s3: s3://bucket/prefix.")
@click.option("--allow-restricted", is_flag=True, help="Push also what is classified as restricted.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def push(place: Place, target: str, repo: str | None, uri: str | None, allow_restricted: bool, as_json: bool) -> int:
    """Put a released export on the Hugging Face hub or into S3, whole or not at all; it is verified first.

    A Collection's name stands for the version that is its data product now. What is not released, or is tainted, does not leave.

    \b
    HF_TOKEN, HF_ENDPOINT                             for --to hf
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, ...     for --to s3, as boto3 reads them; AWS_ENDPOINT_URL_S3
    """
    folder = export_folder(place)

    def may_leave(folder: Path) -> None:
        refuse_unreleased(open_workbench(), folder)

    if target == "hf":
        if repo is None or not all(repo.partition("/")):
            raise ArgumentError("--to hf needs --repo OWNER/NAME")
        done = push_to_hub(
            folder,
            repo,
            token=os.environ.get("HF_TOKEN"),
            endpoint=os.environ.get("HF_ENDPOINT"),
            allow_restricted=allow_restricted,
            may_leave=may_leave,
        )
    else:
        if uri is None:
            raise ArgumentError("--to s3 needs --uri s3://bucket/prefix")
        endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
        done = push_to_s3(folder, uri, endpoint=endpoint, allow_restricted=allow_restricted, may_leave=may_leave)
    if as_json:
        print_json({"ok": True, "address": done.address, "files": done.files})
    else:
        click.echo(f"{done.address}: {f'{done.files} files' if done.files else 'there already, as it is'}")
    return 0
