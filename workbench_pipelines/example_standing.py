"""Whether an example may be shown now, whenever it was taken: what is stated of its item today decides, not the snapshot."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

import polars as pl

from workbench_pipelines.errors import DefinitionError
from workbench_pipelines.examples import KEY, LABEL, STANDING, Examples
from workbench_pipelines.stated_policies import policies_in, policies_of
from workbench_pipelines.usage import effective_use, statements_from_json, statements_to_json

UNKNOWN = "nothing is known of its item now: it left its Sheet, or its label was withdrawn"
COLUMN_GONE = "it shows a column that its Sheet has no more, so what is stated of that is not known"


def standing_now(
    examples: pl.DataFrame,
    store: Examples,
    vocabulary: Sequence[str],
    outdated: Callable[[Sequence[str]], Mapping[str, str]],
) -> pl.DataFrame:
    """Examples of any snapshot with how their items stand in the store as it is now, and whether they may be shown.

    Input columns: sheet, item_ref, label_type, seen_columns, usage_statements.

    Output columns: all of them, those of `STANDING` as they are now, `statements` (JSON: what is stated of what the
    example shows) and `refusal` (why it may not be shown, null where it may).

    Args:
        store: the newest content of the store.
        outdated: which policies do not hold any more, and why (`stated_policies.outdated`): what the store says of an item counts
            as long as its Sheet states the same.
    """
    known = pl.concat([store.frame.select(*KEY, *STANDING), store.refusals.select(*KEY, *STANDING)])
    rows = examples.drop([name for name in STANDING if name in examples.columns])
    rows = rows.join(known, on=KEY, how="left", maintain_order="left")
    uses = tuple(vocabulary)
    late = outdated(policies_in(rows["item_statements"].unique()))
    judged = [
        _judged(said, tuple(columns or ()), tuple(shown or ()), taken, uses, tuple(late.items()))
        for said, columns, shown, taken in rows.select(
            "item_statements", "item_columns", "seen_columns", "usage_statements"
        ).iter_rows()
    ]
    schema = {"statements": pl.String(), "refusal": pl.String()}
    return rows.hstack(pl.DataFrame(judged, schema=schema, orient="row"))


@lru_cache(maxsize=4096)  # few texts, many items
def few_shot_refusal(statements: str, vocabulary: tuple[str, ...]) -> str | None:
    """Why these statements (JSON) do not permit `few_shot`, None where they do; what can not be read permits nothing."""
    try:
        return effective_use(statements_from_json(statements), vocabulary).refusal("few_shot")
    except DefinitionError as error:  # a use that no policy knows any more
        return error.line


@lru_cache(maxsize=4096)
def _judged(
    said: str | None,
    columns: tuple[str, ...],
    shown: tuple[str, ...],
    taken: str,
    vocabulary: tuple[str, ...],
    late: tuple[tuple[str, str], ...],
) -> tuple[str, str | None]:
    if said is None:
        return "[]", UNKNOWN
    if not set(shown) <= set(columns):
        return "[]", COLUMN_GONE
    # What a label stated when it was taken speaks of the answer that it had then.
    own = [one for one in statements_from_json(taken) if one.source == LABEL]
    now = [one for one in statements_from_json(said) if one.counts_for(shown)]
    statements = statements_to_json([*own, *now])
    stated = set(policies_of(now))
    if (why := next((line for policy, line in late if policy in stated), None)) is not None:
        return statements, why
    return statements, few_shot_refusal(statements, vocabulary)
