"""Quotas: exactly so many accepted rows, spread over strata as it was asked for, what is furthest behind asked first.

Which prompts are asked depends on the prompts, the answers and a seed alone: a run that was stopped goes on where it was, and
what was answered is found in the store.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from workbench_pipelines.batches import PENDING
from workbench_pipelines.catalog.variety import TargetsSpec
from workbench_pipelines.errors import BudgetSpent
from workbench_pipelines.generation import Drafts, Standing
from workbench_pipelines.identity import unit_interval
from workbench_pipelines.requests import total_cost

NO_STRATUM = "(none)"
"""The stratum of prompts that have no value for it."""


def strata_of(prompts: pl.DataFrame, by: str | None) -> pl.Series:
    """The stratum of each prompt: a value among its `attributes`, as text."""
    if by is None:
        return pl.Series("stratum", [""] * prompts.height, dtype=pl.String)
    values = (json.loads(text).get(by) for text in prompts["attributes"])
    texts = [
        NO_STRATUM if value is None else value if isinstance(value, str) else json.dumps(value) for value in values
    ]
    return pl.Series("stratum", texts, dtype=pl.String)


def goals_of(spec: TargetsSpec, room: Mapping[str, int]) -> dict[str, int]:
    """How many rows each stratum should come to have.

    `counts` and `shares` hold whatever a stratum can give; without them strata are filled evenly, and where one has no more the
    others make up for it. Shares are rounded to whole rows that add up, the largest remainders first.

    Args:
        room: by stratum, how many rows it can come to have at most.
    """
    if spec.counts:
        return dict(spec.counts)
    if spec.shares:
        exact = {name: share * spec.total for name, share in spec.shares.items()}
        goals = {name: int(value + 1e-9) for name, value in exact.items()}
        rest = spec.total - sum(goals.values())
        for name in sorted(exact, key=lambda name: (goals[name] - exact[name], name))[:rest]:
            goals[name] += 1
        return goals
    goals, left = {}, spec.total
    for position, name in enumerate(sorted(room, key=lambda name: (room[name], name))):
        goals[name] = min(room[name], left // (len(room) - position))
        left -= goals[name]
    return goals


class Pool:
    """The prompts that may be asked, by stratum, in the order of the hashes of (seed, pair); what is labeled comes first, and
    what was answered before, but not usably, comes last: nobody pays for it again while others will do."""

    def __init__(
        self, spec: TargetsSpec, prompts: pl.DataFrame, labeled: Iterable[str], tried: Container[str] = ()
    ) -> None:
        self.spec = spec
        strata = strata_of(prompts, spec.by)
        free = set(labeled)
        rows = prompts.select("pair_id", "item_ref").iter_rows()
        ranked = sorted(
            (item_ref not in free, pair_id in tried, unit_interval(spec.seed, pair_id), pair_id, stratum)
            for (pair_id, item_ref), stratum in zip(rows, strata, strict=True)
        )
        self.waiting: dict[str, list[str]] = {name: [] for name in (*spec.counts, *spec.shares)}
        for *_, pair_id, stratum in reversed(ranked):
            self.waiting.setdefault(stratum, []).append(pair_id)
        self.accepted = dict.fromkeys(self.waiting, 0)
        self.failed = dict.fromkeys(self.waiting, 0)
        self.pending = dict.fromkeys(self.waiting, 0)

    @property
    def goals(self) -> dict[str, int]:
        return goals_of(self.spec, {name: self.have(name) + len(self.waiting[name]) for name in self.waiting})

    def have(self, stratum: str) -> int:
        """How many rows a stratum has, those included whose answers a batch will bring: no other is asked in their place."""
        return self.accepted[stratum] + self.pending[stratum]

    def next(self) -> dict[str, str]:
        """The pairs to ask now, each with its stratum, what is furthest behind first; none once the goals are met or nothing
        is left."""
        goals = self.goals
        missing = {name: min(goal - self.have(name), len(self.waiting[name])) for name, goal in goals.items()}
        turns = sorted(
            ((self.have(name) + turn) / goals[name], name) for name, count in missing.items() for turn in range(count)
        )
        return {self.waiting[name].pop(): name for _, name in turns}

    def take(self, asked: Mapping[str, str], accepted: Container[str], pending: Container[str] = ()) -> None:
        """Counts what came of the pairs that were asked."""
        for pair_id, stratum in asked.items():
            counts = self.accepted if pair_id in accepted else self.pending if pair_id in pending else self.failed
            counts[stratum] += 1

    def standings(self) -> tuple[Standing, ...]:
        goals = self.goals
        missing = self.spec.total - sum(goals.values())
        found = [
            Standing(
                name,
                goals.get(name, 0),
                self.accepted[name],
                self.failed[name],
                len(self.waiting[name]),
                self.pending[name],
            )
            for name in sorted(self.waiting)
        ]
        if missing > 0 and not (self.spec.counts or self.spec.shares):
            # Even strata that are all used up: what is short is short of them all.
            found.append(Standing("(any)", missing, 0, 0, 0))
        return tuple(found)


def fill(
    spec: TargetsSpec,
    prompts: pl.DataFrame,
    labeled: Iterable[str],
    rejected: Mapping[str, str | None],
    draft: Callable[[pl.DataFrame], Drafts],
    tried: Container[str] = (),
) -> Drafts:
    """Drafts until the targets are met or no prompt is left.

    Input columns: those of `generate/rendered_prompts`; a row is accepted where it has an answer that nobody rejected.

    Args:
        labeled: the items with a live canonical label, which cost nothing.
        rejected: by pair, the hash of the answer that a person rejected; None for whatever answer it has.
        draft: drafts some of the prompts.
        tried: the pairs that were answered before, but not usably.

    Raises:
        BudgetSpent: saying how far it came; what was answered is kept.
    """
    pool = Pool(spec, prompts, labeled, tried)
    rounds: list[Drafts] = []
    while asked := pool.next():
        batch = prompts.filter(pl.col("pair_id").is_in(pl.Series(list(asked), dtype=pl.String).implode()))
        order = pl.DataFrame({"pair_id": list(asked)}, schema={"pair_id": pl.String})
        try:
            drafts = draft(order.join(batch, on="pair_id", how="left", maintain_order="left").select(batch.columns))
        except BudgetSpent as error:
            done = sum(pool.accepted.values())
            raise BudgetSpent(f"{error.line}; {done} of {spec.total} rows were accepted before this round") from None
        waits = set(drafts.refusals.filter(pl.col("reason") == PENDING)["pair_id"])
        pool.take(asked, accepted_of(drafts.frame, rejected), waits)
        rounds.append(drafts)
    return replace(combined(rounds, draft(prompts.clear())), standings=pool.standings())


def accepted_of(drafts: pl.DataFrame, rejected: Mapping[str, str | None]) -> set[str]:
    """The pairs of drafts that have an answer, a model's or an expert's, which nobody rejected."""
    rows = drafts.select("pair_id", "response", "response_hash", "canonical_label_id").iter_rows()
    return {
        pair_id
        for pair_id, response, response_hash, label in rows
        if label is not None
        or (response is not None and not (pair_id in rejected and rejected[pair_id] in (None, response_hash)))
    }


def combined(rounds: list[Drafts], empty: Drafts) -> Drafts:
    """Several rounds as one."""
    several = rounds or [empty]
    return Drafts(
        frame=pl.concat([one.frame for one in several]).sort("item_ref", "pair_id"),
        refusals=pl.concat([one.refusals for one in several]).sort("item_ref", "pair_id"),
        calls=sum(one.calls for one in several),
        store_hits=sum(one.store_hits for one in several),
        prompt_tokens=sum(one.prompt_tokens for one in several),
        completion_tokens=sum(one.completion_tokens for one in several),
        cost_usd=total_cost([one.cost_usd for one in several]),
    )


def standings_of(
    spec: TargetsSpec, prompts: pl.DataFrame, drafts: pl.DataFrame, rejected: Mapping[str, str | None]
) -> tuple[Standing, ...]:
    """How the targets stand by the drafts that there are.

    Input columns: pair_id, item_ref and attributes of the prompts; those of `generate/generated_pairs` of the drafts.
    """
    labeled = drafts.filter(pl.col("canonical_label_id").is_not_null())["item_ref"]
    pool = Pool(spec, prompts, labeled)
    stratum = dict(zip(prompts["pair_id"], strata_of(prompts, spec.by), strict=True))
    accepted = accepted_of(drafts, rejected)
    asked = {pair_id: stratum[pair_id] for pair_id in drafts["pair_id"] if pair_id in stratum}
    for name, waiting in pool.waiting.items():
        pool.waiting[name] = [pair_id for pair_id in waiting if pair_id not in asked]
    pool.take(asked, accepted)
    return pool.standings()


def target_figures(standings: tuple[Standing, ...]) -> dict[str, Any]:
    """What an asset reports of its targets; nothing where it has none."""
    if not standings:
        return {}
    figures = ("wanted", "accepted", "failed", "left", "pending", "short")
    found = {one.stratum or "all": {name: getattr(one, name) for name in figures} for one in standings}
    return {"targets": found, "short_of_targets": sum(one.short for one in standings)}


def shortfall_lines(training_sheet: str, targets: Mapping[str, Mapping[str, int]]) -> list[str]:
    """A line for each stratum that fell short, of the figures that `target_figures` reports."""
    return [
        f"TrainingSheet {training_sheet}: {of['accepted']} of {of['wanted']} rows accepted"
        f"{'' if stratum == 'all' else f' in {stratum}'}, {of['short']} short: {of['failed']} items gave none that stands, "
        f"{of['left']} are left to ask{', {} wait for a batch'.format(of['pending']) if of['pending'] else ''}"
        for stratum, of in targets.items()
        if of["short"]
    ]
