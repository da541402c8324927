"""What a Sheet says: where its rows lie, what is joined to them, which of them count, and what may be done with them."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from workbench_pipelines.catalog.document_parts import Name, Strict, UsageSpec, Variable
from workbench_pipelines.catalog.intake_specs import IntakeSpec
from workbench_pipelines.catalog.personal_data_specs import PersonalDataSpec
from workbench_pipelines.consensus import AGREEMENT


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


class ReviewSpec(Strict):
    """How the labels of a Sheet are reviewed."""

    two_persons: bool = False
    """Whether a label counts only once a second person has approved it."""
    annotators: int = Field(default=1, ge=1, le=9)
    """How many people answer for an item, each without seeing what the others said."""
    agreement: float = Field(default=AGREEMENT, gt=0.5, le=1)
    """How far they must agree for a label; below it, a third person decides."""


class ContentRef(Strict):
    """An item is named by the hash of what these columns of the primary table hold: the same content is the same item,
    whichever file and line it stands in."""

    content_of: tuple[Variable, ...] = Field(min_length=1)


class SheetSpec(Strict):
    primary_table: str
    item_ref: str | tuple[str, ...] | ContentRef
    read: ReadOptions = ReadOptions()
    intake: IntakeSpec | None = None
    """Says that `primary_table` is a folder of JSONL files that are taken once each, and what their rows hold."""
    secondary_sources: tuple[SecondarySource, ...] = ()
    filter_condition: str | None = None
    sample: SampleSpec | None = None
    usage: UsageSpec = UsageSpec()
    columns: dict[str, ColumnSpec] = {}
    source_tags: tuple[str, ...] = ()
    personal_data: PersonalDataSpec | None = None
    """What is done with personal data that is found in what is shown of its items; the stricter of this and of the project's
    policy counts."""
    expectations: str | None = None
    """A Great Expectations suite file (JSON) for the snapshot, relative to this document."""
    contract: str | None = None
    """A data contract (Open Data Contract Standard v3, `*.odcs.yaml`) of the source tables, relative to this document."""
    review: ReviewSpec = ReviewSpec()

    @model_validator(mode="after")
    def _taken_rows_are_named_by_content(self) -> SheetSpec:
        if self.intake is None:
            return self
        if self.contract is not None:
            raise ValueError("an `intake` says itself what its rows hold; it has no `contract`")
        if not self.content_columns:
            raise ValueError("a Sheet with an `intake` names its items by content: `item_ref: {content_of: [...]}`")
        unknown = [name for name in self.content_columns if name not in {field.name for field in self.intake.fields}]
        if unknown:
            raise ValueError(f"`item_ref` is the content of '{unknown[0]}', which is none of the fields of `intake`")
        return self

    @property
    def key_columns(self) -> tuple[str, ...]:
        """The columns that hold the name of an item; none where it is made of content."""
        if isinstance(self.item_ref, ContentRef):
            return ()
        return (self.item_ref,) if isinstance(self.item_ref, str) else self.item_ref

    @property
    def content_columns(self) -> tuple[str, ...]:
        """The columns that an item is named by the content of; none where it has a key."""
        return self.item_ref.content_of if isinstance(self.item_ref, ContentRef) else ()
