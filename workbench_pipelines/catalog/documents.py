"""The YAML documents of a project, one pydantic model a kind; unknown fields are refused.

Kinds: Sheet, TrainingSheet, Collection, LabelType, ExampleStore, UsagePolicy, Access, Domain (in `sheets/`) and
PromptTemplate (in `templates/`).
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from workbench_pipelines.catalog.collection_specs import CollectionSpec
from workbench_pipelines.catalog.document_parts import Name, Strict
from workbench_pipelines.catalog.personal_data_specs import PersonalDataSpec
from workbench_pipelines.catalog.sheet_specs import SheetSpec
from workbench_pipelines.catalog.template_specs import LabelTypeSpec, PromptTemplateSpec
from workbench_pipelines.catalog.training_sheet_specs import TrainingSheetSpec
from workbench_pipelines.catalog.variety import (
    DomainSpec,
)  # fmt: skip


class Metadata(Strict):
    """Who and what a document is; `formerly` lists the names it had before, the oldest first."""

    name: Name
    description: str | None = None
    owner: str | None = None
    tags: dict[str, str] = {}
    formerly: tuple[Name, ...] = ()


class TagPolicy(Strict):
    """What a tag states of whatever carries it."""

    allowed_uses: tuple[str, ...] | None = None
    prohibited_uses: tuple[str, ...] = ()
    data_classification: str | None = None
    reason: str | None = None


class UsagePolicySpec(Strict):
    uses: tuple[str, ...] = ()
    """Uses beyond the five that every project knows."""
    tags: dict[str, TagPolicy] = {}
    personal_data: PersonalDataSpec | None = None
    """What is done with personal data that is found in any text of the project; flagged where nothing is said."""


class AccessSpec(Strict):
    """Who may do what; people and teams by name."""

    reviewers: tuple[str, ...] = ()
    approvers: tuple[str, ...] = ()
    stewards: tuple[str, ...] = ()
    see_restricted: tuple[str, ...] = ()
    release: tuple[str, ...] = ()
    teams: dict[str, tuple[str, ...]] = {}
    """The people of each team; `team:x` in a role stands for the people of `x`."""
    emails: dict[str, str] = {}
    """The e-mail that people have elsewhere (Label Studio), by their name here; without one, their e-mail is their name."""


class ExampleStoreSpec(Strict):
    embedding_model: str = "wordllama"
    label_types: tuple[Name, ...] = ()
    """The tasks whose labels become examples; every task where none is named."""


class _Document(Strict):
    api_version: Literal["workbench/v1"] = Field(alias="apiVersion")
    metadata: Metadata

    @property
    def name(self) -> str:
        return self.metadata.name


class Sheet(_Document):
    kind: Literal["Sheet"]
    spec: SheetSpec


class TrainingSheet(_Document):
    kind: Literal["TrainingSheet"]
    spec: TrainingSheetSpec


class Collection(_Document):
    kind: Literal["Collection"]
    spec: CollectionSpec


class LabelType(_Document):
    kind: Literal["LabelType"]
    spec: LabelTypeSpec


class PromptTemplate(_Document):
    kind: Literal["PromptTemplate"]
    spec: PromptTemplateSpec


class UsagePolicy(_Document):
    kind: Literal["UsagePolicy"]
    spec: UsagePolicySpec


class Access(_Document):
    kind: Literal["Access"]
    spec: AccessSpec


class ExampleStore(_Document):
    kind: Literal["ExampleStore"]
    spec: ExampleStoreSpec


class Domain(_Document):
    kind: Literal["Domain"]
    spec: DomainSpec


Document = (
    Sheet | TrainingSheet | Collection | LabelType | PromptTemplate | UsagePolicy | Access | ExampleStore | Domain
)
KINDS: dict[str, type[_Document]] = {
    "Sheet": Sheet,
    "TrainingSheet": TrainingSheet,
    "Collection": Collection,
    "LabelType": LabelType,
    "PromptTemplate": PromptTemplate,
    "UsagePolicy": UsagePolicy,
    "Access": Access,
    "ExampleStore": ExampleStore,
    "Domain": Domain,
}
