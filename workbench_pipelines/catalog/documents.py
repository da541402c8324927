"""The YAML documents of a project, one pydantic model a kind; unknown fields are refused.

Kinds: Sheet, TrainingSheet, Collection, LabelType, ExampleStore, UsagePolicy, Access, Domain (in `sheets/`) and
PromptTemplate (in `templates/`).
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from workbench_pipelines.catalog.common import Name, Strict, UsageSpec, Variable, Version
from workbench_pipelines.catalog.variety import (
    AnswerLanguageSpec,
    ChunksSpec,
    DomainSpec,
    Language,
    StepSpec,
    TargetsSpec,
    VariantsSpec,
)  # fmt: skip
from workbench_pipelines.fields import FieldSpec

EXPORT_FORMATS = ("openai", "parquet")
LabelKind = Literal[
    "classification", "entity_extraction", "qa", "generation", "summarization", "localization", "document_type",
    "root_cause", "pass_fail", "other",
]  # fmt: skip


class Metadata(Strict):
    """Who and what a document is; `formerly` lists the names it had before."""

    name: Name
    description: str | None = None
    owner: str | None = None
    tags: dict[str, str] = {}
    formerly: tuple[Name, ...] = ()


class ColumnSpec(Strict):
    """Tags of one column; they count only for pairs in which the column was shown."""

    tags: tuple[str, ...] = ()
    description: str | None = None


class SampleSpec(Strict):
    """The items with the lowest hashes of (seed, item_ref), per stratum; `head` takes the first rows of the source."""

    size: int = Field(ge=1)
    method: Literal["head", "random", "stratified"] = "random"
    by: str | None = None
    seed: int = 0

    @model_validator(mode="after")
    def _stratified_needs_by(self) -> SampleSpec:
        if (self.method == "stratified") != (self.by is not None):
            raise ValueError("`by` names the stratum column of a stratified sample, and only there")
        return self


class ReadOptions(Strict):
    """How a file is read where its ending does not say everything."""

    encoding: str = "utf-8"
    separator: str = ","
    worksheet: str | None = None


Extract = Literal["text", "image", "ocr", "audio", "video", "none"]


class SecondarySource(Strict):
    """A table joined to the primary one, or a folder of files beside it, of which each row names one."""

    name: Name
    type: Literal["table", "volume"] = "table"
    path: str
    join_keys: tuple[str, ...] = Field(min_length=1)
    how: Literal["left", "inner"] = "left"
    allow_fan_out: bool = False
    extract: Extract | None = None
    """What of a volume's files becomes a column: their text, the image itself, what is read or heard in them, or nothing."""
    read: ReadOptions = ReadOptions()
    usage: UsageSpec | None = None
    source_tags: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _files_are_found_by_name(self) -> SecondarySource:
        if self.type == "table" and self.extract is not None:
            raise ValueError("`extract` says what is taken out of the files of a volume; a table has none")
        if self.type == "volume" and (len(self.join_keys) != 1 or self.allow_fan_out):
            raise ValueError(
                "a volume has one join key, the column that names the file, and a row finds one file at most"
            )
        return self


class SheetSpec(Strict):
    primary_table: str
    item_ref: str | tuple[str, ...]
    read: ReadOptions = ReadOptions()
    secondary_sources: tuple[SecondarySource, ...] = ()
    filter_condition: str | None = None
    sample: SampleSpec | None = None
    usage: UsageSpec = UsageSpec()
    columns: dict[str, ColumnSpec] = {}
    source_tags: tuple[str, ...] = ()
    expectations: str | None = None
    """A Great Expectations suite file (JSON) for the snapshot, relative to this document."""

    @property
    def key_columns(self) -> tuple[str, ...]:
        return (self.item_ref,) if isinstance(self.item_ref, str) else self.item_ref


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


class Member(Strict):
    training_sheet: Name
    weight: float = Field(default=1.0, gt=0)
    split: Literal["train", "val", "test"] | None = None


