"""Small worlds for tests of definitions: a template, a TrainingSheet, a snapshot, a whole catalog."""

from __future__ import annotations

from typing import Any

import polars as pl
import yaml

from workbench_pipelines import identity
from workbench_pipelines.catalog import Catalog, ProjectFile, PromptTemplate, TrainingSheet, load_catalog
from workbench_pipelines.usage import USES, UsageStatement, statements_to_json

OPEN = UsageStatement("Sheet s", allowed_uses=USES, data_classification="public")
YES_NO = [{"name": "answer", "type": "string", "enum": ["yes", "no"]}]


def make_document(kind: str, name: str, /, **spec: Any) -> dict[str, Any]:
    return {"apiVersion": "workbench/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}


def template_document(text: str = "Is {{ x }} right?", name: str = "t", **spec: Any) -> dict[str, Any]:
    given = {"version": "1.0.0", "status": "published", "label_type": "l", "output_schema": YES_NO, **spec}
    return make_document("PromptTemplate", name, user_prompt_template=text, **given)


def make_template(text: str = "Is {{ x }} right?", name: str = "t", **spec: Any) -> PromptTemplate:
    return PromptTemplate.model_validate(template_document(text, name, **spec))


def make_training_sheet(name: str = "ts", **spec: Any) -> TrainingSheet:
    return TrainingSheet.model_validate(make_document("TrainingSheet", name, **{"sheet": "s", "template": "t", **spec}))


def make_catalog(*documents: dict[str, Any], partials: dict[str, str] | None = None) -> Catalog:
    """A catalog in which the n-th document stands in `n.yaml`."""
    files = [ProjectFile(f"{number}.yaml", yaml.safe_dump(document)) for number, document in enumerate(documents)]
    return load_catalog(files, partials)


def make_snapshot(
    rows: dict[str, dict[str, Any]], statements: tuple[UsageStatement, ...] = (OPEN,), tags: tuple[str, ...] = ()
) -> pl.DataFrame:
    """A snapshot of these items by item_ref."""
    return pl.DataFrame(
        [
            {
                "item_ref": ref,
                "item_hash": identity.item_hash(row),
                **row,
                "row_tags": list(tags),
                "usage_statements": statements_to_json(statements),
            }
            for ref, row in rows.items()
        ],
        schema_overrides={"row_tags": pl.List(pl.String)},
    )
