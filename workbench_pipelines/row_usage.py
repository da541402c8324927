"""What reaches a row: its tags, and the usage statements of its Sheet, tags, columns, row rules and joined sources.

A tag is what a person says of a table, a column or some rows; its policy says which uses that rules out. The statements
travel beside the row as JSON (`usage.statements_to_json`), and count for a pair by the columns it shows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from workbench_pipelines.catalog import Sheet, TagPolicy, UsageSpec
from workbench_pipelines.errors import DefinitionError, nearest
from workbench_pipelines.filters import compile_filter
from workbench_pipelines.stated_policies import sheet_policy
from workbench_pipelines.usage import (
    CLASSIFICATIONS,
    UsageStatement,
    known_classification,
    known_use,
    statements_to_json,
)
from workbench_pipelines.volumes import echoes


@dataclass(frozen=True)
class Policies:
    """The policy of each tag, and the uses a statement may name."""

    tags: Mapping[str, TagPolicy]
    vocabulary: Sequence[str]

    def statement(self, tag: str, source: str, where: str, columns: tuple[str, ...] | None = None) -> UsageStatement:
        """What a tag states of its bearer.

        Raises:
            DefinitionError: for a tag without a policy, or a policy with an unknown use or classification.
        """
        if tag not in self.tags:
            raise DefinitionError(f"{where}: the tag '{tag}' has no policy{nearest(tag, self.tags)}")
        policy = self.tags[tag]
        return self._checked(policy, source, f"{where}: tag {tag}", columns)

    def stated(self, usage: UsageSpec, source: str, where: str, columns: tuple[str, ...] | None) -> UsageStatement:
        """What a usage section states, as far as it holds for every row."""
        return self._checked(usage, source, where, columns)

    def _checked(
        self, said: TagPolicy | UsageSpec, source: str, where: str, columns: tuple[str, ...] | None
    ) -> UsageStatement:
        for field, uses in (("allowed_uses", said.allowed_uses or ()), ("prohibited_uses", said.prohibited_uses)):
            for use in uses:
                known_use(use, self.vocabulary, f"{where}.{field}")
        if said.data_classification is not None:
            known_classification(said.data_classification, f"{where}.data_classification")
        return UsageStatement(
            source=source,
            allowed_uses=None if said.allowed_uses is None else tuple(sorted(set(said.allowed_uses))),
            prohibited_uses=tuple(sorted(set(said.prohibited_uses))),
            data_classification=said.data_classification,
            columns=columns,
            reason=said.reason,
        )


@dataclass(frozen=True)
class Rule:
    """A row rule: for the rows whose `flag` column is true, the tags hold and the statements are made."""

    flag: str
    when: str
    where: str
    tags: tuple[str, ...]
    statements: tuple[UsageStatement, ...]
    on_row: bool
    """Whether it speaks of the row itself; a rule of a joined source speaks of that source's columns."""


def standing_statements(
    sheet: Sheet, origins: Mapping[str, tuple[str, ...]], policies: Policies, where: str
) -> Iterator[UsageStatement]:
    """What holds for every row: the Sheet's own statement, its tags, its tagged columns, and its joined sources.

    `origins` gives the columns of the row that came from each source. A Sheet that names no allowed use allows none.
    """
    spec = sheet.spec
    # What a Sheet says nothing of is denied, and no tag of a lower classification makes it less restricted.
    unsaid = {
        "allowed_uses": spec.usage.allowed_uses or (),
        "data_classification": spec.usage.data_classification or CLASSIFICATIONS[-1],
    }
    own = spec.usage.model_copy(update=unsaid)
    stated = policies.stated(own, f"sheet {sheet.name}", f"{where}: spec.usage", None)
    yield replace(stated, policy=sheet_policy(sheet, policies.tags))
    for tag in spec.source_tags:
        yield policies.statement(tag, f"tag {tag}", f"{where}: spec.source_tags")
    for column, column_spec in spec.columns.items():
        # A key column is shown under its own name and as `item_ref`, the name of a file in its path as well.
        named = ("item_ref",) if column in spec.key_columns else ()
        shown_as = (column, *named, *echoes(sheet, column))
        for tag in column_spec.tags:
            source = f"tag {tag} on column {column}"
            yield policies.statement(tag, source, f"{where}: spec.columns.{column}.tags", shown_as)
    for source_spec in spec.secondary_sources:
        place, columns = f"{where}: spec.secondary_sources.{source_spec.name}", origins.get(source_spec.name, ())
        if source_spec.usage is not None:
            yield policies.stated(source_spec.usage, f"source {source_spec.name}", f"{place}.usage", columns)
        for tag in source_spec.source_tags:
            yield policies.statement(tag, f"tag {tag} on source {source_spec.name}", f"{place}.source_tags", columns)


