"""Steps: what a model's answer makes of an item, as its question, a harder one, or a translation of it.

What a step makes is an item of its own, named for what it says: another answer is another item, and what people said of the
one before is not said of it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import polars as pl

from workbench_pipelines.catalog import TrainingSheet
from workbench_pipelines.catalog.variety import RoundTripSpec, StepSpec
from workbench_pipelines.derivation import Derivation, Derived
from workbench_pipelines.errors import SourceError
from workbench_pipelines.identity import canonical_text, unit_interval
from workbench_pipelines.variants import number_of

Made = dict[str, list[Derived]]
"""What was made so far of each item of the Sheet, by its name."""
DERIVED_ITEMS = pl.Schema(
    {
        "training_sheet": pl.String(),
        "sheet": pl.String(),
        "item_ref": pl.String(),
        "root_ref": pl.String(),
        "item_hash": pl.String(),
        "variant": pl.String(),
        "parent_ids": pl.List(pl.String),
        "derivation": pl.List(pl.Struct({"name": pl.String, "params": pl.String})),
        "changed_columns": pl.String(),
        "made_variables": pl.String(),
        "made_attributes": pl.String(),
    }
)
"""Columns of `generate/derived_items`: an item that steps made, with the item of the Sheet it comes from (`root_ref`, and its
`item_hash` then), the columns it shows otherwise than that one, and its variables (JSON)."""


class Unmade(NamedTuple):
    """An item of which a step made nothing, and why."""

    item_ref: str
    reason: str
    detail: str


def before_steps(training_sheet: TrainingSheet, items: Iterable[Mapping[str, Any]]) -> Made:
    """The chunks and variants of each item, or the item itself."""
    derivation = Derivation(training_sheet.spec)
    return {str(item["item_ref"]): list(derivation.of(item)) for item in items}


def chosen_for(step: StepSpec, number: int, item: Derived) -> Derived:
    """The item with the values that the step chose for it, which depend on (seed, item, step, round) alone."""
    chosen = {
        name: values[int(unit_interval(step.seed, item.item_ref, step.name, number, name) * len(values))]
        for name, values in step.choose.items()
    }
    return replace(
        item, variables={**item.variables, **chosen}, attributes={**item.attributes, **chosen}
    )  # fmt: skip


def made_of(
    step: StepSpec, number: int, parent: Derived, response: str, facts: Mapping[str, Any], bindings: Mapping[str, str]
) -> tuple[list[Derived], list[Unmade]]:
    """What an answer makes of an item, and what of it can not be an item.

    Args:
        number: the round of the step.
        response: the answer, JSON that fits the output schema of the step's template.
        facts: what the trace says of the question: its template, model and request.
        bindings: the column that each variable stands for.
    """
    answer = json.loads(response)
    members = answer.get(step.each) if step.each else [answer]
    made: dict[int, Derived] = {}
    unmade: list[Unmade] = []

    def refuse(reason: str, detail: str) -> None:
        unmade.append(Unmade(parent.item_ref, reason, f"step {step.name}: {detail}"))

    for member in members or ():
        values = _values(step, member)
        if values is None:
            refuse("step_made_nothing", f"the answer lacks {' or '.join(step.makes)}")
            continue
        if all(name in parent.variables and parent.variables[name] == value for name, value in values.items()):
            refuse("step_changed_nothing", f"{', '.join(step.makes)} came back as it was")
            continue
        own = number_of(["step", step.name, number, values])
        if own in made:
            refuse("step_made_it_twice", "two members of one answer say the same")
            continue
        variables = {**parent.variables, **values}
        scores = {}
        if step.round_trip is not None:
            score = _round_trip(step.round_trip, variables, parent.item, bindings)
            scores = {f"{step.name}_chrf": score}
            if score < step.round_trip.at_least:
                least = step.round_trip.at_least
                refuse("round_trip_too_far", f"chrF {score:.2f} to {step.round_trip.against}, at least {least:g}")
                continue
        params = {**facts, "round": number, **{name: parent.attributes[name] for name in step.choose}, **scores}
        made[own] = parent.child(
            own, step.name, params, variables=variables, attributes={**parent.attributes, **scores}
        )
    if not members:
        refuse("step_made_nothing", f"the answer lists no {step.each}")
    return list(made.values()), unmade


def derived_rows(training_sheet: TrainingSheet, made: Made) -> pl.DataFrame:
    """What was made as rows of `DERIVED_ITEMS`, sorted by item."""
    cut = training_sheet.spec.chunks
    rows = [
        {
            "training_sheet": training_sheet.name,
            "sheet": training_sheet.spec.sheet,
            "item_ref": one.item_ref,
            "root_ref": root,
            "item_hash": one.item["item_hash"],
            "variant": one.variant,
            "parent_ids": list(one.parent_ids),
            "derivation": list(one.steps),
            "changed_columns": canonical_text({cut.column: one.item[cut.column]} if cut else {}),
            "made_variables": canonical_text(dict(one.variables)),
            "made_attributes": canonical_text(dict(one.attributes)),
        }
        for root, items in made.items()
        for one in items
    ]
    return pl.DataFrame(rows, schema=DERIVED_ITEMS).sort("item_ref")


def read_made(derived: pl.DataFrame, snapshot: pl.DataFrame, name: str) -> Made:
    """The items that rows of `DERIVED_ITEMS` stand for, over the snapshot that they were made of.

    Raises:
        SourceError: where an item of the snapshot is another one by now.
    """
    items = snapshot.join(derived.select(item_ref="root_ref").unique(), on="item_ref", how="semi")
    roots = {row["item_ref"]: row for row in items.iter_rows(named=True)}
    made: Made = {}
    for row in derived.sort("item_ref").iter_rows(named=True):
        item = roots.get(row["root_ref"])
        if item is None:
            continue
        if item["item_hash"] != row["item_hash"]:
            raise SourceError(
                f"TrainingSheet {name}: item {row['root_ref']} has changed since generate/derived_items was made; "
                "materialize that partition first"
            )
        made.setdefault(row["root_ref"], []).append(
            Derived(
                item={**item, **json.loads(row["changed_columns"]), "item_ref": row["item_ref"]},
                variables=json.loads(row["made_variables"]),
                variant=row["variant"],
                parent_ids=tuple(row["parent_ids"]),
                steps=tuple(row["derivation"]),
                attributes=json.loads(row["made_attributes"]),
            )
        )
    return made


def chrf(text: str, reference: str) -> float:
    """How much of one text is in another, by character n-grams: 1 for the same text, 0 for none of it (sacrebleu's chrF2)."""
    from sacrebleu.metrics import CHRF

    return round(float(CHRF().sentence_score(text, [reference]).score) / 100, 4)


def _values(step: StepSpec, member: Any) -> dict[str, Any] | None:
    """What a member of an answer gives the variables; None where it lacks one."""
    if not isinstance(member, Mapping):
        member = {step.makes[0]: member} if len(step.makes) == 1 else {}
    values = {name: member.get(name) for name in step.makes}
    said = [value.strip() if isinstance(value, str) else value for value in values.values()]
    return None if any(value is None or value == "" for value in said) else values


def _round_trip(
    spec: RoundTripSpec, variables: Mapping[str, Any], item: Mapping[str, Any], bindings: Mapping[str, str]
) -> float:
    texts = [
        variables[name] if name in variables else item.get(bindings.get(name, name)) for name in (spec.of, spec.against)
    ]
    one, other = ("" if text is None else str(text) for text in texts)
    return chrf(one, other)