class SplitSpec(Strict):
    train: float = Field(default=0.8, ge=0, le=1)
    val: float = Field(default=0.1, ge=0, le=1)
    test: float = Field(default=0.1, ge=0, le=1)
    seed: int = 0
    group_by: str | None = None
    stratify_by: str | None = None

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
    expectations: str | None = None
    """A Great Expectations suite file (JSON) for the exported rows, relative to this document."""


class LabelTypeSpec(Strict):
    kind: LabelKind
    covers_derived: bool = False
    """Whether the label of an item answers the items that are derived from it as well, as the class of a paraphrase."""
    fields: tuple[FieldSpec, ...] | None = None
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")

    @model_validator(mode="after")
    def _one_schema(self) -> LabelTypeSpec:
        if (self.fields is None) == (self.json_schema is None):
            raise ValueError("give either `fields` or `schema`")
        return self


class TemplateExample(Strict):
    """A demonstration written into the template itself."""

    inputs: dict[str, Any]
    output: dict[str, Any]


class TemplateMessage(Strict):
    """One turn of a conversation; its content is Jinja2, whoever speaks."""

    role: Literal["system", "user", "assistant"]
    content: str = Field(min_length=1)


class TemplateText(Strict):
    """The texts of a template in another language."""

    system_prompt: str | None = None
    """That of the template where there is none."""
    user_prompt_template: str = Field(min_length=1)


class PromptTemplateSpec(Strict):
    """Either a system prompt with a user prompt, or `messages`: a whole conversation that ends with what is asked."""

    model_config = ConfigDict(
        json_schema_extra={"oneOf": [{"required": ["user_prompt_template"]}, {"required": ["messages"]}]}
    )

    version: Version
    status: Literal["draft", "published", "archived"] = "draft"
    label_type: Name
    system_prompt: str | None = None
    user_prompt_template: str | None = Field(default=None, min_length=1)
    messages: tuple[TemplateMessage, ...] = ()
    languages: dict[Language, TemplateText] = {}
    """What is said in place of the prompts above to an item whose `language` is one of these."""
    attachments: tuple[Variable, ...] = ()
    """Variables that are images: files of a volume with `extract: image`, or http(s) addresses."""
    input_schema: tuple[FieldSpec, ...] = ()
    output_schema: tuple[FieldSpec, ...] = Field(min_length=1)
    base_model: str | None = None
    temperature: float = Field(default=0.0, ge=0, le=2)
    max_tokens: int = Field(default=256, ge=1)
    top_p: float | None = Field(default=None, gt=0, le=1)
    seed: int | None = None
    examples: tuple[TemplateExample, ...] = ()

    @model_validator(mode="after")
    def _each_image_once(self) -> PromptTemplateSpec:
        if len(set(self.attachments)) < len(self.attachments):
            raise ValueError("an image stands twice in `attachments`")
        return self

    @model_validator(mode="after")
    def _one_prompt(self) -> PromptTemplateSpec:
        if (self.user_prompt_template is None) == (not self.messages):
            raise ValueError("give either `user_prompt_template` (and `system_prompt`, if wanted) or `messages`")
        if self.system_prompt is None and any(text.system_prompt for text in self.languages.values()):
            raise ValueError("a text of `languages` has a `system_prompt`, and the template itself has none")
        if not self.messages:
            return self
        if self.languages:
            raise ValueError("`languages` goes with `user_prompt_template`")
        if self.system_prompt is not None:
            raise ValueError("`system_prompt` goes with `user_prompt_template`; make it the first of `messages`")
        roles = [message.role for message in self.messages]
        if "system" in roles[1:]:
            raise ValueError("a system message is the first of `messages`, or there is none")
        if roles[-1] != "user":
            raise ValueError("the last of `messages` is the user's: it is what the model answers")
        return self


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


class AccessSpec(Strict):
    """Who may do what; people and teams by name."""

    reviewers: tuple[str, ...] = ()
    approvers: tuple[str, ...] = ()
    stewards: tuple[str, ...] = ()
    see_restricted: tuple[str, ...] = ()
    release: tuple[str, ...] = ()


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
