"""Making examples: which labels of a Sheet may be shown, how, and why the others may not or can not."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import polars as pl

from workbench_pipelines import identity
from workbench_pipelines.example_views import View
from workbench_pipelines.examples import EXAMPLE_REFUSALS, EXAMPLES, KEY, LABEL, Examples
from workbench_pipelines.features import Embed
from workbench_pipelines.fields import schema_violation
from workbench_pipelines.netted_rows import netted_messages
from workbench_pipelines.personal_data import REFUSED
from workbench_pipelines.personal_data_net import Blocked, Net, spoken_name
from workbench_pipelines.split_tokens import group_token
from workbench_pipelines.templates import RenderError
from workbench_pipelines.typed_values import TypedInputs, typed_inputs
from workbench_pipelines.usage import (
    EffectiveUse,
    UsageStatement,
    effective_use,
    statements_from_json,
    statements_to_json,
    strictest,
)

# What the label's expert said of it, as a number: sure, rather, doubtful, in even steps.
QUALITY: Mapping[str, float] = {"high": 1.0, "medium": 0.5, "low": 0.0}
MAX_SEARCH_KEY = 60  # characters: a longer value is a text, and not what anybody looks up
_USES = ("allowed_uses", "prohibited_uses", "narrowed_by", "data_classification")
_OF_LABEL = (*KEY, "canonical_label_id", "label_data", "confidence", "notes", *_USES, "seen_columns", "stale", "active")


@dataclass(frozen=True)
class Source:
    """What a Sheet gives to a store: its items, their labels, how each task is shown, and the schema of its answers."""

    snapshot: pl.DataFrame
    labels: pl.DataFrame
    views: Mapping[str, Sequence[View]]
    schemas: Mapping[str, Mapping[str, Any]]
    net: Net | None = None
    """What is done with personal data in what its examples show."""


class _Refused(Exception):
    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def make_examples(
    store: str,
    sources: Iterable[Source],
    *,
    grouped_by: Collection[str],
    vocabulary: Sequence[str],
    embed: Embed,
    embedding_model: str,
) -> Examples:
    """The examples that the labels of these Sheets make, and why the other labels make none.

    An item whose effective uses do not permit `few_shot` is refused, as is one that can not be shown. Of several ways to
    show it the first that is permitted and fits is taken.

    Input columns: those of `data/sheet_snapshot` and `label/canonical_labels`.

    Output columns: `EXAMPLES` without a snapshot number, and `EXAMPLE_REFUSALS` with the reasons `label_withdrawn`,
    `item_gone`, `no_template`, `few_shot_not_permitted`, `label_stale`, `input_breaks_schema`, `undefined_variable`,
    `template_error`, `label_breaks_schema` and `personal_data`, of which the first that holds is told.

    Args:
        grouped_by: the columns that Collections group their splits by.
    """
    maker = _Maker(store, tuple(sorted(grouped_by)), tuple(vocabulary), embedding_model)
    rows: list[dict[str, Any]] = []
    refused: list[dict[str, Any]] = []
    for source in sources:
        items = _items(source, grouped_by)
        columns = sorted(set(source.snapshot.columns))
        for label in source.labels.select(_OF_LABEL).sort(KEY).iter_rows(named=True):
            item = items.get(label["item_ref"])
            named = {"store": store, **{name: label[name] for name in (*KEY, "canonical_label_id")}}
            views = source.views.get(label["label_type"], ())
            standing = maker.standing(label, item, columns, views) if label["active"] and item else {}
            try:
                rows.append({**named, **standing, **maker.row(label, item, source)})
            except _Refused as error:
                refused.append({**named, **standing, "reason": error.reason, "detail": error.detail})
    frame = _frame(rows, EXAMPLES)
    if rows:
        vectors = pl.Series("embedding", embed(frame["input"].to_list())).cast(EXAMPLES["embedding"])
        frame = frame.with_columns(vectors)
    return Examples(frame, _frame(refused, EXAMPLE_REFUSALS))


@dataclass(frozen=True)
class _Maker:
    store: str
    grouped_by: tuple[str, ...]
    vocabulary: tuple[str, ...]
    embedding_model: str

    def standing(
        self, label: Mapping[str, Any], item: Mapping[str, Any], columns: list[str], views: Sequence[View]
    ) -> dict[str, Any]:
        own = _label_statement(label)
        said = [*statements_from_json(item["usage_statements"]), *([own] if own else [])]
        values = [(column, item[column]) for column in self.grouped_by if column in item]
        # As a pair does: where the Sheet has no such column, a variable of that name groups it.
        for column in (one for one in self.grouped_by if one not in item):
            bound = [_inputs(item, view)[0].get(column) for view in views if column in view.bindings]
            values += [(column, value) for value in bound]
        return {
            "item_statements": statements_to_json(said),
            "item_columns": columns,
            "group_tokens": sorted({group_token(column, value) for column, value in values if value is not None}),
            "grouped_by": list(self.grouped_by),
        }

    def row(self, label: Mapping[str, Any], item: Mapping[str, Any] | None, source: Source) -> dict[str, Any]:
        """The example of a label, without its standing."""
        views = source.views.get(label["label_type"], ())
        if not label["active"]:
            raise _Refused("label_withdrawn", "a person withdrew the label")
        if item is None:
            raise _Refused("item_gone", "the Sheet has no such item now")
        if not views:
            raise _Refused("no_template", f"no template of the task {label['label_type']} binds the Sheet's columns")
        first: _Refused | None = None
        for view in views:
            try:
                return self._shown(label, item, view, source.schemas[label["label_type"]], source.net)
            except Blocked as error:
                first = first or _Refused(REFUSED, f"the example holds {error}")
            except _Refused as error:
                # What is permitted and does not fit says more than what another way of showing it would not permit.
                if first is None or first.reason == "few_shot_not_permitted":
                    first = error
        assert first is not None
        raise first

    def _shown(
        self,
        label: Mapping[str, Any],
        item: Mapping[str, Any],
        view: View,
        schema: Mapping[str, Any],
        net: Net | None,
    ) -> dict[str, Any]:
        own = _label_statement(label)
        said = [one for one in statements_from_json(item["usage_statements"]) if one.counts_for(view.shown)]
        statements = statements_to_json([*said, *([own] if own else [])])
        use = _effective(statements, self.vocabulary)
        refusal = use.refusal("few_shot")
        if refusal is not None:
            raise _Refused("few_shot_not_permitted", refusal)
        if label["stale"]:
            raise _Refused("label_stale", "what its expert saw has changed")
        inputs, reason = _inputs(item, view, net)
        if reason:
            raise _Refused("input_breaks_schema", reason)
        try:
            text = view.compiled.text(inputs)
        except RenderError as error:
            raise _Refused(error.reason, error.line) from None
        answer = json.loads(label["label_data"] or "null")
        explanation = self._explanation(label, item, use.data_classification)
        if net is not None:
            asked = [{"role": "user", "content": text}]
            shown, inputs = netted_messages(asked, inputs, net, label["item_ref"])
            text = shown[0]["content"] if shown else text
            answer = net.value(answer, label["item_ref"])
            explanation = explanation and net.text(explanation, label["item_ref"])
        misfit = schema_violation(answer, schema)
        if misfit:
            raise _Refused("label_breaks_schema", misfit)
        content = {
            "input": text,
            "inputs": identity.canonical_text(inputs),
            "expected_output": identity.canonical_text(answer),
            "explanation": explanation,
            "search_keys": _search_keys(label["label_type"], view.domain, answer),
            "embedding_model": self.embedding_model,
            "function_name": view.function_name,
            "domain": view.domain,
            "quality_score": QUALITY.get(label["confidence"] or ""),
            "seen_columns": list(view.shown),
        }
        # The label's own statement is part of it: it speaks of this very answer.
        named = {name: label[name] for name in KEY} | {"label": statements_to_json([own] if own else [])}
        return {
            **content,
            "example_id": identity.digest(["example", self.store, named, content]),
            "pair_id": view.pair_names and identity.pair_id(*view.pair_names, label["item_ref"], ""),
            "item_hash": item["item_hash"],
            "template": view.template.name,
            "template_version": view.template.spec.version,
            "usage_statements": statements,
            "allowed_uses": list(use.allowed_uses),
            "data_classification": use.data_classification,
        }

    def _explanation(self, label: Mapping[str, Any], item: Mapping[str, Any], classification: str) -> str | None:
        """The expert's note, where it may be shown as openly as the rest: it was written in view of all that was seen."""
        if label["notes"] is None:
            return None
        own, seen = _label_statement(label), label["seen_columns"]
        said = [one for one in statements_from_json(item["usage_statements"]) if seen is None or one.counts_for(seen)]
        use = _effective(statements_to_json([*said, *([own] if own else [])]), self.vocabulary)
        as_open = strictest([use.data_classification, classification]) == classification
        return str(label["notes"]) if as_open and use.permits("few_shot") else None


