"""Commands that prove: `verify` an export or a proof, `prove` that a pair is in an export or not, and `replay` one."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from workbench_pipelines.cli.export_place import ExportPlace, Place, export_folder
from workbench_pipelines.cli.output import print_json, warn
from workbench_pipelines.cli.project import open_workbench
from workbench_pipelines.clients.export_folder import ExportFolder
from workbench_pipelines.clients.export_tombstone import MANIFEST, superseded_line
from workbench_pipelines.erased_exports import erased_but_there, tombstone_is_recorded
from workbench_pipelines.errors import ArgumentError, ExportError, WorkbenchError
from workbench_pipelines.export_manifest import read_manifest
from workbench_pipelines.pair_proofs import INCLUDED, ProofMaker, proof_problems, read_proof
from workbench_pipelines.replaying import replay_export

_ROOT = re.compile(r"[0-9a-f]{64}")


@click.command()
@click.argument("place", metavar="[EXPORT|COLLECTION]", required=False, type=ExportPlace())
@click.option(
    "--proof", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Check a proof of `prove` instead."
)
@click.option("--root", help="The Merkle root that the proof should hold for, where there is no export to ask.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def verify(place: Place | None, proof: Path | None, root: str | None, as_json: bool) -> int:
    """Check an export folder, offline: every file against the manifest, every pair against its hash, and the Merkle root.

    \b
    workbench verify .workbench/lake/exports/iris/v1
    workbench verify iris                                # the version that the Collection's pointer names
    workbench verify --proof proof.json --root 4be8…     # the root stands in manifest, card, MLflow and `run --json`
    workbench verify --proof proof.json manifest.json    # or the manifest says it
    """
    if proof is not None:
        return _verify_proof(proof, place.path if place is not None else None, root, as_json)
    if place is None or root is not None:
        raise ArgumentError("give the folder of an EXPORT, or --proof FILE with --root HEX")
    export = export_folder(place)
    problems = ExportFolder.verify(export, place.manifest_sha256)
    is_recorded, more = _asked_of_lake(export)
    problems += more
    if as_json:
        print_json({"ok": not problems, "problems": problems, "erasure_on_record": is_recorded})
    else:
        for line in problems:
            warn(line)
        click.echo(f"{export}: {f'{len(problems)} problems' if problems else 'as it was published'}")
    return 1 if problems else 0


def _asked_of_lake(export: Path) -> tuple[bool | None, list[str]]:
    """Whether the erasure that an export speaks of is on record, and what contradicts the record; None where nobody knows."""
    try:
        workbench = open_workbench()
        if superseded_line(export) is None:
            was_erased = erased_but_there(workbench, export)
            line = (
                f"{export.name}: this project took the files of the export away for an erased item, and they are there"
            )
            return (True, [line]) if was_erased else (None, [])
        recorded = tombstone_is_recorded(workbench, export)
    except WorkbenchError:
        return None, []
    if recorded is False:
        return False, [
            "its erased.json is on no record of this project, which published the export: nothing was erased of it"
        ]
    return recorded, []


@click.command()
@click.argument("pair_id")
@click.option(
    "--export", "place", required=True, type=ExportPlace(), help="The folder of the export, or its Collection."
)
@click.option("--json", "as_json", is_flag=True, help="Print the proof, for `verify --proof`.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="Write the proof into a file.")
def prove(pair_id: str, place: Place, as_json: bool, out: Path | None) -> int:
    """Prove that a pair is in an export, or that it is in none of its splits; whoever checks it needs the root alone.

    A proof names the pair and, where it is not there, the two pairs it would stand between: hashes, and no text.
    """
    import orjson

    folder = export_folder(place)
    manifest = _manifest(folder)
    made = ProofMaker(ExportFolder.leaves(folder), manifest).prove(pair_id)
    if out is not None:
        out.write_bytes(orjson.dumps(made, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    if as_json:
        print_json(made)
        return 0
    name = f"{made['collection']} v{made['version']}"
    if made["kind"] == INCLUDED:
        (one,) = made["leaves"]
        click.echo(f"pair {pair_id} is in {name}, split {one['split']}, weight {one['weight']:g}")
    else:
        click.echo(f"pair {pair_id} is not in {name}")
    click.echo(f"root {made['merkle_root']}; {'written to ' + str(out) if out else '--json prints the proof'}")
    return 0


def _verify_proof(file: Path, export: Path | None, root: str | None, as_json: bool) -> int:
    if (export is None) == (root is None):
        raise ArgumentError(
            "say which root the proof should hold for: --root HEX, or the EXPORT (its manifest.json is enough)"
        )
    root = root.strip().lower() if root is not None else str(_manifest(export)["merkle_root"])
    if not _ROOT.fullmatch(root):
        raise ArgumentError("--root: a Merkle root is 64 hexadecimal digits")
    said: dict[str, Any] = {}
    try:
        said = read_proof(file.read_bytes())
        problems = proof_problems(said, root)
    except ExportError as error:
        problems = [f"{file.name}: {error.line}"]
    if as_json:
        named = {name: said.get(name) for name in ("kind", "pair_id", "collection", "version")}
        print_json({"ok": not problems, "problems": problems, "merkle_root": root, **named})
    elif problems:
        for line in problems:
            warn(line)
    else:
        found = "in" if said["kind"] == INCLUDED else "not in"
        click.echo(f"proved for root {root}: pair {said['pair_id']} is {found} the export")
    return 1 if problems else 0


def _manifest(place: Path | None) -> dict[str, Any]:
    assert place is not None
    path = place / MANIFEST if place.is_dir() else place
    try:
        return read_manifest(path.read_bytes())
    except OSError:
        raise ExportError(f"{MANIFEST} of {place.name} can not be read") from None


@click.command()
@click.argument("place", metavar="EXPORT|COLLECTION", type=ExportPlace())
@click.option("--into", type=click.Path(file_okay=False, path_type=Path), help="Keep the replay in this empty folder.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def replay(place: Place, into: Path | None, as_json: bool) -> int:
    """Make an export again from the lake as it stood, without a model, and compare every file byte for byte."""
    workbench = open_workbench()
    done = replay_export(workbench, export_folder(place), into)
    if as_json:
        said = {"collection": done.collection, "version": done.version, "merkle_root": done.merkle_root}
        print_json(
            {
                "ok": not done.problems,
                **said,
                "files": done.files,
                "llm_calls": workbench.llm_calls,
                "problems": done.problems,
            }
        )
    else:
        for line in done.problems:
            warn(line)
        found = (
            f"{len(done.problems)} of {done.files} files differ" if done.problems else f"{done.files} files identical"
        )
        click.echo(f"{done.collection} v{done.version}: {found}")
    return 1 if done.problems else 0
