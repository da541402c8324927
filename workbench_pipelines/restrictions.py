"""Restricted content: which columns of which rows are masked wherever rows are shown to someone who asks the lake.

What is not known to be open is restricted: a Sheet that states no classification, a tag without a policy, a row of a
Sheet that is no longer defined.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import polars as pl

from workbench_pipelines.catalog import Catalog, Sheet, TagPolicy
from workbench_pipelines.domains import domain_named
from workbench_pipelines.errors import DefinitionError
from workbench_pipelines.example_views import sheets_shown
from workbench_pipelines.usage import CLASSIFICATIONS
from workbench_pipelines.volumes import echoes

MASK = "•••"
RESTRICTED = CLASSIFICATIONS[-1]
OPEN_CLASSIFICATIONS = CLASSIFICATIONS[:-1]

# Columns that hold what a source row, a model or a person says, in whichever table they stand. The hashes of an answer
# and of what was shown are among them: from a handful of possible values the right one is found by trying.
CONTENT_COLUMNS = frozenset(
    {
        "messages", "response", "column_response", "inputs", "attributes", "label_data", "proposed_response", "notes",
        "review_notes", "pii", "response_hash", "seen_hash", "prompt_hash", "answer", "prompt", "request",
        "input", "output", "correction", "feedback_value", "expected_output", "explanation", "search_keys", "embedding",
        "judgement", "stratum",
        "changed_columns", "made_variables", "made_attributes",
    }
)  # fmt: skip
_CONTENT_OF_TABLE: Mapping[str, frozenset[str]] = {
    "canonical_labels": frozenset({"usage_reason"}),
    "decisions": frozenset({"reason", "uses"}),
    "item_marks": frozenset({"reason"}),
    "label_history": frozenset({"reason", "uses"}),
    "review_queue": frozenset({"detail"}),
}
# What `sheet_snapshot` adds to the columns of its source.
SNAPSHOT_COLUMNS = frozenset({"sheet", "item_ref", "item_hash", "usage_statements", "row_tags"})
# The columns of `typed_answers` that say whose answer it is; every other one holds a part of it.
_WHOSE_ANSWER = frozenset({"training_sheet", "sheet", "pair_id", "item_ref"})


@dataclass(frozen=True)
class Restrictions:
    """The restricted source columns of each known Sheet, None where all of them are; and the Sheets whose prompts may show
    examples of others."""

    sheets: Mapping[str, frozenset[str] | None]
    training_sheets: tuple[str, ...] = ()
    """The TrainingSheets there are; what their answers hold is as open as their Sheet."""
    shown: Mapping[str, frozenset[str]] = field(default_factory=dict)
    items: Mapping[str, frozenset[str]] = field(default_factory=dict)
    """The items of each Sheet of which a label is restricted, or was; `closed_labels` finds them."""

    @property
    def open_sheets(self) -> list[str]:
        """The Sheets that hold nothing restricted, and whose prompts show no examples of Sheets that do."""
        free = {sheet for sheet, columns in self.sheets.items() if columns is not None and not columns}
        return sorted(sheet for sheet in free if self.shown.get(sheet, frozenset()) <= free)

    @property
    def any_restricted(self) -> bool:
        return len(self.open_sheets) < len(self.sheets) or any(self.items.values())


@dataclass(frozen=True)
class Mask:
    """The columns of a table that are masked, in all rows or where one of the conditions holds.

    `classified` masks rows whose `data_classification` is not open (`or_unstated`: or null), `sheets` the rows of any
    Sheet but these (`unknown_sheet`: or of none), None sets no condition; `items` the rows of these items of a Sheet.
    `classifications` are the columns that say how a row is classified; `subjects` spares the rows whose `subject` does not
    begin so.
    """

    columns: frozenset[str] = frozenset()
    classified: bool = False
    or_unstated: bool = True
    sheets: tuple[str, ...] | None = None
    unknown_sheet: bool = True
    items: Mapping[str, frozenset[str]] = field(default_factory=dict)
    classifications: tuple[str, ...] = ("data_classification",)
    subjects: str | None = None

    @property
    def all_rows(self) -> bool:
        return not self.classified and self.sheets is None and self.subjects is None


def restrictions_of(catalog: Catalog) -> Restrictions:
    """What the definitions say is restricted: all of a broken Sheet, and of every Sheet under a broken policy."""
    training_sheets = tuple(catalog.names("TrainingSheet"))
    try:
        policies = catalog.tag_policies()
    except DefinitionError:
        return Restrictions(dict.fromkeys(catalog.names("Sheet")), training_sheets)
    if any(problem.kind == "UsagePolicy" for problem in catalog.problems):
        return Restrictions(dict.fromkeys(catalog.names("Sheet")), training_sheets)
    found: dict[str, frozenset[str] | None] = {}
    for name in catalog.names("Sheet"):
        try:
            sheet = catalog.sheet(name)
            found[name] = _restricted_columns(sheet, policies, _domains_stated(catalog, sheet))
        except DefinitionError:
            found[name] = None
    return Restrictions(found, training_sheets, sheets_shown(catalog))


def _domains_stated(catalog: Catalog, sheet: Sheet) -> list[str | None]:
    """The classifications that the Domains state whose terms and rules are a Sheet's items, or are joined to them."""
    paths = [sheet.spec.primary_table, *(source.path for source in sheet.spec.secondary_sources)]
    named = {found[0] for path in paths if (found := domain_named(path)) is not None}
    usages = [catalog.domain(name).spec.usage for name in sorted(named)]
    return [usage.data_classification for usage in usages if usage is not None]


