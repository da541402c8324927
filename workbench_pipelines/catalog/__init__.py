"""Definitions are files: YAML documents become a catalog of typed, immutable values."""

from workbench_pipelines.catalog.collection_specs import (
    CollectionSpec,
    EvaluationSpec,
    Member,
    RetrainSpec,
    SplitSpec,
    TrainerSpec,
)
from workbench_pipelines.catalog.document_parts import RowRule, UsageSpec
from workbench_pipelines.catalog.documents import (
    Access,
    AccessSpec,
    Collection,
    Domain,
    ExampleStore,
    LabelType,
    Metadata,
    PromptTemplate,
    Sheet,
    TagPolicy,
    TrainingSheet,
    UsagePolicy,
)
from workbench_pipelines.catalog.intake_specs import IntakeSpec
from workbench_pipelines.catalog.loading import Catalog, load_catalog, version_key
from workbench_pipelines.catalog.parsing import Problem, ProjectFile
from workbench_pipelines.catalog.sheet_specs import (
    ColumnSpec,
    ContentRef,
    ReadOptions,
    ReviewSpec,
    SampleSpec,
    SecondarySource,
    SheetSpec,
)
from workbench_pipelines.catalog.template_specs import PromptTemplateSpec
from workbench_pipelines.catalog.training_sheet_specs import FewShotSpec, ItemsSpec, TrainingSheetSpec

__all__ = [
    "Access", "AccessSpec", "Catalog", "Collection", "CollectionSpec", "ColumnSpec", "ContentRef", "Domain",
    "EvaluationSpec", "ExampleStore", "FewShotSpec", "IntakeSpec", "ItemsSpec", "LabelType", "Member", "Metadata", "Problem",
    "ProjectFile", "PromptTemplate", "PromptTemplateSpec", "ReadOptions", "RetrainSpec", "ReviewSpec", "RowRule",
    "SampleSpec", "SecondarySource", "Sheet", "SheetSpec", "SplitSpec", "TagPolicy", "TrainerSpec", "TrainingSheet",
    "TrainingSheetSpec", "UsagePolicy", "UsageSpec", "load_catalog", "version_key",
]  # fmt: skip