@lru_cache(maxsize=4096)  # few texts, many items
def _effective(statements: str, vocabulary: tuple[str, ...]) -> EffectiveUse:
    return effective_use(statements_from_json(statements), vocabulary)


def _inputs(item: Mapping[str, Any], view: View, net: Net | None = None) -> TypedInputs:
    """The bound variables of an item, or the first reason why they do not fit."""
    fields = tuple(field for field in view.template.spec.input_schema if field.name in view.bindings)
    bound = {variable: item[column] for variable, column in view.bindings.items()}
    if net is not None:
        named = {variable: spoken_name(column, variable) for variable, column in view.bindings.items()}
        bound = {variable: net.value(value, item["item_ref"], named[variable]) for variable, value in bound.items()}
    return typed_inputs(bound, fields)


def _label_statement(label: Mapping[str, Any]) -> UsageStatement | None:
    """What a label states of its own uses; None where it states nothing and has those of its item."""
    allowed, prohibited, witness, classification = (label[name] for name in _USES)
    if allowed is None and not prohibited and classification is None:
        return None
    return UsageStatement(
        source=LABEL,
        allowed_uses=None if allowed is None else tuple(allowed),
        prohibited_uses=tuple(prohibited or ()),
        data_classification=classification,
        reason=witness,
    )


