"""What a Sheet says of a folder whose files are taken once each: the fields of a row, and what becomes of a bad one."""

from __future__ import annotations

from typing import Literal

from pydantic import model_validator

from workbench_pipelines.catalog.document_parts import Strict
from workbench_pipelines.fields import FieldSpec

# Fields that a Delta column holds as what they are; whatever else a row has, `other_fields: keep` keeps as JSON.
COLUMN_TYPES = ("string", "integer", "float", "number", "boolean", "date", "datetime")

OTHER_FIELDS = "other_fields"
AUDIT_COLUMNS = ("created_at", "created_by", "updated_at", "updated_by", "deleted_at", "deleted_by", "delete_reason")
PLACE_COLUMNS = ("source_file", "source_hash", "source_line")
GENERATION = "generation"
TAKEN = ("item_ref", OTHER_FIELDS, *PLACE_COLUMNS, *AUDIT_COLUMNS, GENERATION)
"""Columns that the table of taken items has beside the fields."""

PROMPT_AND_ENHANCEMENT = (
    FieldSpec(name="prompt"),
    FieldSpec(name="enhancement"),
    FieldSpec(name="data_source", required=False),
    FieldSpec(name="training_priority", type="integer", minimum=1, maximum=1000, required=False),
    FieldSpec(name="session_id", required=False),
)


class IntakeSpec(Strict):
    fields: tuple[FieldSpec, ...] = PROMPT_AND_ENHANCEMENT
    """What a row holds; a field that is required is there and, as a text, says something."""
    other_fields: Literal["refuse", "keep"] = "refuse"
    """Whether a row with a field that is not declared is refused, or keeps it as JSON in the column `other_fields`."""
    bad_rows: Literal["refuse", "stop"] = "refuse"
    """Whether a bad row is refused alone, or stops the snapshot before anything of its file is taken."""

    @model_validator(mode="after")
    def _fields_are_columns(self) -> IntakeSpec:
        names = [field.name for field in self.fields]
        if len(set(names)) < len(names):
            raise ValueError("two of the `fields` have one name")
        for field in self.fields:
            if field.name in TAKEN:
                raise ValueError(f"the field '{field.name}' has a name that the table of taken items needs itself")
            if field.type not in COLUMN_TYPES:
                raise ValueError(
                    f"the field '{field.name}' is of type {field.type}, which is no column; known: {', '.join(COLUMN_TYPES)}"
                    " (`other_fields: keep` keeps the rest of a row as JSON)"
                )
        return self
