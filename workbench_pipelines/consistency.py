"""Consistency: labels of one item for different tasks that can not both be right, by rules that a TrainingSheet states.

A rule is two conditions: where `when` holds, `then` has to. Both are filters (`filters.py`) over the fields of the pair's own
answer, by their names, and over the item's labels for other tasks, by `"<label_type>.<field>"`. What is not known breaks no rule:
an item without the other label, an answer without the field.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from workbench_pipelines.catalog import Catalog, PromptTemplate
from workbench_pipelines.catalog.quality_specs import ConsistencyRule
from workbench_pipelines.errors import DefinitionError
from workbench_pipelines.filters import compile_filter
from workbench_pipelines.typed_answers import column_type, column_value

Schemas = Mapping[str, Mapping[str, Any]]
"""By label type, the JSON Schema of its labels."""


def rule_columns(own: Mapping[str, Any], others: Schemas) -> dict[str, pl.DataType]:
    """The columns that rules may speak of, with their types.

    Args:
        own: the schema of the pair's own answer.
        others: those of the labels for other tasks.
    """
    columns = _columns(own, "")
    for label_type in sorted(others):
        columns |= _columns(others[label_type], f"{label_type}.")
    return columns


def other_schemas(catalog: Catalog, template: PromptTemplate) -> dict[str, dict[str, Any]]:
    """The schemas of all label types but the template's own; one that is broken is left out."""
    found = {}
    for name in catalog.label_types():
        try:
            found[name] = catalog.label_schema(name)
        except DefinitionError:
            continue
    found.pop(template.spec.label_type, None)
    return found


def broken_rules(
    rules: Sequence[ConsistencyRule],
    answers: pl.DataFrame,
    labels: pl.DataFrame,
    *,
    own: Mapping[str, Any],
    others: Schemas,
    where: str,
) -> pl.DataFrame:
    """The pairs that break rules, with the names of these: pair_id, inconsistent.

    Args:
        answers: pair_id, item_ref and response of the pairs.
        labels: item_ref, label_type and label_data of the labels that hold, one an item and task.
        own, others: as `rule_columns` takes them.
        where: what the rules belong to, for errors.

    Raises:
        FilterError: for a condition that is none over these columns.
    """
    empty = pl.DataFrame(schema={"pair_id": pl.String, "inconsistent": pl.List(pl.String)})
    if not rules:
        return empty
    columns = rule_columns(own, others)
    # Under names that no field can have: an answer may have a field called `response`.
    rows = answers.select(pl.col(name).alias(f" {name}") for name in ("pair_id", "item_ref", "response")).join(
        _read(answers["response"], own, ""), left_on=" response", right_on=" text", how="left", maintain_order="left"
    )
    for label_type in sorted(others):
        said = labels.filter(pl.col("label_type") == label_type).select(
            pl.col("item_ref").alias(" item_ref"), pl.col("label_data").alias(" text")
        )
        read = _read(said[" text"], others[label_type], f"{label_type}.")
        said = said.join(read, on=" text", how="left").drop(" text")
        rows = rows.join(said, on=" item_ref", how="left", maintain_order="left")
    broken: list[pl.Expr] = []
    for rule in rules:
        place = f"{where}: spec.consistency.{rule.name}"
        when = compile_filter(rule.when, columns, f"{place}.when")
        then = compile_filter(rule.then, columns, f"{place}.then")
        # SQL's logic: only what is known to be false breaks a rule.
        breaks = when.fill_null(False) & ~then.fill_null(True)
        broken.append(pl.when(breaks).then(pl.lit(rule.name)))
    named = pl.concat_list(broken).list.drop_nulls().alias("inconsistent")
    found = rows.select(pl.col(" pair_id").alias("pair_id"), named).filter(pl.col("inconsistent").list.len() > 0)
    return pl.concat([empty, found])


def _columns(schema: Mapping[str, Any], prefix: str) -> dict[str, pl.DataType]:
    return {f"{prefix}{name}": column_type(member) for name, member in _members(schema).items()}


def _members(schema: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """The fields of a schema; one that lists texts and says no type is a text."""
    members = schema.get("properties", {})
    texts = {
        name: {"type": "string"}
        for name, member in members.items()
        if "type" not in member and "enum" in member and all(isinstance(value, str) for value in member["enum"])
    }
    return {**members, **texts}


def _read(texts: pl.Series, schema: Mapping[str, Any], prefix: str) -> pl.DataFrame:
    """Each different JSON text with its fields as columns; one that does not fit them has nothing in that column."""
    different = texts.drop_nulls().unique().sort()
    read = [json.loads(text) for text in different]
    columns = [
        pl.Series(f"{prefix}{name}", [_fitting(one, name, member) for one in read], dtype=column_type(member))
        for name, member in _members(schema).items()
    ]
    return pl.DataFrame([different.alias(" text"), *columns])


def _fitting(answer: Any, name: str, schema: Mapping[str, Any]) -> Any:
    try:
        return column_value(answer.get(name), schema)
    except (ValueError, TypeError, AttributeError, KeyError):
        return None  # a label from before its schema was what it is now
