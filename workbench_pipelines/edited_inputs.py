"""Edited prompt inputs: what a person changed of what a pair asks, and the prompt that comes of it.

The newest edit of a pair counts while its item shows what the person saw; an edit of nothing takes the ones before back. What is
stated of the prompt stays that of the item, and the label that goes with the edit inherits what is stated of the columns its
author saw (`label_inheritance`). The examples that were chosen for the prompt stay, and so do its images.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import polars as pl

from workbench_pipelines.catalog import PromptTemplate
from workbench_pipelines.decisions import UTC_TIME, undone_decisions
from workbench_pipelines.errors import LabelError, WorkbenchError, nearest
from workbench_pipelines.identity import canonical_text, prompt_hash, seen_hash
from workbench_pipelines.labels import KEY
from workbench_pipelines.netted_rows import netted_messages
from workbench_pipelines.personal_data import REFUSED
from workbench_pipelines.personal_data_net import Blocked, Net
from workbench_pipelines.templates import CompiledTemplate
from workbench_pipelines.typed_values import typed_inputs

Message = Mapping[str, Any]
Editor = Callable[
    [Mapping[str, Any], Mapping[str, Any], Sequence[Message]], tuple[dict[str, Any], list[dict[str, Any]]]
]
"""From the inputs of a pair, what a person changed of them, and its messages, to both as they are then.

Raises a WorkbenchError where the edit does not fit the template.
"""

EDITS = pl.Schema(
    {
        "pair_id": pl.String(),
        "edit_id": pl.String(),
        "edited_at": UTC_TIME,
        "edit_misfit": pl.String(),
    }
)
"""The edit that speaks of a pair, by its decision, and why it does not fit the template, if so."""


def editor_of(template: PromptTemplate, compiled: CompiledTemplate) -> Editor:
    """How inputs of a template's prompts are edited."""

    def edit(
        inputs: Mapping[str, Any], changed: Mapping[str, Any], messages: Sequence[Message]
    ) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        for name in changed:
            if name not in compiled.variables or name in template.spec.attachments:
                raise LabelError(f"there is no input '{name}' to edit{nearest(name, compiled.variables)}")
        values, reason = typed_inputs({**inputs, **changed}, template.spec.input_schema)
        if reason:
            raise LabelError(reason)
        rendered: list[dict[str, Any]] = [{"parts": None, **message} for message in compiled.render(values)]
        shown = len(messages) - len(rendered)
        asked = rendered[-1] | {"parts": messages[-1].get("parts")}
        examples = [dict(message) for message in messages[compiled.lead : compiled.lead + shown]]
        return values, [*rendered[: compiled.lead], *examples, *rendered[compiled.lead : -1], asked]

    return edit


def with_edited_inputs(
    prompts: pl.DataFrame,
    decisions: pl.DataFrame,
    edit: Editor | None,
    held: Collection[str] = (),
    net: Net | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The prompts, those that a person edited in their new words, and which edits those are.

    Input columns: pair_id, seen_hash, inputs, messages, prompt_hash; item_ref where there is a net.

    Args:
        held: by `edits_that_hold`; every other edit counts while the prompt shows what its author saw.

    Returns:
        The prompts in their order, and rows of `EDITS`; an edit that does not fit leaves its prompt as it is.
    """
    edits = standing_edits(decisions)
    if edit is None or edits.is_empty():
        return prompts, EDITS.to_frame()
    places = prompts.join(edits, on="pair_id", how="inner", maintain_order="left")
    places = places.filter(
        pl.col("edited_on").is_null()
        | (pl.col("edited_on") == pl.col("seen_hash"))
        | pl.col("edit_id").is_in(sorted(held))
    )
    rows: list[dict[str, Any]] = []
    edited: list[dict[str, Any]] = []
    for row in places.iter_rows(named=True):
        misfit = None
        try:
            changed_to = json.loads(row["edited"])
            typed = changed_to if net is None else net.value(changed_to, row["item_ref"])
            values, messages = edit(json.loads(row["inputs"]), typed, row["messages"])
            if net is not None:
                shown, values = netted_messages(messages, values, net, row["item_ref"])
                messages = messages if shown is None else shown
        except WorkbenchError as error:
            misfit = error.line
        except Blocked as error:
            misfit = f"{REFUSED}: the edit holds {error}"
        else:
            said = {"inputs_now": canonical_text(values), "messages_now": messages}
            edited.append({"pair_id": row["pair_id"], **said, "prompt_hash_now": prompt_hash(messages)})
        rows.append({name: row.get(name) for name in EDITS} | {"edit_misfit": misfit})
    changed = ("inputs", "messages", "prompt_hash")
    schema = {"pair_id": pl.String(), **{f"{name}_now": prompts.schema[name] for name in changed}}
    now = prompts.join(pl.DataFrame(edited, schema=schema), on="pair_id", how="left", maintain_order="left")
    kept = now.with_columns(pl.coalesce(f"{name}_now", name).alias(name) for name in changed).select(prompts.columns)
    return kept, pl.DataFrame(rows, schema=EDITS)


def edits_that_hold(decisions: pl.DataFrame, items: pl.DataFrame) -> frozenset[str]:
    """The standing edits whose items show what their authors saw, also where that was more than the prompt shows.

    Args:
        items: the items as they are now, with all their columns.
    """
    edits = decisions.join(
        standing_edits(decisions).select(pl.col("edit_id").alias("decision_id")), on="decision_id", how="semi"
    ).filter(pl.col("seen_columns").is_not_null())
    rows = {
        row["item_ref"]: row for row in items.filter(pl.col("item_ref").is_in(edits["item_ref"].implode())).to_dicts()
    }
    said = edits.select("decision_id", "item_ref", "seen_columns", "seen_hash").iter_rows()
    return frozenset(
        name
        for name, ref, columns, seen in said
        if ref in rows and set(columns) <= rows[ref].keys() and seen_hash(rows[ref], columns) == seen
    )


def edit_decisions(decisions: pl.DataFrame) -> list[str]:
    """The decisions that edit inputs now, by name; for what else has to know that one came or went."""
    return sorted(standing_edits(decisions)["edit_id"])


def seen_by_editors(decisions: pl.DataFrame) -> pl.DataFrame:
    """What the authors of standing edits saw: sheet, item_ref, label_type, seen_columns."""
    standing = standing_edits(decisions).select(pl.col("edit_id").alias("decision_id"))
    return decisions.join(standing, on="decision_id", how="semi").select(*KEY, "seen_columns")


def standing_edits(decisions: pl.DataFrame) -> pl.DataFrame:
    """The newest edit of each pair's inputs that was not taken back.

    Output columns: pair_id, edit_id, edited_at, edited (what it changed, as JSON), edited_on (the seen_hash of its author).
    """
    return (
        decisions.filter(
            pl.col("inputs").is_not_null()
            & pl.col("pair_id").is_not_null()
            & (pl.col("action") == "edit")
            & ~undone_decisions(decisions)
        )
        .unique("decision_id", keep="any")
        .sort("at", "decision_id")
        .group_by("pair_id", maintain_order=True)
        .last()
        .filter(pl.col("inputs") != "{}")
        .select(
            "pair_id",
            pl.col("decision_id").alias("edit_id"),
            pl.col("at").alias("edited_at"),
            pl.col("inputs").alias("edited"),
            pl.col("seen_hash").alias("edited_on"),
        )
    )
