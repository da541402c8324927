"""The tables that Sheets point to, as external assets: they are written elsewhere, and the graph shows where it begins."""

import re
from pathlib import PurePosixPath

import dagster as dg

from workbench_pipelines.catalog import Catalog
from workbench_pipelines.defs.resources import CATALOG
from workbench_pipelines.domains import SCHEME
from workbench_pipelines.errors import WorkbenchError


def source_tables(catalog: Catalog) -> list[dg.AssetSpec]:
    """One external asset a table or folder, named for its path."""
    paths: dict[str, set[str]] = {}
    for name in catalog.names("Sheet"):
        try:
            spec = catalog.sheet(name).spec
        except WorkbenchError:
            continue  # its partition fails with its own line
        folder = PurePosixPath(catalog.file_of("Sheet", name)).parent
        for path in (spec.primary_table, *(source.path for source in spec.secondary_sources)):
            paths.setdefault(path if "://" in path or path.startswith(SCHEME) else str(folder / path), set()).add(name)
    return [
        dg.AssetSpec(
            key=dg.AssetKey(["source", re.sub(r"\W+", "_", path).strip("_")]),
            group_name="source",
            description=f"`{path}`, which the Sheets {', '.join(sorted(sheets))} read.",
            metadata={"path": path},
            owners=["team:data"],
            tags={"room": "source"},
        )
        for path, sheets in sorted(paths.items())
    ]


SOURCE_KEYS = [spec.key for spec in source_tables(CATALOG)]


@dg.definitions
def sources() -> dg.Definitions:
    return dg.Definitions(assets=source_tables(CATALOG))
