"""JSON Schemas of the definition files, so that an editor completes and checks them while they are written."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, TypeAdapter

from workbench_pipelines.catalog.document_parts import NAME_PATTERN
from workbench_pipelines.catalog.documents import KINDS, Document
from workbench_pipelines.errors import ArgumentError, nearest

DIALECT = "https://json-schema.org/draft/2020-12/schema"
DEFINITION = "Definition"
"""The schema of any document, told apart by its kind: for files that hold documents of several kinds."""


def json_schema_for(kind: str) -> dict[str, Any]:
    """The JSON Schema of one kind of document, or of any document for `Definition`.

    Raises:
        ArgumentError: for an unknown kind.
    """
    if kind == DEFINITION:
        adapter: TypeAdapter[Any] = TypeAdapter(Annotated[Document, Field(discriminator="kind")])
        schema = adapter.json_schema(by_alias=True)
    elif kind in KINDS:
        schema = KINDS[kind].model_json_schema(by_alias=True)
    else:
        raise ArgumentError(f"there is no kind '{kind}'{nearest(kind, [*KINDS, DEFINITION])}")
    metadata = schema["$defs"]["Metadata"]["properties"]
    metadata["name"]["pattern"] = NAME_PATTERN
    return {**schema, "$schema": DIALECT, "title": kind}


def all_schemas() -> dict[str, dict[str, Any]]:
    """The JSON Schema of each kind, and that of any document under `Definition`."""
    return {kind: json_schema_for(kind) for kind in (*sorted(KINDS), DEFINITION)}
