"""What a TrainingSheet says of the quality of its pairs: what is looked at, who judges, and which labels have to agree."""

from __future__ import annotations

from pydantic import Field, model_validator

from workbench_pipelines.catalog.document_parts import Name, Strict, UsageSpec, Variable
from workbench_pipelines.catalog.variety import Language


class ConsistencyRule(Strict):
    """Where `when` holds of an item, `then` has to: conditions in the language of filters.

    They speak of the fields of the pair's own answer by their names, and of the item's labels for other tasks by
    `"<label_type>.<field>"` in double quotes. A rule of which a part is not known is not broken.
    """

    name: Name
    when: str
    then: str


class TextLanguageSpec(Strict):
    """The language that the answers are expected in, where nothing is refused for it: what is in another one is flagged."""

    is_: Language = Field(alias="is")
    fields: tuple[Variable, ...] = ()
    """The output fields that are looked at; every text where none is named."""
    min_characters: int = Field(default=20, ge=1)
    """Shorter texts tell no language."""


class CalibrationSpec(Strict):
    """The labeled items that a judge is measured on: those with the lowest hashes of (seed, item)."""

    items: int = Field(default=1000, ge=1)
    """Most that are asked about; each takes a draft and a judgement, and both are paid once."""
    seed: int = 0
    fields: tuple[Variable, ...] = ()
    """The output fields in which a right answer agrees with the expert's; all where none is named."""


class JudgeSpec(Strict):
    """A model that says of each answer how likely it is right, measured on answers that experts' labels decide.

    It may approve pairs only where this says so, and where its error, on labels that it was never calibrated on, is at most
    `max_error` with 95 % confidence (`judge_calibration.py`).
    """

    model: str
    rubric: str = ""
    """What makes an answer right, in the words of the task; it stands before what is judged."""
    usage: UsageSpec | None = None
    """What the rubric states of the uses of pairs that are judged by it; nothing where it is left out."""
    calibrate: CalibrationSpec = CalibrationSpec()
    auto_approve: bool = False
    max_error: float = Field(default=0.05, gt=0, lt=0.5)
    max_tokens: int = Field(default=200, ge=10)
    budget_usd: float | None = Field(default=None, ge=0)
    """Most that one run may pay the judge, drafts for its calibration included."""

    @model_validator(mode="after")
    def _a_rubric_has_no_rows(self) -> JudgeSpec:
        if self.usage is not None and self.usage.rows:
            raise ValueError("a rubric has no rows: `usage` states no `rows`")
        return self


class QualitySpec(Strict):
    """What is looked at in every pair of a TrainingSheet; all of it without a call of a model but `judge`."""

    duplicates: bool = True
    pii: bool = True
    """Whether personal data is looked for; it takes the extra `pii`, and is left unsaid where that is not installed."""
    toxicity: bool = True
    language: TextLanguageSpec | None = None
    judge: JudgeSpec | None = None
