"""The usage algebra: which uses of a pair are permitted, given everything that reached it.

Whatever reached a pair (its Sheet, the tags of its tables, rows and shown columns, its label, its few-shot examples) may
state allowed and prohibited uses. Effective uses are the intersection of what is allowed minus the union of what is
prohibited. Nothing stated allows nothing, an unknown use is an error and never a grant, and more sources only narrow.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from workbench_pipelines.errors import DefinitionError, nearest
from workbench_pipelines.identity import canonical_text

USES = ("evaluation", "few_shot", "testing", "training", "validation")
# From the least to the most restricted; the strictest statement of a pair counts.
CLASSIFICATIONS = ("public", "internal", "confidential", "restricted")


@dataclass(frozen=True)
class UsageStatement:
    """What one source says of the uses of its rows.

    `allowed_uses` None makes no statement about what is allowed. `columns` limits the statement to pairs in which at least
    one of these columns was shown; None always counts. `policy` names the definition it was made of, and what that stated as
    a whole, by digest (`stated_policies`).
    """

    source: str
    allowed_uses: tuple[str, ...] | None = None
    prohibited_uses: tuple[str, ...] = ()
    data_classification: str | None = None
    columns: tuple[str, ...] | None = None
    reason: str | None = None
    policy: str | None = None

    def counts_for(self, shown: Iterable[str]) -> bool:
        """Whether the statement speaks of a pair that shows these columns."""
        return self.columns is None or not set(self.columns).isdisjoint(shown)


@dataclass(frozen=True)
class EffectiveUse:
    """What may be done with a pair; `witnesses` names, for each refused use, the source that refuses it."""

    allowed_uses: tuple[str, ...]
    prohibited_uses: tuple[str, ...]
    data_classification: str
    witnesses: tuple[tuple[str, str], ...]

    def permits(self, use: str) -> bool:
        return use in self.allowed_uses

    def refusal(self, use: str) -> str | None:
        """Why a use is refused, naming the source that refuses it; None where it is permitted."""
        return None if self.permits(use) else dict(self.witnesses).get(use, f"{use} is not an allowed use")

    @property
    def reason(self) -> str | None:
        """Every refusal on one line, for the `usage_reason` column."""
        return "; ".join(dict.fromkeys(why for _, why in self.witnesses)) or None


def known_use(use: str, vocabulary: Iterable[str], where: str) -> str:
    """The use itself.

    Raises:
        DefinitionError: when the vocabulary does not hold it; an unknown use is never a grant.
    """
    if use not in set(vocabulary):
        raise DefinitionError(f"{where}: unknown use '{use}'{nearest(use, vocabulary)}")
    return use


def known_classification(name: str, where: str) -> str:
    """The classification itself.

    Raises:
        DefinitionError: when it is none of public, internal, confidential, restricted.
    """
    if name not in CLASSIFICATIONS:
        raise DefinitionError(f"{where}: unknown data_classification '{name}'{nearest(name, CLASSIFICATIONS)}")
    return name


def strictest(names: Iterable[str | None]) -> str:
    """The most restricted classification of several; restricted where none is stated.

    Raises:
        DefinitionError: for a classification that is not known.
    """
    stated = [known_classification(name, "data_classification") for name in names if name is not None]
    return max(stated, key=CLASSIFICATIONS.index) if stated else CLASSIFICATIONS[-1]


def effective_use(statements: Sequence[UsageStatement], vocabulary: Iterable[str] = USES) -> EffectiveUse:
    """What the statements permit together.

    Raises:
        DefinitionError: when a statement names a use outside the vocabulary.
    """
    uses = sorted(set(vocabulary))
    allowing = [s for s in statements if s.allowed_uses is not None]
    for statement in statements:
        for use in (*(statement.allowed_uses or ()), *statement.prohibited_uses):
            known_use(use, uses, statement.source)
    allowed: list[str] = []
    witnesses: list[tuple[str, str]] = []
    for use in uses:
        refusal = _refusal(use, statements, allowing)
        if refusal is None:
            allowed.append(use)
        else:
            witnesses.append((use, refusal))
    return EffectiveUse(
        allowed_uses=tuple(allowed),
        prohibited_uses=tuple(sorted({use for s in statements for use in s.prohibited_uses})),
        data_classification=strictest(s.data_classification for s in statements),
        witnesses=tuple(witnesses),
    )


def _refusal(use: str, statements: Sequence[UsageStatement], allowing: Sequence[UsageStatement]) -> str | None:
    for statement in statements:
        if use in statement.prohibited_uses:
            why = f": {statement.reason}" if statement.reason else ""
            return f"{statement.source} prohibits {use}{why}"
    for statement in allowing:
        if use not in (statement.allowed_uses or ()):
            return f"{statement.source} does not allow {use}"
    return None if allowing else f"no source states that {use} is allowed"


def statements_to_json(statements: Iterable[UsageStatement]) -> str:
    """The form in which statements travel beside a row; equal sets of statements give equal text."""
    rows = {canonical_text({k: v for k, v in asdict(s).items() if v is not None}) for s in statements}
    return "[" + ",".join(sorted(rows)) + "]"


def statements_from_json(text: str) -> tuple[UsageStatement, ...]:
    """The statements of one row, as `statements_to_json` wrote them."""

    def tupled(value: list[str] | None) -> tuple[str, ...] | None:
        return None if value is None else tuple(value)

    return tuple(
        UsageStatement(
            source=row["source"],
            allowed_uses=tupled(row.get("allowed_uses")),
            prohibited_uses=tuple(row.get("prohibited_uses", ())),
            data_classification=row.get("data_classification"),
            columns=tupled(row.get("columns")),
            reason=row.get("reason"),
            policy=row.get("policy"),
        )
        for row in json.loads(text)
    )
