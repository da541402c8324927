"""The plan of a TrainingSheet's prompts: all that is the same for every item, and the prompt of one by it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import polars as pl

from workbench_pipelines import identity
from workbench_pipelines.answers import Parsed, column_reader
from workbench_pipelines.attachments import Attachment, NoImage, with_images
from workbench_pipelines.bindings import binding_problems, bindings_of, column_problems, seen_columns_of
from workbench_pipelines.catalog import Domain, PromptTemplate, TrainingSheet
from workbench_pipelines.derivation import Derivation, Derived, derived_variables, made_variables
from workbench_pipelines.domains import DOMAIN, domain_statements, shown_domain
from workbench_pipelines.errors import DefinitionError
from workbench_pipelines.fields import FieldSpec
from workbench_pipelines.personal_data import REFUSED
from workbench_pipelines.personal_data_net import Blocked, Net, spoken_name
from workbench_pipelines.templates import CompiledTemplate, RenderError
from workbench_pipelines.typed_values import typed_inputs
from workbench_pipelines.usage import UsageStatement, statements_from_json, statements_to_json

# Columns that a snapshot adds to those of its source; of these only the item's name may be shown.
ADDED_COLUMNS = frozenset({"item_ref", "item_hash", "row_tags", "usage_statements"})
MAX_ATTRIBUTE = 200  # characters: a longer text is a document, and no group or slice


class ItemRefused(Exception):
    """An item that gets no prompt, with the reason and the detail of its refusal."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class PromptPlan:
    """What is the same for every item of a TrainingSheet."""

    constants: Mapping[str, Any]
    derivation: Derivation
    cuts: str | None
    """The column that is cut into chunks."""
    derived_variables: tuple[str, ...]
    """Of the variables that are derived, those that the template asks for."""
    taken_refs: frozenset[str]
    """Names of the Sheet's own items that a derived one could have."""
    compiled: CompiledTemplate
    bindings: Mapping[str, str]
    input_schema: tuple[FieldSpec, ...]
    domain: Mapping[str, Any]
    """`domain` where the template asks for it: shown, and no input of the item."""
    images: tuple[Attachment, ...]
    seen: tuple[str, ...]
    seen_tags: frozenset[str]
    plain_attributes: tuple[tuple[str, bool], ...]
    """Attribute columns, and whether a long text is kept."""
    hidden_attributes: tuple[str, ...]
    usage_of: Callable[[str], str]
    answer_column: str | None
    read_answer: Callable[[Any], Parsed]
    net: Net | None = None

    def look_ahead(self, items: pl.DataFrame) -> None:
        """Looks for personal data in all that some items are going to show at once."""
        if self.net is None:
            return
        names = {column: spoken_name(column, variable) for variable, column in self.bindings.items()}
        texts = {column for column, _ in self.plain_attributes} | set(names)
        for column in texts:
            if column in items.columns and items.schema[column] == pl.String:
                name = names.get(column, column)
                self.net.prime((text, name) for text in items[column].drop_nulls().unique())

    def shown(self, bound: Mapping[str, Any], item_ref: str) -> dict[str, Any]:
        """Bound values as they may be shown; images are no texts."""
        if self.net is None:
            return dict(bound)
        images = {image.variable for image in self.images}
        shown = {}
        for variable, value in bound.items():
            name = spoken_name(self.bindings.get(variable, variable), variable)
            try:
                shown[variable] = value if variable in images else self.net.value(value, item_ref, name)
            except Blocked as error:
                raise ItemRefused(REFUSED, f"the item holds {error}") from None
        return shown

    def derived(self, item: Mapping[str, Any]) -> Sequence[Derived]:
        """The items that one of the Sheet's is asked as; itself where nothing comes of it, to be refused."""
        return list(self.derivation.of(item)) or [Derived(item, {})]

    def row(self, derived: Derived, root: Mapping[str, Any]) -> dict[str, Any]:
        """The prompt of an item; `root` is the row of the Sheet that it is, or is derived from."""
        item = derived.item
        if self.cuts and not derived.parent_ids:
            raise ItemRefused("nothing_to_cut", f"column '{self.cuts}' holds no text")
        if derived.parent_ids and derived.item_ref in self.taken_refs:
            raise ItemRefused(
                "item_ref_taken", "the Sheet has an item of this name; item_ref must not end in '#' and a number"
            )
        bound = {variable: item[column] for variable, column in self.bindings.items()}
        bound |= {name: derived.variables[name] for name in self.derived_variables if name in derived.variables}
        shown = self.shown(self._without_cut_values(bound, derived, root), derived.item_ref)
        inputs, reason = typed_inputs(shown, self.input_schema)
        if reason:
            # A number that would have to be masked is no number then, and is not shown unmasked for that.
            netted = self.net is not None and shown != bound and typed_inputs(bound, self.input_schema).reason is None
            raise ItemRefused(REFUSED if netted else "input_breaks_schema", f"masked: {reason}" if netted else reason)
        try:
            messages = self.compiled.render({**inputs, **self.domain})
            if self.images:
                parts = [part for image in self.images if (part := image.part(item)) is not None]
                messages = with_images(messages, parts)
        except RenderError as error:
            raise ItemRefused(error.reason, error.line) from None
        except NoImage as error:
            raise ItemRefused("no_image", str(error)) from None
        answer = self._answer(item)
        return {
            **self.constants,
            "variant": derived.variant,
            "parent_ids": list(derived.parent_ids),
            "derivation": list(derived.steps),
            "item_ref": item["item_ref"],
            "item_hash": item["item_hash"],
            "seen_hash": identity.seen_hash(item, self.seen),
            "messages": messages,
            "prompt_hash": identity.prompt_hash(messages),
            "inputs": identity.canonical_text(inputs),
            "attributes": identity.canonical_text({**self.attributes(item), **derived.attributes}),
            "tags": sorted(self.seen_tags.union(item["row_tags"] or ())),
            "usage_statements": self.usage_of(item["usage_statements"]),
            "column_response": answer.response,
            # No reason to refuse the prompt: an expert's label may answer where the column does not.
            "column_problem": f"column '{self.answer_column}': {answer.detail}" if answer.reason else None,
        }

    def _answer(self, item: Mapping[str, Any]) -> Parsed:
        """What the column of answers holds, as it may leave."""
        if self.answer_column is None:
            return Parsed(None)
        answer = self.read_answer(item[self.answer_column])
        if self.net is None or answer.response is None:
            return answer
        try:
            value = json.loads(answer.response)
            netted = self.net.value(value, item["item_ref"], self.answer_column)
        except Blocked as error:
            return Parsed(None, REFUSED, f"{REFUSED}: the answer holds {error}")
        # One that does not fit its schema any more is refused where drafts are (`netted_rows.netted_drafts`).
        return answer if netted == value else answer._replace(response=identity.canonical_text(netted))

    def _without_cut_values(
        self, bound: Mapping[str, Any], derived: Derived, root: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        """Bound values, in a chunk nothing of a value that was cut through; the next one may hold the rest of a name."""
        params = next((json.loads(step["params"]) for step in derived.steps if step["name"] == "chunk"), None)
        if self.net is None or params is None or not isinstance(root.get(params["column"]), str):
            return bound
        found = dict(bound)
        for variable, value in bound.items():
            if self.bindings.get(variable) == params["column"] and isinstance(value, str):
                name = spoken_name(params["column"], variable)
                whole = (root[params["column"]], params["start"], params["end"], derived.item_ref, name)
                try:
                    found[variable] = self.net.piece(value, *whole)
                except Blocked as error:
                    raise ItemRefused(REFUSED, f"the item holds {error}") from None
        return found

    def attributes(self, item: Mapping[str, Any]) -> dict[str, Any]:
        """What an item can be grouped and sliced by; a tagged value stands there as its digest."""
        found = {
            column: item[column]
            for column, long_too in self.plain_attributes
            if long_too or not isinstance(item[column], str) or len(item[column]) <= MAX_ATTRIBUTE
        }
        for column in self.hidden_attributes:
            value = item[column]
            found[column] = None if value is None else f"sha256:{identity.digest(value)}"
        return found if self.net is None else self._without_personal_data(found, item["item_ref"])

    def _without_personal_data(self, attributes: dict[str, Any], item_ref: str) -> dict[str, Any]:
        """Attributes without what is not only flagged: as with tagged columns, what groups items stays as its digest."""
        assert self.net is not None
        grouping = {column for column, long_too in self.plain_attributes if long_too}
        found = {}
        for column, value in attributes.items():
            if column in self.hidden_attributes or not self.net.acting(value, item_ref, column):
                found[column] = value
            elif column in grouping:
                found[column] = f"sha256:{identity.digest(value)}"
        return found


def plan_prompts(
    training_sheet: TrainingSheet,
    template: PromptTemplate,
    compiled: CompiledTemplate,
    snapshot: pl.DataFrame,
    attribute_columns: Sequence[str],
    column_tags: Mapping[str, Collection[str]],
    image_paths: Mapping[str, str],
    domain: Domain | None,
    shown_before: Sequence[tuple[PromptTemplate, CompiledTemplate]],
    net: Net | None,
    where: str,
) -> PromptPlan:
    """What the prompts of a TrainingSheet have in common; the arguments are those of `prompts.render_prompts`.

    Raises:
        DefinitionError: when a bound column is not in the snapshot, or a column to be cut holds no text.
    """
    bindings = _bound(training_sheet, template, compiled, snapshot.schema, where)
    beside = {*derived_variables(training_sheet), *made_variables(training_sheet)} - {DOMAIN}
    own = tuple(sorted(beside & compiled.variables))
    asked_before = [_bound(training_sheet, one, text, snapshot.schema, where) for one, text in shown_before]
    before = {column for found in asked_before for column in found.values()}
    domain_shown = any(DOMAIN in text.variables for text in (compiled, *(text for _, text in shown_before)))
    seen = sorted({*seen_columns_of(training_sheet, bindings), *before})
    optional = {field.name for field in template.spec.input_schema if not field.required}
    images = tuple(
        Attachment(variable, bindings[variable], image_paths.get(bindings[variable]), variable not in optional)
        for variable in template.spec.attachments
        if variable in bindings
    )
    # The path of an image goes along with it, and what is stated of the path holds for the pair.
    carried = [*seen, *(image.path_column for image in images if image.path_column is not None)]
    carried += [image_paths[column] for column in sorted(before) if column in image_paths]
    wanted = [column for column in attribute_columns if column in snapshot.columns]
    others = [
        column
        for column, dtype in snapshot.schema.items()
        if column not in ADDED_COLUMNS and column not in seen and not dtype.is_nested() and dtype != pl.Binary
    ]
    attributes = sorted({*wanted, *others})
    restricted = {column for column, tags in column_tags.items() if tags} | _limited_columns(snapshot)
    return PromptPlan(
        constants={
            "training_sheet": training_sheet.name,
            "sheet": training_sheet.spec.sheet,
            "seen_columns": seen,
            "template": template.name,
            "template_version": template.spec.version,
            "label_type": template.spec.label_type,
            "example_ids": [],
        },
        derivation=Derivation(training_sheet.spec),
        cuts=training_sheet.spec.chunks.column if training_sheet.spec.chunks else None,
        derived_variables=own,
        taken_refs=frozenset(snapshot.filter(pl.col("item_ref").str.contains("#", literal=True))["item_ref"]),
        compiled=compiled,
        bindings=bindings,
        input_schema=tuple(f for f in template.spec.input_schema if f.name in bindings or f.name in own),
        domain={DOMAIN: shown_domain(domain)} if domain is not None and DOMAIN in compiled.variables else {},
        seen=tuple(seen),
        images=images,
        seen_tags=frozenset(tag for column in carried for tag in column_tags.get(column, ())),
        plain_attributes=tuple((column, column in wanted) for column in attributes if column not in restricted),
        hidden_attributes=tuple(column for column in wanted if column in restricted),
        usage_of=_usage_reader(carried, domain_statements(domain) if domain is not None and domain_shown else ()),
        answer_column=training_sheet.spec.column,
        read_answer=column_reader(template.spec.output_schema),
        net=net,
    )


def _bound(
    training_sheet: TrainingSheet, template: PromptTemplate, compiled: CompiledTemplate, types: pl.Schema, where: str
) -> dict[str, str]:
    """The bindings that this snapshot can serve; an optional variable without a column is left unbound."""
    known = [column for column in types if column not in ADDED_COLUMNS or column == "item_ref"]
    problems = [*binding_problems(training_sheet, template, compiled.variables, known)]
    for problem in (*problems, *column_problems(training_sheet, known)):
        raise DefinitionError(f"{where}: {problem}")
    cut = training_sheet.spec.chunks.column if training_sheet.spec.chunks else None
    if cut is not None and types[cut] != pl.String:
        raise DefinitionError(f"{where}: spec.chunks.column: '{cut}' holds {types[cut]}, and only a text can be cut")
    bindings = bindings_of(training_sheet, template, compiled.variables)
    return {variable: column for variable, column in bindings.items() if column in known}


def _limited_columns(snapshot: pl.DataFrame) -> set[str]:
    """The columns that anything is stated of, as by a tag or a joined source; where they are not shown, they stay hidden."""
    texts = snapshot["usage_statements"].unique()
    return {column for text in texts for one in statements_from_json(text) for column in one.columns or ()}


def _usage_reader(seen: Sequence[str], beside: Sequence[UsageStatement] = ()) -> Callable[[str], str]:
    """From the statements of an item to those that speak of what a pair shows of it, and beside it; few texts, many rows."""

    @lru_cache(maxsize=4096)
    def usage_of(text: str) -> str:
        return statements_to_json([*(one for one in statements_from_json(text) if one.counts_for(seen)), *beside])

    return usage_of
