"""What a TrainingSheet says of variety: chunks, variants and steps that make items of items, targets, and languages.

And the `Domain` whose glossary and business rules its templates see.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints, model_validator

from workbench_pipelines.catalog.document_parts import Name, Scalar, Strict, UsageSpec, Variable

Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2}$")]
"""ISO 639-1: `en`, `de`, ..."""


class NamedVariant(Strict):
    """One way to ask of an item, by name, with what its template sees for it."""

    name: Name
    parameters: dict[Variable, Scalar] = {}


class VariantsSpec(Strict):
    """The ways in which a template asks of each item: every combination of the parameters, and those that are named.

    Each makes an item of its own, `<parent>#<n>`. A template sees the parameters, and the variant's name as `variant`.
    """

    parameters: dict[Variable, tuple[Scalar, ...]] = {}
    named: tuple[NamedVariant, ...] = ()
    per_item: int | None = Field(default=None, ge=1)
    """How many of them an item gets, chosen by the hash of (seed, item_ref, variant); all where nothing is said."""
    seed: int = 0

    @model_validator(mode="after")
    def _are_told_apart(self) -> VariantsSpec:
        if not self.parameters and not self.named:
            raise ValueError("give `parameters`, whose combinations are the variants, or `named` ones")
        empty = [name for name, values in self.parameters.items() if not values]
        if empty:
            raise ValueError(f"`parameters.{empty[0]}` has no value")
        for name, values in self.parameters.items():
            if len({repr(value) for value in values}) < len(values):
                raise ValueError(f"`parameters.{name}` has a value twice")
        names = [one.name for one in self.named]
        if len(set(names)) < len(names):
            raise ValueError("two of the `named` variants have one name")
        return self


class ChunksSpec(Strict):
    """A long text of an item, cut where its layout allows it; each chunk is an item whose column holds the chunk alone.

    A template sees the column with the chunk in it, and `heading`, the path of headings above it.
    """

    column: str
    size: int = Field(default=1500, ge=20)
    """Most that a chunk holds; a table or a block of code goes beyond it only where one row or line is longer."""
    overlap: int = Field(default=0, ge=0)
    """How much of the text before is shown again, in whole sentences or lines."""
    unit: Literal["characters", "tokens"] = "characters"
    layout: Literal["markdown", "plain"] = "markdown"

    @model_validator(mode="after")
    def _leaves_room(self) -> ChunksSpec:
        if self.overlap * 2 > self.size:
            raise ValueError("`overlap` is more than half of `size`")
        return self


class RoundTripSpec(Strict):
    """Two variables that should say the same, as a text and its translation back."""

    of: Variable
    against: Variable
    at_least: float = Field(default=0.0, ge=0, le=1)
    """chrF below which the item is refused."""


class StepSpec(Strict):
    """A question to a model about each item so far, whose answer makes an item of it: asked, made harder, translated.

    What it `makes` are variables for what comes after, in place of earlier ones of the same name.
    """

    name: Name
    template: str
    """A PromptTemplate, `@1.2.0` pins its version."""
    model: str | None = None
    repeat: int = Field(default=1, ge=1, le=20)
    """How many rounds there are; each goes on with what the one before made."""
    makes: tuple[Variable, ...] = Field(min_length=1)
    """The fields of the answer that become variables for what comes after; where `each` lists plain values, their one name."""
    each: Variable | None = None
    """A list among the output fields, of which every member makes an item."""
    choose: dict[Variable, tuple[Scalar, ...]] = {}
    """Variables of which each item gets one value, by the hash of (seed, item, step): one of several ways to make it harder."""
    seed: int = 0
    keep_parent: bool = False
    """Whether the item as it was before stays an item beside what is made of it."""
    round_trip: RoundTripSpec | None = None

    @model_validator(mode="after")
    def _chooses_something(self) -> StepSpec:
        empty = [name for name, values in self.choose.items() if not values]
        if empty:
            raise ValueError(f"`choose.{empty[0]}` has no value")
        return self

    @property
    def template_name(self) -> str:
        return self.template.partition("@")[0]

    @property
    def pinned_version(self) -> str | None:
        return self.template.partition("@")[2] or None


class TargetsSpec(Strict):
    """How many accepted rows are wanted, in all and by stratum; what is furthest behind is asked first.

    A row is accepted while it has an answer, a model's or an expert's, that nobody rejected.
    """

    accepted: int | None = Field(default=None, ge=1)
    """Exactly so many rows, if the items can give them."""
    by: str | None = None
    """A column, or a parameter of a variant, whose values are the strata."""
    shares: dict[str, float] = {}
    counts: dict[str, int] = {}
    seed: int = 0

    @model_validator(mode="after")
    def _say_one_thing(self) -> TargetsSpec:
        if self.shares and self.counts:
            raise ValueError("give `shares` of `accepted`, or `counts`, not both")
        if (self.shares or self.counts) and self.by is None:
            raise ValueError("`by` names the column whose values have `shares` or `counts`")
        if not self.counts and self.accepted is None:
            raise ValueError("give `accepted`, how many rows are wanted, or `counts` by stratum")
        if self.counts and self.accepted not in (None, sum(self.counts.values())):
            raise ValueError(f"`counts` add up to {sum(self.counts.values())}, and `accepted` is {self.accepted}")
        if any(count < 0 for count in self.counts.values()) or any(share < 0 for share in self.shares.values()):
            raise ValueError("a share or count below zero")
        if self.shares and abs(sum(self.shares.values()) - 1) > 1e-6:
            raise ValueError(f"`shares` add up to {sum(self.shares.values()):g}, not 1")
        return self

    @property
    def total(self) -> int:
        return self.accepted if self.accepted is not None else sum(self.counts.values())


class AnswerLanguageSpec(Strict):
    """The language answers are to be in: one for all, or that which a column or variable names for each item."""

    is_: Language | None = Field(default=None, alias="is")
    of: str | None = None
    fields: tuple[Variable, ...] = ()
    """The output fields that are looked at; every text where none is named."""
    min_characters: int = Field(default=20, ge=1)
    """Shorter texts tell no language and pass."""

    @model_validator(mode="after")
    def _one_way(self) -> AnswerLanguageSpec:
        if (self.is_ is None) == (self.of is None):
            raise ValueError("give `is`, one language for all, or `of`, the column or variable that names it")
        return self


class Term(Strict):
    """One word of a domain, what it means, and how else it is written."""

    term: str = Field(min_length=1)
    definition: str = Field(min_length=1)
    aliases: tuple[str, ...] = ()


class Rule(Strict):
    """One business rule, as a person would tell it."""

    name: Name
    text: str = Field(min_length=1)


class DomainSpec(Strict):
    """The words and business rules of a field; templates of the TrainingSheets that name it see them as `domain`."""

    glossary: tuple[Term, ...] = ()
    rules: tuple[Rule, ...] = ()
    usage: UsageSpec | None = None
    """What it states of the uses of pairs that show it; nothing where it is left out."""

    @model_validator(mode="after")
    def _each_once(self) -> DomainSpec:
        for what, names in (("term", [one.term for one in self.glossary]), ("rule", [one.name for one in self.rules])):
            twice = next((name for name in names if names.count(name) > 1), None)
            if twice is not None:
                raise ValueError(f"the {what} '{twice}' stands twice")
        if self.usage is not None and self.usage.rows:
            raise ValueError("a domain has no rows: its usage states no `rows`")
        return self
