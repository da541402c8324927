"""Definitions are files: YAML documents become a catalog of typed, immutable values."""

from workbench_pipelines.catalog.common import RowRule, UsageSpec
from workbench_pipelines.catalog.documents import (
    Access,
    Collection,
    CollectionSpec,
    ColumnSpec,
    Domain,
    EvaluationSpec,
    ExampleStore,
    FewShotSpec,
    ItemsSpec,
    LabelType,
    Member,
    Metadata,
    PromptTemplate,
    PromptTemplateSpec,
    ReadOptions,
    RetrainSpec,
    SampleSpec,
    SecondarySource,
    Sheet,
    SheetSpec,
    SplitSpec,
    TagPolicy,
    TrainerSpec,
    TrainingSheet,
    TrainingSheetSpec,
    UsagePolicy,
)  # fmt: skip
from workbench_pipelines.catalog.loading import Catalog, load_catalog, version_key
from workbench_pipelines.catalog.parsing import Problem, ProjectFile

__all__ = [
    "Access", "Catalog", "Collection", "CollectionSpec", "ColumnSpec", "Domain", "EvaluationSpec", "ExampleStore", "FewShotSpec",
    "ItemsSpec", "LabelType", "Member", "Metadata", "Problem", "ProjectFile", "PromptTemplate", "PromptTemplateSpec",
    "ReadOptions", "RetrainSpec", "RowRule", "SampleSpec", "SecondarySource", "Sheet", "SheetSpec", "SplitSpec",
    "TagPolicy", "TrainerSpec", "TrainingSheet", "TrainingSheetSpec", "UsagePolicy", "UsageSpec", "load_catalog",
    "version_key",
]  # fmt: skip
