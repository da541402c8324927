"""Personal data: the kinds that are looked for, what a policy does with each, and where in a text they stand.

What a source states of its columns is the gate; this is the net behind it, for what stands where nobody said that it would.
Kinds are told, values never.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

KNOWN_VALUE = "KNOWN_VALUE"
"""What a column tagged PHI or PII holds of an item, found again in a text of the same item. No pattern is needed to know it."""

PATTERN_KINDS = (
    "CREDIT_CARD", "DATE_OF_BIRTH", "DE_KVNR", "EMAIL_ADDRESS", "IBAN_CODE", "INSURANCE_ID", "IP_ADDRESS", "MRN", "NPI",
    "PASSPORT", "PHONE_NUMBER", "UK_NHS", "US_MBI", "US_SSN",
)  # fmt: skip
"""The kinds that are known by their form, their check digits, or the words before them."""
KINDS = tuple(sorted((KNOWN_VALUE, *PATTERN_KINDS)))

# From the weakest to the strictest. A token still tells which texts speak of one person, a mask only that there was somebody;
# what is blocked leaves not even the rest of its row.
ACTIONS = ("flag", "pseudonymise", "mask", "block")
FLAG, PSEUDONYMISE, MASK, BLOCK = ACTIONS

REFUSED = "personal_data"
"""The reason of a refusal, and the gate of an exclusion."""


class Span(NamedTuple):
    """Where personal data stands in a text: its kind, the places before and behind it, and how sure that is (0 to 1)."""

    kind: str
    start: int
    end: int
    score: float


@dataclass(frozen=True)
class Policy:
    """What is done with each kind that is found; `default` where nothing is said of a kind."""

    default: str = FLAG
    entities: Mapping[str, str] = field(default_factory=dict)
    key_version: int = 1
    """Which key tokens are made with; another number takes another key, and gives other tokens."""

    def action(self, kind: str) -> str:
        return self.entities.get(kind, self.default)

    @property
    def acting(self) -> frozenset[str]:
        """The kinds that are not only flagged."""
        return frozenset(kind for kind in KINDS if self.action(kind) != FLAG)

    @property
    def content(self) -> dict[str, Any]:
        """What it says of every kind, however that was written; equal contents do the same."""
        said: dict[str, Any] = {"entities": {kind: self.action(kind) for kind in KINDS}}
        return said | ({"key_version": self.key_version} if PSEUDONYMISE in said["entities"].values() else {})


def strictest_policy(policies: Iterable[Policy]) -> Policy:
    """Of each kind the strictest action that any of these says; flags where there is none."""
    said = list(policies)
    entities = {kind: max((one.action(kind) for one in said), key=ACTIONS.index, default=FLAG) for kind in KINDS}
    return Policy(FLAG, entities, max((one.key_version for one in said), default=1))


def surest(spans: Sequence[Span]) -> list[Span]:
    """The spans in their order, without those that a surer one overlaps: an IP address also looks like a telephone number."""
    kept = [
        one
        for one in spans
        if not any(other.score > one.score and other.start < one.end and one.start < other.end for other in spans)
    ]
    return sorted(set(kept), key=lambda one: (one.start, one.end, one.kind))


class Region(NamedTuple):
    """A part of a text that something is done with as a whole, and the kind that decides what."""

    kind: str
    start: int
    end: int


def regions(spans: Sequence[Span], policy: Policy) -> list[Region]:
    """What of a text is acted on: overlapping spans are one region, so that no end of one of them is left standing.

    Of several kinds in a region the one with the strictest action decides, then the surest, then the longest.
    """
    found: list[list[Span]] = []
    end = -1
    for one in sorted((one for one in spans if policy.action(one.kind) != FLAG), key=lambda one: one.start):
        if found and one.start < end:
            found[-1].append(one)
        else:
            found.append([one])
            end = one.end
        end = max(end, one.end)

    def weight(one: Span) -> tuple[int, float, int, str]:
        return ACTIONS.index(policy.action(one.kind)), one.score, one.end - one.start, one.kind

    return [Region(max(group, key=weight).kind, group[0].start, max(one.end for one in group)) for group in found]
