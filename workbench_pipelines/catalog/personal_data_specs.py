"""What a UsagePolicy or a Sheet says is done with personal data that is found where nobody said that it would stand."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from workbench_pipelines.catalog.document_parts import Strict
from workbench_pipelines.errors import nearest
from workbench_pipelines.personal_data import KINDS, Policy

Action = Literal["flag", "pseudonymise", "mask", "block"]


class PersonalDataSpec(Strict):
    """What is done with each kind of personal data; of several statements the strictest counts, kind by kind."""

    default: Action = "flag"
    """With every kind that `entities` does not name."""
    entities: dict[str, Action] = Field(default={}, json_schema_extra={"propertyNames": {"enum": list(KINDS)}})
    key_version: int = Field(default=1, ge=1)
    """Which key pseudonyms are made with: a higher number takes another key, and gives other pseudonyms."""

    @field_validator("entities")
    @classmethod
    def _kinds_are_known(cls, entities: dict[str, Action]) -> dict[str, Action]:
        for kind in entities:
            if kind not in KINDS:
                raise ValueError(f"'{kind}' is no kind of personal data that is looked for{nearest(kind, KINDS)}")
        return entities

    @property
    def policy(self) -> Policy:
        return Policy(self.default, dict(self.entities), self.key_version)
