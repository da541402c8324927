"""Versions of prompt templates as rows, and the promise that a published one never changes."""

from __future__ import annotations

import datetime as dt

import polars as pl

from workbench_pipelines.catalog import Catalog
from workbench_pipelines.errors import DefinitionError, TemplateError
from workbench_pipelines.identity import canonical_text, digest
from workbench_pipelines.lineage import TEMPLATE_VERSIONS
from workbench_pipelines.templates import compile_template, template_hash

PROMPT_TEMPLATES = pl.Schema(
    {
        "template": pl.String(),
        "version": pl.String(),
        "status": pl.String(),
        "label_type": pl.String(),
        "owner": pl.String(),
        "content_hash": pl.String(),
        "variables": pl.List(pl.String()),
        "spec": pl.String(),
    }
)
"""Columns of `generate/prompt_templates`: one row a version; `spec` is canonical JSON."""


def template_rows(catalog: Catalog, name: str) -> pl.DataFrame:
    """Every version of a template, compiled once to see that it can be.

    Raises:
        DefinitionError: for an unknown or broken template, and a text that does not compile.
    """
    versions = catalog.template_versions(name)
    broken = [problem for problem in catalog.problems if problem.kind == "PromptTemplate" and problem.name == name]
    if broken:
        raise DefinitionError(broken[0].line)
    if not versions:
        catalog.template(name)
    sources = catalog.template_sources()
    file = catalog.file_of("PromptTemplate", name)
    rows = []
    for version, template in versions.items():
        try:
            compiled = compile_template(template, sources, f"{file}: PromptTemplate {name}: version {version}")
        except TemplateError as error:
            raise DefinitionError(error.line) from None
        rows.append(
            {
                "template": name,
                "version": version,
                "status": template.spec.status,
                "label_type": template.spec.label_type,
                "owner": template.metadata.owner,
                "content_hash": template_hash(template, sources),
                "variables": sorted(compiled.variables),
                "spec": canonical_text(template.spec.model_dump(mode="json", by_alias=True)),
            }
        )
    return pl.DataFrame(rows, schema=PROMPT_TEMPLATES)


def templates_digest(catalog: Catalog) -> str:
    """What all templates of a project hold.

    A run over a range of templates can state one version for all of them only: it is this one, so that an identical re-run
    moves nothing, however it is cut.
    """
    specs = [
        [name, version, template.spec.model_dump(mode="json", by_alias=True)]
        for name in catalog.names("PromptTemplate")
        for version, template in catalog.template_versions(name).items()
    ]
    return digest([specs, dict(catalog.template_sources())])


def refuse_changed_versions(rows: pl.DataFrame, recorded: pl.DataFrame) -> None:
    """Holds published versions to what `records/template_versions` says they were when they were first seen.

    Raises:
        DefinitionError: naming the version that was changed.
    """
    known = {(row["template"], row["version"]): row["content_hash"] for row in recorded.iter_rows(named=True)}
    for row in rows.filter(pl.col("status") == "published").iter_rows(named=True):
        was = known.get((row["template"], row["version"]))
        if was is not None and was != row["content_hash"]:
            raise DefinitionError(
                f"PromptTemplate {row['template']} {row['version']} is published and was changed; "
                "published versions never change: restore it and give the change a new version"
            )


def version_records(rows: pl.DataFrame, now: dt.datetime) -> pl.DataFrame:
    """The published versions among rows of `PROMPT_TEMPLATES`, as rows of `TEMPLATE_VERSIONS`."""
    published = rows.filter(pl.col("status") == "published").with_columns(pl.lit(now).alias("recorded_at"))
    return published.select([pl.col(name).cast(dtype) for name, dtype in TEMPLATE_VERSIONS.items()])
