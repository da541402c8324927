"""What the definitions say of a TrainingSheet, put together to render its prompts."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from workbench_pipelines.bindings import bindings_of
from workbench_pipelines.catalog import Catalog, PromptTemplate, Sheet, TrainingSheet
from workbench_pipelines.catalog.variety import StepSpec
from workbench_pipelines.errors import DefinitionError, WorkbenchError
from workbench_pipelines.member_filters import filter_columns
from workbench_pipelines.netted_rows import netted_prompts
from workbench_pipelines.personal_data_net import Net
from workbench_pipelines.prompts import Rendered, render_prompts
from workbench_pipelines.steps import DERIVED_ITEMS, Made, read_made
from workbench_pipelines.templates import CompiledTemplate, compile_template, template_hash
from workbench_pipelines.volumes import echoes, image_columns


def render_training_sheet(
    catalog: Catalog, name: str, snapshot: pl.DataFrame, derived: pl.DataFrame | None = None, net: Net | None = None
) -> Rendered:
    """The prompts of a TrainingSheet over a snapshot of its Sheet.

    Args:
        net: what is done with personal data in what the items show.
        derived: rows of `generate/derived_items`, where the TrainingSheet has steps.

    Raises:
        DefinitionError, TemplateError, SourceError, FilterError: in one line that names file and field.
    """
    training_sheet = catalog.training_sheet(name)
    steps = training_sheet.spec.steps
    made = read_made(DERIVED_ITEMS.to_frame() if derived is None else derived, snapshot, name) if steps else None
    return _rendered(catalog, training_sheet, catalog.template_for(training_sheet), snapshot, made, steps, net)


def render_step(
    catalog: Catalog,
    training_sheet: TrainingSheet,
    step: StepSpec,
    snapshot: pl.DataFrame,
    made: Made,
    net: Net | None = None,
) -> Rendered:
    """What a step asks of each item that was made so far.

    Raises:
        DefinitionError, TemplateError, SourceError, FilterError: as `render_training_sheet`.
    """
    steps = training_sheet.spec.steps
    # What the steps before showed is in what this one shows; so is its own, where it is repeated.
    before = steps[: steps.index(step) + 1]
    return _rendered(catalog, training_sheet, catalog.step_template(training_sheet, step), snapshot, made, before, net)


def _rendered(
    catalog: Catalog,
    training_sheet: TrainingSheet,
    template: PromptTemplate,
    snapshot: pl.DataFrame,
    made: Made | None,
    steps: Sequence[StepSpec],
    net: Net | None,
) -> Rendered:
    sheet = sheet_of(catalog, training_sheet)
    asked_before = [catalog.step_template(training_sheet, step) for step in steps]
    rendered = render_prompts(
        training_sheet,
        template,
        compiled_template(catalog, template),
        snapshot,
        attribute_columns=_grouping_columns(catalog, training_sheet),
        column_tags=_column_tags(sheet),
        image_paths=image_columns(sheet),
        domain=catalog.domain_of(training_sheet),
        made=made,
        shown_before=[(one, compiled_template(catalog, one)) for one in asked_before],
        net=net,
        known_as=catalog.pair_names(training_sheet),
        where=place_of(catalog, training_sheet),
    )
    return rendered if net is None else with_netted_messages(rendered, net)


def with_netted_messages(rendered: Rendered, net: Net) -> Rendered:
    """Prompts whose messages went through the net as a whole; what may not be shown goes to the refusals."""
    frame, refused = netted_prompts(rendered.frame, net)
    return Rendered(
        frame, pl.concat([rendered.refusals, refused]).sort("item_ref") if refused.height else rendered.refusals
    )


def sheet_of(catalog: Catalog, training_sheet: TrainingSheet) -> Sheet:
    """The Sheet of a TrainingSheet.

    Raises:
        DefinitionError: naming the TrainingSheet's file and field where there is none.
    """
    return catalog.sheet(training_sheet.spec.sheet, f"{place_of(catalog, training_sheet)}: spec.sheet")


def compiled_template(catalog: Catalog, template: PromptTemplate) -> CompiledTemplate:
    """A template version with everything it reaches, compiled."""
    file = catalog.file_of("PromptTemplate", template.name)
    where = f"{file}: PromptTemplate {template.name}: version {template.spec.version}"
    return compile_template(template, catalog.template_sources(), where)


def refuse_unrecorded_template(catalog: Catalog, training_sheet: TrainingSheet, recorded: pl.DataFrame) -> None:
    """Holds a TrainingSheet to the template content that `generate/prompt_templates` was last materialized with.

    Raises:
        DefinitionError: when the file holds something else by now.
    """
    templates = [catalog.template_for(training_sheet)]
    templates += [catalog.step_template(training_sheet, step) for step in training_sheet.spec.steps]
    rows = recorded.select("template", "version", "content_hash").iter_rows() if recorded.width else ()
    known = {(name, version): content for name, version, content in rows}
    for template in templates:
        version = template.spec.version
        if known.get((template.name, version)) != template_hash(template, catalog.template_sources()):
            raise DefinitionError(
                f"{catalog.file_of('PromptTemplate', template.name)}: PromptTemplate {template.name} {version} is newer "
                "than generate/prompt_templates; materialize that partition first"
            )


def seen_by_default(catalog: Catalog, sheet: str, label_type: str, columns: Sequence[str]) -> tuple[str, ...]:
    """The columns an expert is taken to have seen where a label does not say: all that prompts of this task bind.

    The union over the TrainingSheets of the Sheet whose template asks for the label type; where there is none, over the
    templates alone; where no column is bound at all, every column.
    """
    bound: set[str] = set()
    for training_sheet in catalog.training_sheets():
        if training_sheet.spec.sheet != sheet:
            continue
        try:
            template = catalog.template_for(training_sheet)
            if template.spec.label_type == label_type:
                variables = compiled_template(catalog, template).variables
                bound |= set(bindings_of(training_sheet, template, variables).values())
        except WorkbenchError:
            continue  # a broken TrainingSheet shows nobody anything
    if not bound:
        for name in catalog.names("PromptTemplate"):
            for template in catalog.template_versions(name).values():
                if template.spec.label_type == label_type:
                    bound |= set(compiled_template(catalog, template).variables)
    known = bound & set(columns)
    own = {"item_ref", "item_hash", "row_tags", "usage_statements"}
    return tuple(sorted(known or set(columns) - own))


def place_of(catalog: Catalog, training_sheet: TrainingSheet) -> str:
    """The file and document that error lines of a TrainingSheet begin with."""
    return f"{catalog.file_of('TrainingSheet', training_sheet.name)}: TrainingSheet {training_sheet.name}"


def _column_tags(sheet: Sheet) -> dict[str, set[str]]:
    """The tags of each tagged column, and of those that tell as much as it."""
    found: dict[str, set[str]] = {}
    for column, spec in sheet.spec.columns.items():
        for name in (column, *echoes(sheet, column)) if spec.tags else ():
            found.setdefault(name, set()).update(spec.tags)
    return found


def _grouping_columns(catalog: Catalog, training_sheet: TrainingSheet) -> tuple[str, ...]:
    """The columns that Collections group, stratify or choose this TrainingSheet by, and those of its own strata and languages."""
    targets = training_sheet.spec.targets
    language = training_sheet.spec.answer_language
    own = (targets.by if targets is not None else None, language.of if language is not None else None)
    wanted: set[str] = {column for column in own if column is not None}
    for name in catalog.collections_of(training_sheet.name):
        try:
            collection = catalog.collection(name)
            wanted |= filter_columns(collection, training_sheet.name)
        except WorkbenchError:
            continue  # a broken Collection fails with its own line
        splits = collection.spec.splits
        wanted |= {column for column in (splits.group_by, splits.stratify_by) if column}
    return tuple(sorted(wanted))
