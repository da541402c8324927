"""How the items of a labeling job are shared out: each to as many different people as are asked, all of them with as much to do.

Items of one stratum go to everybody in turn, so that nobody gets all of the rare ones. Of a part of the items (`overlap`) one
person more is asked, so that it can be told how far people agree.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from workbench_pipelines.errors import ArgumentError
from workbench_pipelines.identity import unit_interval


@dataclass(frozen=True)
class JobItem:
    """An item that needs people: those it can not go to, each with why, and how many were heard of it already."""

    item_ref: str
    pair_id: str | None = None
    stratum: str | None = None
    not_for: Mapping[str, str] = field(default_factory=dict)
    heard: int = 0


@dataclass(frozen=True)
class Shares:
    """The items of each person in the order of the job, and those that went to nobody with the reason."""

    by_person: Mapping[str, tuple[JobItem, ...]]
    refused: tuple[tuple[str, str], ...]


def share_out(items: Sequence[JobItem], people: Sequence[str], *, annotators: int = 1, overlap: float = 0.0) -> Shares:
    """Who gets which items.

    Args:
        items: in the order in which they should be done.
        annotators: how many people each item takes.
        overlap: the share of the items that take one person more; always the same ones of the same items.

    Raises:
        ArgumentError: where there are fewer people than an item takes, or one is named twice.
    """
    twice = sorted({name for name in people if people.count(name) > 1})
    if twice:
        raise ArgumentError(f"{twice[0]} is named twice; nobody gets an item twice")
    if not 0 <= overlap <= 1:
        raise ArgumentError(f"an overlap of {overlap:g} is none; give a share of the items, from 0 to 1")
    most = annotators + (overlap > 0)
    if most > len(people):
        raise ArgumentError(
            f"{most} people are asked of an item and {len(people)} {'is' if len(people) == 1 else 'are'} named"
        )
    doubled = _doubled(items, overlap)
    loads = dict.fromkeys(people, 0)
    in_stratum: dict[tuple[str | None, str], int] = {}
    taken: dict[str, set[str]] = {name: set() for name in people}
    refused = []
    for item in sorted(items, key=lambda one: one.stratum or ""):
        needed = max(1, annotators + (item.item_ref in doubled) - item.heard)
        able = [name for name in people if name not in item.not_for]
        if len(able) < needed:
            refused.append((item.item_ref, _too_few(item, people, needed)))
            continue
        # Who has least to do, of those who has least of this stratum, of those who was named first.
        able.sort(key=lambda name: (loads[name], in_stratum.get((item.stratum, name), 0)))
        for name in able[:needed]:
            loads[name] += 1
            in_stratum[item.stratum, name] = in_stratum.get((item.stratum, name), 0) + 1
            taken[name].add(item.item_ref)
    by_person = {name: tuple(item for item in items if item.item_ref in taken[name]) for name in people}
    return Shares({name: share for name, share in by_person.items() if share}, tuple(refused))


def _doubled(items: Sequence[JobItem], overlap: float) -> frozenset[str]:
    """The items of which one person more is asked: those with the lowest hashes, and one at least."""
    if not overlap or not items:
        return frozenset()
    by_hash = sorted((item.item_ref for item in items), key=lambda ref: (unit_interval("overlap", ref), ref))
    return frozenset(by_hash[: max(1, round(overlap * len(by_hash)))])


def _too_few(item: JobItem, people: Sequence[str], needed: int) -> str:
    why = "; ".join(f"{name} {item.not_for[name]}" for name in people if name in item.not_for)
    return f"it takes {needed} more, and {why}"
