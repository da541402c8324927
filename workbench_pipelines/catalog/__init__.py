"""Definitions are files: YAML documents become a catalog of typed, immutable values."""

from workbench_pipelines.catalog.documents import (
    Access,
    AccessSpec,
    Collection,
    CollectionSpec,
    ColumnSpec,
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
    ReviewSpec,
    RowRule,
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
    UsageSpec,
)  # fmt: skip
from workbench_pipelines.catalog.loading import Catalog, load_catalog, version_key
from workbench_pipelines.catalog.parsing import Problem, ProjectFile

__all__ = [
    "Access", "AccessSpec", "Catalog", "Collection", "CollectionSpec", "ColumnSpec", "EvaluationSpec", "ExampleStore", "FewShotSpec",
    "ItemsSpec", "LabelType", "Member", "Metadata", "Problem", "ProjectFile", "PromptTemplate", "PromptTemplateSpec",
    "ReadOptions", "RetrainSpec", "ReviewSpec", "RowRule", "SampleSpec", "SecondarySource", "Sheet", "SheetSpec", "SplitSpec",
    "TagPolicy", "TrainerSpec", "TrainingSheet", "TrainingSheetSpec", "UsagePolicy", "UsageSpec", "load_catalog",
    "version_key",
]  # fmt: skip
