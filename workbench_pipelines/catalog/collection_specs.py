"""What a Collection says: whose pairs it takes, how they are split, and what is trained on them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from workbench_pipelines.catalog.document_parts import Name, Strict

EXPORT_FORMATS = (
    "openai", "anthropic", "gemini", "alpaca", "sharegpt", "chatml", "dpo", "dspy", "csv", "parquet", "hf",
)  # fmt: skip
"""What `formats` may name; a test holds it against the formats that are written."""


class Member(Strict):
    training_sheet: Name
    weight: float = Field(default=1.0, gt=0)
    split: Literal["train", "val", "test"] | None = None
    filter: str | None = None
    """Which pairs are taken: a condition over the columns of their items, as in `filter_condition`; all without one."""


class NearDuplicateSpec(Strict):
    threshold: float = Field(default=0.7, ge=0.5, le=1)
    """The share of runs of three words that two items have in common from which on they stay together."""


class SplitSpec(Strict):
    train: float = Field(default=0.8, ge=0, le=1)
    val: float = Field(default=0.1, ge=0, le=1)
    test: float = Field(default=0.1, ge=0, le=1)
    seed: int = 0
    group_by: str | None = None
    stratify_by: str | None = None
    near_duplicates: NearDuplicateSpec | Literal[False] = NearDuplicateSpec()
    """Whether items that say nearly the same stay together; `false` lets copies stand in train and in test."""

    @property
    def near_threshold(self) -> float | None:
        """From which share on two texts are near-duplicates; None where nobody asks."""
        return self.near_duplicates.threshold if self.near_duplicates else None

    @model_validator(mode="after")
    def _shares_make_a_whole(self) -> SplitSpec:
        if abs(self.train + self.val + self.test - 1) > 1e-9:
            raise ValueError(f"train + val + test is {self.train + self.val + self.test:g}, not 1")
        return self


class TrainerSpec(Strict):
    name: Name
    kind: Literal["classifier"] = "classifier"
    target: str | None = None
    """The output field that is predicted; the first one with an enum where none is named."""
    features: Literal["auto", "text", "tabular"] = "auto"
    seed: int = 0


class EvaluationSpec(Strict):
    metrics: tuple[str, ...] = ("accuracy", "macro_f1")
    promote_if: str | None = "macro_f1 >= baseline.macro_f1"
    base_model_items: int = Field(default=30, ge=0)
    """How many test items the base model is asked directly for comparison; 0 asks none."""
    ground_truth: bool = False
    """Whether the items of the Collection are what models are measured with: no Collection, itself included, trains on them."""


class RetrainSpec(Strict):
    min_corrections: int = Field(default=20, ge=1)
    """New approved corrections that make a retrain worth its cost."""


class CollectionSpec(Strict):
    members: tuple[Member, ...] = Field(min_length=1)
    splits: SplitSpec = SplitSpec()
    formats: tuple[str, ...] = ("openai", "parquet")
    trainers: tuple[TrainerSpec, ...] = ()
    evaluation: EvaluationSpec = EvaluationSpec()
    retrain: RetrainSpec = RetrainSpec()
    subscribers: tuple[str, ...] = ()
    """Who is told when a version is released, deprecated or retired: people and teams by name."""
    expectations: str | None = None
    """A Great Expectations suite file (JSON) for the exported rows, relative to this document."""
