"""Consensus: the label that several people make who answer for an item each on their own.

The answers of a panel are kept as they are, all of them decisions of their people. Where enough of them agree, the label is
the answer that is most like the others. Where they do not, a third person who has not answered decides between them, and
that decision (`adjudicates`) is the label. Until then there is none. What comes out depends on what was decided and when,
never on the order in which it was delivered.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from workbench_pipelines.likeness import likeness, measure_of

Key = tuple[str, str, str]
"""Sheet, item and label type."""

KEY = ["sheet", "item_ref", "label_type"]
ANNOTATOR, ADJUDICATOR = "annotator", "adjudicator"
"""Whom a label waits for: somebody else who answers on their own, or somebody who decides between the answers."""

# Both of two, all of three, three of four: one dissenting voice of three is worth a third person's look (0.6 lets two of
# three decide). Of boxes and texts it is the mean overlap, between the 0.5 of PASCAL VOC and the 0.75 that COCO calls strict.
AGREEMENT = 0.7

VERDICTS = pl.Schema(
    {
        **dict.fromkeys(KEY, pl.String()),
        "label_decision": pl.String(),
        "annotators": pl.List(pl.String()),
        "agreement": pl.Float64(),
        "awaits": pl.String(),
    }
)
"""Columns of what panels say: the decision whose answer is the label, who answered on their own, how far they agree, and whom
it waits for (null where the label stands)."""


@dataclass(frozen=True)
class Panel:
    """How many people answer for an item on their own, and how far they must agree."""

    annotators: int = 1
    agreement: float = AGREEMENT


@dataclass(frozen=True)
class Panels:
    """Which labels take several people.

    `sheets` holds the panel of each Sheet by every name it ever had, `asked` the labels for which annotation tasks ask more
    people than that, `schemas` the JSON Schema of each label type, by which answers are compared.
    """

    sheets: Mapping[str, Panel] = field(default_factory=dict)
    asked: Mapping[Key, int] = field(default_factory=dict)
    schemas: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def of(self, key: Key) -> Panel:
        """The panel of one label."""
        panel = self.sheets.get(key[0], Panel())
        return Panel(max(panel.annotators, self.asked.get(key, 1)), panel.agreement)

    def asks_several(self, key: Key) -> bool:
        return self.of(key).annotators > 1

    def only(self, rows: pl.DataFrame) -> pl.Series:
        """Whether each row (by `KEY`) is of a label that takes several people."""
        several = [name for name, panel in self.sheets.items() if panel.annotators > 1]
        in_sheet = rows["sheet"].is_in(several)
        keys = [key for key, number in self.asked.items() if number > 1]
        if not keys:
            return in_sheet
        named = pl.DataFrame(keys, schema=dict.fromkeys(KEY, pl.String()), orient="row").unique()
        asked = rows.select(KEY).join(named.with_columns(asked=True), on=KEY, how="left", maintain_order="left")
        return in_sheet | asked["asked"].fill_null(False)


def own_answers(said: pl.DataFrame) -> pl.DataFrame:
    """The last answer of each person of each item and task, of those they gave on their own.

    Args:
        said: labeling decisions in the order of `at` and `decision_id`, with `stale`: whether the item shows something else
            by now. Of an item for which anything true of it was said, what is not counts no more.
    """
    own = said.filter(~pl.col("adjudicates").fill_null(False))
    return current(own).unique([*KEY, "by"], keep="last", maintain_order=True)


def current(said: pl.DataFrame) -> pl.DataFrame:
    """What is true of each item as it is now; where nothing is, all that was said of it."""
    return said.filter(~pl.col("stale") | pl.col("stale").all().over(KEY))


def panel_verdicts(said: pl.DataFrame, panels: Panels) -> pl.DataFrame:
    """What the panels say of each item and task.

    Args:
        said: labeling decisions of labels that take several people, in the order of `at` and `decision_id`: `KEY`,
            decision_id, by, label_data, adjudicates, stale.

    Returns:
        Rows of `VERDICTS`.
    """
    held = ["decision_id", "by", "label_data", "adjudicates"]
    rows = []
    # Decided between answers is what is true of the item now, as the answers are.
    for row in current(said).group_by(KEY, maintain_order=True).agg(held).iter_rows(named=True):
        key = (row["sheet"], row["item_ref"], row["label_type"])
        decisions = list(zip(*(row[name] for name in held), strict=True))
        rows.append((*key, *_verdict(decisions, panels.of(key), panels.schemas.get(key[2], {}))))
    return pl.DataFrame(rows, schema=VERDICTS, orient="row")


def _verdict(
    decisions: Sequence[tuple[str, str, str, bool | None]], panel: Panel, schema: Mapping[str, Any]
) -> tuple[str, list[str], float | None, str | None]:
    last: dict[str, tuple[str, str]] = {}
    for decision, by, answer, adjudicates in decisions:
        if not adjudicates:
            last.pop(by, None)  # so that of two answers that are as typical the earlier one is taken
            last[by] = (decision, answer)
    own, people = list(last.values()), sorted(last)
    between = [decision for decision, by, _, adjudicates in decisions if adjudicates and by not in last]
    if len(own) < panel.annotators:
        return (own[0] if own else decisions[0])[0], people, None, ANNOTATOR
    place, agreement = typical([answer for _, answer in own], schema)
    if between:
        return between[-1], people, agreement, None
    return own[place][0], people, agreement, None if agreement >= panel.agreement else ADJUDICATOR


def typical(answers: Sequence[str], schema: Mapping[str, Any]) -> tuple[int, float]:
    """The place of the answer that is most like the others, and how far they agree on it.

    Of choices and numbers that is the share of equal answers, of anything that overlaps the mean likeness of the others.

    Args:
        answers: canonical JSON, two or more.
    """
    if measure_of(schema) == "equal" or len(set(answers)) == 1:
        shares = [answers.count(one) / len(answers) for one in answers]
    else:
        read = [json.loads(one) for one in answers]
        others = len(read) - 1
        # What an answer has in common with itself says nothing.
        shares = [(sum(likeness(one, other, schema) for other in read) - 1) / others for one in read]
    best = max(shares)
    return shares.index(best), best


def waiting_note(annotators: str = "annotators", awaits: str = "awaits") -> pl.Expr:
    """Why a label does not stand yet, in a line that tells who answered and never what."""
    names = pl.col(annotators)
    rest = names.list.head((names.list.len().cast(pl.Int64) - 1).clip(lower_bound=0)).list.join(", ")
    people = pl.when(names.list.len() > 1).then(pl.format("{} and {}", rest, names.list.last())).otherwise(
        names.list.first()
    )  # fmt: skip
    return (
        pl.when(pl.col(awaits) == ADJUDICATOR)
        .then(pl.format("{} disagree, waits for a third person", people))
        .when(pl.col(awaits) == ANNOTATOR)
        .then(
            pl.when(names.list.len() > 0)
            .then(pl.format("answered by {}, waits for another annotator", people))
            .otherwise(pl.lit("waits for annotators who answer on their own"))
        )
    )
