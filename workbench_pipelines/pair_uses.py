"""What may be done with a pair: what its prompt, its label and its judge's rubric state of uses, taken together."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import polars as pl

from workbench_pipelines.stated_policies import policies_of
from workbench_pipelines.usage import UsageStatement, effective_use, statements_from_json

STATED = ["usage_statements", "label_uses", "judge_uses"]
"""What a prompt's statements, its label and its judge's rubric say of uses; few texts, each on many pairs."""

USES_OF_PAIR = pl.Schema(
    {
        "allowed_uses": pl.List(pl.String()),
        "prohibited_uses": pl.List(pl.String()),
        "usage_reason": pl.String(),
        "data_classification": pl.String(),
        "policies": pl.List(pl.String()),
    }
)
"""The columns of a pair that say what may be done with it, and what definitions stated when that was found."""


def stated_by_label() -> pl.Expr:
    """What a label itself says of uses, as JSON; null where it says nothing, and nothing is known of what narrowed it.

    Why people said so stays with the label: a pair's `usage_reason` travels into exclusions, cards and samples.
    """
    stated = ["allowed_uses", "data_classification", "narrowed_by", "policies"]
    says = pl.any_horizontal(pl.col(stated).is_not_null()) | (pl.col("prohibited_uses").list.len() > 0)
    return pl.when(says).then(pl.struct(*stated, "prohibited_uses").struct.json_encode())


def uses_of_pairs(said: pl.DataFrame, vocabulary: Sequence[str]) -> pl.DataFrame:
    """What may be done with a pair, for everything that is said of any.

    Input columns: `STATED`.
    Output columns: the same, and those of `USES_OF_PAIR`.
    """
    rows = [_effective(stated, label, judge, vocabulary) for stated, label, judge in said.iter_rows()]
    return said.hstack(pl.DataFrame(rows, schema=USES_OF_PAIR, orient="row"))


def _effective(
    statements: str, label_uses: str | None, judge_uses: str | None, vocabulary: Sequence[str]
) -> tuple[Any, ...]:
    said = [*statements_from_json(statements), *statements_from_json(judge_uses or "[]")]
    policies = set(policies_of(said))
    if label_uses is not None:
        own = json.loads(label_uses)
        policies |= set(own["policies"] or ())
        said.append(
            UsageStatement(
                source="its label",
                allowed_uses=None if own["allowed_uses"] is None else tuple(own["allowed_uses"]),
                prohibited_uses=tuple(own["prohibited_uses"] or ()),
                data_classification=own["data_classification"],
                reason=own["narrowed_by"],
            )
        )
    found = effective_use(said, vocabulary)
    uses = list(found.allowed_uses), list(found.prohibited_uses)
    return *uses, found.reason, found.data_classification, sorted(policies)