def _items(source: Source, grouped_by: Collection[str]) -> dict[str, dict[str, Any]]:
    """The labeled items by their names, with the columns that are shown or grouped by."""
    shown = {column for views in source.views.values() for view in views for column in view.bindings.values()}
    wanted = ["item_ref", "item_hash", "usage_statements", *sorted({*shown, *grouped_by})]
    present = [column for column in dict.fromkeys(wanted) if column in source.snapshot.columns]
    labeled = source.snapshot.filter(pl.col("item_ref").is_in(source.labels["item_ref"].implode()))
    return {row["item_ref"]: row for row in labeled.select(present).iter_rows(named=True)}


def _search_keys(label_type: str, domain: str | None, answer: Any) -> list[str]:
    """The words an example is looked up by: its task, its domain and the short values of its answer."""
    values = answer.values() if isinstance(answer, Mapping) else ()
    short = (value for value in values if isinstance(value, str) and 0 < len(value) <= MAX_SEARCH_KEY)
    return sorted({word.lower() for word in (label_type, domain or "", *short) if word})


def _frame(rows: Sequence[Mapping[str, Any]], schema: pl.Schema) -> pl.DataFrame:
    return pl.DataFrame([{name: row.get(name) for name in schema} for row in rows], schema=schema).sort(KEY)