def row_rules(sheet: Sheet, policies: Policies, where: str) -> list[Rule]:
    """The rules of the Sheet's own usage, which speak of the whole joined row."""
    return _rules(sheet.spec.usage, policies, f"{where}: spec.usage", "", None)


def source_rules(
    usage: UsageSpec | None, source: str, columns: tuple[str, ...], policies: Policies, where: str
) -> list[Rule]:
    """The rules of a joined source; their columns are those of its file, and they count where one of them is shown."""
    return _rules(usage, policies, f"{where}: spec.secondary_sources.{source}.usage", source, columns)


def _rules(
    usage: UsageSpec | None, policies: Policies, where: str, source: str, columns: tuple[str, ...] | None
) -> list[Rule]:
    rules: list[Rule] = []
    bearer = f" on source {source}" if source else ""
    for number, rule in enumerate(usage.rows if usage else ()):
        place = f"{where}.rows[{number}]"
        # By its number: beside the name of an item the condition itself would tell what the row holds.
        statements = tuple(
            policies.statement(tag, f"tag {tag}{bearer} by row rule {number + 1}", f"{place}.tags", columns)
            for tag in rule.tags
        )
        flag = f"__rule {source} {number}"
        rules.append(Rule(flag, rule.when, f"{place}.when", rule.tags, statements, columns is None))
    return rules


def flagged(frame: pl.DataFrame, schema: Mapping[str, pl.DataType], rules: Sequence[Rule]) -> pl.DataFrame:
    """The frame with one flag column a rule; `schema` holds the columns a rule may name.

    A rule that can not be decided for a row (its column is null there) holds: a tag only ever narrows what may be
    done, and a row of unknown kind is not the freer one.

    Raises:
        FilterError: for a rule that is no condition over the columns of the frame.
    """
    flags = [compile_filter(rule.when, schema, rule.where).fill_null(True).alias(rule.flag) for rule in rules]
    return frame.with_columns(flags)


def with_usage(
    frame: pl.DataFrame, standing: Sequence[UsageStatement], tags: Sequence[str], rules: Sequence[Rule]
) -> pl.DataFrame:
    """The frame with `row_tags` and `usage_statements`, and without its flag columns.

    A flag is null where a left join found no row of the source: what did not arrive states nothing.
    """
    # Rows differ in nothing but their flags, so that every combination is put into words once.
    flags = [rule.flag for rule in rules]
    held = pl.concat_str([pl.lit(""), *(pl.col(flag).fill_null(False).cast(pl.Int8).cast(pl.String) for flag in flags)])
    rows = frame.with_columns(held.alias("__held"))
    words = []
    for combination in rows["__held"].unique():
        holding = [rule for rule, bit in zip(rules, combination, strict=True) if bit == "1"]
        said = [*standing, *(statement for rule in holding for statement in rule.statements)]
        row_tags = sorted({*tags, *(tag for rule in holding if rule.on_row for tag in rule.tags)})
        words.append({"__held": combination, "row_tags": row_tags, "usage_statements": statements_to_json(said)})
    text = pl.String()
    types: dict[str, pl.DataType] = {"__held": text, "row_tags": pl.List(text), "usage_statements": text}
    spoken = pl.DataFrame(words, schema=types)
    return rows.join(spoken, on="__held", how="left", maintain_order="left").drop("__held", *flags)
