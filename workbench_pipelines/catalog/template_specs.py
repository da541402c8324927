"""What a PromptTemplate and a LabelType say: what is asked, and what an answer looks like."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import ConfigDict, Field, model_validator

from workbench_pipelines.catalog.document_parts import Name, Strict, Variable, Version
from workbench_pipelines.catalog.variety import (
    Language,
)
from workbench_pipelines.fields import FieldSpec, json_schema_of
from workbench_pipelines.label_kinds import LabelKind, schema_of_kind


class LabelTypeSpec(Strict):
    kind: LabelKind
    classes: tuple[str, ...] = ()
    """What a label chooses from, where the kind's own schema holds."""
    covers_derived: bool = False
    """Whether the label of an item answers the items that are derived from it as well, as the class of a paraphrase."""
    fields: tuple[FieldSpec, ...] | None = None
    json_schema: dict[str, Any] | None = Field(default=None, alias="schema")

    @model_validator(mode="after")
    def _one_schema(self) -> LabelTypeSpec:
        if self.fields is not None and self.json_schema is not None:
            raise ValueError("give either `fields` or `schema`")
        if self.classes and not (self.fields is None and self.json_schema is None):
            raise ValueError("`classes` go with the schema of the kind; `fields` and `schema` list their own")
        if self.fields is None and self.json_schema is None:
            schema_of_kind(self.kind, self.classes)
        return self

    @property
    def label_schema(self) -> dict[str, Any]:
        """The JSON Schema of `label_data`: the document's own, else that of its kind."""
        if self.json_schema is not None:
            return self.json_schema
        return schema_of_kind(self.kind, self.classes) if self.fields is None else json_schema_of(self.fields)


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
