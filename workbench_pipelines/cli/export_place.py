"""An export as people name it on the command line: its folder, or a Collection, whose pointer says which version it is now."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import click

from workbench_pipelines.cli.project import open_workbench
from workbench_pipelines.clients.export_folder import ExportFolder
from workbench_pipelines.clients.export_pointer import current_export
from workbench_pipelines.errors import ArgumentError, ExportError


@dataclass(frozen=True)
class Place:
    """Where an export lies, and the digest of its manifest where the pointer said it."""

    path: Path
    manifest_sha256: str | None = None


class ExportPlace(click.ParamType):
    """A path that is there, or else the name of a Collection with an export."""

    name = "export"

    def convert(self, value: str | Place, param: click.Parameter | None, ctx: click.Context | None) -> Place:
        if isinstance(value, Place):
            return value
        path = Path(value)
        if path.exists():
            return Place(path.resolve())
        said = None
        if value and "/" not in value:
            try:
                said = current_export(ExportFolder(open_workbench().lake.uri), value)
            except ExportError as error:
                raise ArgumentError(error.line) from None
        if said is None:
            raise ArgumentError(f"'{value}' is neither the folder of an export nor a Collection that has one")
        return Place(Path(said["path"]), said["manifest_sha256"])


def export_folder(place: Place) -> Path:
    """The folder of an export.

    Raises:
        ArgumentError: for a file.
    """
    if not place.path.is_dir():
        raise ArgumentError(f"{place.path.name} is no folder of an export")
    return place.path
