"""What a TrainingSheet says: which items are asked what, and how models are asked."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from workbench_pipelines.catalog.document_parts import Name, Strict
from workbench_pipelines.catalog.quality_specs import ConsistencyRule, QualitySpec
from workbench_pipelines.catalog.sheet_specs import SampleSpec
from workbench_pipelines.catalog.variety import (
    AnswerLanguageSpec,
    ChunksSpec,
    StepSpec,
    TargetsSpec,
    VariantsSpec,
)


class ItemsSpec(Strict):
    """The subset of a Sheet's items that a TrainingSheet takes."""

    filter_condition: str | None = None
    sample: SampleSpec | None = None


class FewShotSpec(Strict):
    """Examples that stand before the question: the `k` most similar ones of a store, of its newest snapshot or a pinned one."""

    store: Name = "default"
    k: int = Field(default=3, ge=1, le=100)  # beyond that a prompt is a training set
    snapshot: int | None = Field(default=None, ge=1)


class GenerationSpec(Strict):
    """How the models of a TrainingSheet are asked, and what that may take."""

    mode: Literal["calls", "batch"] = "calls"
    """Whether a model is asked call by call, or by files that its provider answers within a day at a lower price."""
    fallback_models: tuple[str, ...] = ()
    """Models that are asked, in this order, where the one before has no answer after all tries or keeps failing."""
    at_once: int = Field(default=16, ge=1, le=1024)
    requests_per_minute: float | None = Field(default=None, gt=0)
    tokens_per_minute: float | None = Field(default=None, gt=0)
    timeout_s: float = Field(default=60.0, gt=0)
    budget_usd: float | None = Field(default=None, ge=0)
    """Most that one run of this TrainingSheet may pay models."""
    allow_unknown_price: bool = False
    """Whether a model without a known price may be asked although a budget is set."""
    ask_once_more: bool = True
    """Whether a model is told what was wrong with an answer that does not fit, and asked once more."""
    confidence: bool = False
    """Whether a model is asked how probable it finds its own words; pairs it doubts stand further up in the review queue."""
    allow_restricted: bool = False
    """Whether a model outside the house may be shown what is classified as restricted."""
    spread: Literal["ray"] | None = None
    """What the questions are spread over; without it one process asks them all."""
    shards: int = Field(default=2, ge=1, le=1024)
    """Processes that ask where they are spread; `at_once` and the limits of a minute hold for all of them together."""

    @model_validator(mode="after")
    def _a_batch_asks_one_model(self) -> GenerationSpec:
        if self.mode == "batch" and self.fallback_models:
            raise ValueError("`fallback_models` go with mode calls; a batch asks one model")
        if self.mode == "batch" and self.spread:
            raise ValueError("`spread` goes with mode calls; a batch is asked by its provider")
        if self.spread and self.shards > self.at_once:
            raise ValueError(f"{self.shards} `shards` share {self.at_once} calls `at_once`; a shard needs one at least")
        return self


class TrainingSheetSpec(Strict):
    sheet: Name
    template: str
    bindings: dict[str, str] = {}
    labeling_mode: Literal["ai_generated", "manual", "existing_column"] = "ai_generated"
    column: str | None = None
    trusted: bool = False
    items: ItemsSpec = ItemsSpec()
    domain: Name | None = None
    """The Domain whose glossary and rules the templates see as `domain`."""
    chunks: ChunksSpec | None = None
    variants: VariantsSpec | None = None
    steps: tuple[StepSpec, ...] = ()
    targets: TargetsSpec | None = None
    answer_language: AnswerLanguageSpec | None = None
    model: str | None = None
    few_shot: FewShotSpec | None = None
    generation: GenerationSpec = GenerationSpec()
    quality: QualitySpec = QualitySpec()
    consistency: tuple[ConsistencyRule, ...] = ()
    """What has to hold between the answer of an item and its labels for other tasks."""
    automation: bool = False

    @model_validator(mode="after")
    def _column_goes_with_its_mode(self) -> TrainingSheetSpec:
        if (self.labeling_mode == "existing_column") != (self.column is not None):
            raise ValueError("`column` names the response column of labeling_mode existing_column, and only there")
        if self.trusted and self.labeling_mode != "existing_column":
            raise ValueError("`trusted` pre-approves the values of an existing_column, and only those")
        if self.column is not None and self.derives:
            raise ValueError("a column answers the item itself, and no item that is derived from it")
        if self.labeling_mode != "ai_generated" and (self.targets or self.answer_language):
            raise ValueError(
                "`targets` and `answer_language` speak of what models are asked: labeling_mode ai_generated"
            )
        if self.labeling_mode == "manual" and self.quality.judge is not None:
            raise ValueError(
                "`quality.judge` judges answers, and labeling_mode manual has none before people give them"
            )
        if self.trusted and self.quality.judge is not None and self.quality.judge.auto_approve:
            raise ValueError("`quality.judge.auto_approve` has nothing to approve where a column is `trusted`")
        rules = [rule.name for rule in self.consistency]
        if len(set(rules)) < len(rules):
            raise ValueError("two of the rules of `consistency` have one name")
        if self.generation.spread is not None and self.answer_language is not None:
            raise ValueError("`answer_language` is checked in one process; leave out `generation.spread`")
        names = [step.name for step in self.steps]
        if len(set(names)) < len(names):
            raise ValueError("two of the `steps` have one name")
        return self

    @property
    def derives(self) -> bool:
        """Whether each item is asked in the form of items that are derived from it."""
        return self.chunks is not None or self.variants is not None or bool(self.steps)

    @property
    def template_name(self) -> str:
        return self.template.partition("@")[0]

    @property
    def template_names(self) -> set[str]:
        """The templates it asks with, those of its steps among them."""
        return {self.template_name, *(step.template_name for step in self.steps)}

    @property
    def pinned_version(self) -> str | None:
        return self.template.partition("@")[2] or None