def _restricted_columns(
    sheet: Sheet, policies: Mapping[str, TagPolicy], domains: Collection[str | None] = ()
) -> frozenset[str] | None:
    spec = sheet.spec

    def restricted(tags: Collection[str]) -> bool:
        return any(tag not in policies or policies[tag].data_classification == RESTRICTED for tag in tags)

    stated = [
        spec.usage.data_classification,
        *domains,
        *(policies[t].data_classification for t in spec.source_tags if t in policies),
    ]
    tags = [*spec.source_tags, *(tag for rule in spec.usage.rows for tag in rule.tags)]
    for source in spec.secondary_sources:
        tags += source.source_tags
        if source.usage:
            tags += [tag for rule in source.usage.rows for tag in rule.tags]
            stated.append(source.usage.data_classification)
    open_for_all = {one for one in stated if one is not None} <= set(OPEN_CLASSIFICATIONS) and (
        spec.usage.data_classification is not None
    )
    if not open_for_all or restricted(tags):
        return None
    hidden = [column for column, spec_of in spec.columns.items() if restricted(spec_of.tags)]
    return frozenset(name for column in hidden for name in (column, *echoes(sheet, column)))


def masking_texts(mask: Mask, schema: Mapping[str, pl.DataType], spared: Collection[str]) -> Mask:
    """The same, for a sample of what was not looked at for personal data though it may hold some: all texts are masked.

    Args:
        spared: columns that hold names and digests, and no text of anybody.
    """
    texts = {name for name, dtype in schema.items() if dtype == pl.String and name not in spared}
    return Mask(mask.columns | texts)


def mask_of(
    table: str,
    columns: Collection[str],
    restrictions: Restrictions,
    snapshot_of: str | None = None,
    answers_of: str | None = None,
) -> Mask:
    """What is masked in a table with these columns.

    `snapshot_of` names the Sheet of a snapshot table, `answers_of` the TrainingSheet of a table of typed answers.
    """
    if snapshot_of is not None:
        hidden = restrictions.sheets.get(snapshot_of)
        source = frozenset(columns) - SNAPSHOT_COLUMNS
        return Mask(source if hidden is None else source & hidden)
    content = frozenset(columns) & (CONTENT_COLUMNS | _CONTENT_OF_TABLE.get(table, frozenset()))
    if table == "usage_constraint_audit":
        # Why a definition states what it states stands in the definitions; why a label does, people wrote of its item.
        return Mask(
            frozenset({"reason"}),
            classified=True,
            or_unstated=False,
            sheets=tuple(restrictions.open_sheets),
            unknown_sheet=restrictions.any_restricted,
            classifications=("old_data_classification", "new_data_classification"),
            subjects="label ",
        )
    if answers_of is not None:
        # A column here is a field of the answer, also where it has the name of one of ours.
        answer = frozenset(columns) - _WHOSE_ANSWER
        return Mask(answer, sheets=tuple(restrictions.open_sheets), unknown_sheet=restrictions.any_restricted)
    if "data_classification" in columns and table != "canonical_labels":
        # What was said of an item since its row was made counts as well.
        of_items = restrictions.items if {"sheet", "item_ref"} <= set(columns) else {}
        return Mask(content, classified=True, items=of_items)
    if "sheet" not in columns:
        return Mask(content if restrictions.any_restricted else frozenset())
    # A label that states no classification has that of its Sheet.
    is_classified = "data_classification" in columns
    return Mask(
        content,
        classified=is_classified,
        or_unstated=False,
        sheets=tuple(restrictions.open_sheets),
        unknown_sheet=restrictions.any_restricted,
        # What people said of an item, and its pairs, where nothing in the row says how restricted that is.
        items={} if is_classified or "item_ref" not in columns else restrictions.items,
    )
